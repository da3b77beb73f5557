package capture

import (
	"slices"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/lanes"
)

// Bounds of what is remembered of lanes that have ended, so that a late call
// of a forwarded trace still finds its lane.
const (
	rememberLanes = 10_000
	rememberFor   = 10 * time.Minute
	// linger is how long after its end a lane may still own a value.
	linger = 5 * time.Second
	// A key that so many lanes share tells nothing ("baggage: env=prod").
	sharedKey = 64
)

// lane is what is known of one inbound exchange while calls may belong to it.
type lane struct {
	id          traffic.Lane
	keys        []string
	traceparent string // as the service received it
	sampledOut  bool
	lost        bool // an outbound call of the lane was dropped; the recorder's lock guards it

	mu    sync.Mutex
	owned map[string]struct{}
	// What is not in owned yet: requests (the head first, all of it once it is
	// read), and values of answers that calls of this lane received.
	requests []*traffic.Request
	learned  []string
	ended    time.Time
}

// owns reports whether a value is one of the lane's request, as far as it was
// read, or of the answers to its calls.
func (l *lane) owns(value string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owned == nil {
		l.owned = map[string]struct{}{}
	}
	for _, r := range l.requests {
		for _, v := range lanes.Values(r) {
			l.owned[v] = struct{}{}
		}
	}
	for _, v := range l.learned {
		if len(l.owned) < 4*lanes.MaxValues {
			l.owned[v] = struct{}{}
		}
	}
	l.requests, l.learned = nil, nil
	_, ok := l.owned[value]
	return ok
}

func (l *lane) read(r traffic.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, &r)
}

func (l *lane) learn(values []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.learned = append(l.learned, values[:min(len(values), lanes.MaxValues)]...)
}

// roster knows the lanes that are active or ended lately. The zero value is
// ready; the recorder's lock guards it.
type roster struct {
	seen   bool               // an inbound request has arrived
	active []*lane            // in order of arrival
	past   []*lane            // in order of their end
	byKey  map[string][]*lane // in order of arrival
}

func (ls *roster) enter(l *lane) {
	if ls.byKey == nil {
		ls.byKey = map[string][]*lane{}
	}
	ls.seen = true
	ls.active = append(ls.active, l)
	for _, k := range l.keys {
		ls.byKey[k] = append(ls.byKey[k], l)
	}
}

// leave marks the end of a lane and forgets those that ended long ago.
func (ls *roster) leave(l *lane, now time.Time) {
	ls.active = slices.DeleteFunc(ls.active, func(o *lane) bool { return o == l })
	l.mu.Lock()
	l.ended = now
	l.mu.Unlock()
	ls.past = append(ls.past, l)
	for len(ls.past) > 0 && (len(ls.past) > rememberLanes || now.Sub(ls.past[0].ended) > rememberFor) {
		ls.forget(ls.past[0])
		ls.past = ls.past[1:]
	}
}

func (ls *roster) forget(l *lane) {
	for _, k := range l.keys {
		rest := slices.DeleteFunc(ls.byKey[k], func(o *lane) bool { return o == l })
		if len(rest) == 0 {
			delete(ls.byKey, k)
		} else {
			ls.byKey[k] = rest
		}
	}
}

// byTrace finds the lane that a call's own headers name. When several lanes
// share the key (a trace that called the service twice), a traceparent that
// was forwarded verbatim decides, then a single active one; else the sharing
// lanes come back as the only candidates.
func (ls *roster) byTrace(h traffic.Header) (found *lane, candidates []*lane) {
	for _, k := range lanes.Keys(h) {
		sharing := ls.byKey[k]
		switch {
		case len(sharing) == 0 || len(sharing) > sharedKey:
			continue
		case len(sharing) == 1:
			return sharing[0], nil
		}
		parent := h.Get("Traceparent")
		var activeOnes []*lane
		for _, l := range sharing {
			if parent != "" && l.traceparent == parent {
				return l, nil
			}
			if slices.Contains(ls.active, l) {
				activeOnes = append(activeOnes, l)
			}
		}
		switch {
		case len(activeOnes) == 1:
			return activeOnes[0], nil
		case candidates == nil && len(activeOnes) > 1:
			candidates = activeOnes
		case candidates == nil:
			candidates = slices.Clone(sharing)
		}
	}
	return nil, candidates
}

// lingering returns the lanes that ended within the last moments.
func (ls *roster) lingering(now time.Time) []*lane {
	i := len(ls.past)
	for i > 0 && now.Sub(ls.past[i-1].ended) <= linger && len(ls.past)-i < 256 {
		i--
	}
	return slices.Clone(ls.past[i:])
}

// byValue finds the one lane that owns a value of the call which no other
// candidate owns. Two lanes with such values make it ambiguous.
func byValue(call *traffic.Request, candidates []*lane) *lane {
	if len(candidates) == 0 {
		return nil
	}
	values := lanes.Values(call)
	var found *lane
	for _, v := range values {
		var owner *lane
		owners := 0
		for _, l := range candidates {
			if l.owns(v) {
				owner = l
				owners++
			}
		}
		if owners != 1 {
			continue
		}
		if found != nil && found != owner {
			return nil
		}
		found = owner
	}
	return found
}
