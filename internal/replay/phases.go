package replay

import (
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// phases gives the requests of a streamed load in which copies follow each other
// at a distance: each copy goes through the windows that the feed has read, which
// are held from the first copy to the last. The distance is chosen so that these
// are few: see [spread].
type phases struct {
	feed    *feed
	held    []*stretch // the end of a loop is a nil
	first   int        // number of the first that is held
	over    bool       // the feed has no more
	cursors []cursor   // by copy
}

// cursor is how far a copy is.
type cursor struct {
	window int // its number
	at     int // within the window
	loop   int32
	clock  recordedClock
	moment time.Duration // of the next request, when it is known
	known  bool
}

func newPhases(f *feed) *phases {
	p := &phases{feed: f, cursors: make([]cursor, f.plan.load.Copies)}
	for i := range p.cursors {
		p.cursors[i].clock.load = f.plan.load
	}
	return p
}

// look finds out the next request of a copy. It reports false when that is still
// being read, for which it waits if it may.
func (p *phases) look(copy int, wait bool) bool {
	c := &p.cursors[copy]
	for !c.known {
		i := c.window - p.first
		if i == len(p.held) {
			if p.over {
				return true
			}
			part, more, ok := p.feed.take(wait)
			if !ok {
				return false
			}
			if p.over = !more; more {
				p.held = append(p.held, part)
			}
			continue
		}
		part := p.held[i]
		if part != nil && c.at < len(part.exchanges) {
			c.moment = time.Duration(c.loop)*p.feed.plan.period + time.Duration(copy)*p.feed.plan.shift + c.clock.next(part.exchanges[c.at].Start)
			c.known = true
			return true
		}
		if c.window, c.at = c.window+1, 0; part == nil {
			c.loop++
			c.clock = recordedClock{load: p.feed.plan.load}
		}
		p.let()
	}
	return true
}

// let lets go of the windows that no copy is in any more.
func (p *phases) let() {
	for _, c := range p.cursors {
		if c.window == p.first {
			return
		}
	}
	if p.held[0] != nil {
		p.held[0].leave()
	}
	p.held = append(p.held[:0], p.held[1:]...)
	p.first++
}

// waits implements [shots].
func (p *phases) waits() bool {
	for i := range p.cursors {
		if !p.look(i, false) {
			return true
		}
	}
	return false
}

// shot implements [shots].
func (p *phases) shot(int64) (shot, *stretch, bool) {
	next := -1
	for i := range p.cursors {
		p.look(i, true)
		if p.cursors[i].known && (next < 0 || p.cursors[i].moment < p.cursors[next].moment) {
			next = i
		}
	}
	if next < 0 {
		return shot{}, nil, false
	}
	c := &p.cursors[next]
	l := p.feed.plan.load
	if l.Budget > 0 && c.moment >= l.Budget {
		return shot{}, nil, false
	}
	s := shot{at: c.moment, exchange: int32(c.at), instance: c.loop*int32(l.Copies) + int32(next)}
	part := p.held[c.window-p.first]
	c.at++
	c.known = false
	return s, part, true
}

func (p *phases) close() error { return p.feed.close() }

// Of a recording that is streamed, so much is between the first copy and the
// last at most.
const (
	spreadExchanges = 1024
	spreadBytes     = 4 << 20
)

// spread finds, while a recording is read, how far copies may be apart so that
// what lies between them has a bound.
type spread struct {
	recent []passage // no more than the bounds
	bytes  int
	tight  time.Duration
	found  bool // a stretch was at the bounds
}

// passage is an exchange that goes by.
type passage struct {
	at    time.Duration
	bytes int
}

func (s *spread) add(at time.Duration, bytes int) {
	s.recent = append(s.recent, passage{at, bytes})
	s.bytes += bytes
	for len(s.recent) > spreadExchanges || s.bytes > spreadBytes && len(s.recent) > 1 {
		if apart := at - s.recent[0].at; !s.found || apart < s.tight {
			s.tight, s.found = apart, true
		}
		s.bytes -= s.recent[0].bytes
		s.recent = s.recent[1:]
	}
}

// shift returns the distance from one copy to the next, in a recording of some
// length.
func (s *spread) shift(copies int, length time.Duration) time.Duration {
	if !s.found {
		s.tight = length
	}
	return s.tight / time.Duration(copies)
}

// bodies is how many bytes the bodies of an exchange take.
func bodies(x *traffic.Exchange) int {
	n := len(x.Request.Body.Raw)
	if x.Response != nil {
		n += len(x.Response.Body.Raw)
	}
	return n
}
