package replay_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// transports runs a test on each transport: the event loop where there is one,
// and the goroutines, which a dialler of one's own asks for.
func transports(t *testing.T, test func(t *testing.T, opts replay.Options)) {
	t.Run("default", func(t *testing.T) { test(t, replay.Options{Timeout: 5 * time.Second}) })
	t.Run("workers", func(t *testing.T) {
		test(t, replay.Options{Timeout: 5 * time.Second, Dial: (&net.Dialer{}).DialContext})
	})
}

func drive(t *testing.T, opts replay.Options, address string, l replay.Load, exchanges ...*traffic.Exchange) *replay.Result {
	t.Helper()
	e, err := replay.New(exchanges, opts)
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Plan(l)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Drive(t.Context(), replay.Target{Arm: "base", Addr: address}, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// at moves an exchange to a recorded moment.
func at(x *traffic.Exchange, offset time.Duration) *traffic.Exchange {
	x.Start = epoch.Add(offset)
	return x
}

func many(n int, gap time.Duration) []*traffic.Exchange {
	var exchanges []*traffic.Exchange
	for i := range n {
		exchanges = append(exchanges, at(recorded(i, "GET", fmt.Sprintf("/%d", i)), time.Duration(i)*gap))
	}
	return exchanges
}

func TestDriveKeepsRecordedMoments(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	defer s.Close()
	transports(t, func(t *testing.T, opts replay.Options) {
		exchanges := []*traffic.Exchange{
			at(recorded(0, "GET", "/"), 0), at(recorded(1, "GET", "/"), 40*time.Millisecond),
			at(recorded(2, "GET", "/"), 60*time.Millisecond), at(recorded(3, "GET", "/"), time.Hour),
		}
		r := drive(t, opts, addr(s), replay.Load{Speed: 2, MaxIdle: 100 * time.Millisecond}, exchanges...)
		want := []time.Duration{0, 20 * time.Millisecond, 30 * time.Millisecond, 80 * time.Millisecond}
		if len(r.Samples) != 4 || r.Unsent != 0 {
			t.Fatalf("%d samples, %d unsent, errors %v", len(r.Samples), r.Unsent, r.Errors)
		}
		slices.SortFunc(r.Samples, func(a, b replay.Sample) int { return int(a.Exchange - b.Exchange) })
		for i, x := range r.Samples {
			if x.Planned != want[i] || x.Sent < x.Planned || x.Last < x.First || x.First < x.Sent || x.Status != 200 || x.Size != 2 {
				t.Errorf("sample %d: %+v", i, x)
			}
		}
		if got := r.Plan.String(); got != "4 requests in 80ms, recorded timing at 2x; 4 exchanges of 4 sessions; gaps above 100ms are capped, which saves 1h0m0s" {
			t.Errorf("plan %q", got)
		}
	})
}

func TestDriveNeverSendsEarly(t *testing.T) {
	var mu sync.Mutex
	arrivals := make(map[string]time.Time)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		arrivals[r.URL.Path] = time.Now()
	}))
	defer s.Close()
	transports(t, func(t *testing.T, opts replay.Options) {
		began := time.Now()
		drive(t, opts, addr(s), replay.Load{Rate: 500}, many(100, time.Hour)...)
		// A busy machine may be late by any time, but nothing may be early: from
		// before the load began to the arrival of request i pass i periods.
		for i := range 100 {
			if d := arrivals[fmt.Sprintf("/%d", i)].Sub(began); d < time.Duration(i)*2*time.Millisecond {
				t.Errorf("request %d came after %v", i, d)
			}
		}
	})
}

func TestDriveSessionsAndNeeds(t *testing.T) {
	// Requests are due at once, but those of a session and those that need an
	// answer must wait, in each copy for itself.
	var mu sync.Mutex
	running := make(map[string]bool)
	var faults []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mark, _ := traffic.ParseMark(r.Header.Get("traceparent"))
		session := fmt.Sprint(mark.Pass, r.URL.Query().Get("session"))
		mu.Lock()
		if running[session] {
			faults = append(faults, "two requests at once in session "+session)
		}
		running[session] = true
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		running[session] = false
		mu.Unlock()
	}))
	defer s.Close()
	transports(t, func(t *testing.T, opts replay.Options) {
		var exchanges []*traffic.Exchange
		for i := range 30 {
			x := at(recorded(i, "GET", fmt.Sprintf("/?session=%d", i%5)), 0)
			x.Origin.Connection = fmt.Sprint(i % 5)
			exchanges = append(exchanges, x)
		}
		rewriters := make(map[int]*chain)
		r := drive(t, opts, addr(s), replay.Load{Copies: 3, Loops: 2, Rewriter: func(copy, loop int) replay.Rewriter {
			n := loop*3 + copy
			if rewriters[n] == nil {
				rewriters[n] = &chain{observed: map[string]bool{}}
			}
			return rewriters[n]
		}}, exchanges...)
		if len(r.Samples) != 180 || r.Unsent != 0 || len(faults) > 0 {
			t.Errorf("%d samples, %d unsent, errors %v, faults %v", len(r.Samples), r.Unsent, r.Errors, faults)
		}
		if len(rewriters) != 6 {
			t.Errorf("%d rewriters for 3 copies in 2 loops", len(rewriters))
		}
		for n, rw := range rewriters {
			if len(rw.early) > 0 {
				t.Errorf("copy and loop %d: sent before the answers they need: %v", n, rw.early)
			}
		}
		for _, x := range r.Samples {
			if x.Sent < x.Due || x.Due < x.Planned || x.Lag() > x.Response() {
				t.Fatalf("sample %+v", x)
			}
		}
	})
}

func TestDriveMaxIsAClosedLoop(t *testing.T) {
	var active, most, total atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := active.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		total.Add(1)
		time.Sleep(time.Millisecond)
		active.Add(-1)
	}))
	defer s.Close()
	transports(t, func(t *testing.T, opts replay.Options) {
		most.Store(0)
		r := drive(t, opts, addr(s), replay.Load{Max: true, Connections: 4, Loops: 5}, many(20, time.Hour)...)
		if len(r.Samples) != 100 || most.Load() > 4 || r.Connections > 4 {
			t.Errorf("%d samples, %d at once, %d connections", len(r.Samples), most.Load(), r.Connections)
		}
		r = drive(t, opts, addr(s), replay.Load{Max: true, Connections: 2, Budget: 30 * time.Millisecond}, many(3, 0)...)
		if r.Elapsed < 30*time.Millisecond || len(r.Samples) < 2 || r.Unsent != 0 {
			t.Errorf("%d samples in %v, %d unsent", len(r.Samples), r.Elapsed, r.Unsent)
		}
	})
}

func TestDriveChurn(t *testing.T) {
	var opened atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	transports(t, func(t *testing.T, opts replay.Options) {
		opened.Store(0)
		var exchanges []*traffic.Exchange
		for i := range 40 {
			x := at(recorded(i, "GET", "/"), time.Duration(i)*time.Millisecond)
			x.Origin.Connection = fmt.Sprint(i % 8)
			exchanges = append(exchanges, x)
		}
		r := drive(t, opts, addr(s), replay.Load{Churn: true, Copies: 2}, exchanges...)
		if len(r.Samples) != 80 || opened.Load() != 16 || r.Connections != 16 {
			t.Errorf("%d samples, %d connections opened, %d counted; errors %v", len(r.Samples), opened.Load(), r.Connections, r.Errors)
		}
	})
}

func TestDriveCountsFailures(t *testing.T) {
	reply := func(wire string) func(int, net.Conn, *bufio.Reader) {
		return func(_ int, c net.Conn, r *bufio.Reader) {
			for skipRequest(r) == nil {
				if io.WriteString(c, wire); !strings.Contains(wire, "Content-Length: 0") {
					return
				}
			}
		}
	}
	tests := []struct {
		why   string
		serve func(int, net.Conn, *bufio.Reader)
		want  traffic.Failure
	}{
		{"good", reply("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ""},
		{"closes each connection", reply("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody to the end"), ""},
		{"closes what it promised to keep", reply("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"), ""},
		{"more than one answer", reply("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n"), ""},
		{"resets", func(_ int, c net.Conn, r *bufio.Reader) { skipRequest(r); c.(*net.TCPConn).SetLinger(0) }, traffic.FailureReset},
		{"cuts", reply("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), traffic.FailureReset},
		{"garbage", reply("nonsense\r\n\r\n"), traffic.FailureProtocol},
		{"hangs", func(_ int, c net.Conn, r *bufio.Reader) { skipRequest(r); r.ReadByte() }, traffic.FailureTimeout},
		{"drips", func(_ int, c net.Conn, r *bufio.Reader) {
			skipRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "A: b\r\n"); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}, traffic.FailureTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			transports(t, func(t *testing.T, opts replay.Options) {
				if tt.want == traffic.FailureTimeout {
					opts.Timeout = 100 * time.Millisecond
				}
				r := drive(t, opts, rawServer(t, tt.serve), replay.Load{Rate: 1000, Connections: 4}, many(12, 0)...)
				s := r.Summary(nil)
				if s.Requests != 12 || r.Unsent != 0 {
					t.Fatalf("%d of 12 requests, %d unsent", s.Requests, r.Unsent)
				}
				if tt.want == "" && s.Status[200] != 12 || tt.want != "" && s.Failures[tt.want] != 12 {
					t.Errorf("status %v, failures %v, errors %v", s.Status, s.Failures, r.Errors)
				}
				if tt.want != "" && r.Errors[tt.want] == "" {
					t.Errorf("no error for %s in %v", tt.want, r.Errors)
				}
			})
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		transports(t, func(t *testing.T, opts replay.Options) {
			r := drive(t, opts, "127.0.0.1:1", replay.Load{Rate: 1000}, many(12, 0)...)
			if s := r.Summary(nil); s.Failures[traffic.FailureRefused] != 12 {
				t.Errorf("failures %v, %v", s.Failures, r.Errors)
			}
		})
	})
	t.Run("a redirect is an answer and is not followed", func(t *testing.T) {
		var elsewhere atomic.Int64
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
		defer other.Close()
		s := httptest.NewServer(http.RedirectHandler(other.URL+"/x", http.StatusFound))
		defer s.Close()
		transports(t, func(t *testing.T, opts replay.Options) {
			r := drive(t, opts, addr(s), replay.Load{Rate: 1000}, many(12, 0)...)
			if n := r.Summary(nil).Status[302]; n != 12 || elsewhere.Load() != 0 {
				t.Errorf("%d redirects, %d followed, %v", n, elsewhere.Load(), r.Errors)
			}
		})
	})
	t.Run("an answer without end is cut", func(t *testing.T) {
		address := rawServer(t, func(_ int, c net.Conn, r *bufio.Reader) {
			skipRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for {
				if _, err := c.Write(make([]byte, 4<<10)); err != nil {
					return
				}
			}
		})
		transports(t, func(t *testing.T, opts replay.Options) {
			opts.MaxBody = 64 << 10
			r := drive(t, opts, address, replay.Load{Rate: 1000}, many(12, 0)...)
			for _, x := range r.Samples {
				if x.Status != 200 || x.Size != 64<<10 {
					t.Errorf("%+v, %v", x, r.Errors)
				}
			}
		})
	})
	t.Run("large requests in pieces", func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, strings.Repeat("x", int(n)))
		}))
		defer s.Close()
		transports(t, func(t *testing.T, opts replay.Options) {
			r := drive(t, opts, addr(s), replay.Load{}, withBody(recorded(0, "POST", "/"), strings.Repeat("y", 5<<20)))
			if len(r.Samples) != 1 || r.Samples[0].Size != 5<<20 {
				t.Errorf("%+v, %v", r.Samples, r.Errors)
			}
		})
	})
}

func TestDriveEndsWithItsContext(t *testing.T) {
	transports(t, func(t *testing.T, opts replay.Options) {
		ctx, cancel := context.WithCancel(t.Context())
		var n atomic.Int64
		address := rawServer(t, func(_ int, c net.Conn, r *bufio.Reader) { // two answers, then none
			for skipRequest(r) == nil {
				if n.Add(1) > 2 {
					cancel()
					r.ReadByte()
					return
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		e, err := replay.New(many(10, 10*time.Millisecond), opts)
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Plan(replay.Load{Loops: 1000})
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Drive(ctx, replay.Target{Arm: "base", Addr: address}, p)
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		s := r.Summary(nil)
		// The second answer may still be under way at the end.
		if s.Status[200] > 2 || s.Failures[traffic.FailureCanceled] == 0 || s.Requests+r.Unsent != 10_000 {
			t.Errorf("status %v, failures %v, %d unsent", s.Status, s.Failures, r.Unsent)
		}
	})
}

func TestDriveTellsTheMock(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer s.Close()
	transports(t, func(t *testing.T, opts replay.Options) {
		mock := &ledger{active: map[traffic.Lane]bool{}}
		e, err := replay.New(many(3, time.Millisecond), opts)
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Plan(replay.Load{Loops: 2, Pass: 7, Rewriter: func(int, int) replay.Rewriter { return &chain{observed: map[string]bool{}} }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Drive(t.Context(), replay.Target{Arm: "base", Addr: addr(s), Mock: mock}, p); err != nil {
			t.Fatal(err)
		}
		second := 7 + 1<<16
		for _, want := range []string{
			"begin 7", "enter 7 x000", "leave 7 x000", "bind 7 x001 of x000=base-x000",
			fmt.Sprintf("enter %d x002", second), fmt.Sprintf("forget %d", second),
		} {
			if !slices.Contains(mock.events, want) {
				t.Errorf("the mock was not told %q", want)
			}
		}
		if len(mock.active) != 0 || slices.Contains(mock.events, "forget 7") {
			t.Errorf("active %v, events %v", mock.active, mock.events)
		}
	})
}

func TestPlan(t *testing.T) {
	tests := []struct {
		why      string
		load     replay.Load
		n        int
		gap      time.Duration
		requests int64
		length   time.Duration
	}{
		{"recorded timing", replay.Load{}, 11, time.Second, 11, 10 * time.Second},
		{"twice as fast", replay.Load{Speed: 2}, 11, time.Second, 11, 5 * time.Second},
		{"capped gaps", replay.Load{MaxIdle: 500 * time.Millisecond}, 11, time.Second, 11, 5 * time.Second},
		{"two loops, a mean gap apart", replay.Load{Loops: 2}, 10, time.Second, 20, 18*time.Second + 900*time.Millisecond},
		{"a budget cuts", replay.Load{Budget: 3500 * time.Millisecond}, 11, time.Second, 4, 3 * time.Second},
		{"copies in the same time", replay.Load{Copies: 2}, 11, time.Second, 22, 10 * time.Second},
		{"constant rate", replay.Load{Rate: 100}, 11, time.Hour, 11, 100 * time.Millisecond},
		{"constant rate for a time", replay.Load{Rate: 100, Budget: time.Second}, 11, time.Hour, 100, 990 * time.Millisecond},
		{"constant rate, loops", replay.Load{Rate: 100, Loops: 3}, 11, time.Hour, 33, 320 * time.Millisecond},
		{"a plateau", replay.Load{Stages: []replay.Stage{{From: 10, To: 10, For: time.Second}}}, 3, 0, 10, 900 * time.Millisecond},
		{"a ramp has half the area", replay.Load{Stages: []replay.Stage{{From: 0, To: 200, For: time.Second}}}, 3, 0, 100, 994987437},
		{"stages add up", replay.Load{Stages: []replay.Stage{{From: 0, To: 100, For: time.Second}, {From: 100, To: 100, For: time.Second}}}, 3, 0, 150, 1990 * time.Millisecond},
		{"down to nothing", replay.Load{Stages: []replay.Stage{{From: 100, To: 0, For: time.Second}}}, 3, 0, 50, 858578643},
		{"as fast as it goes", replay.Load{Max: true}, 11, time.Hour, 11, 0},
		{"as fast as it goes for a time", replay.Load{Max: true, Budget: time.Second}, 11, time.Hour, -1, time.Second},
		{"nothing recorded", replay.Load{Rate: 5}, 0, 0, 0, 0},
		{"all at one moment", replay.Load{Loops: 3}, 4, 0, 12, 0},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			p, err := newEngine(t, many(tt.n, tt.gap)...).Plan(tt.load)
			if err != nil {
				t.Fatal(err)
			}
			if p.Requests != tt.requests || (p.Length-tt.length).Abs() > time.Microsecond {
				t.Errorf("%d requests in %v, want %d in %v", p.Requests, p.Length, tt.requests, tt.length)
			}
		})
	}
}

func TestPlanRejects(t *testing.T) {
	tests := []struct {
		load replay.Load
		want string
	}{
		{replay.Load{Speed: 2, Rate: 1}, "load: give only one of speed, rate, stages and max"},
		{replay.Load{Speed: -1}, "load speed -1: must be above 0 and at most 1000000"},
		{replay.Load{Rate: 1e9}, "load rate 1e+09: must be above 0 and at most 10000000 requests a second"},
		{replay.Load{Copies: -1}, "load copies -1: must be 1 to 32768"},
		{replay.Load{Loops: -1}, "load loops -1: must be 1 or more"},
		{replay.Load{Connections: -1}, "load connections -1: must be 1 to 65536"},
		{replay.Load{Stages: []replay.Stage{{To: 1}}}, "load stages[0]: stage from 0 to 1 for 0s: rates are 0 to 10000000 a second, times positive"},
		{replay.Load{}, "load: the plan takes 876000h0m0s, from 1776-01-02 03:04:05 to 2026-01-02 03:04:05 as recorded; cap gaps or set a budget"},
	}
	e := newEngine(t, recorded(0, "GET", "/"), func() *traffic.Exchange {
		x := recorded(1, "GET", "/")
		x.Start = time.Date(1776, 1, 2, 3, 4, 5, 0, time.UTC)
		return x
	}())
	for _, tt := range tests {
		if _, err := e.Plan(tt.load); err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
}

func TestParseStages(t *testing.T) {
	got, err := replay.ParseStages("0..500:30s, 500:1m")
	want := []replay.Stage{{From: 0, To: 500, For: 30 * time.Second}, {From: 500, To: 500, For: time.Minute}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, bad := range []string{"", "500", "a:1s", "1..:1s", "-1:1s", "5:0s", "5:1", "NaN:1s"} {
		if stages, err := replay.ParseStages(bad); err == nil {
			t.Errorf("%q: read as %v", bad, stages)
		}
	}
}

func TestCopiesAreShiftedAsWholeSessions(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[uint32][]string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mark, _ := traffic.ParseMark(r.Header.Get("traceparent"))
		mu.Lock()
		defer mu.Unlock()
		seen[mark.Pass] = append(seen[mark.Pass], r.URL.Path)
	}))
	defer s.Close()
	var exchanges []*traffic.Exchange
	for i := range 12 {
		x := at(recorded(i, "GET", fmt.Sprintf("/%d/%d", i%3, i)), time.Duration(i)*5*time.Millisecond)
		x.Origin.Connection = fmt.Sprint(i % 3)
		exchanges = append(exchanges, x)
	}
	r := drive(t, replay.Options{}, addr(s), replay.Load{Copies: 4}, exchanges...)
	if len(r.Samples) != 48 || len(seen) != 4 {
		t.Fatalf("%d samples of %d copies", len(r.Samples), len(seen))
	}
	// Each copy sends each session in its order, and the four do not send the
	// same thing at the same time.
	first := make(map[time.Duration]bool)
	for _, x := range r.Samples {
		if x.Exchange == 0 {
			first[x.Planned] = true
		}
	}
	if len(first) != 4 {
		t.Errorf("the copies of one request are planned for %d different moments", len(first))
	}
	for pass, paths := range seen {
		last := make(map[int]int)
		for _, p := range paths {
			var session, i int
			fmt.Sscanf(p, "/%d/%d", &session, &i)
			if before, ok := last[session]; ok && before > i {
				t.Errorf("copy %d, session %d: %d came after %d", pass>>16, session, i, before)
			}
			last[session] = i
		}
	}
}

func TestSummary(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/1" {
			w.WriteHeader(500)
		}
	}))
	defer s.Close()
	r := drive(t, replay.Options{}, addr(s), replay.Load{Rate: 1000}, many(10, 0)...)
	all := r.Summary(nil)
	if all.Requests != 10 || all.Status[200] != 9 || all.Status[500] != 1 || all.Rate <= 0 || len(all.Response.(replay.Times)) != 10 {
		t.Errorf("%+v", all)
	}
	one := r.Summary(func(x replay.Sample) bool { return r.Recorded(x) == "x001" })
	if one.Requests != 1 || one.Status[500] != 1 || one.Response.Quantile(0.5) != one.Response.Mean() {
		t.Errorf("%+v", one)
	}
	if (replay.Times{}).Quantile(0.5) != 0 || (replay.Times{1, 2, 3, 4}).Quantile(0.5) != 2 || (replay.Times{1, 2, 3, 4}).Quantile(1) != 4 {
		t.Error("quantiles")
	}
}
