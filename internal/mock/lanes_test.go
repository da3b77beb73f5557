package mock

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/traffic"
)

const manyLanes = 1000

// held is a responder whose write waits for the writes of all other lanes.
type held struct {
	ctx  context.Context
	wait func() error
	body []byte
}

func (h *held) context() context.Context                        { return h.ctx }
func (h *held) begin(*traffic.Request, *traffic.Response) error { return nil }
func (h *held) flush() error                                    { return nil }
func (h *held) end(*traffic.Response) error                     { return nil }
func (h *held) abort()                                          {}
func (h *held) write(p []byte) error {
	h.body = append(h.body, p...)
	return h.wait()
}

// meeting lets n callers go on once all of them are there, again and again.
type meeting struct {
	mu     sync.Mutex
	n, at  int
	opened chan struct{}
}

func newMeeting(n int) *meeting { return &meeting{n: n, opened: make(chan struct{})} }

// arrive waits for the others. all runs while everybody waits.
func (m *meeting) arrive(ctx context.Context, all func()) error {
	m.mu.Lock()
	opened := m.opened
	if m.at++; m.at == m.n {
		all()
		m.at, m.opened = 0, make(chan struct{})
		close(opened)
	}
	m.mu.Unlock()
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// statefulLanes records lanes that all read, write and read the same again, each
// with answers of its own.
func statefulLanes(n int) []*traffic.Exchange {
	var recorded []*traffic.Exchange
	add := func(lane traffic.Lane, method, answer string) {
		recorded = append(recorded, &traffic.Exchange{
			ID: fmt.Sprintf("out-%06d", len(recorded)), Direction: traffic.Outbound, Lane: lane, Start: time.Unix(int64(len(recorded)), 0),
			Request:  traffic.Request{Method: method, Scheme: "http", Authority: "dep", Target: "/cart"},
			Response: &traffic.Response{Status: 200, Body: traffic.NewBody([]byte(answer), nil)},
		})
	}
	for i := range n {
		lane := proofLane(i)
		recorded = append(recorded, &traffic.Exchange{ID: string(lane), Direction: traffic.Inbound, Lane: lane, Request: traffic.Request{Method: "GET", Target: "/" + string(lane)}})
		for _, step := range statefulSteps {
			add(lane, step.method, fmt.Sprintf("%s %s", lane, step.answer))
		}
	}
	return recorded
}

// statefulSteps are what each lane does. Recorded was one read more before the
// first write, so the state and not the order must tell the answers apart.
var statefulSteps = []struct{ method, answer string }{
	{"GET", "empty"}, {"GET", "empty, again"}, {"PUT", "one added"}, {"GET", "one"}, {"DELETE", "all removed"}, {"GET", "none"},
}

// A thousand lanes at once, each answer held back until every lane is writing
// one: none is wrong, none waits for another one's write, and the account can be
// drawn up meanwhile.
func TestThousandLanesWithState(t *testing.T) {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(statefulLanes(manyLanes), ca, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m.BeginPass(1)
	writing := newMeeting(manyLanes)
	var lanes sync.WaitGroup
	for i := range manyLanes {
		lanes.Go(func() {
			lane := proofLane(i)
			m.Enter(1, lane)
			defer m.Leave(1, lane)
			header := traffic.Header{{Name: "Traceparent", Value: traffic.Mark{Pass: 1, Lane: traffic.LaneNumber(lane)}.Traceparent()}}
			for n, step := range statefulSteps {
				if n == 1 {
					continue
				}
				req := &traffic.Request{Method: step.method, Scheme: "http", Authority: "dep", Target: "/cart", Header: header}
				rec, o := m.decide(req, arrival{connection: fmt.Sprint(i % 64), start: time.Now()})
				w := &held{ctx: ctx, wait: func() error {
					return writing.arrive(ctx, func() {
						if a := m.Account(1); a.Err != nil || a.Missed+a.Extra > 0 {
							t.Errorf("in the middle: %+v", a)
						}
					})
				}}
				if err := m.respond(w, rec, o, time.Now()); err != nil {
					t.Errorf("%s: %v: a write waits for something that another lane holds", lane, err)
					return
				}
				if want := fmt.Sprintf("%s %s", lane, step.answer); !strings.HasPrefix(string(w.body), want) || len(w.body) != len(want) {
					t.Errorf("%s got %q, want %q", step.method, w.body, want)
				}
			}
		})
	}
	lanes.Wait()
	if a := m.Account(1); a.Err != nil || a.Matched != 5*manyLanes || a.Unused != manyLanes || a.Live != 5*manyLanes {
		t.Errorf("account: %+v", a.Err)
	}
}
