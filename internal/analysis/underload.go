package analysis

import (
	"fmt"
	"math"
	"slices"

	"github.com/reprise-ci/reprise/internal/stats"
)

// lateShare is the share of what is measured by which the sender may be late.
// Beyond it a time says more of the sender than of the service.
const lateShare = 0.1

// OpenLoop is what rounds said in which both arms were sent to at the same
// planned moments, whether they had answered or not. Its times count from
// these moments, so that they show queueing and lock contention, which pairs
// of one request after the other cannot. It has a verdict of its own.
type OpenLoop struct {
	Rate   float64  `json:"rate"` // requests a second on each arm
	Rounds int      `json:"rounds"`
	Pairs  int      `json:"pairs"`
	P50    Quantile `json:"p50"` // of response times, over all endpoints
	P90    Quantile `json:"p90"`
	// SendLagP50MS and SendLagP99MS are how late requests were sent.
	SendLagP50MS float64 `json:"send_lag_p50_ms"`
	SendLagP99MS float64 `json:"send_lag_p99_ms"`
	// Verdict is slower or faster when one quantile is and the other is not the
	// opposite.
	Verdict Speed `json:"verdict"`
	// Note says why it is inconclusive.
	Note string `json:"note,omitempty"`
}

// Capacity compares the highest rates at which the arms keep p90 of the
// response time under a limit.
type Capacity struct {
	LimitMS    float64 `json:"limit_ms"`
	BaseRPS    float64 `json:"base_rps"`
	HeadRPS    float64 `json:"head_rps"`
	ControlRPS float64 `json:"control_rps"` // base once more: how far two searches differ
	// Verdict is slower when head holds less than base by more than a tenth
	// and by more than twice what base differs from itself.
	Verdict Speed  `json:"verdict"`
	Note    string `json:"note,omitempty"`
}

// CapacityFound is the result of the searches, requests a second.
type CapacityFound struct {
	LimitMS             float64
	Base, Head, Control float64
	// Bounded says that each search ended at a rate that failed, and not at the
	// highest that was tried.
	Bounded bool
	// Late says that some rate failed because of the sender.
	Late bool
}

// openLoop judges the open-loop rounds; nil when there are none.
func (r *run) openLoop() *OpenLoop {
	rounds := r.in.OpenRounds
	if len(rounds) == 0 {
		return nil
	}
	o := r.opts.Latency
	together := func(Pair) string { return allEndpoints }
	out := &OpenLoop{Rate: r.in.OpenRate, Rounds: len(rounds), Verdict: SpeedInconclusive}
	out.SendLagP50MS, out.SendLagP99MS = sendLag(rounds)
	m := Measurement{
		Rounds:  len(rounds),
		Series:  sumUp(rounds, func(r Round) []Pair { return r.HeadVsBase }, together, 0),
		Control: sumUp(rounds, func(r Round) []Pair { return r.ControlVsBase }, together, 0),
	}
	if len(m.Series) == 0 {
		out.P50, out.P90 = shiftTest{p: math.NaN()}.verdict(1, 0, 1, o), shiftTest{p: math.NaN()}.verdict(1, 0, 1, o)
		out.Note = "no pair of requests was valid"
		return out
	}
	s := newSpeeds(m, o)
	all := s.endpoints()[0]
	out.Pairs, out.P50, out.P90 = all.Requests, all.P50, all.P90
	switch found := []Speed{out.P50.Verdict, out.P90.Verdict}; {
	case out.late():
		out.Note = late(out.SendLagP99MS, out.P50.BaseMS)
		out.P50.Verdict, out.P90.Verdict = SpeedInconclusive, SpeedInconclusive
	case s.floor > o.MaxNoise:
		out.Note = fmt.Sprintf("the machine is too noisy: base differs from itself by %.0f %%", 100*s.floor)
	case len(rounds) < minRounds:
		out.Note = fmt.Sprintf("%s measured, a verdict needs %d", plural(len(rounds), "round"), minRounds)
	case slices.Contains(found, Slower) && slices.Contains(found, Faster):
		out.Note = "the median and p90 moved in opposite directions"
	case slices.Contains(found, Slower):
		out.Verdict = Slower
	case slices.Contains(found, Faster):
		out.Verdict = Faster
	case out.P50.Verdict == Same && out.P90.Verdict == Same:
		out.Verdict = Same
	}
	return out
}

// late reports whether the sender was too late for the times to say something of
// the service.
func (o *OpenLoop) late() bool { return o.SendLagP99MS > lateShare*o.P50.BaseMS }

// capacity judges the searches; nil when there were none.
func (r *run) capacity() *Capacity {
	f := r.in.Capacity
	if f == nil {
		return nil
	}
	c := &Capacity{LimitMS: f.LimitMS, BaseRPS: f.Base, HeadRPS: f.Head, ControlRPS: f.Control, Verdict: SpeedInconclusive}
	switch {
	case f.Late:
		c.Note = "the sender was late by more than a tenth of the limit"
		return c
	case f.Base == 0 || f.Control == 0:
		c.Note = "base itself holds the limit at no rate"
		return c
	case !f.Bounded:
		c.Note = "the highest rate that was tried still held"
	}
	const least = 0.1
	noise := math.Abs(math.Log(f.Control / f.Base))
	base := math.Sqrt(f.Base * f.Control)
	switch shift := math.Log(f.Head / base); { // -Inf where head holds no rate
	case shift < -max(math.Log1p(least), 2*noise):
		c.Verdict = Slower
	case shift > max(math.Log1p(least), 2*noise):
		c.Verdict = Faster
	case noise <= math.Log1p(least):
		c.Verdict = Same
	default:
		c.Note = fmt.Sprintf("two searches on base differ by %.0f %%", 100*math.Expm1(noise))
	}
	return c
}

// sendLag returns how late requests were sent, in ms, at the median and at p99.
func sendLag(rounds []Round) (p50, p99 float64) {
	var lag []float64
	for _, round := range rounds {
		for _, d := range round.SendLag {
			lag = append(lag, ms(d))
		}
	}
	if len(lag) == 0 {
		return 0, 0
	}
	return stats.Quantile(lag, 0.5), stats.Quantile(lag, 0.99)
}

func late(lagMS, measuredMS float64) string {
	return fmt.Sprintf("the sender was late by %.2g ms, more than a tenth of the %.2g ms that it measured", lagMS, measuredMS)
}
