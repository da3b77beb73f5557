package analysis

import (
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// folder finds which groups follow from others. A group is a consequence only
// when every one of its sightings has a cause among the groups; a single one
// without shows that it stands on its own.
type folder struct {
	*run
	groups []*group
	// byLane lists, for each lane, the groups that it shows.
	byLane map[string][]*group
	index  map[string]map[*group]*sighting
	// leaves caches the values of live exchanges.
	leaves map[*traffic.Exchange]leaves
	deps   dependencies
}

// fold sets the roots of groups. The rules run from the surest cause to the
// least sure; a group that has a root keeps it.
func (r *run) fold(groups []*group) {
	f := &folder{
		run: r, groups: groups, byLane: map[string][]*group{}, index: map[string]map[*group]*sighting{},
		leaves: map[*traffic.Exchange]leaves{}, deps: r.dependencies(),
	}
	for _, g := range groups {
		for i := range g.sightings {
			s := &g.sightings[i]
			if f.index[s.lane] == nil {
				f.index[s.lane] = map[*group]*sighting{}
			}
			if f.index[s.lane][g] == nil {
				f.byLane[s.lane] = append(f.byLane[s.lane], g)
				f.index[s.lane][g] = s
			}
		}
	}
	for _, rule := range []func(*group, *sighting) []*group{
		f.afterCrash, f.sameCall, f.unanswered, f.sameExchange, f.brokenOff, f.badValue, f.dependents, f.echo, f.otherAnswer,
	} {
		for _, g := range groups {
			if g.root == nil {
				f.try(g, rule)
			}
		}
	}
}

// try makes g a consequence when the rule names a cause for each sighting.
func (f *folder) try(g *group, rule func(*group, *sighting) []*group) {
	votes := make(map[*group]int)
	var order []*group
	for i := range g.sightings {
		roots := rule(g, &g.sightings[i])
		found := false
		for _, root := range roots {
			root = root.final()
			if root == g {
				continue
			}
			if votes[root] == 0 {
				order = append(order, root)
			}
			votes[root]++
			found = true
			break
		}
		if !found {
			return
		}
	}
	var best *group
	for _, root := range order {
		if best == nil || votes[root] > votes[best] {
			best = root
		}
	}
	g.root = best
}

// in returns the groups in the lane of s that satisfy ok, except g itself.
func (f *folder) in(g *group, lane string, ok func(*group, *sighting) bool) []*group {
	var out []*group
	for _, o := range f.byLane[lane] {
		if o != g && ok(o, f.index[lane][o]) {
			out = append(out, o)
		}
	}
	return out
}

// afterCrash: whatever ended after the service crashed follows from the crash.
func (f *folder) afterCrash(g *group, s *sighting) []*group {
	if g.kind == KindCrash {
		return nil
	}
	var out []*group
	for _, o := range f.groups {
		if o.kind != KindCrash {
			continue
		}
		c := &o.sightings[0]
		x := f.head[s.lane]
		after := s.order >= c.order
		if x != nil && !x.Start.IsZero() && c.live != nil && !c.live.Start.IsZero() {
			after = !x.Start.Add(x.Duration).Before(c.live.Start)
		}
		if after {
			out = append(out, o)
		}
	}
	return out
}

// sameCall: when a route is called more often, the calls that are left are
// changed for the same reason.
func (f *folder) sameCall(g *group, s *sighting) []*group {
	if g.change != ChangeChangedCall && g.change != ChangeMissingCall {
		return nil
	}
	return f.in(g, s.lane, func(o *group, _ *sighting) bool {
		return o.change == ChangeRepeatedCall && (o.call == g.call || f.resemble(o.call, g.call))
	})
}

// unanswered: a call that the mock could not answer explains whatever else
// changed in its lane, except a value that left its class.
func (f *folder) unanswered(g *group, s *sighting) []*group {
	if g.change == ChangeClass || g.kind == KindOutbound && g.change != ChangeMissingCall && g.change != ChangeReordered {
		return nil
	}
	if f.elsewhere(g) {
		return nil
	}
	return f.in(g, s.lane, unansweredCall)
}

func unansweredCall(g *group, s *sighting) bool {
	return g.kind == KindOutbound && g.change != ChangeMissingCall && (s.missed || missed(s.live))
}

// elsewhere reports whether an answer changes its form in the same way on
// another endpoint, where every call got its answer: then the form changed for
// a reason of its own, and not because a call failed.
func (f *folder) elsewhere(g *group) bool {
	switch g.change {
	case ChangeType, ChangeMissing, ChangeExtra:
	default:
		return false
	}
	for _, o := range f.groups {
		if o == g || o.kind != KindResponse || o.change != g.change || o.address != g.address {
			continue
		}
		for i := range o.sightings {
			if lane := o.sightings[i].lane; len(f.in(o, lane, unansweredCall)) == 0 {
				return true
			}
		}
	}
	return false
}

// sameExchange: another status brings another body, another body brings other
// digests of it, and a list of another length brings another count.
func (f *folder) sameExchange(g *group, s *sighting) []*group {
	if g.kind != KindResponse || g.change == ChangeStatus || g.change == ChangeNoResponse {
		return nil
	}
	derived := strings.HasPrefix(g.address, "response.header.") && derivedHeader(s.path)
	return f.in(g, s.lane, func(o *group, os *sighting) bool {
		if o.kind != KindResponse {
			return false
		}
		counts := g.change == ChangeValue && o.change == ChangeLength && s.base == os.base && s.head == os.head
		return o.change == ChangeStatus || o.change == ChangeNoResponse || counts || derived && strings.HasPrefix(o.address, "response.body")
	})
}

// derivedHeader reports whether a header is computed from the body.
func derivedHeader(p traffic.Path) bool {
	steps := p.Steps()
	if len(steps) < 3 {
		return false
	}
	switch strings.ToLower(steps[2].Name) {
	case "etag", "content-length", "content-md5", "digest", "content-digest", "repr-digest", "last-modified":
		return true
	case "content-type": // a body of another type says so in its header
		return true
	}
	return false
}

// brokenOff: a request that failed did not get as far as its later calls.
func (f *folder) brokenOff(g *group, s *sighting) []*group {
	if g.kind != KindOutbound || g.change != ChangeMissingCall {
		return nil
	}
	return f.in(g, s.lane, func(o *group, os *sighting) bool {
		if o.kind != KindResponse {
			return false
		}
		return o.change == ChangeNoResponse || o.change == ChangeStatus && os.live != nil && os.live.Response != nil && os.live.Response.Status >= 400
	})
}

// badValue: an exchange whose request or answer carries a value that left its
// class differs because of that value. In the exchange that made the value,
// only what holds it follows; types and names do not depend on values at all.
func (f *folder) badValue(g *group, s *sighting) []*group {
	switch g.change {
	case ChangeType, ChangeMissing, ChangeExtra, ChangeCrash:
		return nil
	}
	var out []*group
	for _, o := range f.groups {
		if o == g || o.change != ChangeClass || o.root != nil || g.change == ChangeClass && !f.earlier(o, g) {
			continue
		}
		for i := range o.sightings {
			v := o.sightings[i].head
			if v == "" || o.sightings[i].order > s.order {
				continue
			}
			holds := s.head == v || len(v) >= 4 && strings.Contains(s.head, v)
			if holds || f.index[s.lane][o] == nil && g.change != ChangeClass && f.carries(s, v) {
				out = append(out, o)
				break
			}
		}
	}
	return out
}

// earlier reports whether o is rather the root of g than the other way round:
// answers before calls, then the one that came first.
func (f *folder) earlier(o, g *group) bool {
	if o.kind != g.kind {
		return o.kind == KindResponse
	}
	if a, b := o.sightings[0].order, g.sightings[0].order; a != b {
		return a < b
	}
	return compareKeys(o.key, g.key) < 0
}

// carries reports whether the value v of head is part of what s saw and not of
// what base saw there.
func (f *folder) carries(s *sighting, v string) bool {
	head, base := f.head[s.lane], f.base[s.lane]
	if len(v) >= minValue && head != nil && base != nil && strings.HasPrefix(head.Request.Target, v) && !strings.HasPrefix(base.Request.Target, v) {
		return true // it went where head's answer sent it
	}
	return f.values(head).request[v] && !f.values(base).request[v] ||
		len(v) >= 4 && f.values(head).response[v] && !f.values(base).response[v]
}

// leaves are the single values of an exchange.
type leaves struct{ request, response map[string]bool }

func (f *folder) values(x *traffic.Exchange) leaves {
	if x == nil {
		return leaves{}
	}
	l, ok := f.leaves[x]
	if !ok {
		l = leaves{make(map[string]bool), make(map[string]bool)}
		for _, v := range f.opts.Compare.Reading.RequestValues(x) {
			l.request[v] = true
		}
		for _, v := range f.opts.Compare.Reading.ResponseValues(x) {
			l.response[v] = true
		}
		f.leaves[x] = l
	}
	return l
}
