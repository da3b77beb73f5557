package analysis

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/compare"
)

// sightings returns the differences of head that are not noise, in the order
// of the units.
func (j *judge) sightings() []sighting {
	var out []sighting
	left, repeated := j.classFindings()
	for _, u := range j.units {
		reported := make(map[string]bool)
		for _, d := range u.change {
			if s, ok := j.judge(u, d, left, repeated); ok {
				if s.change == ChangeClass && reported[s.address] {
					continue // one element of a list is enough
				}
				reported[s.address] = true
				out = append(out, s)
			}
		}
	}
	return out
}

// classFindings finds the noisy places whose class head leaves, and those at
// which head repeats what should be fresh.
func (j *judge) classFindings() (left, repeated map[*evidence]bool) {
	left, repeated = make(map[*evidence]bool), make(map[*evidence]bool)
	for _, e := range j.places {
		if !e.noisy() && !e.volatile() {
			continue
		}
		if e.repeats() {
			repeated[e] = true
		} else if e.leavesClass() {
			left[e] = true
		}
	}
	return left, repeated
}

// volatile reports whether the values vary from replay to replay although two
// passes happened to agree, as a time in whole seconds does: they belong to a
// sharp class, and base answers with others than were recorded.
func (e *evidence) volatile() bool {
	if !e.class.Sharp() {
		return false
	}
	for _, v := range e.seen {
		for i, r := range v.recorded {
			if i < len(v.base) && v.base[i] != r {
				return true
			}
		}
	}
	return false
}

// judge decides on one difference between base and head.
func (j *judge) judge(u *unit, d compare.Difference, left, repeated map[*evidence]bool) (sighting, bool) {
	e := j.at(u, d.Path)
	exact, form := noiseAt(u, d)
	s := j.sighting(u, d)
	if d.Change.Structural() {
		switch {
		case form:
			return s, false
		case len(e.noisyForm) > 0:
			return s, e.beyond(e.changedForm, e.noisyForm, formLevel)
		}
		return s, true
	}
	if !exact && !e.noisy() && !(e.class.Sharp() && differsAt(u.stale, d)) {
		return s, true
	}
	switch {
	case d.Change == compare.Order:
		return s, !exact && e.beyond(e.changedValue, e.noisyValue, valueLevel)
	case repeated[e]:
		s.change = ChangeClass
		s.detail = fmt.Sprintf("every exchange got the same value where base gives each its own (%s)", e.class)
		return s, true
	case left[e] && !e.class.Holds(d.B):
		s.change = ChangeClass
		s.detail = fmt.Sprintf("the value is no longer a %s", e.class)
		return s, true
	case e.imprecise(d.B) != "":
		s.change = ChangeClass
		s.detail = e.imprecise(d.B)
		return s, true
	case e.farInTime(u, d.B):
		s.change = ChangeClass
		s.detail = fmt.Sprintf("the time is further from the request than base's ever is (%s)", e.class)
		return s, true
	case !exact && e.noisy() && e.beyond(e.changedValue, e.noisyValue, valueLevel):
		return s, true
	}
	return s, false
}

// imprecise says how the precision of a value differs from base's, or "".
func (e *evidence) imprecise(value string) string {
	p := e.precision()
	n, ok := e.class.Fraction(value)
	if !p.left || !ok || !e.class.Holds(value) || n >= p.least && n <= p.most {
		return ""
	}
	if p.least == p.most {
		return fmt.Sprintf("%d digits after the point, where base has %d (%s)", n, p.least, e.class)
	}
	return fmt.Sprintf("%d digits after the point, where base has %d to %d (%s)", n, p.least, p.most, e.class)
}

// noiseAt reports whether two passes of base differ at the place of d in this
// very exchange, or in the form of something around it. form narrows that to
// differences of form.
func noiseAt(u *unit, d compare.Difference) (exact, form bool) {
	for _, n := range u.noise {
		same := d.Path.Len() == n.Path.Len() && d.Path.Within(n.Path)
		around := d.Path.Within(n.Path) && (n.Change.Structural() || n.Change == compare.Order)
		if same || around {
			exact = true
			form = form || n.Change.Structural()
		}
	}
	return exact, form
}

// differsAt reports whether there is a difference at the very place of d.
func differsAt(list []compare.Difference, d compare.Difference) bool {
	for _, o := range list {
		if o.Path.Len() == d.Path.Len() && d.Path.Within(o.Path) {
			return true
		}
	}
	return false
}

// farInTime reports whether a time of head is much further from its request
// than the times of base are from theirs, such as a day or a zone off.
func (e *evidence) farInTime(u *unit, value string) bool {
	if !e.class.IsTime() || u.head == nil || u.head.Start.IsZero() {
		return false
	}
	t, ok := e.class.Time(value)
	if !ok {
		return false
	}
	low, high, n := time.Duration(0), time.Duration(0), 0
	add := func(values []string, at time.Time) {
		for _, v := range values {
			if b, ok := e.class.Time(v); ok && !at.IsZero() {
				d := b.Sub(at)
				if n == 0 {
					low, high = d, d
				}
				low, high, n = min(low, d), max(high, d), n+1
			}
		}
	}
	for _, v := range e.seen {
		if v.unit.base != nil {
			add(v.base, v.unit.base.Start)
		}
		if v.unit.control != nil {
			add(v.control, v.unit.control.Start)
		}
	}
	if n < 2 {
		return false
	}
	// Half an hour is more than any pause of a run and less than the smallest
	// error in a zone; dates without a time may be a day off by chance.
	slack := max(30*time.Minute-time.Second, high-low)
	if e.class.String() == "time-date" {
		slack = max(slack, 25*time.Hour)
	}
	d := t.Sub(u.head.Start)
	return d < low-slack || d > high+slack
}

// sighting describes a difference between base and head.
func (j *judge) sighting(u *unit, d compare.Difference) sighting {
	s := sighting{
		kind: KindResponse, change: Change(d.Change), endpoint: u.endpoint, call: u.call,
		address: d.Path.Pattern().String(), lane: u.id, order: u.order, path: d.Path, detail: d.Note,
		base: d.A, head: d.B, live: u.head, liveBase: u.base,
	}
	if u.call != "" {
		s.kind, s.change = KindOutbound, ChangeChangedCall
		if d.Note == "" && d.Change != compare.Value {
			s.detail = string(d.Change)
		}
	}
	if d.Path.String() == "response" && d.Change == compare.Missing {
		s.change = ChangeNoResponse
	}
	s.recorded = d.A
	if u.recorded == nil {
		s.recorded = ""
		return s
	}
	for _, r := range u.stale {
		if r.Path.Len() == d.Path.Len() && d.Path.Within(r.Path) {
			s.recorded = r.A
			s.restored = j.agrees(u, d)
			break
		}
	}
	return s
}

// agrees reports whether head answers as recorded at the place of d.
func (j *judge) agrees(u *unit, d compare.Difference) bool {
	if !u.drifted {
		u.drift, u.drifted = u.compare(u.recorded, u.head, j.opts.comparing(u.endpoint)), true
	}
	for _, r := range u.drift {
		if d.Path.Within(r.Path) || r.Path.Within(d.Path) {
			return false
		}
	}
	return true
}

// staleness counts the answers with which base differs from the recording at
// places that are not noise.
func (j *judge) staleness() (stale []*unit, where map[place]int, of int) {
	where = make(map[place]int)
	for _, u := range j.units {
		if u.recorded == nil {
			continue
		}
		of++
		found := false
		for _, d := range u.stale {
			e := j.at(u, d.Path)
			exact, _ := noiseAt(u, d)
			if exact || e.noisy() || e.volatile() {
				continue
			}
			found = true
			where[place{u.endpoint, u.call, d.Path.Pattern().String()}]++
		}
		if found {
			stale = append(stale, u)
		}
	}
	return stale, where, of
}

// noisyPlaces counts the places left to their class.
func (j *judge) noisyPlaces() int {
	n := 0
	for _, e := range j.places {
		if e.noisy() {
			n++
		}
	}
	return n
}

// unsteady names the endpoints whose answers base itself changes as a whole from
// pass to pass, so that little can be said of head there.
func (j *judge) unsteady() (warnings []string) {
	shaken, of := make(map[string]int), make(map[string]int)
	for _, u := range j.units {
		if u.control == nil {
			continue
		}
		of[u.endpoint]++
		for _, n := range u.noise {
			whole := n.Path.Len() <= 2 && n.Change.Structural() // response, its status or its body
			if whole {
				shaken[u.endpoint]++
				break
			}
		}
	}
	for _, endpoint := range slices.Sorted(maps.Keys(shaken)) {
		if n := shaken[endpoint]; n*2 >= of[endpoint] {
			warnings = append(warnings, fmt.Sprintf("%s can hardly be judged: base itself answers with another status or body from pass to pass in %d of %d exchanges.", endpoint, n, of[endpoint]))
		}
	}
	return warnings
}
