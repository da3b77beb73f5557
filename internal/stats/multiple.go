package stats

import (
	"math"
	"slices"
)

// BenjaminiHochberg returns the p-values adjusted for the false discovery rate,
// in the order given: p(i) m / i, made monotone from the largest down. Y.
// Benjamini and Y. Hochberg, Journal of the Royal Statistical Society B 57
// (1995). A NaN stays NaN and does not count as a test.
func BenjaminiHochberg(ps []float64) []float64 {
	out := slices.Clone(ps)
	var order []int
	for i, p := range ps {
		if !math.IsNaN(p) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case ps[i] < ps[j]:
			return -1
		case ps[i] > ps[j]:
			return 1
		}
		return i - j
	})
	least := 1.0
	for rank := len(order); rank >= 1; rank-- {
		i := order[rank-1]
		least = min(least, ps[i]*float64(len(order))/float64(rank))
		out[i] = least
	}
	return out
}

// RoundsFor returns how many rounds a two-sided sign-flip test needs to survive
// the adjustment for m tests at level q: the smallest p-value of K rounds is
// 2^(1-K), and 2^(1-K) <= q/m gives K >= 1 + log2(m/q).
func RoundsFor(m int, q float64) int {
	if m < 1 {
		m = 1
	}
	return int(math.Ceil(1 + math.Log2(float64(m)/q)))
}

// Detectable returns the smallest shift of the mean that n values with standard
// deviation sd show with a power of 80 % at the two-sided level alpha:
// (z(1-alpha/2) + z(0.8)) sd / sqrt(n). J. Cohen, "Statistical Power Analysis
// for the Behavioral Sciences" (1988), in its normal approximation. It returns
// +Inf for fewer than two values.
func Detectable(sd float64, n int, alpha float64) float64 {
	if n < 2 || math.IsNaN(sd) {
		return math.Inf(1)
	}
	const power = 0.8416212 // z(0.8)
	return (math.Sqrt2*math.Erfinv(1-alpha) + power) * sd / math.Sqrt(float64(n))
}

// Spend returns how much of the error rate alpha may be used up after the share
// t of the planned rounds: the O'Brien-Fleming spending function of K. K. G.
// Lan and D. L. DeMets, Biometrika 70 (1983), 2 - 2 Phi(z(1-alpha/2)/sqrt(t)).
// A look may use what was added since the look before it; the sum over all
// looks is alpha, so peeking is paid for whatever the looks have in common.
func Spend(alpha, t float64) float64 {
	switch {
	case t <= 0:
		return 0
	case t >= 1:
		return alpha
	}
	z := math.Sqrt2 * math.Erfinv(1-alpha)
	return math.Erfc(z / math.Sqrt(t) / math.Sqrt2)
}

// FisherGreater returns the one-sided p-value of Fisher's exact test that the
// share a of a+b is greater than the share c of c+d: R. A. Fisher, "Statistical
// Methods for Research Workers" (1934), as the upper tail of the hypergeometric
// distribution. It returns 1 when a row is empty or a count negative.
func FisherGreater(a, b, c, d int) float64 {
	if a < 0 || b < 0 || c < 0 || d < 0 || a+b == 0 || c+d == 0 {
		return 1
	}
	row, col, n := a+b, a+c, a+b+c+d
	p := 0.0
	for k := a; k <= min(row, col); k++ {
		p += math.Exp(lchoose(col, k) + lchoose(n-col, row-k) - lchoose(n, row))
	}
	return min(p, 1)
}

// lchoose returns the logarithm of n over k, -Inf where it is zero.
func lchoose(n, k int) float64 {
	if k < 0 || k > n {
		return math.Inf(-1)
	}
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
