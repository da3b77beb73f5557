package agent

import (
	"context"
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

// TestWorkersRound joins the samples of all workers.
func TestWorkersRound(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	w := NewWorkers(3, newCrew(t).connect)
	xs := manyInbound(30)
	if _, err := w.Load(t.Context(), ReplaySettings{}, xs); err != nil {
		t.Fatal(err)
	}
	addr := srv.Listener.Addr().String()
	round, err := w.Round(t.Context(), Target{Arm: "base", Addr: addr}, Target{Arm: "head", Addr: addr}, 3, 1,
		RoundOptions{PairsPerEndpoint: 30, MinDuration: time.Millisecond, MaxDuration: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range round.Pairs {
		seen[p.Recorded] = true
	}
	if round.Pass != 3 || len(seen) != 30 {
		t.Errorf("round %d with %d recorded requests, want round 3 with all 30", round.Pass, len(seen))
	}
	if _, err := w.Round(t.Context(), Target{}, Target{}, 1, 1, RoundOptions{}); err == nil {
		t.Error("pass 1 was taken for a round")
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
	c := newCrew(t)
	w = NewWorkers(1, c.connect)
	if _, err := w.Load(t.Context(), ReplaySettings{Concurrency: -1}, manyInbound(2)); err == nil || c.starts.Load() != 1 {
		t.Errorf("got %v after %d starts, want the refusal after one", err, c.starts.Load())
	}
}

func TestPassNumbersOfWorkers(t *testing.T) {
	w := NewWorkers(3, nil)
	seen := map[uint32]bool{0: true, 1: true}
	for pass := uint32(2); pass < 50; pass++ {
		for i := range 3 {
			own, err := w.passOf(pass, i)
			if err != nil || seen[own] || own >= 1<<16 {
				t.Fatalf("round %d of worker %d is numbered %d, %v", pass, i, own, err)
			}
			seen[own] = true
		}
	}
	if _, err := w.passOf(1<<15, 0); err == nil {
		t.Error("a number beyond the engine's was given out")
	}
}

func TestMerge(t *testing.T) {
	a := replay.Round{Pass: 9, Pairs: []replay.Pair{{Recorded: "a", Endpoint: "GET /a"}}, Dropped: map[string]int{"status differs": 1}, Repetitions: 2, Short: []string{"GET /a", "GET /b"}}
	b := replay.Round{Pass: 10, Pairs: []replay.Pair{{Recorded: "b", Endpoint: "GET /a"}}, SendLag: []time.Duration{5}, Dropped: map[string]int{"status differs": 2}, Repetitions: 1}
	got := merge(3, []replay.Round{a, b}, 2)
	if got.Pass != 3 || len(got.Pairs) != 2 || len(got.SendLag) != 1 || got.Dropped["status differs"] != 3 || got.Repetitions != 2 || !slices.Equal(got.Short, []string{"GET /b"}) {
		t.Errorf("merged %+v; GET /a has the two pairs that were wanted", got)
	}
}
