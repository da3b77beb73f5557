package stats_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/stats"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) != math.IsNaN(want) || math.Abs(got-want) > tolerance {
		t.Errorf("%s = %.10g, want %.10g", what, got, want)
	}
}

func TestQuantile(t *testing.T) {
	xs := []float64{4, 1, 3, 2}
	for _, tt := range []struct{ p, want float64 }{
		{0, 1}, {0.25, 1.75}, {0.5, 2.5}, {0.9, 3.7}, {1, 4}, // R: quantile(1:4, p)
	} {
		near(t, "Quantile", stats.Quantile(xs, tt.p), tt.want, 1e-12)
	}
	near(t, "Quantile of nothing", stats.Quantile(nil, 0.5), math.NaN(), 0)
	if !slices.Equal(xs, []float64{4, 1, 3, 2}) {
		t.Error("the argument was changed")
	}
}

func TestBetaInc(t *testing.T) {
	for _, tt := range []struct{ a, b, x, want float64 }{
		{1, 1, 0.3, 0.3},           // uniform
		{2, 1, 0.5, 0.25},          // x^2
		{2, 3, 0.4, 0.5248},        // 1 - (1-x)^3 (1+3x) = 1 - 0.216*2.2
		{0.5, 0.5, 0.5, 0.5},       // arcsine, symmetric
		{5, 3, 0.5, 29.0 / 128},    // binomial tail: P(X >= 5 of 7) = (21+7+1)/128
		{500, 500, 0.5, 0.5},       // symmetric, large
		{3, 2, 0, 0}, {3, 2, 1, 1}, // ends
	} {
		near(t, "BetaInc", stats.BetaInc(tt.a, tt.b, tt.x), tt.want, 1e-12)
	}
}

func TestHarrellDavis(t *testing.T) {
	// By hand for n = 2, p = 1/2: a = b = 1.5, the weights are equal.
	near(t, "n=2", stats.HarrellDavis([]float64{1, 3}, 0.5), 2, 1e-12)
	// For n = 3, p = 1/2: a = b = 2, I(x) = 3x^2 - 2x^3, so the weights are
	// 7/27, 13/27, 7/27.
	near(t, "n=3", stats.HarrellDavis([]float64{0, 1, 8}, 0.5), (13+7*8)/27.0, 1e-12)
	// n = 4, p = 0.6: a = 3, b = 2, I(x) = 4x^3 - 3x^4: 13/256, 67/256, 109/256, 67/256.
	near(t, "n=4", stats.HarrellDavis([]float64{1, 2, 4, 8}, 0.6), (13+134+436+536)/256.0, 1e-12)
	near(t, "p=1", stats.HarrellDavis([]float64{1}, 1), math.NaN(), 0)
}

func TestClopperPearson(t *testing.T) {
	for _, tt := range []struct {
		k, n      int
		low, high float64
	}{
		{0, 300, 0, 0.012221},       // 1 - 0.025^(1/300); the rule of three gives 1 %
		{0, 10, 0, 0.308497},        // table A of Clopper and Pearson
		{5, 10, 0.187086, 0.812914}, // same
		{10, 10, 0.691503, 1},       // same
		{1, 20, 0.001265, 0.248733}, // R: binom.test(1, 20)
		{95, 100, 0.887165, 0.983571} /* R: binom.test(95, 100) */} {
		low, high := stats.ClopperPearson(tt.k, tt.n, 0.95)
		near(t, "low", low, tt.low, 1e-5)
		near(t, "high", high, tt.high, 1e-5)
	}
}

func TestSignFlip(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		xs                      []float64
		greater, less, twoSided float64
	}{
		{"all positive", []float64{1, 2, 3, 4, 5, 6}, 1.0 / 64, 1, 2.0 / 64},
		{"all negative", []float64{-1, -2, -3}, 1, 1.0 / 8, 2.0 / 8},
		// T+ = 2+3 = 5 of 6: sums >= 5 are {2,3} and {1,2,3}.
		{"smallest negative", []float64{-1, 2, 3}, 2.0 / 8, 7.0 / 8, 4.0 / 8},
		// Mid-ranks 1.5, 1.5, 3: T+ = 4.5; {a,c}, {b,c}, {a,b,c} reach it.
		{"ties", []float64{1, -1, 2}, 3.0 / 8, 7.0 / 8, 6.0 / 8},
		// The zero keeps rank 1 and is not flipped: four ways, T+ = 5.
		{"zero", []float64{0, 1, 2}, 1.0 / 4, 1, 2.0 / 4},
		{"nothing", nil, 1, 1, 1},
		{"only zeros", []float64{0, 0}, 1, 1, 1},
	} {
		greater, less, two := stats.SignFlip(tt.xs)
		near(t, tt.name+" greater", greater, tt.greater, 1e-12)
		near(t, tt.name+" less", less, tt.less, 1e-12)
		near(t, tt.name+" two-sided", two, tt.twoSided, 1e-12)
	}
}

// The dynamic programme gives what counting all sign patterns gives.
func TestSignFlipAgainstEnumeration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xs := rapid.SliceOfN(rapid.Map(rapid.IntRange(-4, 4), func(i int) float64 { return float64(i) }), 1, 9).Draw(t, "xs")
		rank := func(x float64) float64 {
			below, same := 0, 0
			for _, y := range xs {
				switch {
				case math.Abs(y) < math.Abs(x):
					below++
				case math.Abs(y) == math.Abs(x):
					same++
				}
			}
			return float64(below) + float64(same+1)/2
		}
		sum := func(signs int) (s float64) {
			for i, x := range xs {
				if x != 0 && signs>>i&1 == 1 {
					s += rank(x)
				}
			}
			return s
		}
		observed := 0
		for i, x := range xs {
			if x > 0 {
				observed |= 1 << i
			}
		}
		atLeast, all := 0, 1<<len(xs)
		for signs := range all {
			if sum(signs) >= sum(observed)-1e-9 {
				atLeast++
			}
		}
		greater, _, _ := stats.SignFlip(xs)
		if want := float64(atLeast) / float64(all); math.Abs(greater-want) > 1e-9 {
			t.Fatalf("SignFlip(%v) = %v, counted %v", xs, greater, want)
		}
	})
}

func TestHodgesLehmann(t *testing.T) {
	// Walsh averages of 1, 2, 6: 1, 1.5, 2, 3.5, 4, 6.
	estimate, ci := stats.HodgesLehmann([]float64{6, 1, 2}, 0.95)
	near(t, "estimate", estimate, 2.75, 1e-12)
	near(t, "low", ci.Low, 1, 1e-12)
	near(t, "high", ci.High, 6, 1e-12)
	near(t, "attained", ci.Confidence, 0.75, 1e-12) // 1 - 2/8

	// Hollander, Wolfe and Chicken, table 3.1 (Hamilton depression scale,
	// n = 9): estimate -0.46, 96 % interval (-0.786, -0.010).
	depression := []float64{-0.952, 0.147, -1.022, -0.430, -0.620, -0.590, -0.490, 0.080, -0.010}
	estimate, ci = stats.HodgesLehmann(depression, 0.95)
	near(t, "estimate", estimate, -0.46, 5e-3)
	near(t, "low", ci.Low, -0.786, 5e-3)
	near(t, "high", ci.High, -0.010, 5e-3)
	near(t, "attained", ci.Confidence, 0.961, 1e-3)
	_, less, _ := stats.SignFlip(depression)
	near(t, "p", less, 0.0195, 1e-4) // the same example: T+ = 5, P = .020
}

// An interval that says 95 % covers the truth about as often.
func TestHodgesLehmannCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const sessions = 2000
	covered := 0
	for range sessions {
		xs := make([]float64, 10)
		for i := range xs {
			xs[i] = 0.3 + rng.NormFloat64()
		}
		if _, ci := stats.HodgesLehmann(xs, 0.95); ci.Low <= 0.3 && 0.3 <= ci.High {
			covered++
		}
	}
	low, high := stats.ClopperPearson(covered, sessions, 0.999)
	if low > 0.96 || high < 0.95 { // ten values attain 95.1 %
		t.Errorf("covered %d of %d", covered, sessions)
	}
}

func TestBenjaminiHochberg(t *testing.T) {
	// R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "BH")
	got := stats.BenjaminiHochberg([]float64{0.01, 0.04, math.NaN(), 0.03, 0.005})
	for i, want := range []float64{0.02, 0.04, math.NaN(), 0.04, 0.02} {
		near(t, "BenjaminiHochberg", got[i], want, 1e-12)
	}
	// Benjamini and Hochberg's own example of 15 tests: four are rejected at 5 %.
	ps := []float64{0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000}
	rejected := 0
	for _, p := range stats.BenjaminiHochberg(ps) {
		if p <= 0.05 {
			rejected++
		}
	}
	if rejected != 4 {
		t.Errorf("rejected %d of the 1995 example, want 4", rejected)
	}
}

func TestRoundsFor(t *testing.T) {
	for _, tt := range []struct {
		m    int
		want int
	}{{6, 8}, {25, 10}, {100, 12}, {1, 6}, {0, 6}} {
		if got := stats.RoundsFor(tt.m, 0.05); got != tt.want {
			t.Errorf("RoundsFor(%d, 5 %%) = %d, want %d", tt.m, got, tt.want)
		}
	}
}

func TestDetectable(t *testing.T) {
	near(t, "Detectable", stats.Detectable(1, 100, 0.05), 0.28016, 1e-4)
	near(t, "Detectable at 1 %", stats.Detectable(1, 100, 0.01), 0.34175, 1e-4)
	if !math.IsInf(stats.Detectable(1, 1, 0.05), 1) {
		t.Error("one value cannot show anything")
	}
}

func TestSpend(t *testing.T) {
	// Lan and DeMets: with z = 1.96, half of the way 2 - 2 Phi(2.772) = 0.00557.
	near(t, "Spend", stats.Spend(0.05, 0.5), 0.00557, 5e-5)
	near(t, "Spend at the end", stats.Spend(0.05, 1), 0.05, 0)
	near(t, "Spend at the start", stats.Spend(0.05, 0), 0, 0)
}

func TestFisherGreater(t *testing.T) {
	// Fisher's tea: 3 of 4 right; P = 17/70.
	near(t, "tea", stats.FisherGreater(3, 1, 1, 3), 17.0/70, 1e-12)
	near(t, "all right", stats.FisherGreater(4, 0, 0, 4), 1.0/70, 1e-12)
	near(t, "empty row", stats.FisherGreater(0, 0, 1, 1), 1, 0)
}

func TestMedianLogRatio(t *testing.T) {
	got, n := stats.MedianLogRatio([]float64{1, 2, 4, 0}, []float64{2, 4, 4, 1})
	near(t, "MedianLogRatio", got, math.Ln2, 1e-12)
	if n != 3 {
		t.Errorf("used %d pairs, want 3", n)
	}
}

func TestQuantileInterval(t *testing.T) {
	// The median of ten values lies between the 2nd and the 9th with 97.9 %:
	// P(2 <= X <= 8) for X binomial with 10 and 1/2 is 1 - 2*11/1024.
	low, high := stats.QuantileInterval([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 0.5, 0.95)
	near(t, "low", low, 2, 0)
	near(t, "high", high, 9, 0)
	// Five values cannot bound a 99th percentile from above.
	_, high = stats.QuantileInterval([]float64{1, 2, 3, 4, 5}, 0.99, 0.95)
	near(t, "high of few", high, 5, 0)
	low, _ = stats.QuantileInterval(nil, 0.5, 0.95)
	near(t, "nothing", low, math.NaN(), 0)
}

func TestMannWhitney(t *testing.T) {
	// Sizes 3 and 3, fully apart: 2 of the 20 ways.
	near(t, "3 and 3", stats.MannWhitney([]float64{1, 2, 3}, []float64{4, 5, 6}), 0.1, 1e-9)
	// Hollander, Wolfe and Chicken, table 4.1 (permeability of membranes):
	// W = 30 of sizes 5 and 10, one-sided P(W >= 30) = .1272.
	x := []float64{1.15, 0.88, 0.90, 0.74, 1.21}
	y := []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}
	near(t, "membranes", stats.MannWhitney(y, x), 2*0.1272, 2e-4)
	// By hand: ranks 1.5, 1.5, 3.5, 6 give U = 2.5; with ties of 2, 2 and 3 the
	// variance is 16/12 (9 - 36/56), so z = 5/3.338 = 1.498.
	near(t, "ties", stats.MannWhitney([]float64{1, 1, 2, 3}, []float64{2, 3, 3, 4}), 0.1342, 1e-4)
	near(t, "same", stats.MannWhitney([]float64{1, 1}, []float64{1, 1}), 1, 0)
	near(t, "nothing", stats.MannWhitney(nil, []float64{1}), 1, 0)
}

// The exact tail and the approximation agree where both hold.
func TestMannWhitneyApproximation(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 20 {
		var xs, ys []float64
		for range 30 {
			xs, ys = append(xs, rng.Float64()), append(ys, rng.Float64()+0.1)
		}
		exact := stats.MannWhitney(xs, ys)
		xs, ys = append(xs, -5, -5), append(ys, -5, -5) // ties make it approximate
		if approximate := stats.MannWhitney(xs, ys); math.Abs(exact-approximate) > 0.06 {
			t.Errorf("exact %.4f, approximate %.4f", exact, approximate)
		}
	}
}
