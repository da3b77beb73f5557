package replay

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

// Plan is a load made concrete: which request goes at which moment.
type Plan struct {
	// Requests is how many will be sent, -1 when only the time is limited.
	Requests int64
	// Length is the moment of the last request, or the budget of a load that
	// sends as fast as it can; 0 when nothing limits its time.
	Length time.Duration

	load     Load
	n        int    // recorded exchanges
	sessions int    // in one copy
	base     []shot // one loop with recorded timing
	period   time.Duration
	idle     time.Duration // what capping gaps saved in one loop
	shift    time.Duration // from one copy to the next, with recorded timing of what is streamed
	part     *Part         // the share of one worker; nil plans for a sender that is alone
	start    time.Time     // when it begins; as soon as possible if zero
	streamed *scan         // nil for a recording in memory
}

// shot is one planned request.
type shot struct {
	at       time.Duration // from the start of the load
	exchange int32
	instance int32 // loop * copies + copy
}

// longest is the longest load that is planned without a budget. Recordings with
// impossible times end here.
const longest = 24 * time.Hour

const century = 100 * 365 * 24 * time.Hour

// Plan works out a load for all recorded exchanges. It sends nothing.
func (e *Engine) Plan(l Load) (*Plan, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	l = l.withDefaults()
	p := &Plan{load: l, n: len(e.inbound)}
	seen := make(map[int]bool)
	for _, s := range e.sessions {
		seen[s] = true
	}
	p.sessions = len(seen)
	if p.n == 0 {
		return p, nil
	}
	switch {
	case l.recordedTiming():
		p.planRecorded(e)
	case l.Max:
		p.planMax()
	default:
		p.planRate()
	}
	if err := p.tooLong(e.inbound[0].Start, e.inbound[p.n-1].Start); err != nil {
		return nil, err
	}
	return p, nil
}

// tooLong refuses a plan that takes longer than anyone can mean.
func (p *Plan) tooLong(first, last time.Time) error {
	if p.Length <= longest || p.load.Budget > 0 {
		return nil
	}
	return fmt.Errorf("load: the plan takes %v, from %s to %s as recorded; cap gaps or set a budget",
		p.Length.Round(time.Minute), first.Format(time.DateTime), last.Format(time.DateTime))
}

func (p *Plan) planMax() {
	p.Length = p.load.Budget
	p.Requests = p.whole()
	if p.load.Budget > 0 && p.load.Loops == 0 {
		p.Requests = -1
	}
}

// whole returns the requests of all loops and copies.
func (p *Plan) whole() int64 {
	return int64(p.n) * int64(p.load.Copies) * int64(max(p.load.Loops, 1))
}

func (p *Plan) planRate() {
	limit := p.load.Budget
	for _, s := range p.load.Stages {
		p.Length += s.For
	}
	if limit > 0 && p.Length > 0 {
		limit = min(limit, p.Length)
	} else {
		limit = max(limit, p.Length)
	}
	p.Requests = p.whole()
	if limit > 0 {
		fits := int64(math.Ceil(p.due(limit) - 1e-9)) // requests before the limit
		if p.load.Loops == 0 || fits < p.Requests {
			p.Requests = fits
		}
	}
	p.Length = 0
	if p.Requests > 0 {
		p.Length = p.moment(p.Requests - 1)
	}
}

// due returns how many requests a rate plan has sent before t, as a real number.
func (p *Plan) due(t time.Duration) float64 {
	if len(p.load.Stages) == 0 {
		return p.load.Rate * t.Seconds()
	}
	sum := 0.0
	for _, s := range p.load.Stages {
		part := min(t, s.For)
		x := part.Seconds()
		sum += s.From*x + (s.To-s.From)/(2*s.For.Seconds())*x*x
		if t -= part; t <= 0 {
			break
		}
	}
	return sum
}

// moment returns when request k of a rate plan is due.
func (p *Plan) moment(k int64) time.Duration {
	if len(p.load.Stages) == 0 {
		return time.Duration(float64(k) / p.load.Rate * float64(time.Second))
	}
	left := float64(k)
	var before time.Duration
	for i, s := range p.load.Stages {
		length := s.For.Seconds()
		area := (s.From + s.To) / 2 * length
		if left > area && i < len(p.load.Stages)-1 {
			left -= area
			before += s.For
			continue
		}
		// left = From x + (To-From)/(2 length) x², solved without cancellation
		slope := (s.To - s.From) / length
		root := math.Sqrt(max(0, s.From*s.From+2*slope*left))
		if s.From+root == 0 {
			return before
		}
		x := 2 * left / (s.From + root)
		return before + time.Duration(min(x, length)*float64(time.Second))
	}
	return before
}

func (p *Plan) planRecorded(e *Engine) {
	offsets := make([]time.Duration, p.n)
	clock := recordedClock{load: p.load}
	for i, x := range e.inbound {
		offsets[i] = clock.next(x.Start)
	}
	at := clock.at
	p.idle = clock.idle
	p.base = make([]shot, 0, p.n*p.load.Copies)
	groups := p.groups(e)
	for c := range p.load.Copies {
		// A group is moved as a whole, around the end of the recording to its
		// beginning, so that the load stays even and order within it stays.
		shift := time.Duration(float64(at) * float64(c) / float64(p.load.Copies))
		wrap := make(map[int]time.Duration)
		for i := range p.n {
			move, ok := wrap[groups[i]]
			if !ok {
				if move = shift; offsets[i]+move > at {
					move -= at
				}
				wrap[groups[i]] = move
			}
			p.base = append(p.base, shot{offsets[i] + move, int32(i), int32(c)})
		}
	}
	slices.SortStableFunc(p.base, func(a, b shot) int { return int(min(max(a.at-b.at, -1), 1)) })
	last := p.base[len(p.base)-1].at
	p.period = last + last/time.Duration(len(p.base)) // a mean gap between loops
	p.Requests = p.whole()
	if p.period == 0 {
		return // a single moment
	}
	if b := p.load.Budget; b > 0 {
		full := int64(b / p.period)
		rest := b - time.Duration(full)*p.period
		part := sort.Search(len(p.base), func(i int) bool { return p.base[i].at >= rest })
		p.Requests = min(p.Requests, full*int64(len(p.base))+int64(part))
	}
	if p.Requests > 0 {
		p.Length = p.shot(p.Requests - 1).at
	}
}

// groups numbers the sets of exchanges that depend on each other, within
// sessions and across.
func (p *Plan) groups(e *Engine) []int {
	linked := newGraph(e.inbound, e.sessions, p.load.rewriter(0, 0).Needs).after
	for i := range p.n {
		for _, j := range linked[i] {
			if int(j) > i { // not one of the links back that this loop adds
				linked[j] = append(linked[j], int32(i))
			}
		}
	}
	groups := make([]int, p.n)
	for i := range groups {
		groups[i] = -1
	}
	var open []int32
	for i := range groups {
		open = append(open[:0], int32(i))
		for len(open) > 0 {
			j := open[len(open)-1]
			open = open[:len(open)-1]
			if groups[j] < 0 {
				groups[j] = i
				open = append(open, linked[j]...)
			}
		}
	}
	return groups
}

func (l Load) rewriter(copy, loop int) Rewriter {
	if l.Rewriter == nil {
		return asRecorded{}
	}
	if rw := l.Rewriter(copy, loop); rw != nil {
		return rw
	}
	return asRecorded{}
}

// shot returns planned request k, from 0. Moments never decrease.
func (p *Plan) shot(k int64) shot {
	copies := int64(p.load.Copies)
	if p.part != nil {
		return p.partShot(k)
	}
	if p.load.recordedTiming() {
		n := int64(len(p.base))
		s := p.base[k%n]
		s.at += time.Duration(k/n) * p.period
		s.instance += int32(k / n * copies)
		return s
	}
	turn := k / copies
	s := shot{exchange: int32(turn % int64(p.n)), instance: int32(turn/int64(p.n)*copies + k%copies)}
	if !p.load.Max {
		s.at = p.moment(k)
	}
	return s
}

// String describes the plan in one line, for printing before it starts.
func (p *Plan) String() string {
	var b strings.Builder
	switch {
	case p.Requests < 0:
		fmt.Fprintf(&b, "as many requests as fit in %v", p.Length)
	case p.Length == 0:
		fmt.Fprintf(&b, "%d requests", p.Requests)
	default:
		fmt.Fprintf(&b, "%d requests in %v", p.Requests, p.Length.Round(time.Millisecond))
	}
	l := p.load
	switch {
	case l.Max:
		fmt.Fprintf(&b, ", closed loop on %d connections", l.Connections)
	case l.Rate > 0:
		fmt.Fprintf(&b, ", %g a second", l.Rate)
	case len(l.Stages) > 0:
		b.WriteString(", in stages")
		for _, s := range l.Stages {
			if s.From == s.To {
				fmt.Fprintf(&b, " %g/s for %v", s.To, s.For)
			} else {
				fmt.Fprintf(&b, " %g to %g/s in %v", s.From, s.To, s.For)
			}
		}
	case l.Speed == 1:
		b.WriteString(", recorded timing")
	default:
		fmt.Fprintf(&b, ", recorded timing at %gx", l.Speed)
	}
	fmt.Fprintf(&b, "; %d exchanges", p.n)
	if p.streamed == nil {
		fmt.Fprintf(&b, " of %d sessions", p.sessions)
	}
	if l.Copies > 1 {
		fmt.Fprintf(&b, ", %d copies", l.Copies)
		if p.shift > 0 {
			fmt.Fprintf(&b, " %v apart", p.shift.Round(time.Microsecond))
		}
	}
	if l.Loops > 1 {
		fmt.Fprintf(&b, ", %d loops", l.Loops)
	}
	if p.idle > 0 {
		fmt.Fprintf(&b, "; gaps above %v are capped, which saves %v", l.MaxIdle, p.idle.Round(time.Second))
	}
	return b.String()
}
