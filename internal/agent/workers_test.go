package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// crew starts replayers on demand and can kill them.
type crew struct {
	t      *testing.T
	mu     sync.Mutex
	kill   map[int]context.CancelFunc
	starts atomic.Int32
}

func (c *crew) connect(_ context.Context, index int) (Endpoint, error) {
	c.starts.Add(1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Endpoint{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	c.kill[index] = cancel
	c.mu.Unlock()
	token := NewToken()
	done := make(chan struct{})
	go func() { defer close(done); _ = ServeReplay(ctx, l, ServerOptions{Token: token}) }()
	c.t.Cleanup(func() { cancel(); <-done })
	return Endpoint{Addr: l.Addr().String(), Token: token}, nil
}

func newCrew(t *testing.T) *crew { return &crew{t: t, kill: map[int]context.CancelFunc{}} }

func manyInbound(n int) []*traffic.Exchange {
	var xs []*traffic.Exchange
	for i := range n {
		id := fmt.Sprintf("in-%03d", i)
		xs = append(xs, &traffic.Exchange{
			ID: id, Direction: traffic.Inbound, Lane: traffic.Lane(id), Start: time.Unix(int64(i), 0), Duration: time.Millisecond,
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "shop.example", Target: "/items/" + id, Proto: "HTTP/1.1"},
			Response: &traffic.Response{Status: 200, Proto: "HTTP/1.1"},
		})
	}
	return xs
}

// TestWorkersLoseOne kills a worker in the middle of a pass: the pass has every
// request once, in the order of the recording, and so has the next one.
func TestWorkersLoseOne(t *testing.T) {
	const n = 60
	c := newCrew(t)
	var served atomic.Int32
	var once sync.Once
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1) == n/2 {
			once.Do(func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.kill[1]()
			})
		}
		time.Sleep(time.Millisecond)
	}))
	defer srv.Close()
	xs := manyInbound(n)
	w := NewWorkers(3, c.connect)
	if got, err := w.Load(t.Context(), ReplaySettings{}, xs); err != nil || got != n {
		t.Fatalf("loaded %d, %v", got, err)
	}
	target := Target{Arm: "head", Addr: srv.Listener.Addr().String()}
	for pass := range uint32(2) {
		var ids []string
		if err := w.Pass(t.Context(), target, pass+1, func(x *traffic.Exchange) {
			if x.Response == nil || time.Since(x.Start).Abs() > time.Minute {
				t.Errorf("exchange %+v has no answer or a strange time", x)
			}
			ids = append(ids, x.Recorded)
		}); err != nil {
			t.Fatal(err)
		}
		if len(ids) != n || !slices.IsSorted(ids) || len(slices.Compact(ids)) != n {
			t.Errorf("pass %d: %d exchanges %v, want each of %d once and in order", pass+1, len(ids), ids, n)
		}
	}
	if got := c.starts.Load(); got != 4 {
		t.Errorf("%d workers were started, want three and one in the place of the lost", got)
	}
}

// TestWorkersOpen sends one load by one worker and by three, one of which is
// killed on the way: every request arrives in the result once, and at the same
// planned moment.
func TestWorkersOpen(t *testing.T) {
	var c *crew
	var served atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if served.Add(1) == 150 && len(c.kill) == 3 {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.kill[2]()
		}
	}))
	defer srv.Close()
	addr := srv.Listener.Addr().String()
	type sent struct {
		id       string
		instance int32
		planned  time.Duration
	}
	open := func(n int) (*Opened, []sent) {
		t.Helper()
		c = newCrew(t)
		served.Store(0)
		w := NewWorkers(n, c.connect)
		w.lead = 300 * time.Millisecond
		if _, err := w.Load(t.Context(), ReplaySettings{}, manyInbound(30)); err != nil {
			t.Fatal(err)
		}
		got, err := w.Open(t.Context(), []Target{{Arm: "base", Addr: addr}, {Arm: "head", Addr: addr}}, replay.Load{Rate: 300, Loops: 10}, 3)
		if err != nil {
			t.Fatal(err)
		}
		var all []sent
		for _, r := range got.Results {
			for _, s := range r.Samples {
				if s.Status != 200 || s.Planned > s.Sent {
					t.Errorf("%+v was not answered, or sent too early", s)
				}
				all = append(all, sent{r.Recorded(s), s.Instance, s.Planned})
			}
		}
		slices.SortFunc(all, func(a, b sent) int { return int(a.planned - b.planned) })
		return got, all
	}
	one, by1 := open(1)
	three, by3 := open(3)
	if len(by1) != 600 || !slices.Equal(by1, by3) {
		t.Errorf("one worker sent %d requests, three sent %d others", len(by1), len(by3))
	}
	if one.Workers != 1 || one.Lost != 0 || three.Workers != 3 || three.Lost != 1 {
		t.Errorf("%d workers of which %d were lost, then %d of which %d; want 1, 0, 3, 1", one.Workers, one.Lost, three.Workers, three.Lost)
	}
	for _, clock := range three.Clocks {
		if clock.Ahead.Abs() > clock.Within+time.Millisecond { // one machine has one clock
			t.Errorf("a clock is %v ahead, give or take %v", clock.Ahead, clock.Within)
		}
	}
}

// TestWorkersOpenEnds cancels a load: it ends at once, and nobody counts as lost.
func TestWorkersOpenEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { once.Do(cancel) }))
	defer srv.Close()
	w := NewWorkers(2, newCrew(t).connect)
	w.lead = 300 * time.Millisecond
	if _, err := w.Load(t.Context(), ReplaySettings{}, manyInbound(10)); err != nil {
		t.Fatal(err)
	}
	_, err := w.Open(ctx, []Target{{Arm: "head", Addr: srv.Listener.Addr().String()}}, replay.Load{Rate: 10, Loops: 1000}, 2)
	if !errors.Is(err, context.Canceled) || w.Lost() != 0 {
		t.Errorf("got %v and %d lost workers", err, w.Lost())
	}
	if _, err := w.Open(t.Context(), nil, replay.Load{Rate: -1}, 2); err == nil {
		t.Error("a load that cannot be was sent")
	}
	if _, err := w.Open(t.Context(), nil, replay.Load{Rate: 1}, 1); err == nil {
		t.Error("a load had the number of the correctness pass")
	}
}

func TestWorkersFailForGood(t *testing.T) {
	w := NewWorkers(2, func(context.Context, int) (Endpoint, error) {
		return Endpoint{Addr: "127.0.0.1:1", Token: NewToken()}, nil
	})
	if _, err := w.Load(t.Context(), ReplaySettings{}, manyInbound(8)); err == nil || !strings.Contains(err.Error(), "worker ") {
		t.Errorf("got %v, want the worker that cannot be reached", err)
	}
	// What a worker says is not tried again.
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", serverName)
		http.Error(w, "never", http.StatusBadRequest)
	}))
	defer refusing.Close()
	var starts atomic.Int32
	w = NewWorkers(1, func(context.Context, int) (Endpoint, error) {
		starts.Add(1)
		return Endpoint{Addr: refusing.Listener.Addr().String(), Token: NewToken()}, nil
	})
	if _, err := w.Load(t.Context(), ReplaySettings{}, manyInbound(2)); err == nil || !strings.Contains(err.Error(), "never") || starts.Load() != 1 {
		t.Errorf("got %v after %d starts, want the refusal after one", err, starts.Load())
	}
}

func TestPassNumbersOfWorkers(t *testing.T) {
	w := NewWorkers(3, nil)
	seen := map[uint32]bool{0: true, 1: true}
	for pass := uint32(2); pass < 50; pass++ {
		for attempt := range attempts {
			for i := range 3 {
				own, err := w.passOf(pass, attempt, i)
				if err != nil || seen[own] || own >= 1<<16 {
					t.Fatalf("load %d of worker %d is numbered %d, %v", pass, i, own, err)
				}
				seen[own] = true
			}
		}
	}
	if _, err := w.passOf(1<<15, 0, 0); err == nil {
		t.Error("a number beyond the engine's was given out")
	}
}
