package stats

import (
	"math"
	"slices"
)

// Interval is a confidence interval. Confidence is what it attains, which is
// less than was asked for when there are too few values to attain it.
type Interval struct {
	Low, High  float64
	Confidence float64
}

// HodgesLehmann returns the median of the Walsh averages (x_i + x_j)/2, i <= j,
// and the interval of the shift that inverts the exact signed-rank test: J. L.
// Hodges and E. L. Lehmann, Annals of Mathematical Statistics 34 (1963); the
// interval as in Hollander, Wolfe and Chicken, "Nonparametric Statistical
// Methods", §3.3. The interval is not wider than the range of xs; fewer than
// six values cannot attain 95 %. All results are NaN for no values.
func HodgesLehmann(xs []float64, confidence float64) (estimate float64, ci Interval) {
	n := len(xs)
	if n == 0 {
		nan := math.NaN()
		return nan, Interval{nan, nan, 0}
	}
	walsh := make([]float64, 0, n*(n+1)/2)
	for i := range xs {
		for j := i; j < n; j++ {
			walsh = append(walsh, (xs[i]+xs[j])/2)
		}
	}
	slices.Sort(walsh)
	ranks := make([]int, n)
	for i := range ranks {
		ranks[i] = 2 * (i + 1)
	}
	null := signNull(ranks)
	// The interval runs from the d-th smallest to the d-th largest average,
	// with the largest d for which P(T < d) is at most (1-confidence)/2.
	d, tail := 0, 0.0
	for d < len(walsh)/2 {
		next := tail + null[2*d]
		if next > (1-confidence)/2 {
			break
		}
		tail = next
		d++
	}
	if d == 0 {
		d, tail = 1, null[0]
	}
	return SortedQuantile(walsh, 0.5), Interval{walsh[d-1], walsh[len(walsh)-d], max(0, 1-2*tail)}
}

// SignFlip returns the exact p-values of the signed-rank sum T under random
// signs: the share of the 2^n ways to flip signs whose sum of positive ranks is
// at least (greater), or at most (less), the one observed. twoSided is twice
// the smaller one, at most 1. F. Wilcoxon, Biometrics Bulletin 1 (1945); the
// distribution by dynamic programming over doubled mid-ranks, so ties are exact
// too; zeros keep their rank but count for neither side (J. W. Pratt, JASA 54,
// 1959). All are 1 for no values.
func SignFlip(xs []float64) (greater, less, twoSided float64) {
	ranks := midRanks(xs)
	var flips []int
	observed, total := 0, 0
	for i, x := range xs {
		if x == 0 {
			continue
		}
		flips = append(flips, ranks[i])
		total += ranks[i]
		if x > 0 {
			observed += ranks[i]
		}
	}
	null := signNull(flips)
	for t := observed; t <= total; t++ {
		greater += null[t]
	}
	for t := 0; t <= observed; t++ {
		less += null[t]
	}
	greater, less = min(greater, 1), min(less, 1)
	return greater, less, min(1, 2*min(greater, less))
}

// midRanks returns twice the mid-rank of each |x|, so that it is an integer.
func midRanks(xs []float64) []int {
	order := make([]int, len(xs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch a, b := math.Abs(xs[i]), math.Abs(xs[j]); {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	})
	ranks := make([]int, len(xs))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && math.Abs(xs[order[to]]) == math.Abs(xs[order[from]]) {
			to++
		}
		for _, i := range order[from:to] {
			ranks[i] = from + 1 + to // first rank plus last rank
		}
		from = to
	}
	return ranks
}

// signNull returns the distribution of the sum of ranks whose sign is positive
// when each sign is a fair coin: null[t] = P(sum = t).
func signNull(ranks []int) []float64 {
	total := 0
	for _, r := range ranks {
		total += r
	}
	null := make([]float64, total+1)
	null[0] = 1
	reach := 0
	for _, r := range ranks {
		reach += r
		for t := reach; t >= 0; t-- {
			v := null[t] / 2
			if t >= r {
				v += null[t-r] / 2
			}
			null[t] = v
		}
	}
	return null
}
