package analysis

import (
	"fmt"
	"math"
	"slices"

	"github.com/reprise-ci/reprise/internal/stats"
)

// looks are the numbers of rounds at which measuring may stop.
var looks = []int{6, 8, 12, 16, 20, 26, 32, MostRounds}

// MostRounds is how many rounds are worth measuring at most. PlannedRounds is
// how many there should be time for: more are measured only where a change is
// hinted at that the machine's noise still hides.
const (
	MostRounds    = 40
	PlannedRounds = 20
)

// Decided reports whether measuring may stop after these rounds, and why. It
// looks only at the numbers of rounds in looks, and pays for each look from the
// error rate of the run, so that looking early does not make more false alarms.
//
// A look ends the measurement when every median is decided (the same, or
// changed beyond what this look may spend) and nothing else hints at a change.
// From twelve rounds on the lack of any hint is enough.
//
// After 12 rounds, or as many as the number of tests needs to name anything,
// the planned rounds are over. Where a hint is left, as on a noisy machine, a
// second stage follows up to [MostRounds], with an error rate of its own: fresh
// rounds take away eleven of sixteen false suspicions (a sign that is kept by
// chance in three of four), which more than pays for being asked twice.
func Decided(rounds []Round, opts Options) (bool, string) {
	if early, why := tooEarly(len(rounds)); early {
		return false, why
	}
	return Measure(rounds, opts).Decided(opts)
}

// tooEarly reports whether there is no look after k rounds, whatever they say.
func tooEarly(k int) (bool, string) {
	if k < minRounds {
		return true, fmt.Sprintf("%d of at least %d rounds measured", k, minRounds)
	}
	return false, ""
}

// Decided is [Decided] for rounds that are summed up.
func (m Measurement) Decided(opts Options) (bool, string) {
	k := m.Rounds
	if early, why := tooEarly(k); early {
		return false, why
	}
	o := opts.withDefaults().Latency
	s := newSpeeds(m, o)
	last := lastLook(s.tests(), o.Level)
	if k >= MostRounds {
		return true, "all rounds measured"
	}
	if !slices.Contains(looks, k) && k != last {
		return false, fmt.Sprintf("the next look is after %d rounds", nextLook(k))
	}
	s.opts.Level = mayName(k, last, o.Level)
	open, hints := 0, s.hints()
	for _, e := range s.endpoints() {
		if e.P50.Verdict == SpeedInconclusive {
			open++
		}
	}
	switch {
	case open == 0 && hints == 0:
		return true, "all endpoints decided"
	case hints == 0 && k >= last:
		return true, "all rounds measured"
	case hints == 0 && k >= hopeless && s.floor > o.MaxNoise:
		return true, fmt.Sprintf("the machine is too noisy: base differs from itself by %.0f %%", 100*s.floor)
	case hints == 0 && k >= hopeless:
		return true, "nothing hints at a change"
	}
	return false, fmt.Sprintf("%d of %d endpoints are open and %d tests hint at a change after %d rounds", open, len(m.Series), hints, k)
}

// mayName is the level at which the look after k rounds may name a change: what
// is added to the error rate since the look before, in the stage that the look
// belongs to. The last planned look has the whole level, as the verdict has.
func mayName(k, last int, level float64) float64 {
	if k == last {
		return level
	}
	from, to := 0, last
	if k > last {
		from, to = last, MostRounds
	}
	spent := func(k int) float64 { return stats.Spend(level, float64(k-from)/float64(to-from)) }
	before := from
	for _, l := range looks {
		if l > from && l < k {
			before = l
		}
	}
	return spent(k) - spent(before)
}

// hopeless is after how many rounds a measurement without a hint ends.
const hopeless = 12

// A hint is far less than a finding: an unadjusted p-value that one test in ten
// attains by chance, and an estimate near the floor or beyond, which by chance
// only a noisy machine shows.
const (
	hintLevel = 0.10
	hintShare = 0.85 // of the floor
)

// hints counts the tests that hint at a change and are not decided by it. The
// p90 of an endpoint whose median changed tells nothing more.
func (s speeds) hints() int {
	n := 0
	count := func(t shiftTest, q Quantile, floor float64) {
		if t.p <= hintLevel && math.Abs(t.estimate) >= hintShare*math.Log1p(floor) && q.Verdict == SpeedInconclusive {
			n++
		}
	}
	for i, e := range s.endpoints() {
		count(s.p50[i], e.P50, max(s.opts.FloorShare, s.floor))
		if !changed(e.P50.Verdict) {
			count(s.p90[i], e.P90, max(s.opts.FloorShare, s.floor))
		}
	}
	together, q := s.overall()
	count(together, q, s.overallFloor())
	return n
}

// lastLook is the largest number of rounds worth measuring for a number of
// tests.
func lastLook(tests int, level float64) int {
	need := max(12, stats.RoundsFor(tests, level))
	for _, l := range looks {
		if l >= need {
			return l
		}
	}
	return need
}

func nextLook(k int) int {
	for _, l := range looks {
		if l > k {
			return l
		}
	}
	return math.MaxInt
}

// Suspects returns the endpoints whose speed changed by these rounds, or "all
// endpoints" when they did only together. They are worth a few fresh rounds: a
// burst of other load on the machine goes away, a regression does not.
func Suspects(rounds []Round, opts Options) []string { return Measure(rounds, opts).Suspects(opts) }

// Suspects is [Suspects] for rounds that are summed up.
func (m Measurement) Suspects(opts Options) []string {
	var out []string
	s := newSpeeds(m, opts.withDefaults().Latency)
	for _, e := range s.endpoints() {
		if changed(e.P50.Verdict) || changed(e.P90.Verdict) {
			out = append(out, e.Endpoint)
		}
	}
	if _, q := s.overall(); len(out) == 0 && changed(q.Verdict) {
		out = append(out, allEndpoints)
	}
	return out
}

func changed(s Speed) bool { return s == Slower || s == Faster }
