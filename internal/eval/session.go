package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// session is one measurement of two arms, with what is true of them.
type session struct {
	// slow is the endpoint that head serves slower by factor; factor is 1 for
	// sessions of a program against itself.
	slow   string
	factor float64

	rounds, confirm []analysis.Round
	// before and after are what a sequential measurement saw: all requests to
	// base, then all to head, in ms by endpoint.
	before, after map[string][]float64
}

// interleaved returns the times of both arms from the paired rounds, as someone
// would use them who does not know that they are paired.
func (s session) interleaved() (base, head map[string][]float64) {
	base, head = map[string][]float64{}, map[string][]float64{}
	for _, r := range s.rounds {
		for _, p := range r.HeadVsBase {
			base[p.Endpoint] = append(base[p.Endpoint], ms(p.A))
			head[p.Endpoint] = append(head[p.Endpoint], ms(p.B))
		}
	}
	return base, head
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// options are those of a run, but for the absolute floor: the endpoints of the
// experiments take less than the milliseconds that it is made for.
var options = analysis.Options{Latency: analysis.LatencyOptions{FloorMS: 0.01}}

// confirmRounds is how many fresh rounds a suspicion is confirmed on.
const confirmRounds = 4

// measure takes rounds until they are decided, and fresh ones when a change is
// suspected, as a run does.
func (s *session) measure(p plan, round func(number int) (analysis.Round, error)) error {
	for k := range p.maxRounds {
		r, err := round(k + 1)
		if err != nil {
			return err
		}
		s.rounds = append(s.rounds, r)
		if done, _ := analysis.Decided(s.rounds, options); done {
			break
		}
	}
	if len(analysis.Suspects(s.rounds, options)) == 0 {
		return nil
	}
	for k := range confirmRounds {
		r, err := round(len(s.rounds) + k + 1)
		if err != nil {
			return err
		}
		s.confirm = append(s.confirm, r)
	}
	return nil
}

// plan is the size of a session.
type plan struct {
	endpoints, pairs, maxRounds int
	round                       time.Duration // least length of a real round
	// sequential is by how much fewer requests an arm gets, in the measurement
	// of one arm after the other, than in all rounds; 2 for as many in all.
	sequential int
}

func endpointName(i int) string { return fmt.Sprintf("GET /v1/e%02d", i) }

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

func (m *machine) serve(baseMS float64) float64 {
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
	return baseMS * math.Exp(slow)
}

// synthetic makes a session on the model, as reprise would measure it: paired
// in random order, until it is decided.
func synthetic(seed uint64, p plan, factor float64) session {
	m := &machine{rng: rand.New(rand.NewPCG(seed, 1))}
	s := session{slow: endpointName(int(seed) % p.endpoints), factor: factor, before: map[string][]float64{}, after: map[string][]float64{}}
	base := func(e int) float64 { return 0.8 + 0.7*float64(e) }
	head := func(e int) float64 {
		if endpointName(e) == s.slow {
			return base(e) * factor
		}
		return base(e)
	}
	pair := func(e int, f func(int) float64) analysis.Pair {
		out := analysis.Pair{Endpoint: endpointName(e)}
		one := func(d *time.Duration, v float64) { *d = time.Duration(m.serve(v) * float64(time.Millisecond)) }
		if m.rng.IntN(2) == 0 {
			one(&out.A, base(e))
			one(&out.B, f(e))
		} else {
			one(&out.B, f(e))
			one(&out.A, base(e))
		}
		return out
	}
	// The model cannot fail.
	_ = s.measure(p, func(number int) (analysis.Round, error) {
		r := analysis.Round{Number: number}
		for range p.pairs {
			for e := range p.endpoints {
				r.HeadVsBase = append(r.HeadVsBase, pair(e, head))
				if m.rng.IntN(4) == 0 {
					r.ControlVsBase = append(r.ControlVsBase, pair(e, base))
				}
			}
		}
		return r, nil
	})
	for _, arm := range []struct {
		to    map[string][]float64
		speed func(int) float64
	}{{s.before, base}, {s.after, head}} {
		for range len(s.rounds) * p.pairs {
			for e := range p.endpoints {
				arm.to[endpointName(e)] = append(arm.to[endpointName(e)], m.serve(arm.speed(e)))
			}
		}
	}
	return s
}
