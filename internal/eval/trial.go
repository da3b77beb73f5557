package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// truth is what was done to head in a trial. The zero value is head that is
// base.
type truth struct {
	Slow string `json:"slow,omitempty"` // the endpoint that is slower
	// Everywhere says that all endpoints are slower, and Slow is empty.
	Everywhere bool          `json:"everywhere,omitempty"`
	Factor     float64       `json:"factor,omitempty"` // of the work; 0 for none
	Add        time.Duration `json:"add,omitempty"`    // waited beside the work
}

// level is the name under which a trial is counted.
func (t truth) level() string {
	for _, l := range levels {
		if l.Factor == t.Factor && l.Add == t.Add && l.Everywhere == t.Everywhere {
			return l.name
		}
	}
	return "unknown"
}

// level is one kind of trial and how many of it are wanted.
type level struct {
	truth
	name string
	want int
}

const levelSame = "the same program"

// levels are the kinds of trials. More than half of all trials are of a
// program against itself, because a rate near zero needs the most of them.
var levels = []level{
	{truth{}, levelSame, 300},
	{truth{Factor: 1.01}, "+1 %", 12},
	{truth{Factor: 1.02}, "+2 %", 12},
	{truth{Factor: 1.05}, "+5 %", 60},
	{truth{Factor: 1.10}, "+10 %", 60},
	{truth{Factor: 1.20}, "+20 %", 12},
	{truth{Add: time.Millisecond}, "+1 ms on 10 ms", 60},
	{truth{Factor: 1.02, Everywhere: true}, "+2 % everywhere", 20},
}

// The shape of the service of a trial.
const (
	trialEndpoints = 12
	trialWork      = 250 * time.Microsecond // of the first endpoint; the last has 3.75 times as much
	waitingPlace   = 8                      // the endpoint that also waits, in trials of a wait
	waitingTime    = 10 * time.Millisecond
)

// The shape of a trial: shorter rounds than a run has, because hundreds of
// sessions are to be had; that makes false alarms likelier and slowdowns harder
// to see than in a run.
const (
	trialPairs     = 30
	trialRound     = 500 * time.Millisecond
	trialControl   = 125 * time.Millisecond
	trialRounds    = 12 // at least, so that every rule has as much to judge by
	trialPerOthers = 6  // one of so many trials measures one arm after the other, too
)

// draw returns the truth of a trial, among the levels of which trials are still
// wanted, the likelier the more of them; among all when there are enough of
// each. have counts the trials there are by level.
func draw(rng *rand.Rand, have map[string]int) truth {
	weights, sum := make([]int, len(levels)), 0
	for i, l := range levels {
		weights[i] = max(0, l.want-have[l.name])
		sum += weights[i]
	}
	if sum == 0 {
		for i, l := range levels {
			weights[i] = l.want
			sum += l.want
		}
	}
	n := rng.IntN(sum)
	for i, l := range levels {
		if n -= weights[i]; n >= 0 {
			continue
		}
		t := l.truth
		switch {
		case t.Add > 0:
			t.Slow = endpointName(waitingPlace)
		case t.Factor > 0 && !t.Everywhere:
			t.Slow = endpointName(rng.IntN(trialEndpoints))
		}
		return t
	}
	return truth{}
}

// only makes have such that nothing but the named levels is drawn.
func only(have map[string]int, names []string) error {
	wanted := make(map[string]bool)
	for _, name := range names {
		if !slices.ContainsFunc(levels, func(l level) bool { return l.name == name }) {
			return fmt.Errorf("-levels: %q is no level", name)
		}
		wanted[name] = true
	}
	for _, l := range levels {
		if have[l.name] = l.want; wanted[l.name] {
			have[l.name] = math.MinInt32 // there are never enough
		}
	}
	return nil
}

// trial is one measured session, as it is stored: enough to judge it by any
// rule, however late it is thought of.
type trial struct {
	Seed    uint64    `json:"seed"`
	Started time.Time `json:"started"`
	Truth   truth     `json:"truth"`
	// Place says where it was measured, in a word or two.
	Place string `json:"place,omitempty"`
	// Bursts says that a process beside it kept one core busy for 0.2 to 2 s at
	// a time, with pauses as long.
	Bursts bool `json:"bursts"`
	// Load is the load average when it began, Others the share of the machine's
	// processors that other programs used meanwhile; both -1 where the system
	// does not tell.
	Load   float64 `json:"load"`
	Others float64 `json:"others"`
	Work   int     `json:"work"`    // steps of the first endpoint
	Took   float64 `json:"seconds"` // of traffic in Rounds
	// Endpoints names the places of all lists by endpoint below.
	Endpoints []string     `json:"endpoints"`
	Rounds    []trialTimes `json:"rounds"`
	// Before and After are what a sequential measurement saw: all requests to
	// base, then all to head. Empty in most trials.
	Before [][]int32 `json:"before,omitempty"`
	After  [][]int32 `json:"after,omitempty"`
}

// trialTimes are the times of one round by endpoint, in ticks: head against
// base in Base and Head, the second instance of base against base in
// ControlBase and Control. Places of one pair agree.
type trialTimes struct {
	Base        [][]int32 `json:"base"`
	Head        [][]int32 `json:"head"`
	ControlBase [][]int32 `json:"control_base"`
	Control     [][]int32 `json:"control"`
}

// tick is the unit of stored times.
const tick = 100 * time.Nanosecond

// byEndpoint sorts pairs into lists by endpoint.
func byEndpoint(endpoints []string, pairs []analysis.Pair) (a, b [][]int32) {
	a, b = make([][]int32, len(endpoints)), make([][]int32, len(endpoints))
	for _, p := range pairs {
		if i := slices.Index(endpoints, p.Endpoint); i >= 0 {
			a[i], b[i] = append(a[i], int32(p.A/tick)), append(b[i], int32(p.B/tick))
		}
	}
	return a, b
}

// pairs is the inverse of byEndpoint, but for the order.
func pairs(endpoints []string, a, b [][]int32) []analysis.Pair {
	var out []analysis.Pair
	for i, e := range endpoints {
		for k := range a[i] {
			out = append(out, analysis.Pair{Endpoint: e, A: time.Duration(a[i][k]) * tick, B: time.Duration(b[i][k]) * tick})
		}
	}
	return out
}

// analysed returns the rounds as the analysis takes them.
func (t trial) analysed() []analysis.Round {
	out := make([]analysis.Round, len(t.Rounds))
	for i, r := range t.Rounds {
		out[i] = analysis.Round{
			Number: i + 1, HeadVsBase: pairs(t.Endpoints, r.Base, r.Head), ControlVsBase: pairs(t.Endpoints, r.ControlBase, r.Control),
		}
	}
	return out
}
