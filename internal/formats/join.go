package formats

import (
	"container/heap"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/lanes"
)

// Bounds of what is held back to bring exchanges into order. Tools write an
// exchange when it ends, so that a call stands before the request that caused
// it.
const (
	sortExchanges = 4096
	sortBytes     = 64 << 20
)

// sorter brings exchanges that are nearly in order into order of their start.
type sorter struct {
	held  byStart
	bytes int
	next  int
	out   func(*traffic.Exchange) error
}

type held struct {
	x     *traffic.Exchange
	order int // keeps equal starts in order of arrival
	size  int
}

type byStart []held

func (h byStart) Len() int      { return len(h) }
func (h byStart) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h byStart) Less(i, j int) bool {
	if c := h[i].x.Start.Compare(h[j].x.Start); c != 0 {
		return c < 0
	}
	return h[i].order < h[j].order
}
func (h *byStart) Push(v any) { *h = append(*h, v.(held)) }
func (h *byStart) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = held{}
	*h = (*h)[:len(*h)-1]
	return last
}

func (s *sorter) add(x *traffic.Exchange) error {
	size := len(x.Request.Body.Raw) + 1024
	if x.Response != nil {
		size += len(x.Response.Body.Raw)
	}
	heap.Push(&s.held, held{x, s.next, size})
	s.next++
	s.bytes += size
	for len(s.held) > sortExchanges || s.bytes > sortBytes {
		if err := s.pop(); err != nil {
			return err
		}
	}
	return nil
}

func (s *sorter) flush() error {
	for len(s.held) > 0 {
		if err := s.pop(); err != nil {
			return err
		}
	}
	return nil
}

func (s *sorter) pop() error {
	first := heap.Pop(&s.held).(held)
	s.bytes -= first.size
	return s.out(first.x)
}

// joiner finds the lanes of outbound exchanges that come in order of start.
type joiner struct {
	seen   bool
	active []*inbound
	past   []*inbound
	byKey  map[string][]*inbound
}

// inbound is what is kept of an inbound exchange: no bodies.
type inbound struct {
	lane   traffic.Lane
	start  time.Time
	end    time.Time
	keys   []string
	values map[string]struct{}
}

// Bounds of what is remembered of requests that have ended.
const (
	rememberPast = 4096
	rememberOpen = 1024
	sharedKey    = 64 // a key that so many share tells nothing
)

// join sets the lane of x, or remembers x as one, unless the format has
// already said.
func (j *joiner) join(x *traffic.Exchange) {
	j.retire(x.Start)
	if x.Direction == traffic.Inbound {
		j.enter(x)
		return
	}
	if x.Lane != "" {
		return
	}
	if !j.seen {
		x.Lane = traffic.LaneBoot
		return
	}
	x.Lane = traffic.LaneBackground
	candidates := j.active
	for _, key := range lanes.Keys(x.Request.Header) {
		sharing := j.byKey[key]
		if len(sharing) == 1 {
			x.Lane, x.Origin.Certainty = sharing[0].lane, traffic.ByTrace
			return
		}
		if len(sharing) > 1 && len(sharing) <= sharedKey {
			candidates = sharing
			break
		}
	}
	if found := byValue(&x.Request, candidates); found != nil {
		x.Lane, x.Origin.Certainty = found.lane, traffic.ByValue
		return
	}
	switch n := len(candidates); n {
	case 0:
	case 1:
		x.Lane, x.Origin.Certainty = candidates[0].lane, traffic.ByOnlyActive
	default:
		x.Lane, x.Origin.Certainty = candidates[n-1].lane, traffic.ByTime
	}
}

func (j *joiner) enter(x *traffic.Exchange) {
	in := &inbound{lane: x.Lane, start: x.Start, end: x.Start.Add(x.Duration), keys: lanes.Keys(x.Request.Header), values: map[string]struct{}{}}
	for _, v := range lanes.Values(&x.Request) {
		in.values[v] = struct{}{}
	}
	if j.byKey == nil {
		j.byKey = map[string][]*inbound{}
	}
	for _, key := range in.keys {
		j.byKey[key] = append(j.byKey[key], in)
	}
	j.seen = true
	j.active = append(j.active, in)
	if len(j.active) > rememberOpen {
		j.past = append(j.past, j.active[0])
		j.active = j.active[1:]
	}
}

// retire moves requests that ended before now to the past, and forgets the
// oldest of it.
func (j *joiner) retire(now time.Time) {
	j.active = slices.DeleteFunc(j.active, func(in *inbound) bool {
		ended := in.end.Before(now)
		if ended {
			in.values = nil
			j.past = append(j.past, in)
		}
		return ended
	})
	for len(j.past) > rememberPast {
		for _, key := range j.past[0].keys {
			rest := slices.DeleteFunc(j.byKey[key], func(o *inbound) bool { return o == j.past[0] })
			if len(rest) == 0 {
				delete(j.byKey, key)
			} else {
				j.byKey[key] = rest
			}
		}
		j.past = j.past[1:]
	}
}

// byValue finds the one request that owns a value of the call which no other
// candidate owns.
func byValue(call *traffic.Request, candidates []*inbound) *inbound {
	if len(candidates) < 2 {
		return nil
	}
	var found *inbound
	for _, v := range lanes.Values(call) {
		var owner *inbound
		owners := 0
		for _, in := range candidates {
			if _, ok := in.values[v]; ok {
				owner = in
				owners++
			}
		}
		if owners == 1 {
			if found != nil && found != owner {
				return nil
			}
			found = owner
		}
	}
	return found
}
