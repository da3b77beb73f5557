package main

import (
	"math"
	"slices"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/stats"
)

// rule is a way of telling from a session which endpoints became slower.
type rule struct {
	name   string
	slower func(session) []string
}

// rules are reprise's own and the usual ones, on the same measurements.
var rules = []rule{
	{"reprise", own},
	{"p95 > 10 %, one after the other", func(s session) []string { return p95(s.before, s.after) }},
	{"p95 > 10 %, interleaved", func(s session) []string { return p95(s.interleaved()) }},
	{"Mann-Whitney, one after the other", func(s session) []string { return rankSum(s.before, s.after, 0) }},
	{"Mann-Whitney, interleaved", func(s session) []string { return rankSum2(s, 0) }},
	{"Mann-Whitney and 3 %, interleaved", func(s session) []string { return rankSum2(s, 0.03) }},
	{"benchstat on round medians", benchstat},
	{"Kayenta's judge, interleaved", kayenta},
}

// own is what a run would report.
func own(s session) []string {
	result := analysis.Run(analysis.Input{Rounds: s.rounds, Confirm: s.confirm}, options)
	var out []string
	for _, f := range result.Findings {
		if f.Change == analysis.ChangeSlower {
			out = append(out, f.Endpoint)
		}
	}
	return out
}

// each collects the endpoints for which a judgement of two samples holds.
func each(base, head map[string][]float64, slower func(a, b []float64) bool) []string {
	var out []string
	for e := range base {
		if slower(base[e], head[e]) {
			out = append(out, e)
		}
	}
	slices.Sort(out)
	return out
}

func p95(base, head map[string][]float64) []string {
	return each(base, head, func(a, b []float64) bool { return stats.Quantile(b, 0.95) > 1.10*stats.Quantile(a, 0.95) })
}

// rankSum calls an endpoint slower when the test says different, its median
// grew, and grew by more than floor.
func rankSum(base, head map[string][]float64, floor float64) []string {
	return each(base, head, func(a, b []float64) bool {
		return stats.Median(b) > (1+floor)*stats.Median(a) && stats.MannWhitney(a, b) < 0.05
	})
}

func rankSum2(s session, floor float64) []string {
	base, head := s.interleaved()
	return rankSum(base, head, floor)
}

// benchstat treats each round as one run of a benchmark: the medians of rounds
// are the samples, and there is no correction for the number of endpoints.
func benchstat(s session) []string {
	base, head := map[string][]float64{}, map[string][]float64{}
	for _, r := range s.rounds {
		one := session{rounds: []analysis.Round{r}}
		a, b := one.interleaved()
		for e := range a {
			base[e], head[e] = append(base[e], stats.Median(a[e])), append(head[e], stats.Median(b[e]))
		}
	}
	return rankSum(base, head, 0)
}

// kayenta is the rule of Netflix's automated canary analysis: different when
// the 98 % interval of the Hodges-Lehmann shift lies beyond a quarter of the
// shift itself. The shift is estimated over 300 requests of each arm at
// most, since its cost grows with the square of their number.
func kayenta(s session) []string {
	base, head := s.interleaved()
	return each(base, head, func(a, b []float64) bool {
		a, b = thin(a, 300), thin(b, 300)
		var d []float64
		for _, x := range a {
			for _, y := range b {
				d = append(d, y-x)
			}
		}
		slices.Sort(d)
		shift := stats.SortedQuantile(d, 0.5)
		// The interval inverts the rank-sum test in its normal approximation.
		n, m := float64(len(a)), float64(len(b))
		half := 2.326 * math.Sqrt(n*m*(n+m+1)/12)
		low := d[max(0, min(len(d)-1, int(n*m/2-half)))]
		return shift > 0 && low > 0.25*shift
	})
}

func thin(xs []float64, n int) []float64 {
	if len(xs) <= n {
		return xs
	}
	out := make([]float64, 0, n)
	for i := range n {
		out = append(out, xs[i*len(xs)/n])
	}
	return out
}
