package main

import (
	"math"
	"slices"

	"github.com/reprise-ci/reprise/internal/stats"
)

// rival is one of the usual ways of telling which endpoint became slower. Its
// score of an endpoint grows with the suspicion: the rule as it is used calls
// an endpoint slower when the score is above usual, and any other bound makes
// it more or less cautious. A score is -Inf where the endpoint became faster.
type rival struct {
	name  string
	usual float64
	// sequential rules judge one arm measured after the other, others the
	// paired requests of the first twelve rounds as if they were not paired.
	sequential bool
	score      func(samples) float64
}

// samples are the times of one endpoint in ms, base's and head's, and the same
// by round; the latter is empty for sequential measurements.
type samples struct {
	base, head []float64
	byRound    [][2][]float64
}

// significant is the bound of scores that are p-values: -log10 of 0.05.
var significant = -math.Log10(0.05)

var rivals = []rival{
	{"p95 > 10 %, one after the other", 0.10, true, p95},
	{"p95 > 10 %, interleaved", 0.10, false, p95},
	{"Mann-Whitney, one after the other", significant, true, rankSum},
	{"Mann-Whitney, interleaved", significant, false, rankSum},
	{"Mann-Whitney and 3 %, interleaved", significant, false, func(s samples) float64 {
		if stats.Median(s.head) <= 1.03*stats.Median(s.base) {
			return math.Inf(-1)
		}
		return rankSum(s)
	}},
	{"benchstat on round medians", significant, false, benchstat},
	{"Kayenta's judge, interleaved", 0.25, false, kayenta},
}

func p95(s samples) float64 {
	return stats.Quantile(s.head, 0.95)/stats.Quantile(s.base, 0.95) - 1
}

// rankSum is the surprise of the rank-sum test where the median grew.
func rankSum(s samples) float64 {
	if stats.Median(s.head) <= stats.Median(s.base) {
		return math.Inf(-1)
	}
	return -math.Log10(max(stats.MannWhitney(s.base, s.head), 1e-99))
}

// benchstat treats each round as one run of a benchmark: the medians of rounds
// are the samples, and there is no correction for the number of endpoints.
func benchstat(s samples) float64 {
	var medians samples
	for _, r := range s.byRound {
		medians.base, medians.head = append(medians.base, stats.Median(r[0])), append(medians.head, stats.Median(r[1]))
	}
	return rankSum(medians)
}

// kayenta is the rule of Netflix's automated canary analysis: different when
// the 98 % interval of the Hodges-Lehmann shift lies beyond a quarter of the
// shift itself; the score is that part. The shift is estimated over 300
// requests of each arm at most, since its cost grows with the square of their
// number.
func kayenta(s samples) float64 {
	a, b := thin(s.base, 300), thin(s.head, 300)
	d := make([]float64, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			d = append(d, y-x)
		}
	}
	slices.Sort(d)
	shift := stats.SortedQuantile(d, 0.5)
	if !(shift > 0) {
		return math.Inf(-1)
	}
	// The interval inverts the rank-sum test in its normal approximation.
	n, m := float64(len(a)), float64(len(b))
	half := 2.326 * math.Sqrt(n*m*(n+m+1)/12)
	return d[max(0, min(len(d)-1, int(n*m/2-half)))] / shift
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

// scores returns what the rivals make of a trial, by rival and endpoint; nil
// for sequential rules where nothing was measured one after the other.
func scores(t trial) [][]float64 {
	out := make([][]float64, len(rivals))
	for i, r := range rivals {
		if r.sequential && len(t.Before) == 0 {
			continue
		}
		for e := range t.Endpoints {
			var s samples
			if r.sequential {
				s.base, s.head = inMS(t.Before[e]), inMS(t.After[e])
			} else {
				for _, round := range t.Rounds[:min(trialRounds, len(t.Rounds))] {
					a, b := inMS(round.Base[e]), inMS(round.Head[e])
					s.base, s.head = append(s.base, a...), append(s.head, b...)
					s.byRound = append(s.byRound, [2][]float64{a, b})
				}
			}
			out[i] = append(out[i], r.score(s))
		}
	}
	return out
}

func inMS(ticks []int32) []float64 {
	out := make([]float64, len(ticks))
	for i, v := range ticks {
		out[i] = float64(v) * ms(tick)
	}
	return out
}
