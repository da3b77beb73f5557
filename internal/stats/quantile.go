// Package stats holds the arithmetic behind the verdicts on latency and on
// counts. Every function is pure, works on plain numbers and says where its
// formula comes from. Callers bring samples that may be treated as exchangeable
// (rounds, not single requests); the package cannot check that.
package stats

import (
	"math"
	"slices"
)

// Quantile returns the p-quantile of xs by linear interpolation of the order
// statistics: type 7 of Hyndman and Fan, "Sample Quantiles in Statistical
// Packages", The American Statistician 50 (1996). xs need not be sorted and is
// not changed. It returns NaN for no values, and clamps p to [0, 1].
func Quantile(xs []float64, p float64) float64 {
	s := slices.Clone(xs)
	slices.Sort(s)
	return SortedQuantile(s, p)
}

// SortedQuantile is [Quantile] of values that are already in ascending order.
func SortedQuantile(s []float64, p float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	h := float64(len(s)-1) * min(max(p, 0), 1)
	i := int(h)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (h-float64(i))*(s[i+1]-s[i])
}

// Median returns the 0.5-quantile of xs.
func Median(xs []float64) float64 { return Quantile(xs, 0.5) }

// HarrellDavis returns the p-quantile of xs as a weighted mean of all order
// statistics: F. E. Harrell and C. E. Davis, "A new distribution-free quantile
// estimator", Biometrika 69 (1982). Weight i of n is
// I(i/n; a, b) - I((i-1)/n; a, b) with a = p(n+1), b = (1-p)(n+1) and I the
// regularised incomplete beta function. It returns NaN for no values or for p
// outside of (0, 1).
func HarrellDavis(xs []float64, p float64) float64 {
	if len(xs) == 0 || !(p > 0 && p < 1) {
		return math.NaN()
	}
	s := slices.Clone(xs)
	slices.Sort(s)
	n := float64(len(s))
	a, b := p*(n+1), (1-p)*(n+1)
	sum, last := 0.0, 0.0
	for i, x := range s {
		next := BetaInc(a, b, float64(i+1)/n)
		sum += (next - last) * x
		last = next
	}
	return sum
}

// Mean returns the arithmetic mean, NaN for no values.
func Mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// StdDev returns the sample standard deviation (divisor n-1), NaN for fewer
// than two values.
func StdDev(xs []float64) float64 {
	if len(xs) < 2 {
		return math.NaN()
	}
	m, sum := Mean(xs), 0.0
	for _, x := range xs {
		sum += (x - m) * (x - m)
	}
	return math.Sqrt(sum / float64(len(xs)-1))
}

// MedianLogRatio returns the median of ln(b/a) over pairs: the shift of b
// against a that single slow requests cannot move. Pairs with a value that is
// not positive are left out; n is how many were used. The ratio is NaN for none.
func MedianLogRatio(a, b []float64) (ratio float64, n int) {
	d := make([]float64, 0, min(len(a), len(b)))
	for i := range min(len(a), len(b)) {
		if a[i] > 0 && b[i] > 0 {
			d = append(d, math.Log(b[i]/a[i]))
		}
	}
	return Median(d), len(d)
}

// QuantileInterval returns the distribution-free interval of the p-quantile of
// values in ascending order: the order statistics between which the number of
// values below the quantile, binomial with n and p, stays with the given
// confidence. H. A. David and H. N. Nagaraja, "Order Statistics" (2003), §7.1.
// It takes the values as independent and ends at the extremes where they are
// too few. It returns NaN for no values.
func QuantileInterval(s []float64, p, confidence float64) (low, high float64) {
	n := len(s)
	if n == 0 {
		return math.NaN(), math.NaN()
	}
	tail := (1 - confidence) / 2
	// below returns P(X <= k) for X binomial with n and p.
	below := func(k int) float64 {
		if k < 0 {
			return 0
		}
		if k >= n {
			return 1
		}
		return 1 - BetaInc(float64(k+1), float64(n-k), p)
	}
	first := func(ok func(int) bool) int { // the smallest k in [0, n] that is ok
		lo, hi := 0, n
		for lo < hi {
			mid := (lo + hi) / 2
			if ok(mid) {
				hi = mid
			} else {
				lo = mid + 1
			}
		}
		return lo
	}
	l := first(func(k int) bool { return below(k) > tail }) - 1
	h := first(func(k int) bool { return below(k) >= 1-tail })
	return s[min(max(l, 0), n-1)], s[min(h, n-1)]
}
