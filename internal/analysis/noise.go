package analysis

import (
	"slices"
	"sync"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/stats"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// The levels of Fisher's test by which a place that is noisy now and then may
// still be a finding: head differs from base far more often than base does from
// itself.
const (
	formLevel  = 0.01
	classLevel = 0.01
	valueLevel = 0.001
)

// evidence is what is known of one place over all exchanges of its endpoint.
type evidence struct {
	// noisy lists the units in which two passes of base differ here, by value
	// (or order) and by form; changed those in which head differs from base.
	noisyValue, noisyForm     map[*unit]bool
	changedValue, changedForm map[*unit]bool
	// compared is how many units of the endpoint had two passes of base.
	compared int

	// What values occur here, unit by unit in recorded order.
	seen  []valuesOf
	class compare.Class
	// precision is that of the values of base, learned when it is first asked
	// for; see otherPrecision.
	precision func() precision
}

// valuesOf holds the values of one place in one unit.
type valuesOf struct {
	unit                          *unit
	recorded, base, control, head []string
}

// judge decides which differences of head count. It serves answers and calls
// alike: both are units with addresses.
type judge struct {
	units  []*unit
	places map[place]*evidence
	opts   Options
}

// newJudge compares all units and learns what is noise.
func newJudge(units []*unit, redacted []traffic.Pattern, opts Options) *judge {
	j := &judge{units: units, places: make(map[place]*evidence), opts: opts}
	compared := make(map[[2]string]int)
	for _, u := range units {
		rules := opts.comparing(u.endpoint)
		u.noise = u.compare(u.base, u.control, rules)
		u.change = u.compare(u.base, u.head, rules)
		u.stale = slices.DeleteFunc(u.compare(u.recorded, u.base, rules), func(d compare.Difference) bool {
			return !d.Change.Structural() && slices.ContainsFunc(redacted, func(p traffic.Pattern) bool { return p.Covers(d.Path) })
		})
		if u.control != nil {
			compared[[2]string{u.endpoint, u.call}]++
		}
		for _, d := range u.noise {
			e := j.at(u, d.Path)
			if d.Change.Structural() {
				e.noisyForm[u] = true
			} else {
				e.noisyValue[u] = true
			}
		}
		for _, d := range u.change {
			e := j.at(u, d.Path)
			if d.Change.Structural() {
				e.changedForm[u] = true
			} else {
				e.changedValue[u] = true
			}
		}
		for _, d := range u.stale {
			j.at(u, d.Path)
		}
	}
	for p, e := range j.places {
		e.compared = compared[[2]string{p.endpoint, p.call}]
	}
	j.learn()
	return j
}

func (j *judge) at(u *unit, p traffic.Path) *evidence {
	k := place{u.endpoint, u.call, p.Pattern().String()}
	e := j.places[k]
	if e == nil {
		e = &evidence{
			noisyValue: map[*unit]bool{}, noisyForm: map[*unit]bool{},
			changedValue: map[*unit]bool{}, changedForm: map[*unit]bool{},
		}
		j.places[k] = e
	}
	return e
}

// learn collects the values at all places at which anything differs, and finds
// the class that base keeps to.
func (j *judge) learn() {
	wanted := make(map[[2]string]bool)
	for p := range j.places {
		wanted[[2]string{p.endpoint, p.call}] = true
	}
	for _, u := range j.units {
		if !wanted[[2]string{u.endpoint, u.call}] {
			continue
		}
		at := make(map[*evidence]*valuesOf)
		var order []*evidence
		collect := func(x *traffic.Exchange, into func(*valuesOf) *[]string) {
			u.values(x, j.opts.Compare.Reading, func(p traffic.Path, v string) {
				e := j.places[place{u.endpoint, u.call, p.Pattern().String()}]
				if e == nil {
					return
				}
				if at[e] == nil {
					at[e] = &valuesOf{unit: u}
					order = append(order, e)
				}
				list := into(at[e])
				*list = append(*list, v)
			})
		}
		collect(u.recorded, func(v *valuesOf) *[]string { return &v.recorded })
		collect(u.base, func(v *valuesOf) *[]string { return &v.base })
		collect(u.control, func(v *valuesOf) *[]string { return &v.control })
		collect(u.head, func(v *valuesOf) *[]string { return &v.head })
		for _, e := range order {
			e.seen = append(e.seen, *at[e])
		}
	}
	for _, e := range j.places {
		e.class = compare.ClassOf(e.samples()...)
		e.precision = sync.OnceValue(e.otherPrecision)
	}
}

// samples returns what base is known to answer: in the recording and in both
// passes.
func (e *evidence) samples() []string {
	var out []string
	for _, pick := range []func(valuesOf) []string{
		func(v valuesOf) []string { return v.recorded },
		func(v valuesOf) []string { return v.base },
		func(v valuesOf) []string { return v.control },
	} {
		for _, v := range e.seen {
			out = append(out, pick(v)...)
		}
	}
	return out
}

// noisy reports whether two passes of base ever differed here.
func (e *evidence) noisy() bool { return len(e.noisyValue)+len(e.noisyForm) > 0 }

// beyond reports whether changed units are far more than noise explains.
func (e *evidence) beyond(changed, noisy map[*unit]bool, level float64) bool {
	n := max(e.compared, len(changed), len(noisy))
	return stats.FisherGreater(len(changed), n-len(changed), len(noisy), n-len(noisy)) <= level
}

// strays counts the values that no other sample of base vouches for, each
// judged by the class of the others. It is how often base itself would leave
// its class.
func (e *evidence) strays() (out, of int) {
	samples := e.samples()
	const most = 64 // enough to tell rare from never
	for i := range min(len(samples), most) {
		rest := slices.Concat(samples[:i], samples[i+1:])
		if !compare.ClassOf(rest...).Holds(samples[i]) {
			out++
		}
	}
	return out, min(len(samples), most)
}

// leavesClass reports whether head's values at a noisy place leave the class
// of base's. One value is enough for a class with a grammar of its own; others
// must be left more often than base would leave them.
func (e *evidence) leavesClass() bool {
	out, of := 0, 0
	for _, v := range e.seen {
		for _, h := range v.head {
			of++
			if !e.class.Holds(h) {
				out++
			}
		}
	}
	if out == 0 {
		return false
	}
	if e.class.Sharp() {
		return true
	}
	strays, samples := e.strays()
	return stats.FisherGreater(out, of-out, strays, samples-strays) <= classLevel
}

// otherPrecision reports whether head writes times or numbers with fewer digits
// after the point than base ever does, or with more, far more often than base
// itself would: trailing zeros are left out by many, so one value says nothing.
func (e *evidence) otherPrecision() precision {
	samples := e.samples()
	digits := make([]int, 0, len(samples))
	for _, v := range samples {
		n, ok := e.class.Fraction(v)
		if !ok {
			return precision{}
		}
		digits = append(digits, n)
	}
	if len(digits) == 0 {
		return precision{}
	}
	least, most := slices.Min(digits), slices.Max(digits)
	out, of := 0, 0
	for _, v := range e.seen {
		for _, h := range v.head {
			of++
			if n, _ := e.class.Fraction(h); n < least || n > most {
				out++
			}
		}
	}
	// One sample in ten ends in a zero, so the least and the most are strays
	// among the others themselves.
	strays := 0
	for _, bound := range []int{least, most} {
		if n := count(digits, bound); n == 1 && least != most {
			strays++
		}
	}
	return precision{least, most, out > 0 && stats.FisherGreater(out, of-out, strays, len(digits)-strays) <= valueLevel}
}

// precision is how many digits after the point base has at least and at most,
// and whether head has another number of them.
type precision struct {
	least, most int
	left        bool
}

func count(list []int, want int) int {
	n := 0
	for _, v := range list {
		if v == want {
			n++
		}
	}
	return n
}

// repeats reports whether values that are due to be fresh came back: every
// value of base is its own, in both passes, and head repeats one.
func (e *evidence) repeats() bool {
	if !e.class.Identifies() {
		return false
	}
	var base, control, head []string
	units := 0
	for _, v := range e.seen {
		if len(v.base) == 0 || len(v.head) == 0 {
			continue
		}
		units++
		base, control, head = append(base, v.base...), append(control, v.control...), append(head, v.head...)
	}
	enough := 2
	if !e.class.Sharp() {
		enough = 3
	}
	if units < enough || distinct(base) < len(base) || distinct(control) < len(control) {
		return false
	}
	return distinct(head) == 1 || len(head) >= 5 && distinct(head)*2 <= len(head)
}

func distinct(values []string) int {
	s := slices.Clone(values)
	slices.Sort(s)
	return len(slices.Compact(s))
}
