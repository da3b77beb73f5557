package analysis

import (
	"fmt"
	"math"
	"slices"

	"github.com/reprise-ci/reprise/internal/stats"
)

// looks are the numbers of rounds at which measuring may stop early.
var looks = []int{6, 8, 12, 16, 20}

// Decided reports whether measuring may stop after these rounds, and why. It
// looks only after 6, 8, 12, 16 and 20 rounds, and pays for each look from the
// error rate of the run, so that looking early does not make more false alarms.
//
// A look ends the measurement when every median is decided (the same, or
// changed beyond what this look may spend) and nothing else hints at a change.
// From twelve rounds on the lack of any hint is enough: what shows nothing by
// then would not become a finding within the rounds that are left. It always
// ends once more rounds could not decide more: at 12, or at as many as the
// number of tests needs.
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
	if k >= last {
		return true, "all rounds measured"
	}
	if s.floor > o.MaxNoise && k >= 12 {
		return true, fmt.Sprintf("the machine is too noisy: base differs from itself by %.0f %%", 100*s.floor)
	}
	i := slices.Index(looks, k)
	if i < 0 {
		return false, fmt.Sprintf("the next look is after %d rounds", nextLook(k))
	}
	before := 0.0
	if i > 0 {
		before = stats.Spend(o.Level, float64(looks[i-1])/float64(last))
	}
	s.opts.Level = stats.Spend(o.Level, float64(k)/float64(last)) - before
	open, hints := 0, s.hints()
	for _, e := range s.endpoints() {
		if e.P50.Verdict == SpeedInconclusive {
			open++
		}
	}
	switch {
	case open == 0 && hints == 0:
		return true, "all endpoints decided"
	case hints == 0 && k >= hopeless:
		return true, "nothing hints at a change"
	}
	return false, fmt.Sprintf("%d of %d endpoints are open and %d tests hint at a change after %d rounds", open, len(m.Series), hints, k)
}

// hopeless is after how many rounds a measurement without a hint ends.
const hopeless = 12

// A hint is far less than a finding: an unadjusted p-value that six rounds just
// attain, and an estimate near the floor or beyond.
const (
	hintLevel = 0.035
	hintShare = 0.85 // of the floor
)

// hints counts the tests that hint at a change and are not decided by it.
func (s speeds) hints() int {
	n := 0
	count := func(t shiftTest, q Quantile, floor float64) {
		if t.p <= hintLevel && math.Abs(t.estimate) >= hintShare*math.Log1p(floor) && q.Verdict == SpeedInconclusive {
			n++
		}
	}
	for i, e := range s.endpoints() {
		count(s.p50[i], e.P50, max(s.opts.FloorShare, s.floor))
		count(s.p90[i], e.P90, max(s.opts.FloorShare, s.floor))
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
