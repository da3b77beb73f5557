package analysis

import (
	"cmp"
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

// Measurement is what rounds say of the speed of two arms, summed up: all that
// a verdict is made of. [Measure] makes one of the times of single requests.
type Measurement struct {
	Rounds int // that were measured
	// Series compares head with base, Control the second instance of base
	// with base; both in the order of the endpoints' names.
	Series, Control []Series
}

// Series is what rounds say of one endpoint.
type Series struct {
	Endpoint string
	Rounds   []RoundShift // in their order
	Times    Times        // of all requests together
}

// RoundShift is what one round says of one endpoint.
type RoundShift struct {
	Round int // its place among all rounds, from 0
	Pairs int
	// P50 is the median of the pair log ratios, P90 the log ratio of the
	// Harrell-Davis quantiles; NaN where there are too few pairs for it.
	P50, P90 float64
	// BaseMS and HeadMS are the medians.
	BaseMS, HeadMS float64
}

// Times are quantiles of requests in milliseconds.
type Times struct {
	Base50, Base90, Head50, Head90 float64
	Tail                           Tail
}

// Measure sums up rounds. Endpoints with fewer pairs than the options ask for
// are put together.
func Measure(rounds []Round, opts Options) Measurement {
	return newRun(Input{}, opts).measure(rounds)
}

func (r *run) measure(rounds []Round) Measurement {
	name := func(p Pair) string {
		if p.Endpoint != "" {
			return p.Endpoint
		}
		return cmp.Or(r.endpoints[p.Recorded], otherEndpoints)
	}
	least := r.opts.Latency.MinPairs
	return Measurement{
		Rounds:  len(rounds),
		Series:  sumUp(rounds, func(r Round) []Pair { return r.HeadVsBase }, name, least),
		Control: sumUp(rounds, func(r Round) []Pair { return r.ControlVsBase }, name, least/2),
	}
}

// Between returns the rounds from one up to but without another as a
// measurement of their own. Times stay those of all requests, which are not
// kept by round.
func (m Measurement) Between(from, to int) Measurement {
	cut := func(all []Series) []Series {
		var out []Series
		for _, s := range all {
			part := Series{Endpoint: s.Endpoint, Times: s.Times}
			for _, r := range s.Rounds {
				if r.Round >= from && r.Round < to {
					r.Round -= from
					part.Rounds = append(part.Rounds, r)
				}
			}
			if len(part.Rounds) > 0 {
				out = append(out, part)
			}
		}
		return out
	}
	return Measurement{Rounds: max(0, min(m.Rounds, to)-from), Series: cut(m.Series), Control: cut(m.Control)}
}

// timing holds the times of one endpoint in milliseconds, by round.
type timing struct {
	endpoint string
	rounds   []roundTimes
}

type roundTimes struct {
	number int
	a, b   []float64
}

// sumUp collects valid pairs by endpoint and sums them up. Endpoints with fewer
// than least pairs are pooled and come last.
func sumUp(rounds []Round, pick func(Round) []Pair, name func(Pair) string, least int) []Series {
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
	out := make([]Series, 0, len(at))
	for _, t := range at {
		out = append(out, t.series())
	}
	slices.SortFunc(out, func(a, b Series) int {
		if (a.Endpoint == otherEndpoints) != (b.Endpoint == otherEndpoints) {
			if a.Endpoint == otherEndpoints {
				return 1
			}
			return -1
		}
		return compareStrings(a.Endpoint, b.Endpoint)
	})
	return out
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (t *timing) series() Series {
	s := Series{Endpoint: t.endpoint}
	var a, b []float64
	for _, r := range t.rounds {
		shift := RoundShift{
			Round: r.number, Pairs: len(r.a), P50: math.NaN(), P90: math.NaN(),
			BaseMS: stats.Median(r.a), HeadMS: stats.Median(r.b),
		}
		if len(r.a) >= pairsForP50 {
			shift.P50, _ = stats.MedianLogRatio(r.a, r.b)
		}
		if len(r.a) >= pairsForP90 {
			shift.P90 = math.Log(stats.HarrellDavis(r.b, 0.9) / stats.HarrellDavis(r.a, 0.9))
		}
		s.Rounds = append(s.Rounds, shift)
		a, b = append(a, r.a...), append(b, r.b...)
	}
	slices.Sort(a)
	slices.Sort(b)
	s.Times = Times{
		Base50: stats.SortedQuantile(a, 0.5), Base90: stats.SortedQuantile(a, 0.9),
		Head50: stats.SortedQuantile(b, 0.5), Head90: stats.SortedQuantile(b, 0.9),
		Tail: tail(a, b),
	}
	return s
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

// pairs counts the pairs of all rounds.
func (s Series) pairs() int {
	n := 0
	for _, r := range s.Rounds {
		n += r.Pairs
	}
	return n
}

// shifts returns the estimates of the rounds that have them.
func (s Series) shifts() (p50, p90 []float64) {
	for _, r := range s.Rounds {
		if !math.IsNaN(r.P50) {
			p50 = append(p50, r.P50)
		}
		if !math.IsNaN(r.P90) {
			p90 = append(p90, r.P90)
		}
	}
	return p50, p90
}

// together returns for each round the mean shift of all endpoints.
func together(all []Series, rounds int) []float64 {
	sum, n := make([]float64, rounds), make([]int, rounds)
	for _, s := range all {
		for _, r := range s.Rounds {
			if !math.IsNaN(r.P50) {
				sum[r.Round] += r.P50
				n[r.Round]++
			}
		}
	}
	var shifts []float64
	for k := range n {
		if n[k] > 0 {
			shifts = append(shifts, sum[k]/float64(n[k]))
		}
	}
	return shifts
}

// noise is the share by which base differs from a second instance of itself
// beyond what the spread of its rounds explains: 95 % of endpoints with a
// systematic difference of the size estimated lie below it.
func (m Measurement) noise() float64 {
	var all [][]float64
	for _, s := range m.Control {
		p50, _ := s.shifts()
		all = append(all, p50)
	}
	return systematic(all...)
}

// systematic is the size of the differences behind series of shifts, of which
// each shows one, as a share that 95 % of them do not exceed. The estimate takes
// the expected square of the sampling error away from the square of each shift,
// because the control has a quarter of the pairs, and its mere imprecision is
// no reason to overlook a change of head, whose own imprecision is in its test.
func systematic(all ...[]float64) float64 {
	sum, n := 0.0, 0
	for _, shifts := range all {
		if len(shifts) < minRounds {
			continue
		}
		estimate, ci := stats.HodgesLehmann(shifts, 0.95)
		se := (ci.High - ci.Low) / (2 * 1.96)
		sum += estimate*estimate - se*se
		n++
	}
	if n == 0 || sum <= 0 {
		return 0
	}
	return math.Expm1(1.96 * math.Sqrt(sum/float64(n)))
}

// leastHistory is how many earlier runs must be known before their noise counts.
const leastHistory = 5

// pastNoise is the floor that earlier runs give: what 95 % of them did not
// exceed.
func (o LatencyOptions) pastNoise() float64 {
	if len(o.History) < leastHistory {
		return 0
	}
	return min(stats.Quantile(o.History, 0.95), o.MaxNoise)
}
