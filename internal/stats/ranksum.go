package stats

import (
	"math"
	"slices"
)

// exactRankSum is the largest product of sample sizes for which the
// distribution of U is counted out.
const exactRankSum = 2500

// MannWhitney returns the two-sided p-value that two samples come from one
// distribution: H. B. Mann and D. R. Whitney, Annals of Mathematical Statistics
// 18 (1947). Small samples without ties have the exact distribution, others the
// normal approximation with the correction for ties. It takes the values as
// independent, which latencies of consecutive requests are not: it is here to be
// compared with. It returns 1 for an empty sample.
func MannWhitney(xs, ys []float64) float64 {
	n, m := len(xs), len(ys)
	if n == 0 || m == 0 {
		return 1
	}
	type value struct {
		v float64
		x bool
	}
	all := make([]value, 0, n+m)
	for _, x := range xs {
		all = append(all, value{x, true})
	}
	for _, y := range ys {
		all = append(all, value{y, false})
	}
	slices.SortFunc(all, func(a, b value) int {
		switch {
		case a.v < b.v:
			return -1
		case a.v > b.v:
			return 1
		}
		return 0
	})
	ranks, ties := 0.0, 0.0 // the rank sum of xs; the sum of t^3 - t over ties
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && all[to].v == all[from].v {
			to++
		}
		t := float64(to - from)
		ties += t*t*t - t
		for _, v := range all[from:to] {
			if v.x {
				ranks += float64(from+to+1) / 2
			}
		}
		from = to
	}
	u := ranks - float64(n*(n+1))/2
	u = min(u, float64(n*m)-u)
	if ties == 0 && n*m <= exactRankSum {
		return min(1, 2*rankSumTail(n, m, int(u)))
	}
	size := float64(n + m)
	sigma := math.Sqrt(float64(n*m) / 12 * (size + 1 - ties/(size*(size-1))))
	if sigma == 0 {
		return 1
	}
	z := max(0, float64(n*m)/2-u-0.5) / sigma
	return math.Erfc(z / math.Sqrt2)
}

// rankSumTail returns P(U <= u) by counting: the number of ways in which U is k
// for sizes n and m is that for n-1 and m at k-m plus that for n and m-1 at k.
func rankSumTail(n, m, u int) float64 {
	ways := make([][]float64, m+1) // for the current n, by m and k
	for j := range ways {
		ways[j] = make([]float64, u+1)
		ways[j][0] = 1
	}
	for range n {
		next := make([][]float64, m+1)
		for j := range next {
			next[j] = make([]float64, u+1)
			for k := 0; k <= u; k++ {
				if k >= j {
					next[j][k] = ways[j][k-j]
				}
				if j > 0 {
					next[j][k] += next[j-1][k]
				}
			}
		}
		ways = next
	}
	sum := 0.0
	for _, w := range ways[m] {
		sum += w
	}
	return sum / math.Exp(lchoose(n+m, n))
}
