package analysis

import (
	"fmt"
	"math"

	"github.com/reprise-ci/reprise/internal/stats"
)

// speeds is a measurement with its tests.
type speeds struct {
	Measurement
	opts     LatencyOptions
	floor    float64 // of noise, a share
	p50, p90 []shiftTest
	adjusted []float64 // for p50 and p90 in turn
}

func newSpeeds(m Measurement, o LatencyOptions) speeds {
	s := speeds{Measurement: m, opts: o, floor: max(m.noise(), o.pastNoise())}
	var ps []float64
	for _, e := range m.Series {
		p50, p90 := e.shifts()
		s.p50 = append(s.p50, newShiftTest(p50, e.Times.Base50, e.Times.Head50))
		s.p90 = append(s.p90, newShiftTest(p90, e.Times.Base90, e.Times.Head90))
		ps = append(ps, s.p50[len(s.p50)-1].p, s.p90[len(s.p90)-1].p)
	}
	s.adjusted = stats.BenjaminiHochberg(ps)
	return s
}

// tests counts the tests that the adjustment is for.
func (s speeds) tests() int {
	n := 0
	for _, p := range s.adjusted {
		if !math.IsNaN(p) {
			n++
		}
	}
	return n
}

// endpoints judges each endpoint.
func (s speeds) endpoints() []Endpoint {
	out := make([]Endpoint, 0, len(s.Series))
	tests := s.tests()
	for i, series := range s.Series {
		e := Endpoint{Endpoint: series.Endpoint, Requests: series.pairs(), P99: series.Times.Tail}
		e.P50 = s.p50[i].verdict(s.adjusted[2*i], s.floor, tests, s.opts)
		e.P90 = s.p90[i].verdict(s.adjusted[2*i+1], s.floor, tests, s.opts)
		for _, r := range series.Rounds {
			e.RoundsBaseMS, e.RoundsHeadMS = append(e.RoundsBaseMS, r.BaseMS), append(e.RoundsHeadMS, r.HeadMS)
		}
		switch need := stats.RoundsFor((tests+1)/2, s.opts.Level); {
		case s.floor > s.opts.MaxNoise:
			e.Note = "the machine is too noisy to judge"
		case s.p50[i].rounds < need:
			e.Note = fmt.Sprintf("%s measured; a change among %d tests needs %d", plural(s.p50[i].rounds, "round"), tests, need)
		}
		out = append(out, e)
	}
	return out
}

// overall tests the shift of all endpoints together: the mean over endpoints in
// each round, so that a small change everywhere is seen. Its floors are lower
// than those of one endpoint, as is what it takes for noise. The times are
// geometric means, whose ratio is what the mean of logarithms estimates.
func (s speeds) overall() (shiftTest, Quantile) {
	base, head, n := 0.0, 0.0, 0.0
	for _, t := range s.p50 {
		if t.baseMS > 0 && t.headMS > 0 {
			base, head, n = base+math.Log(t.baseMS), head+math.Log(t.headMS), n+1
		}
	}
	t := newShiftTest(together(s.Series, s.Rounds), math.Exp(base/max(1, n)), math.Exp(head/max(1, n)))
	o := s.opts
	o.FloorShare = s.overallFloor()
	q := t.verdict(t.p, s.overallNoise(), 1, o)
	if s.floor > o.MaxNoise {
		q.Verdict = SpeedInconclusive
	}
	return t, q
}

// overallShare is the floor of all endpoints together as a part of that of one:
// identical programs differ far less in the mean over endpoints.
const overallShare = 1.0 / 3

func (s speeds) overallFloor() float64 { return max(overallShare*s.opts.FloorShare, s.overallNoise()) }

// overallNoise is the floor of noise for all endpoints together.
func (s speeds) overallNoise() float64 {
	return systematic(together(s.Control, s.Rounds))
}

// latency judges all endpoints.
func (r *run) latency() ([]Endpoint, Latency) {
	l := Latency{Rounds: len(r.in.Rounds), Seed: r.in.Seed, Stopped: r.in.Stopped}
	l.Overall = shiftTest{p: math.NaN()}.verdict(1, 0, 1, r.opts.Latency)
	if len(r.in.Rounds) == 0 {
		l.Note = "latency was not measured"
		return []Endpoint{}, l
	}
	l.SendLagP50MS, l.SendLagP99MS = sendLag(r.in.Rounds)
	return judgeSpeed(r.measure(r.in.Rounds), r.measure(r.in.Confirm), r.opts.Latency, l)
}

// JudgeSpeed is the judgement of [Run] on speed alone. Confirm holds the fresh
// rounds, none if it is empty.
func JudgeSpeed(m, confirm Measurement, opts Options) ([]Endpoint, Latency) {
	return judgeSpeed(m, confirm, opts.withDefaults().Latency, Latency{Rounds: m.Rounds})
}

func judgeSpeed(m, confirm Measurement, o LatencyOptions, l Latency) ([]Endpoint, Latency) {
	s := newSpeeds(m, o)
	l.NoiseFloor, l.NoiseOfRun, l.NoiseRuns = s.floor, m.noise(), len(o.History)
	for _, e := range m.Series {
		l.Pairs += e.pairs()
	}
	endpoints := s.endpoints()
	_, l.Overall = s.overall()
	confirmSpeed(endpoints, &l.Overall, confirm)
	switch {
	case l.Pairs == 0:
		l.Note = "no pair of requests was valid"
	case l.SendLagP50MS > lateShare*l.Overall.BaseMS:
		// The times of pairs count from sending: a sender that is late now and
		// then does not spoil them, one that is late as a rule does.
		l.Note = late(l.SendLagP50MS, l.Overall.BaseMS)
		l.Overall.Verdict = SpeedInconclusive
		for i := range endpoints {
			endpoints[i].P50.Verdict, endpoints[i].P90.Verdict = SpeedInconclusive, SpeedInconclusive
			endpoints[i].Note = "the sender was too late to judge"
		}
	case s.floor > o.MaxNoise:
		l.Note = fmt.Sprintf("the machine is too noisy: base differs from itself by %.0f %%", 100*s.floor)
	case m.Rounds < minRounds:
		l.Note = fmt.Sprintf("%s measured, a verdict needs %d", plural(m.Rounds, "round"), minRounds)
	}
	return endpoints, l
}

// confirmSpeed takes back the verdicts that do not keep their sign in three
// quarters of the fresh rounds.
func confirmSpeed(endpoints []Endpoint, overall *Quantile, confirm Measurement) {
	if confirm.Rounds == 0 {
		return
	}
	overall.keep(together(confirm.Series, confirm.Rounds))
	fresh := make(map[string]Series)
	for _, s := range confirm.Series {
		fresh[s.Endpoint] = s
	}
	for i := range endpoints {
		e := &endpoints[i]
		s, ok := fresh[e.Endpoint]
		if !ok {
			continue // pooled with others now; nothing is known against it
		}
		p50, p90 := s.shifts()
		kept50, kept90 := e.P50.keep(p50), e.P90.keep(p90)
		if !kept50 || !kept90 {
			e.Note = "a change was seen, but not in fresh rounds"
		}
	}
}

// keep reports whether a change keeps its sign in three quarters of the fresh
// shifts, and takes the verdict back where it does not.
func (q *Quantile) keep(shifts []float64) bool {
	kept := 0
	for _, s := range shifts {
		if q.Verdict == Slower && s > 0 || q.Verdict == Faster && s < 0 {
			kept++
		}
	}
	if !changed(q.Verdict) || len(shifts) == 0 || kept*4 >= len(shifts)*3 {
		return true
	}
	q.Verdict = SpeedInconclusive
	return false
}
