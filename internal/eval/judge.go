package main

import (
	"math"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/stats"
)

// options are those of a run, as they are by default.
var options = analysis.Options{}

// maxNoise is that of analysis.LatencyOptions by default.
const maxNoise = 0.10

// confirmRounds is how many fresh rounds a suspicion is confirmed on.
const confirmRounds = 4

// outcome is what a run would have said of a trial.
type outcome struct {
	slower, faster []string // endpoints
	overall        analysis.Speed
	detectable     map[string]float64 // by endpoint: the smallest visible change
	rounds         int                // measured when it stopped
	// noisy says that the machine was too noisy to judge anything.
	noisy bool
	// cut says that the trial ended before the rule would have.
	cut bool
	// unconfirmed says that a suspicion could not be put to fresh rounds,
	// because the trial has none left; it counts as if they had confirmed it.
	unconfirmed bool
}

// judge goes through the rounds of a trial as a run would: until they are
// decided, and with fresh rounds when they show a change.
func (d digest) judge(opts analysis.Options) outcome {
	rounds, cut := d.stop(opts)
	out := d.judgeAfter(rounds, opts)
	out.cut = cut
	return out
}

// stop returns after how many rounds a run would have stopped measuring, and
// whether the trial ended before.
func (d digest) stop(opts analysis.Options) (rounds int, cut bool) {
	all := d.measurement()
	for k := 1; k < all.Rounds; k++ {
		if done, _ := all.Between(0, k).Decided(opts); done {
			return k, false
		}
	}
	done, _ := all.Decided(opts)
	return all.Rounds, !done
}

// judgeAfter judges some rounds, and those after them as fresh ones.
func (d digest) judgeAfter(rounds int, opts analysis.Options) outcome {
	all := d.measurement()
	out := outcome{rounds: rounds}
	m, confirm := all.Between(0, rounds), analysis.Measurement{}
	if len(m.Suspects(opts)) > 0 {
		confirm = all.Between(rounds, rounds+confirmRounds)
		out.unconfirmed = confirm.Rounds < confirmRounds
	}
	endpoints, latency := analysis.JudgeSpeed(m, confirm, opts)
	out.detectable = make(map[string]float64)
	for _, e := range endpoints {
		out.detectable[e.Endpoint] = e.P50.Detectable
		switch {
		case e.P50.Verdict == analysis.Slower || e.P90.Verdict == analysis.Slower:
			out.slower = append(out.slower, e.Endpoint)
		case e.P50.Verdict == analysis.Faster || e.P90.Verdict == analysis.Faster:
			out.faster = append(out.faster, e.Endpoint)
		}
	}
	out.noisy = latency.NoiseFloor > maxNoise
	out.overall = latency.Overall.Verdict
	return out
}

// apart returns how far the medians of base and head differ in sessions of the
// same program, after the first twelve rounds, as quantiles over all endpoints:
// as a share and in ms.
func apart(all []digest) (out [2][]float64) {
	var shares, times []float64
	for _, d := range all {
		if (d.Truth != truth{}) {
			continue
		}
		for _, s := range d.measurement().Between(0, trialRounds).Series {
			var shifts []float64
			for _, r := range s.Rounds {
				shifts = append(shifts, r.P50)
			}
			estimate, _ := stats.HodgesLehmann(shifts, 0.95)
			shares = append(shares, math.Expm1(math.Abs(estimate)))
			times = append(times, math.Expm1(math.Abs(estimate))*s.Times.Base50)
		}
	}
	for _, p := range []float64{0.5, 0.9, 0.99, 1} {
		out[0], out[1] = append(out[0], stats.Quantile(shares, p)), append(out[1], stats.Quantile(times, p))
	}
	return out
}
