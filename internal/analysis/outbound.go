package analysis

import (
	"fmt"
	"maps"
	"slices"

	"github.com/reprise-ci/reprise/internal/stats"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// lanes groups the calls of one arm by lane.
type lanes map[traffic.Lane][]*traffic.Exchange

func laneCalls(calls []*traffic.Exchange) lanes {
	out := make(lanes)
	for _, x := range calls {
		if x != nil {
			out[x.Lane] = append(out[x.Lane], x)
		}
	}
	return out
}

// contract compares the outbound calls of head with those of base, lane by
// lane, and takes away what base against itself shows too.
type contract struct {
	*run
	base, control, head lanes
	// events counts, by endpoint and route, the lanes in which two passes of
	// base differ in the number or order of calls, and in which head does.
	noise, change map[event]map[traffic.Lane]bool
	lanesOf       map[string]int // lanes by endpoint
	units         []*unit
	sightings     []sighting
}

type event struct {
	endpoint, call string
	order          bool
}

// outbound returns the units of calls for the judge and the sightings of calls
// that are new, lost, repeated or reordered.
func (r *run) outbound() *contract {
	c := &contract{
		run: r, base: laneCalls(r.in.Base.Outbound), control: laneCalls(r.in.Control.Outbound), head: laneCalls(r.in.Head.Outbound),
		noise: map[event]map[traffic.Lane]bool{}, change: map[event]map[traffic.Lane]bool{}, lanesOf: map[string]int{},
	}
	for _, lane := range c.all() {
		endpoint := c.endpointOf(lane)
		c.lanesOf[endpoint]++
		c.lane(lane, endpoint)
	}
	c.background()
	c.cancelMoved()
	c.subtractNoise()
	return c
}

// all returns the lanes to judge in a fixed order: boot, then the recorded
// order. A lane whose inbound exchange was not replayed on both arms is left
// out: its calls are missing for want of a cause.
func (c *contract) all() []traffic.Lane {
	out := []traffic.Lane{traffic.LaneBoot}
	for _, x := range c.inbound {
		if c.run.base[x.ID] != nil && c.run.head[x.ID] != nil {
			out = append(out, traffic.Lane(x.ID))
		}
	}
	return out
}

func (c *contract) endpointOf(lane traffic.Lane) string {
	if e, ok := c.endpoints[string(lane)]; ok {
		return e
	}
	return string(lane)
}

func (c *contract) orderOf(lane traffic.Lane) int {
	if i, ok := c.position[string(lane)]; ok {
		return i
	}
	return -1
}

// lane aligns one lane and notes its events.
func (c *contract) lane(lane traffic.Lane, endpoint string) {
	a, control, b := c.base[lane], c.control[lane], c.head[lane]
	if len(a) == 0 && len(control) == 0 && len(b) == 0 {
		return
	}
	self := aligned{}
	if c.run.control[string(lane)] != nil || lane == traffic.LaneBoot && len(control) > 0 {
		self = c.align(a, control)
		c.mark(c.noise, &self, lane, endpoint)
		for route := range c.movedWrites(&self, a, control) {
			c.add(c.noise, event{endpoint, route, true}, lane)
		}
	}
	al := c.align(a, b)
	c.mark(c.change, &al, lane, endpoint)
	c.addUnits(lane, endpoint, &al, &self)
	c.counts(lane, endpoint, &al)
	moved := c.movedWrites(&al, a, b)
	for _, route := range slices.Sorted(maps.Keys(moved)) {
		c.add(c.change, event{endpoint, route, true}, lane)
		c.sightings = append(c.sightings, sighting{
			kind: KindOutbound, change: ChangeReordered, endpoint: endpoint, call: route,
			lane: string(lane), order: c.orderOf(lane), detail: "now made before " + moved[route] + ", which it followed",
		})
	}
}

func (c *contract) add(to map[event]map[traffic.Lane]bool, e event, lane traffic.Lane) {
	if to[e] == nil {
		to[e] = make(map[traffic.Lane]bool)
	}
	to[e][lane] = true
}

func (c *contract) mark(to map[event]map[traffic.Lane]bool, al *aligned, lane traffic.Lane, endpoint string) {
	for _, side := range []map[string][]*traffic.Exchange{al.lost, al.gained} {
		for route, calls := range side {
			if len(calls) > 0 {
				c.add(to, event{endpoint, route, false}, lane)
			}
		}
	}
}

// addUnits makes a unit of each pair of calls, with the partner of the base
// call in the control pass and in the recording.
func (c *contract) addUnits(lane traffic.Lane, endpoint string, al, self *aligned) {
	partner := make(map[*traffic.Exchange]*traffic.Exchange, len(self.pairs))
	for _, p := range self.pairs {
		partner[p.a] = p.b
	}
	for _, p := range al.pairs {
		u := &unit{
			id: string(lane), order: c.orderOf(lane), endpoint: endpoint, call: p.route,
			base: p.a, head: p.b, control: partner[p.a],
		}
		if p.a.Recorded != "" {
			u.recorded = c.recorded[p.a.Recorded]
		}
		c.units = append(c.units, u)
	}
}

// counts notes calls that are new, lost or repeated in a lane.
func (c *contract) counts(lane traffic.Lane, endpoint string, al *aligned) {
	routes := make([]string, 0, len(al.left)+len(al.right))
	for route := range al.left {
		routes = append(routes, route)
	}
	for route := range al.right {
		if al.left[route] == 0 {
			routes = append(routes, route)
		}
	}
	slices.Sort(routes)
	for _, route := range routes {
		was, now := al.left[route], al.right[route]
		s := sighting{kind: KindOutbound, endpoint: endpoint, call: route, lane: string(lane), order: c.orderOf(lane), was: was, now: now}
		switch lost, gained := al.lost[route], al.gained[route]; {
		case len(gained) > 0 && was > 0:
			s.change, s.live = ChangeRepeatedCall, gained[0]
			s.head = gained[0].Request.URL()
		case len(gained) > 0 && c.movedFrom(al, route) > 0:
			s.change, s.live = ChangeRepeatedCall, gained[0]
			s.was = c.movedFrom(al, route)
			s.head = gained[0].Request.URL()
		case len(gained) > 0:
			s.change, s.live = ChangeNewCall, gained[0]
			s.head = gained[0].Request.URL()
		case len(lost) > 0:
			s.change, s.liveBase = ChangeMissingCall, lost[0]
			s.base, s.recorded = lost[0].Request.URL(), c.recordedURL(lost[0])
		default:
			continue
		}
		s.missed = slices.ContainsFunc(al.gained[route], missed)
		c.sightings = append(c.sightings, s)
	}
}

// movedFrom counts the calls of base that became calls of this route.
func (c *contract) movedFrom(al *aligned, route string) int {
	n := 0
	for _, p := range al.pairs {
		if p.moved && c.resemble(p.route, route) {
			n++
		}
	}
	return n
}

func (c *contract) recordedURL(x *traffic.Exchange) string {
	if r := c.recorded[x.Recorded]; r != nil {
		return r.Request.URL()
	}
	return ""
}

func missed(x *traffic.Exchange) bool {
	return x != nil && x.Match != nil && x.Match.Tier == traffic.TierMiss
}

// background judges the calls that no request caused. How often they happen is
// a matter of time, so only routes that base never calls count.
func (c *contract) background() {
	known := make(map[string]bool)
	for _, calls := range [][]*traffic.Exchange{c.base[traffic.LaneBackground], c.control[traffic.LaneBackground], c.in.Base.Outbound, c.in.Control.Outbound, c.in.Recorded} {
		for _, x := range calls {
			if x != nil && x.Direction != traffic.Inbound {
				known[c.callRoute(x)] = true
			}
		}
	}
	seen := make(map[string]bool)
	for _, x := range c.head[traffic.LaneBackground] {
		route := c.callRoute(x)
		if known[route] || seen[route] {
			continue
		}
		seen[route] = true
		c.lanesOf[string(traffic.LaneBackground)] = 1
		c.sightings = append(c.sightings, sighting{
			kind: KindOutbound, change: ChangeNewCall, endpoint: string(traffic.LaneBackground), call: route,
			lane: string(traffic.LaneBackground), order: -1, head: x.Request.URL(), live: x, missed: missed(x), now: 1,
		})
	}
}

// cancelMoved takes away a call lost in one lane and gained in another when
// either lane was only guessed: the call was made, its cause was misread.
func (c *contract) cancelMoved() {
	guessed := func(x *traffic.Exchange) bool {
		return x != nil && (x.Origin.Certainty == traffic.ByTime || x.Origin.Certainty == traffic.ByNothing && x.Origin.Source != "")
	}
	gone := make([]bool, len(c.sightings))
	for i, s := range c.sightings {
		if s.change != ChangeMissingCall {
			continue
		}
		for k, o := range c.sightings {
			more := o.change == ChangeNewCall || o.change == ChangeRepeatedCall
			if !gone[i] && !gone[k] && more && o.call == s.call && o.lane != s.lane && o.now-o.was == s.was-s.now &&
				(guessed(s.liveBase) || guessed(o.live)) {
				gone[i], gone[k] = true, true
			}
		}
	}
	c.keep(func(i int) bool { return !gone[i] })
}

// subtractNoise takes away events that base against itself shows about as often.
func (c *contract) subtractNoise() {
	c.keep(func(i int) bool {
		s := &c.sightings[i]
		e := event{s.endpoint, s.call, s.change == ChangeReordered}
		k := len(c.noise[e])
		if k == 0 {
			return true
		}
		n, x := max(c.lanesOf[s.endpoint], k), len(c.change[e])
		return stats.FisherGreater(x, max(n-x, 0), k, n-k) <= formLevel
	})
}

func (c *contract) keep(ok func(int) bool) {
	var kept []sighting
	for i := range c.sightings {
		if ok(i) {
			kept = append(kept, c.sightings[i])
		}
	}
	c.sightings = kept
}

// times writes a factor the way people say it.
func times(was, now int) string {
	calls := func(n int) string {
		if n == 1 {
			return "1 call"
		}
		return fmt.Sprintf("%d calls", n)
	}
	switch {
	case was == 0:
		return calls(now) + " where base makes none"
	case now == 0:
		return calls(was) + " of base became none"
	case now%was == 0 && now > was:
		return fmt.Sprintf("%s became %d (%d times)", calls(was), now, now/was)
	}
	return fmt.Sprintf("%s became %d (%.1f times)", calls(was), now, float64(now)/float64(was))
}

// accounts counts calls by route for the report.
func (r *run) accounts() []Outbound {
	count := make(map[string]*Outbound)
	add := func(calls []*traffic.Exchange, field func(*Outbound) *int) {
		for _, x := range calls {
			if x == nil || x.Direction == traffic.Inbound {
				continue
			}
			route := r.callRoute(x)
			if count[route] == nil {
				count[route] = &Outbound{Call: route}
			}
			*field(count[route])++
		}
	}
	add(r.in.Recorded, func(o *Outbound) *int { return &o.Recorded })
	add(r.in.Base.Outbound, func(o *Outbound) *int { return &o.Base })
	add(r.in.Head.Outbound, func(o *Outbound) *int { return &o.Head })
	out := make([]Outbound, 0, len(count))
	for _, o := range count {
		out = append(out, *o)
	}
	slices.SortFunc(out, func(a, b Outbound) int { return compareStrings(a.Call, b.Call) })
	return out
}
