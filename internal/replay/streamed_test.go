package replay_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// inWindows is a recording that is handed out in windows of so many exchanges.
type inWindows struct {
	exchanges []*traffic.Exchange
	size      int
	needs     map[string][]string
	rewriter  replay.Rewriter
	failAfter int // windows; 0 never fails
}

var errDisk = errors.New("the disk is gone")

func (r inWindows) Scan() iter.Seq2[*traffic.Exchange, error] {
	return func(yield func(*traffic.Exchange, error) bool) {
		for _, x := range r.exchanges {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func (r inWindows) Windows() iter.Seq2[*replay.Window, error] {
	return func(yield func(*replay.Window, error) bool) {
		n := 0
		for part := range slices.Chunk(r.exchanges, r.size) {
			if n++; r.failAfter > 0 && n > r.failAfter {
				yield(nil, errDisk)
				return
			}
			w := &replay.Window{Exchanges: slices.Clone(part), Needs: func(id string) []string { return r.needs[id] }}
			if r.rewriter != nil {
				w.Rewriter = func(int, int) replay.Rewriter { return r.rewriter }
				w.Watch = func(id string) bool {
					for _, needs := range r.needs {
						if slices.Contains(needs, id) {
							return true
						}
					}
					return false
				}
			}
			if !yield(w, nil) {
				return
			}
		}
	}
}

func stream(t *testing.T, ctx context.Context, opts replay.Options, address string, l replay.Load, rec replay.Recording, samples *replay.SampleWriter) (*replay.Result, error) {
	t.Helper()
	s, err := replay.NewStreamed(rec, opts)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Plan(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	return s.Drive(ctx, replay.Target{Arm: "base", Addr: address}, p, samples)
}

// TestStreamedIsTheSameLoad: what is read in windows is sent at the same moments
// as what is in memory, and adds up to the same counts.
func TestStreamedIsTheSameLoad(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "7") {
			w.WriteHeader(http.StatusTeapot)
		}
		io.WriteString(w, "ok")
	}))
	defer s.Close()
	exchanges := many(25, time.Millisecond)
	tests := []struct {
		why  string
		load replay.Load
	}{
		{"recorded timing", replay.Load{}},
		{"twice as fast, two loops", replay.Load{Speed: 2, Loops: 2}},
		{"capped gaps", replay.Load{MaxIdle: 500 * time.Microsecond}},
		{"a budget within the recording", replay.Load{Budget: 10 * time.Millisecond}},
		{"a constant rate", replay.Load{Rate: 5000}},
		{"a rate for a time, around the recording", replay.Load{Rate: 5000, Budget: 12 * time.Millisecond}},
		{"stages", replay.Load{Stages: []replay.Stage{{From: 1000, To: 4000, For: 20 * time.Millisecond}}}},
		{"copies", replay.Load{Rate: 5000, Copies: 3}},
		{"a closed loop, twice", replay.Load{Max: true, Loops: 2}},
	}
	transports(t, func(t *testing.T, opts replay.Options) {
		for _, tt := range tests {
			whole := drive(t, opts, addr(s), tt.load, exchanges...)
			var file bytes.Buffer
			samples := replay.NewSampleWriter(&file)
			r, err := stream(t, t.Context(), opts, addr(s), tt.load, inWindows{exchanges: exchanges, size: 4}, samples)
			if err := errors.Join(err, samples.Close()); err != nil {
				t.Fatalf("%s: %v", tt.why, err)
			}
			if r.Plan.Requests != whole.Plan.Requests || r.Plan.Length != whole.Plan.Length || r.Unsent != 0 {
				t.Errorf("%s: %d requests in %v, %d unsent; in memory %d in %v", tt.why, r.Plan.Requests, r.Plan.Length, r.Unsent, whole.Plan.Requests, whole.Plan.Length)
			}
			got, ends := r.Overview()
			want, wantEnds := whole.Overview()
			if diff := cmp.Diff(want.Status, got.Status); diff != "" || got.Requests != want.Requests || len(ends) != len(wantEnds) {
				t.Errorf("%s: %s\n%d endpoints, in memory %d", tt.why, diff, len(ends), len(wantEnds))
			}
			if tt.load.Max {
				continue // no planned moments
			}
			if diff := cmp.Diff(plannedOf(whole.Samples), plannedIn(t, &file)); diff != "" {
				t.Errorf("%s: planned moments, in memory -, streamed +\n%s", tt.why, diff)
			}
		}
	})
}

// plannedOf lists exchange, instance and planned moment, sorted.
func plannedOf(samples []replay.Sample) []string {
	var list []string
	for _, s := range samples {
		list = append(list, fmt.Sprintf("%d %d %d", s.Exchange, s.Instance, int64(s.Planned)))
	}
	slices.Sort(list)
	return list
}

func plannedIn(t *testing.T, file io.Reader) []string {
	t.Helper()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil || len(rows) == 0 || rows[0][0] != "exchange" {
		t.Fatalf("samples: %v, %v", rows, err)
	}
	var list []string
	for _, row := range rows[1:] {
		list = append(list, strings.Join(row[:3], " "))
	}
	slices.Sort(list)
	return list
}

// TestStreamedKeepsOrder: the requests of a session keep their order, and one
// that needs an answer waits for it, across windows too.
func TestStreamedKeepsOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	under := map[string]int{} // requests of a session under way
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := r.Header.Get("Authorization")
		mu.Lock()
		if under[session]++; under[session] > 1 {
			t.Errorf("%s came while another request of %s was under way", r.URL.Path, session)
		}
		order = append(order, r.URL.Path)
		mu.Unlock()
		time.Sleep(2 * time.Millisecond)
		mu.Lock()
		under[session]--
		mu.Unlock()
	}))
	defer s.Close()
	var exchanges []*traffic.Exchange
	for i := range 40 {
		exchanges = append(exchanges, at(recorded(i, "GET", fmt.Sprintf("/%d", i), "Authorization", fmt.Sprintf("Bearer %d", i%4)), 0))
	}
	needs := map[string][]string{"x013": {"x002"}, "x029": {"x027", "x014"}}
	transports(t, func(t *testing.T, opts replay.Options) {
		order = nil
		r, err := stream(t, t.Context(), opts, addr(s), replay.Load{}, inWindows{exchanges: exchanges, size: 3, needs: needs}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if all, _ := r.Overview(); all.Status[200] != 40 {
			t.Fatalf("%+v, %v", all, r.Errors)
		}
		place := func(i int) int { return slices.Index(order, fmt.Sprintf("/%d", i)) }
		for i := range 40 {
			if i >= 4 && place(i) < place(i-4) {
				t.Errorf("/%d came before /%d of the same session", i, i-4)
			}
		}
		for _, pair := range [][2]int{{2, 13}, {27, 29}, {14, 29}} {
			if place(pair[1]) < place(pair[0]) {
				t.Errorf("/%d did not wait for /%d", pair[1], pair[0])
			}
		}
	})
}

// TestStreamedObserves: an answer that a later window needs is seen by the
// rewriter before the request that uses it is made.
func TestStreamedObserves(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }))
	defer s.Close()
	transports(t, func(t *testing.T, opts replay.Options) {
		rw := &witness{}
		rec := inWindows{exchanges: many(9, 0), size: 2, needs: map[string][]string{"x008": {"x001"}}, rewriter: rw}
		if _, err := stream(t, t.Context(), opts, addr(s), replay.Load{}, rec, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"x001 /1", "before x008"}, rw.seen); diff != "" {
			t.Error(diff)
		}
	})
}

// witness notes the answers that it is shown, and when x008 is made.
type witness struct {
	mu   sync.Mutex
	seen []string
}

func (w *witness) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, what)
}

func (w *witness) Request(x *traffic.Exchange) *traffic.Request {
	if x.ID == "x008" {
		w.note("before x008")
	}
	return &x.Request
}

func (w *witness) Observe(recorded, live *traffic.Exchange) []traffic.Binding {
	w.note(recorded.ID + " " + string(live.Response.Body.Raw))
	return nil
}

func (w *witness) Needs(string) []string { return nil }

// counted counts how often a recording is read, and how far in windows.
type counted struct {
	inWindows
	scans, reads, windows int
}

func (c *counted) Scan() iter.Seq2[*traffic.Exchange, error] {
	c.scans++
	return c.inWindows.Scan()
}

func (c *counted) Windows() iter.Seq2[*replay.Window, error] {
	c.reads++
	return func(yield func(*replay.Window, error) bool) {
		for w, err := range c.inWindows.Windows() {
			if c.windows++; !yield(w, err) {
				return
			}
		}
	}
}

// TestStreamedCapacity: a search for the highest rate reads the recording from
// end to end once, and then for each rate only what that sends.
func TestStreamedCapacity(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	for _, tt := range []struct {
		why, limit string
		rate       float64
		bounded    bool
		probes     int
	}{
		{"each rate holds", "status.4xx>50%", 400, false, 3},
		{"none does", "status.5xx>50%", 0, true, 8},
	} {
		limit, err := replay.ParseLimit(tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		patient, err := replay.ParseLimit("p50>1000s") // the sender may be late here
		if err != nil {
			t.Fatal(err)
		}
		var exchanges []*traffic.Exchange
		for i := range 4000 {
			exchanges = append(exchanges, at(recorded(i, "GET", fmt.Sprint("/", i)), time.Duration(i)*time.Second))
		}
		rec := &counted{inWindows: inWindows{exchanges: exchanges, size: 4}}
		streamed, err := replay.NewStreamed(rec, replay.Options{Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		found, err := streamed.Capacity(t.Context(), []replay.Target{{Arm: "target", Addr: addr(s)}}, 1, replay.CapacityOptions{
			Limits: []replay.Limit{limit, patient}, Start: 100, Most: 400, Probe: 40 * time.Millisecond, Load: replay.Load{Copies: 2},
		})
		if err != nil {
			t.Fatalf("%s: %v", tt.why, err)
		}
		if got := found[0]; got.Rate != tt.rate || got.Bounded != tt.bounded || len(got.Probes) != tt.probes {
			t.Errorf("%s: %v, bounded %v, %+v", tt.why, got.Rate, got.Bounded, got.Probes)
		}
		if rec.scans != 1 || rec.reads != tt.probes {
			t.Errorf("%s: %d readings from end to end, and %d windowed ones for %d probes", tt.why, rec.scans, rec.reads, tt.probes)
		}
		if most := tt.probes * (400*40/1000/2/4 + 8); rec.windows > most {
			t.Errorf("%s: %d windows of 1000 were read, want at most %d: those that were sent and a few ahead", tt.why, rec.windows, most)
		}
	}
}

// TestStreamedEndsEarly: what is known when the recording cannot be read on, or
// the run ends, comes back with the reason.
func TestStreamedEndsEarly(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer s.Close()
	transports(t, func(t *testing.T, opts replay.Options) {
		r, err := stream(t, t.Context(), opts, addr(s), replay.Load{}, inWindows{exchanges: many(20, 0), size: 5, failAfter: 2}, nil)
		if all, _ := r.Overview(); !errors.Is(err, errDisk) || all.Status[200] != 10 || r.Unsent != 10 {
			t.Errorf("a damaged recording: %v, %v, %d unsent", err, all.Status, r.Unsent)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("enough")
		first := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { cancel(stop) }))
		defer first.Close()
		r, err = stream(t, ctx, opts, addr(first), replay.Load{}, inWindows{exchanges: many(20, time.Hour), size: 5}, nil)
		if !errors.Is(err, stop) || r.Unsent != 19 {
			t.Errorf("ended: %v, %d unsent", err, r.Unsent)
		}
	})
}

func TestStreamedRefuses(t *testing.T) {
	late := []*traffic.Exchange{at(recorded(0, "GET", "/"), time.Second), at(recorded(1, "GET", "/"), 0)}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		why       string
		ctx       context.Context
		exchanges []*traffic.Exchange
		load      replay.Load
		want      string
	}{
		{"nothing to send", t.Context(), nil, replay.Load{}, "no inbound exchange"},
		{"a connection for each session", t.Context(), many(1, 0), replay.Load{Churn: true}, "whole recording"},
		{"order that is none", t.Context(), late, replay.Load{}, "x001 starts before"},
		{"longer than anyone can mean", t.Context(), many(2, 90*24*time.Hour), replay.Load{}, "2026-01-02 03:04:05 to 2026-04-02"},
		{"a load that is no load", t.Context(), many(1, 0), replay.Load{Rate: -1}, "load rate"},
		{"ended while it was read", ended, many(1, 0), replay.Load{}, context.Canceled.Error()},
	}
	for _, tt := range tests {
		s, err := replay.NewStreamed(inWindows{exchanges: tt.exchanges, size: 3}, replay.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Plan(tt.ctx, tt.load); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.why, err, tt.want)
		}
	}
}

// TestHistogramIsNear: quantiles of a streamed load are those of its samples, to
// a thousandth.
func TestHistogramIsNear(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	h := replay.NewHistogram(3)
	var times replay.Times
	for range 10_000 {
		d := time.Duration(rng.ExpFloat64() * float64(3*time.Millisecond))
		h.Record(d)
		times = append(times, d)
	}
	slices.Sort(times)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		got, want := h.Quantile(q), times.Quantile(q)
		if off := (got - want).Abs(); off > want/1000+1 {
			t.Errorf("p%g: %v, want %v", q*100, got, want)
		}
	}
	if got, want := h.Mean(), times.Mean(); (got - want).Abs() > want/1000 {
		t.Errorf("mean %v, want %v", got, want)
	}
	empty := replay.NewHistogram(2)
	if empty.Quantile(0.9) != 0 || empty.Mean() != 0 {
		t.Errorf("nothing: %v, %v", empty.Quantile(0.9), empty.Mean())
	}
	empty.Record(-time.Second)
	empty.Record(1 << 62)
	if empty.Quantile(0.1) != 0 || empty.Quantile(1) < time.Hour {
		t.Errorf("impossible times: %v, %v", empty.Quantile(0.1), empty.Quantile(1))
	}
}

// TestSamplesFullDisk: an error of writing is reported, and nobody waits.
func TestSamplesFullDisk(t *testing.T) {
	w := replay.NewSampleWriter(full{})
	for i := range 100_000 {
		w.Add(replay.Sample{Exchange: int32(i), Last: time.Hour})
	}
	if err := w.Close(); !errors.Is(err, errDisk) {
		t.Errorf("error %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errDisk }
