package analysis

import (
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// source is where a value was first answered in the recording.
type source struct {
	lane string
	path traffic.Path
}

// dependencies tells which recorded exchanges use values that an earlier one
// produced: in their requests, or in their answers only.
type dependencies struct {
	request, response map[string][]source
}

// minValue is how long a value must be to tell where it came from; shorter ones
// occur by chance.
const minValue = 5

// dependencies follows values through the recording: a value counts as produced
// by the answer in which it appears before any request or other answer has it.
func (r *run) dependencies() dependencies {
	d := dependencies{map[string][]source{}, map[string][]source{}}
	produced := make(map[string]source)
	known := make(map[string]bool)
	for _, x := range r.inbound {
		uses := func(v string, to map[string][]source) {
			if s, ok := produced[v]; ok && s.lane != x.ID {
				to[x.ID] = append(to[x.ID], s)
			}
		}
		for _, v := range r.opts.Compare.Reading.RequestValues(x) {
			if len(v) < minValue {
				continue
			}
			uses(v, d.request)
			known[v] = true
		}
		for p, v := range r.opts.Compare.Reading.ResponseValues(x) {
			if len(v) < minValue || len(v) > 4096 {
				continue
			}
			if !known[v] {
				known[v] = true
				if identifying(v) {
					produced[v] = source{x.ID, p}
				}
			} else if len(d.response[x.ID]) < 256 {
				uses(v, d.response)
			}
		}
	}
	return d
}

// identifying reports whether a value is made to be unique: it has digits, and
// is no date.
func identifying(v string) bool {
	c := compare.ClassOf(v)
	return c.Identifies() && !c.IsTime()
}

// dependents: an exchange that uses a value of an earlier one differs because
// the earlier one failed, or did not give that value. An exchange that only
// lists such values may have lost elements, nothing else.
func (f *folder) dependents(g *group, s *sighting) []*group {
	if g.change == ChangeClass || g.kind == KindCrash || s.order < 0 {
		return nil
	}
	var out []*group
	follow := func(sources []source) {
		for _, src := range sources {
			for _, o := range f.byLane[src.lane] {
				if o != g && o.kind == KindResponse && (o.change == ChangeStatus || o.change == ChangeNoResponse || o.change == ChangeCrash || o.shows(src)) {
					out = append(out, o)
				}
			}
		}
	}
	follow(f.deps.request[s.lane])
	switch g.change {
	case ChangeLength, ChangeOrder, ChangeMissing, ChangeExtra, ChangeStatus:
		follow(f.deps.response[s.lane])
	case ChangeValue: // a sum over a list that lost elements
		if len(f.in(g, s.lane, func(o *group, _ *sighting) bool { return o.change == ChangeLength })) > 0 {
			follow(f.deps.response[s.lane])
		}
	}
	return out
}

// shows reports whether the group changes the place from which a value came.
func (g *group) shows(src source) bool {
	return slices.ContainsFunc(g.sightings, func(s sighting) bool { return s.lane == src.lane && src.path.Within(s.path) })
}

// echo: what was stored wrongly is read wrongly. A later exchange that asks for
// what an earlier one made shows the same pair of values under the same name.
// What is stored is shown in bodies; headers are made anew for every answer.
func (f *folder) echo(g *group, s *sighting) []*group {
	if g.kind != KindResponse || g.change != ChangeValue || !strings.HasPrefix(g.address, "response.body.") {
		return nil
	}
	name := s.path.Steps()[s.path.Len()-1]
	var out []*group
	for _, src := range f.deps.request[s.lane] {
		out = append(out, f.in(g, src.lane, func(o *group, os *sighting) bool {
			n := os.path.Len()
			return o.kind == KindResponse && o.change == g.change && os.base == s.base && os.head == s.head && n > 0 && os.path.Steps()[n-1] == name
		})...)
	}
	return out
}

// otherAnswer: head got another answer to a call than base did, or none, or one
// more; what the answer of the lane lost or holds otherwise follows from that.
// What shows in the same way at an endpoint without such a call does not.
func (f *folder) otherAnswer(g *group, s *sighting) []*group {
	if g.kind != KindResponse || g.change == ChangeClass {
		return nil
	}
	for _, o := range f.groups {
		if o != g && o.kind == g.kind && o.change == g.change && o.address == g.address && o.endpoint != g.endpoint && o.root == nil {
			return nil
		}
	}
	nulled := s.base == "null" || s.head == "null"
	return f.in(g, s.lane, func(o *group, os *sighting) bool {
		if o.kind != KindOutbound {
			return false
		}
		switch o.change {
		case ChangeMissingCall, ChangeNewCall:
			return g.change != ChangeType || nulled
		case ChangeChangedCall:
			return otherRecord(os) || os.base == s.base && os.head == s.head && s.head != ""
		}
		return false
	})
}

// otherRecord reports whether the mock answered head's call from another record
// than base's.
func otherRecord(s *sighting) bool {
	a, b := s.liveBase, s.live
	return a != nil && b != nil && a.Match != nil && b.Match != nil && a.Match.Record != b.Match.Record
}
