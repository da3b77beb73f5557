package stats

import "math"

// BetaInc returns the regularised incomplete beta function I(x; a, b) for
// positive a and b: the continued fraction of Abramowitz and Stegun 26.5.8,
// evaluated by Lentz's method as in Numerical Recipes §6.4.
func BetaInc(a, b, x float64) float64 {
	switch {
	case math.IsNaN(x) || !(a > 0) || !(b > 0):
		return math.NaN()
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab - la - lb + a*math.Log(x) + b*math.Log1p(-x))
	if x < (a+1)/(a+b+2) {
		return front * betaFraction(a, b, x) / a
	}
	return 1 - front*betaFraction(b, a, 1-x)/b
}

func betaFraction(a, b, x float64) float64 {
	const tiny, enough = 1e-300, 1e-15
	floor := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/floor(1-(a+b)*x/(a+1))
	h := d
	// The fraction settles within a few times sqrt(max(a, b)) steps.
	for m := 1.0; m < 200+10*math.Sqrt(max(a, b)); m++ {
		n := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / floor(1+n*d)
		c = floor(1 + n/c)
		h *= d * c
		n = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / floor(1+n*d)
		c = floor(1 + n/c)
		h *= d * c
		if math.Abs(d*c-1) < enough {
			break
		}
	}
	return h
}

// betaQuantile returns x with BetaInc(a, b, x) = p, by bisection.
func betaQuantile(a, b, p float64) float64 {
	lo, hi := 0.0, 1.0
	for range 200 {
		mid := (lo + hi) / 2
		if BetaInc(a, b, mid) < p {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}

// ClopperPearson returns the exact interval of a share of which k of n were
// seen: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), as quantiles of
// the beta distribution. It returns [0, 1] when n is not positive or k is not
// between 0 and n.
func ClopperPearson(k, n int, confidence float64) (low, high float64) {
	if n <= 0 || k < 0 || k > n {
		return 0, 1
	}
	alpha := 1 - confidence
	high = 1
	if k > 0 {
		low = betaQuantile(float64(k), float64(n-k+1), alpha/2)
	}
	if k < n {
		high = betaQuantile(float64(k+1), float64(n-k), 1-alpha/2)
	}
	return low, high
}
