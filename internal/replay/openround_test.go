package replay_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
)

func TestOpenRoundPairsByMoment(t *testing.T) {
	var mu sync.Mutex
	inFlight, together := 0, 0
	arm := func(broken string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			if inFlight++; inFlight > 1 {
				together++
			}
			mu.Unlock()
			time.Sleep(5 * time.Millisecond)
			mu.Lock()
			inFlight--
			mu.Unlock()
			if r.URL.Path == broken {
				w.WriteHeader(503)
			}
		}))
	}
	a, b := arm(""), arm("/3")
	defer a.Close()
	defer b.Close()
	transports(t, func(t *testing.T, opts replay.Options) {
		e, err := replay.New(many(20, 0), opts)
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Plan(replay.Load{Rate: 500, Loops: 2})
		if err != nil {
			t.Fatal(err)
		}
		together = 0
		round, err := e.OpenRound(t.Context(), replay.Target{Arm: "base", Addr: addr(a)}, replay.Target{Arm: "head", Addr: addr(b)}, nil, nil, p)
		if err != nil || len(round.Pairs) != 38 || round.Dropped["status differs"] != 2 || len(round.SendLag) != 80 {
			t.Errorf("%d pairs, %d lags, dropped %v, %v", len(round.Pairs), len(round.SendLag), round.Dropped, err)
		}
		if together == 0 {
			t.Error("the arms were never busy together")
		}
		for i, pair := range round.Pairs {
			if pair.A < 5*time.Millisecond || pair.B < 5*time.Millisecond || pair.Endpoint == "" || pair.Recorded == "" {
				t.Errorf("pair %d: %+v", i, pair)
			}
		}
	})
}

func TestOpenRoundDropsWhatFails(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer s.Close()
	e := newEngine(t, many(5, 0)...)
	p, err := e.Plan(replay.Load{Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	round, err := e.OpenRound(t.Context(), replay.Target{Arm: "base", Addr: addr(s)}, replay.Target{Arm: "head", Addr: "127.0.0.1:1"}, nil, nil, p)
	if err != nil || len(round.Pairs) != 0 || round.Dropped["head: refused"] != 5 {
		t.Errorf("%d pairs, dropped %v, %v", len(round.Pairs), round.Dropped, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.OpenRound(ctx, replay.Target{Arm: "base", Addr: addr(s)}, replay.Target{Arm: "head", Addr: addr(s)}, nil, nil, p); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel() // it waits most of its time
	// An arm holds a rate while it answers 200, which stands for any limit, and
	// tells the rate from the requests of the probe. The sender's own lateness
	// on a busy machine must not decide this test, so nothing but the status is
	// asked for, and the answers take long beside any lateness.
	arm := func(most int) *httptest.Server {
		var mu sync.Mutex
		seen := make(map[int64]int) // requests by tenth of a second
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			now := time.Now().UnixMilli() / 100
			seen[now]++
			over := seen[now]*10 > most
			mu.Unlock()
			if over {
				w.WriteHeader(503)
			}
			time.Sleep(100 * time.Millisecond)
		}))
	}
	weak, strong := arm(100), arm(1_000_000)
	defer weak.Close()
	defer strong.Close()
	limit, err := replay.ParseLimit("status.5xx>50%")
	if err != nil {
		t.Fatal(err)
	}
	targets := []replay.Target{{Arm: "base", Addr: addr(strong)}, {Arm: "head", Addr: addr(weak)}}
	found, err := newEngine(t, many(4, 0)...).Capacity(t.Context(), targets, 1, replay.CapacityOptions{
		Limits: []replay.Limit{limit}, Start: 100, Most: 800, Probe: 300 * time.Millisecond, Precision: 0.5,
		Load: replay.Load{Connections: 200},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found {
		for _, p := range c.Probes {
			if !p.Holds && p.Why == "" {
				t.Errorf("%s at %v fails for no reason", c.Arm, p.Rate)
			}
		}
		t.Log(c.Arm, c.Rate, c.Bounded, fmt.Sprint(len(c.Probes), " probes"))
	}
	if head := found[1]; head.Arm != "head" || !head.Bounded || head.Rate >= 800 {
		t.Errorf("weak arm: %v, bounded %v", head.Rate, head.Bounded)
	}
	if base := found[0]; base.Arm != "base" || base.Rate <= found[1].Rate && len(base.Probes) < 2 {
		t.Errorf("strong arm: %v after %d probes", base.Rate, len(base.Probes))
	}
	if _, err := newEngine(t).Capacity(t.Context(), nil, 1, replay.CapacityOptions{}); err == nil {
		t.Error("no limit is no error")
	}
}
