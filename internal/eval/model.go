package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
)

func endpointName(i int) string { return fmt.Sprintf("GET /v1/e%02d", i) }

func endpointNames() []string {
	names := make([]string, trialEndpoints)
	for i := range names {
		names[i] = endpointName(i)
	}
	return names
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// machine is a model of a shared machine: a slow drift of its speed, bursts of
// other load that come and go, autocorrelated jitter from request to request,
// and a heavy tail. The parameters are of the size that was measured on shared
// runners.
type machine struct {
	rng    *rand.Rand
	drift  float64 // log of the slowdown now
	jitter float64
	burst  int // requests that the present burst still lasts
}

func (m *machine) serve(baseMS float64) int32 {
	m.drift = 0.9995*m.drift + 0.004*m.rng.NormFloat64()
	m.jitter = 0.6*m.jitter + 0.1*m.rng.NormFloat64()
	if m.burst == 0 && m.rng.Float64() < 0.0008 {
		m.burst = 200 + m.rng.IntN(1500)
	}
	slow := m.drift + m.jitter
	if m.burst > 0 {
		m.burst--
		slow += 0.3 + 0.2*m.rng.Float64()
	}
	if m.rng.Float64() < 0.01 {
		slow += m.rng.ExpFloat64()
	}
	return int32(baseMS * math.Exp(slow) * float64(time.Millisecond/tick))
}

// modelled makes a trial on the model of a machine, in no time and the same for
// the same seed: all rounds that a rule could ask for, and both arms one after
// the other.
func modelled(seed uint64, factor float64) trial {
	m := &machine{rng: rand.New(rand.NewPCG(seed, 1))}
	slow := int(seed) % trialEndpoints
	t := trial{Seed: seed, Load: -1, Others: -1}
	if factor != 1 {
		t.Truth = truth{Slow: endpointName(slow), Factor: factor}
	}
	base := func(e int) float64 { return 0.8 + 0.7*float64(e) }
	head := func(e int) float64 {
		if factor != 1 && e == slow {
			return base(e) * factor
		}
		return base(e)
	}
	t.Endpoints = endpointNames()
	lists := func() [][]int32 { return make([][]int32, trialEndpoints) }
	pair := func(a, b [][]int32, e int, of func(int) float64) {
		x, y := &a[e], &b[e]
		first, second := base(e), of(e)
		if m.rng.IntN(2) == 0 {
			x, y, first, second = y, x, second, first
		}
		*x = append(*x, m.serve(first))
		*y = append(*y, m.serve(second))
	}
	const pairs = 100
	for range analysis.MostRounds + confirmRounds {
		r := trialTimes{Base: lists(), Head: lists(), ControlBase: lists(), Control: lists()}
		for range pairs {
			for e := range trialEndpoints {
				pair(r.Base, r.Head, e, head)
				if m.rng.IntN(4) == 0 {
					pair(r.ControlBase, r.Control, e, base)
				}
			}
		}
		t.Rounds = append(t.Rounds, r)
	}
	t.Before, t.After = lists(), lists()
	for _, arm := range []struct {
		to    [][]int32
		speed func(int) float64
	}{{t.Before, base}, {t.After, head}} {
		for range trialRounds * pairs {
			for e := range trialEndpoints {
				arm.to[e] = append(arm.to[e], m.serve(arm.speed(e)))
			}
		}
	}
	return t
}
