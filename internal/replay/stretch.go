package replay

import (
	"github.com/reprise-ci/reprise/internal/traffic"
)

// stretch is a part of a recording that is in memory as one: all of it, or a
// window of one that is streamed.
type stretch struct {
	first     int32 // number of its first exchange in the recording
	exchanges []*traffic.Exchange
	sessions  []int             // by exchange
	streams   map[string]stream // by id, of recorded streams of events
	graph     graph
	sources   []bool     // by exchange: later requests need its answer
	last      []bool     // by exchange: the last of its session; nil in a window
	templates []template // by exchange
	window    *Window    // where it was read from; nil for a whole recording
	users     int        // of a window: the feed and its copies
	earlier   []link     // what its exchanges wait for in windows before it
	endpoints []int32    // by exchange; nil for a whole recording
}

// link says that an exchange waits for one of an earlier stretch.
type link struct {
	waiter   int32
	stretch  *stretch
	exchange int32
}

// rewriter returns what rewrites the stretch in a copy in a loop.
func (s *stretch) rewriter(l Load, copy, loop int) Rewriter {
	if s.window == nil {
		return l.rewriter(copy, loop)
	}
	if s.window.Rewriter == nil {
		return asRecorded{}
	}
	return s.window.Rewriter(copy, loop)
}

// endpointAt returns the number of the endpoint of an exchange, 0 where they
// are not numbered.
func (s *stretch) endpointAt(i int32) int32 {
	if s.endpoints == nil {
		return 0
	}
	return s.endpoints[i]
}

// newStretch works out, for exchanges in order, who waits for whom and whose
// answers are needed.
func newStretch(exchanges []*traffic.Exchange, sessions []int, needs func(id string) []string) *stretch {
	s := &stretch{
		exchanges: exchanges, sessions: sessions, graph: newGraph(exchanges, sessions, needs),
		sources: make([]bool, len(exchanges)), templates: make([]template, len(exchanges)),
	}
	index := make(map[string]int, len(exchanges))
	for i, x := range exchanges {
		index[x.ID] = i
		for _, id := range needs(x.ID) {
			if j, ok := index[id]; ok {
				s.sources[j] = true
			}
		}
	}
	return s
}

// wholeShots are the shots of a recording that is in memory.
type wholeShots struct {
	plan *Plan
	part *stretch
}

func (e *Engine) whole(p *Plan) wholeShots {
	rw := p.load.rewriter(0, 0)
	s := newStretch(e.inbound, e.sessions, rw.Needs)
	s.streams = e.streams
	if wantsAll(rw) {
		for i := range s.sources {
			s.sources[i] = true
		}
	}
	s.last = make([]bool, len(e.inbound))
	ended := make(map[int]bool)
	for i := len(e.inbound) - 1; i >= 0; i-- {
		s.last[i] = !ended[e.sessions[i]]
		ended[e.sessions[i]] = true
	}
	return wholeShots{p, s}
}

func (w wholeShots) shot(k int64) (shot, *stretch, bool) {
	if len(w.part.exchanges) == 0 {
		return shot{}, nil, false
	}
	return w.plan.shot(k), w.part, true
}

func (w wholeShots) waits() bool  { return false }
func (w wholeShots) close() error { return nil }
