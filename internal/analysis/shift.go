package analysis

import (
	"math"

	"github.com/reprise-ci/reprise/internal/stats"
)

// minRounds is how many rounds attain an interval of 95 %.
const minRounds = 6

// shiftTest is the test of one quantile of one endpoint: unadjusted.
type shiftTest struct {
	estimate float64 // of the log ratio
	ci       stats.Interval
	p        float64
	rounds   int
	sd       float64
	baseMS   float64
	headMS   float64
}

func newShiftTest(shifts []float64, baseMS, headMS float64) shiftTest {
	t := shiftTest{rounds: len(shifts), p: math.NaN(), sd: stats.StdDev(shifts), baseMS: baseMS, headMS: headMS}
	if len(shifts) == 0 {
		return t
	}
	t.estimate, t.ci = stats.HodgesLehmann(shifts, 0.95)
	_, _, t.p = stats.SignFlip(shifts)
	return t
}

// verdict judges a test by its adjusted p-value, as the method prescribes: all
// conditions must hold for a change; the whole interval must be small for none.
func (t shiftTest) verdict(adjusted, noise float64, tests int, o LatencyOptions) Quantile {
	q := Quantile{BaseMS: t.baseMS, HeadMS: t.headMS, Ratio: 1, CI: [2]float64{0, 0}, P: 1, Verdict: SpeedInconclusive}
	if t.rounds == 0 {
		return q
	}
	q.Ratio, q.CI, q.P = math.Exp(t.estimate), [2]float64{math.Exp(t.ci.Low), math.Exp(t.ci.High)}, adjusted
	floor := math.Log1p(max(o.FloorShare, noise))
	// The median and p90 of a slower endpoint move together, so half of the
	// tests must be beaten by one.
	if t.rounds >= stats.RoundsFor((tests+1)/2, o.Level) {
		q.Detectable = math.Expm1(max(floor, stats.Detectable(t.sd, t.rounds, o.Level/float64((tests+1)/2))))
		if t.baseMS > 0 {
			q.Detectable = max(q.Detectable, o.FloorMS/t.baseMS)
		}
	}
	if t.rounds < minRounds || noise > o.MaxNoise {
		return q
	}
	change := math.Expm1(math.Abs(t.estimate)) * t.baseMS
	same := math.Log1p(max(o.Equivalence, noise))
	low, high := math.Expm1(t.ci.Low)*t.baseMS, math.Expm1(t.ci.High)*t.baseMS
	switch {
	case adjusted <= o.Level && t.ci.Low > 0 && t.estimate > floor && change >= o.FloorMS:
		q.Verdict = Slower
	case adjusted <= o.Level && t.ci.High < 0 && t.estimate < -floor && change >= o.FloorMS:
		q.Verdict = Faster
	case t.ci.Low > -same && t.ci.High < same, low > -o.FloorMS && high < o.FloorMS:
		q.Verdict = Same
	}
	return q
}
