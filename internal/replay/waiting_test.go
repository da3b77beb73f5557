package replay_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// gate is a rewriter that changes nothing and opens a gate when the request with
// an id is made.
type gate struct {
	id   string
	once sync.Once
	open chan struct{}
}

func (g *gate) Request(x *traffic.Exchange) *traffic.Request {
	if x.ID == g.id {
		g.once.Do(func() { close(g.open) })
	}
	return &x.Request
}

func (g *gate) Observe(_, _ *traffic.Exchange) []traffic.Binding { return nil }
func (g *gate) Needs(string) []string                            { return nil }

// TestWaitingIsBounded: of a load on a service that answers nothing until the
// last request is at hand, as many are kept as may wait and the rest is left
// out, whatever they wait for. So much is no result at that rate.
func TestWaitingIsBounded(t *testing.T) {
	const requests, connections, waiting = 100, 4, 10
	tests := []struct {
		why     string
		session bool // all requests wait for each other
		stream  bool
	}{
		{"for connections", false, false},
		{"for the one before in their session", true, false},
		{"for connections, streamed", false, true},
		{"for the one before, streamed", true, true},
	}
	transports(t, func(t *testing.T, opts replay.Options) {
		opts.Timeout = time.Minute
		for _, tt := range tests {
			g := &gate{id: "x099", open: make(chan struct{})}
			s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-g.open }))
			exchanges := many(requests, time.Millisecond)
			if tt.session {
				for _, x := range exchanges {
					x.Origin.Connection = "one"
				}
				// The last belongs to nobody, so that it is made in time.
				exchanges[requests-1].Origin.Connection = ""
			}
			load := replay.Load{Rate: 5000, Connections: connections, MaxWaiting: waiting}
			var r *replay.Result
			if tt.stream {
				var err error
				if r, err = stream(t, t.Context(), opts, addr(s), load, inWindows{exchanges: exchanges, size: 7, rewriter: g}, nil); err != nil {
					t.Fatalf("%s: %v", tt.why, err)
				}
			} else {
				load.Rewriter = func(int, int) replay.Rewriter { return g }
				r = drive(t, opts, addr(s), load, exchanges...)
			}
			s.Close()
			all, _ := r.Overview()
			// When the gate opens, the last one alone is left to be judged.
			if least := int64(requests - connections - waiting - 1); all.Skipped < least || all.Skipped > least+1 || all.Requests+all.Skipped != requests || r.Unsent != 0 {
				t.Errorf("%s: %d sent, %d left out, %d unsent", tt.why, all.Requests, all.Skipped, r.Unsent)
			}
			if all.Status[200] != all.Requests || all.Reliable {
				t.Errorf("%s: answers %v, failures %v, reliable %v", tt.why, all.Status, r.Errors, all.Reliable)
			}
		}
	})
}

// TestWaitingEnds: a load on a service that never answers ends when requests have
// waited for long enough, and does not send them all one after the other.
func TestWaitingEnds(t *testing.T) {
	never := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-never }))
	defer s.Close()
	defer close(never)
	transports(t, func(t *testing.T, opts replay.Options) {
		opts.Timeout = 200 * time.Millisecond
		// One after the other they would take twenty times as long.
		r := drive(t, opts, addr(s), replay.Load{Rate: 1000, Connections: 2, MaxWait: 100 * time.Millisecond}, many(40, time.Millisecond)...)
		all, _ := r.Overview()
		if all.Failures[traffic.FailureTimeout] != all.Requests || all.Skipped == 0 || all.Requests+all.Skipped != 40 || r.Unsent != 0 {
			t.Errorf("%v, %d left out, %d unsent", all.Failures, all.Skipped, r.Unsent)
		}
	})
}

// TestLeftOutReleases: what comes after a request that was left out does not
// wait for it for ever.
func TestLeftOutReleases(t *testing.T) {
	g := &gate{id: "x003"}
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-g.open }))
	defer s.Close()
	transports(t, func(t *testing.T, opts replay.Options) {
		g.open, g.once = make(chan struct{}), sync.Once{}
		opts.Timeout = time.Minute
		exchanges := many(5, 0)
		for i, moment := range []time.Duration{0, 0, time.Millisecond, 2 * time.Millisecond, 100 * time.Millisecond} {
			at(exchanges[i], moment)
		}
		exchanges[2].Origin.Connection, exchanges[4].Origin.Connection = "one", "one"
		load := replay.Load{Connections: 1, MaxWaiting: 1, Rewriter: func(int, int) replay.Rewriter { return g }}
		r := drive(t, opts, addr(s), load, exchanges...)
		sent := map[int32]bool{}
		for _, x := range r.Samples {
			sent[x.Exchange] = true
		}
		if !sent[0] || !sent[1] || sent[2] || int(r.Skipped)+len(r.Samples) != 5 || r.Unsent != 0 {
			t.Errorf("sent %v, %d left out, %d unsent", sent, r.Skipped, r.Unsent)
		}
	})
}
