package analysis

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/stats"
)

// The names under which endpoints are judged together.
const (
	otherEndpoints = "other endpoints" // those with too few pairs of their own
	allEndpoints   = "all endpoints"
)

// How many pairs a round needs before its quantiles mean anything.
const (
	pairsForP50 = 3
	pairsForP90 = 10
)

// minRounds is how many rounds attain an interval of 95 %.
const minRounds = 6

// timing is what was measured of one endpoint: in milliseconds, by round.
type timing struct {
	endpoint string
	rounds   []roundTimes
	pairs    int
}

type roundTimes struct {
	number int
	a, b   []float64
}

// timings collects valid pairs by endpoint, in a fixed order. Endpoints with
// fewer than least pairs are pooled.
func timings(rounds []Round, pick func(Round) []Pair, name func(Pair) string, least int) []*timing {
	at := make(map[string]*timing)
	add := func(endpoint string, number int, a, b float64) {
		t := at[endpoint]
		if t == nil {
			t = &timing{endpoint: endpoint}
			at[endpoint] = t
		}
		if n := len(t.rounds); n == 0 || t.rounds[n-1].number != number {
			t.rounds = append(t.rounds, roundTimes{number: number})
		}
		last := &t.rounds[len(t.rounds)-1]
		last.a, last.b = append(last.a, a), append(last.b, b)
		t.pairs++
	}
	count := make(map[string]int)
	each := func(f func(i int, endpoint string, a, b float64)) {
		for i, round := range rounds {
			for _, p := range pick(round) {
				if p.A > 0 && p.B > 0 {
					f(i, name(p), ms(p.A), ms(p.B))
				}
			}
		}
	}
	each(func(_ int, endpoint string, _, _ float64) { count[endpoint]++ })
	each(func(i int, endpoint string, a, b float64) {
		if count[endpoint] < least {
			endpoint = otherEndpoints
		}
		add(endpoint, i, a, b)
	})
	out := make([]*timing, 0, len(at))
	for _, t := range at {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *timing) int {
		if (a.endpoint == otherEndpoints) != (b.endpoint == otherEndpoints) {
			if a.endpoint == otherEndpoints {
				return 1
			}
			return -1
		}
		return compareStrings(a.endpoint, b.endpoint)
	})
	return out
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// shifts returns the estimate of each round: the median of the pair log ratios
// for p50, the log ratio of Harrell-Davis quantiles for p90.
func (t *timing) shifts() (p50, p90 []float64) {
	for _, r := range t.rounds {
		if len(r.a) >= pairsForP50 {
			d, _ := stats.MedianLogRatio(r.a, r.b)
			p50 = append(p50, d)
		}
		if len(r.a) >= pairsForP90 {
			p90 = append(p90, math.Log(stats.HarrellDavis(r.b, 0.9)/stats.HarrellDavis(r.a, 0.9)))
		}
	}
	return p50, p90
}

// pooled returns all times of both arms in ascending order.
func (t *timing) pooled() (a, b []float64) {
	for _, r := range t.rounds {
		a, b = append(a, r.a...), append(b, r.b...)
	}
	slices.Sort(a)
	slices.Sort(b)
	return a, b
}

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
		q.Detectable = math.Expm1(max(floor, stats.Detectable(t.sd, t.rounds)))
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

// latency judges all endpoints.
func (r *run) latency() ([]Endpoint, Latency) {
	o := r.opts.Latency
	l := Latency{Rounds: len(r.in.Rounds), Seed: r.in.Seed, Stopped: r.in.Stopped}
	l.Overall = shiftTest{p: math.NaN()}.verdict(1, 0, 1, o)
	if len(r.in.Rounds) == 0 {
		l.Note = "latency was not measured"
		return []Endpoint{}, l
	}
	var lag []float64
	for _, round := range r.in.Rounds {
		for _, d := range round.SendLag {
			lag = append(lag, ms(d))
		}
	}
	if len(lag) > 0 {
		l.SendLagP50MS, l.SendLagP99MS = stats.Quantile(lag, 0.5), stats.Quantile(lag, 0.99)
	}
	m := r.measure(r.in.Rounds)
	l.NoiseFloor = m.noise
	for _, t := range m.timings {
		l.Pairs += t.pairs
	}
	endpoints := m.endpoints(o)
	l.Overall = m.overall(o)
	r.confirm(endpoints, &l.Overall)
	switch {
	case l.Pairs == 0:
		l.Note = "no pair of requests was valid"
	case m.noise > o.MaxNoise:
		l.Note = fmt.Sprintf("the machine is too noisy: base differs from itself by %.0f %%", 100*m.noise)
	case len(r.in.Rounds) < minRounds:
		l.Note = fmt.Sprintf("%s measured, a verdict needs %d", plural(len(r.in.Rounds), "round"), minRounds)
	}
	return endpoints, l
}

// measurement holds the timings of a run and its noise floor.
type measurement struct {
	timings  []*timing
	noise    float64 // share
	p50, p90 []shiftTest
	adjusted []float64 // for p50 and p90 in turn
}

func (r *run) measure(rounds []Round) measurement {
	name := func(p Pair) string {
		if p.Endpoint != "" {
			return p.Endpoint
		}
		return cmp.Or(r.endpoints[p.Recorded], otherEndpoints)
	}
	o := r.opts.Latency
	m := measurement{timings: timings(rounds, func(r Round) []Pair { return r.HeadVsBase }, name, o.MinPairs)}
	m.noise = noiseFloor(timings(rounds, func(r Round) []Pair { return r.ControlVsBase }, name, o.MinPairs/2))
	var ps []float64
	for _, t := range m.timings {
		p50, p90 := t.shifts()
		a, b := t.pooled()
		m.p50 = append(m.p50, newShiftTest(p50, stats.SortedQuantile(a, 0.5), stats.SortedQuantile(b, 0.5)))
		m.p90 = append(m.p90, newShiftTest(p90, stats.SortedQuantile(a, 0.9), stats.SortedQuantile(b, 0.9)))
		ps = append(ps, m.p50[len(m.p50)-1].p, m.p90[len(m.p90)-1].p)
	}
	m.adjusted = stats.BenjaminiHochberg(ps)
	return m
}

// noiseFloor is the share by which base differs from a second instance of
// itself beyond what the spread of its rounds explains: 95 % of endpoints with a
// systematic difference of the size estimated lie below it. The estimate takes
// the expected square of the sampling error away from the square of each shift,
// because the control has a quarter of the pairs, and its mere imprecision is
// no reason to overlook a change of head, whose own imprecision is in its test.
func noiseFloor(control []*timing) float64 {
	sum, n := 0.0, 0
	for _, t := range control {
		p50, _ := t.shifts()
		if len(p50) < minRounds {
			continue
		}
		estimate, ci := stats.HodgesLehmann(p50, 0.95)
		se := (ci.High - ci.Low) / (2 * 1.96)
		sum += estimate*estimate - se*se
		n++
	}
	if n == 0 || sum <= 0 {
		return 0
	}
	return math.Expm1(1.96 * math.Sqrt(sum/float64(n)))
}

// tests counts the tests that the adjustment is for.
func (m measurement) tests() int {
	n := 0
	for _, p := range m.adjusted {
		if !math.IsNaN(p) {
			n++
		}
	}
	return n
}

func (m measurement) endpoints(o LatencyOptions) []Endpoint {
	out := make([]Endpoint, 0, len(m.timings))
	tests := m.tests()
	for i, t := range m.timings {
		e := Endpoint{Endpoint: t.endpoint, Requests: t.pairs}
		e.P50 = m.p50[i].verdict(m.adjusted[2*i], m.noise, tests, o)
		e.P90 = m.p90[i].verdict(m.adjusted[2*i+1], m.noise, tests, o)
		a, b := t.pooled()
		e.P99 = tail(a, b)
		for _, r := range t.rounds {
			e.RoundsBaseMS = append(e.RoundsBaseMS, stats.Median(r.a))
			e.RoundsHeadMS = append(e.RoundsHeadMS, stats.Median(r.b))
		}
		switch need := stats.RoundsFor((tests+1)/2, o.Level); {
		case m.noise > o.MaxNoise:
			e.Note = "the machine is too noisy to judge"
		case m.p50[i].rounds < need:
			e.Note = fmt.Sprintf("%s measured; a change among %d tests needs %d", plural(m.p50[i].rounds, "round"), tests, need)
		}
		out = append(out, e)
	}
	return out
}

// tail compares the 99th percentiles; each has an interval of 97.5 %, so that
// their ratio has one of at least 95 %.
func tail(a, b []float64) Tail {
	t := Tail{BaseMS: stats.SortedQuantile(a, 0.99), HeadMS: stats.SortedQuantile(b, 0.99)}
	t.Ratio = t.HeadMS / t.BaseMS
	la, ha := stats.QuantileInterval(a, 0.99, 0.975)
	lb, hb := stats.QuantileInterval(b, 0.99, 0.975)
	t.CI = [2]float64{lb / ha, hb / la}
	return t
}

// overall tests the shift of all endpoints together: the mean over endpoints in
// each round, so that a small change everywhere is seen.
func (m measurement) overall(o LatencyOptions) Quantile {
	baseMS, headMS := 0.0, 0.0
	for i := range m.timings {
		baseMS, headMS = baseMS+m.p50[i].baseMS/float64(len(m.timings)), headMS+m.p50[i].headMS/float64(len(m.timings))
	}
	t := newShiftTest(m.overallShifts(), baseMS, headMS)
	return t.verdict(t.p, m.noise, 1, o)
}

func (m measurement) overallShifts() []float64 {
	sum, n := make(map[int]float64), make(map[int]int)
	for _, t := range m.timings {
		for _, r := range t.rounds {
			if len(r.a) >= pairsForP50 {
				d, _ := stats.MedianLogRatio(r.a, r.b)
				sum[r.number] += d
				n[r.number]++
			}
		}
	}
	var shifts []float64
	for k := range n {
		shifts = append(shifts, sum[k]/float64(n[k]))
	}
	slices.Sort(shifts) // the order of rounds does not matter, that of maps must not
	return shifts
}
