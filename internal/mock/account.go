package mock

import (
	"errors"
	"fmt"
	"maps"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Account balances the calls of one pass against the recording:
//
//	Recorded = Matched + Unused
//	Live     = Matched + Extra + Missed
//
// Recorded counts the calls of the lanes that took part, and what was borrowed
// from lanes that did not.
type Account struct {
	Recorded int // recorded calls that the pass could have made
	Matched  int // recorded calls that a live call used up
	Unused   int // recorded calls that none did: missing calls
	Extra    int // live calls answered again: more calls than recorded
	Missed   int // live calls that nothing answered
	Live     int // all live calls

	Tiers      map[traffic.Tier]int      // live calls by how they were answered
	Attributed map[traffic.Certainty]int // live calls by how their lane was found
	// Unsure counts the live calls that arrived while several lanes were active
	// and may belong to any of them.
	Unsure int
	Lanes  map[traffic.Lane]LaneAccount

	// UnusedRules names the rules that have answered no call in any pass.
	UnusedRules []string

	// Err is not nil when the figures do not balance, which is a defect of
	// this program and makes them worthless.
	Err error
}

// LaneAccount balances one lane:
//
//	Recorded = Matched + Lent + Unused
//	Live     = Matched + Borrowed + Extra + Missed
type LaneAccount struct {
	Recorded int
	Matched  int // used by a call of this lane
	Lent     int // used by a call of another lane, which borrowed it
	Unused   int
	Borrowed int // calls of this lane that used what another lane recorded
	Extra    int
	Missed   int
	Live     int
}

// Account draws up the account of a pass as of now. It waits for calls that are
// being decided, not for answers that are being written.
func (m *Mock) Account(number uint32) Account {
	a := Account{Tiers: map[traffic.Tier]int{}, Attributed: map[traffic.Certainty]int{}, Lanes: map[traffic.Lane]LaneAccount{}}
	m.mu.Lock()
	p := m.passes[number]
	m.mu.Unlock()
	if p == nil {
		return a
	}
	p.settle.Lock()
	defer p.settle.Unlock()
	p.mu.Lock()
	maps.Copy(a.Tiers, p.tiers)
	maps.Copy(a.Attributed, p.by)
	a.Live, a.Unsure, a.UnusedRules = p.live, p.unsure, m.UnusedRules()
	byLane := maps.Clone(p.byLane)
	p.mu.Unlock()
	if number == 0 {
		p.lane(m.index, traffic.LaneBoot)
	} else {
		p.lane(m.index, traffic.LaneBackground)
	}
	for _, ls := range p.states() {
		lane := ls.account()
		lane.Live = byLane[ls.name]
		if !m.takesPart(p, ls) {
			lane.Recorded, lane.Unused = lane.Matched+lane.Lent, 0
		}
		if lane != (LaneAccount{}) {
			a.Lanes[ls.name] = lane
		}
		a.Recorded += lane.Recorded
		a.Matched += lane.Matched + lane.Lent
		a.Unused += lane.Unused
		a.Extra += lane.Extra
		a.Missed += lane.Missed
	}
	if a.Err = a.check(); a.Err != nil {
		m.opts.Log.Error("the account of the mock does not balance", "pass", number, "error", a.Err)
	}
	return a
}

// takesPart reports whether the calls of a lane were due in a pass: those of
// the boot lane in the boot pass, all others in the passes that entered the
// lane or saw a call of it.
func (m *Mock) takesPart(p *pass, ls *laneState) bool {
	switch ls.name {
	case traffic.LaneBoot:
		return p.number == 0
	case traffic.LaneBackground:
		return p.number > 0 || m.opts.OneLane
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.entered
}

func (ls *laneState) account() LaneAccount {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	a := LaneAccount{
		Recorded: ls.len(), Missed: ls.missed,
		Borrowed: int(ls.borrowed.Load()), Extra: ls.extra + int(ls.surplus.Load()),
	}
	for _, u := range ls.used {
		switch u {
		case free:
			a.Unused++
		case own:
			a.Matched++
		case lent:
			a.Lent++
		}
	}
	return a
}

// check reports all figures that do not balance. Entries, tiers and arrivals
// are counted at different places, so that this can fail.
func (a *Account) check() error {
	var errs []error
	balance := func(of string, sum, of2 int) {
		if sum != of2 {
			errs = append(errs, fmt.Errorf("%s: %d counted, %d accounted for", of, of2, sum))
		}
	}
	balance("recorded calls", a.Matched+a.Unused, a.Recorded)
	balance("live calls", a.Matched+a.Extra+a.Missed, a.Live)
	lent, borrowed, tiers := 0, 0, 0
	for name, l := range a.Lanes {
		lent, borrowed = lent+l.Lent, borrowed+l.Borrowed
		balance("recorded calls of lane "+string(name), l.Matched+l.Lent+l.Unused, l.Recorded)
		balance("live calls of lane "+string(name), l.Matched+l.Borrowed+l.Extra+l.Missed, l.Live)
	}
	for _, n := range a.Tiers {
		tiers += n
	}
	balance("borrowed calls", lent, borrowed)
	balance("tiers", tiers, a.Live)
	return errors.Join(errs...)
}
