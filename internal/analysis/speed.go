package analysis

import (
	"fmt"
	"math"
	"slices"

	"github.com/reprise-ci/reprise/internal/stats"
)

// speedFindings reports each endpoint whose speed changed once: by its median
// where that changed, else by p90. When no endpoint can be named but all
// together became slower, that is one finding.
func (r *run) speedFindings(endpoints []Endpoint, overall Quantile) []Finding {
	var out []Finding
	for _, e := range endpoints {
		for _, q := range []struct {
			name string
			q    Quantile
		}{{"p50", e.P50}, {"p90", e.P90}} {
			if q.q.Verdict == Slower || q.q.Verdict == Faster {
				out = append(out, r.speedFinding(e.Endpoint, q.name, e.Requests, q.q))
				break
			}
		}
	}
	if len(out) == 0 && len(endpoints) > 1 && overall.Verdict == Slower {
		pairs := 0
		for _, e := range endpoints {
			pairs += e.Requests
		}
		out = append(out, r.speedFinding(allEndpoints, "p50", pairs, overall))
	}
	return out
}

// unexplained returns the changes of speed that stand on their own. An endpoint
// that makes more calls is slower and one that makes fewer is faster: there the
// speed is a consequence of the calls, unless speed fails the check by itself.
func (r *run) unexplained(findings, speed []Finding) []Finding {
	if slices.Contains(r.opts.FailOn, string(KindLatency)) {
		return speed
	}
	explains := func(f, s Finding) bool {
		if f.Kind != KindOutbound || f.Cause != CauseHead || f.Endpoint != s.Endpoint {
			return false
		}
		if s.Change == ChangeFaster {
			return f.Change == ChangeMissingCall
		}
		return f.Change == ChangeNewCall || f.Change == ChangeRepeatedCall
	}
	var out []Finding
	for _, s := range speed {
		i := slices.IndexFunc(findings, func(f Finding) bool { return explains(f, s) })
		if i < 0 {
			out = append(out, s)
			continue
		}
		findings[i].Consequences = append(findings[i].Consequences, Consequence{
			Endpoint: s.Endpoint, Address: s.Address, Change: s.Change, Count: s.Count,
		})
	}
	return out
}

func (r *run) speedFinding(endpoint, quantile string, requests int, q Quantile) Finding {
	f := Finding{
		Kind: KindLatency, Cause: CauseHead, Endpoint: endpoint, Address: "latency." + quantile, Change: ChangeSlower,
		Base: fmt.Sprintf("%.2f ms", q.BaseMS), Head: fmt.Sprintf("%.2f ms", q.BaseMS*q.Ratio), Count: requests, Of: requests,
		Detail: fmt.Sprintf("%+.0f %% (95 %% interval %+.0f to %+.0f %%), p = %.2g", 100*(q.Ratio-1), 100*(q.CI[0]-1), 100*(q.CI[1]-1), q.P),
	}
	if q.Verdict == Faster {
		f.Change = ChangeFaster
	}
	f.Gates = q.Verdict == Slower
	return f
}

// Suspects returns the endpoints whose speed changed by these rounds. They are
// worth a few fresh rounds: a burst of other load on the machine goes away, a
// regression does not.
func Suspects(rounds []Round, opts Options) []string {
	r := newRun(Input{}, opts)
	var out []string
	for _, e := range r.measure(rounds).endpoints(r.opts.Latency) {
		if changed(e.P50.Verdict) || changed(e.P90.Verdict) {
			out = append(out, e.Endpoint)
		}
	}
	return out
}

func changed(s Speed) bool { return s == Slower || s == Faster }

// confirm takes back the verdicts that do not keep their sign in three quarters
// of the fresh rounds.
func (r *run) confirm(endpoints []Endpoint, overall *Quantile) {
	if len(r.in.Confirm) == 0 {
		return
	}
	m := r.measure(r.in.Confirm)
	overall.keep(m.overallShifts())
	fresh := make(map[string]*timing)
	for _, t := range m.timings {
		fresh[t.endpoint] = t
	}
	for i := range endpoints {
		e := &endpoints[i]
		t := fresh[e.Endpoint]
		if t == nil {
			continue // pooled with others now; nothing is known against it
		}
		p50, p90 := t.shifts()
		kept50, kept90 := e.P50.keep(p50), e.P90.keep(p90)
		if !kept50 || !kept90 {
			e.Note = "a change was seen, but not in fresh rounds"
		}
	}
}

// keep reports whether a change keeps its sign in three quarters of the fresh
// shifts, and takes the verdict back where it does not.
func (q *Quantile) keep(shifts []float64) bool {
	kept := 0
	for _, s := range shifts {
		if q.Verdict == Slower && s > 0 || q.Verdict == Faster && s < 0 {
			kept++
		}
	}
	if !changed(q.Verdict) || len(shifts) == 0 || kept*4 >= len(shifts)*3 {
		return true
	}
	q.Verdict = SpeedInconclusive
	return false
}

// looks are the numbers of rounds at which measuring may stop early.
var looks = []int{6, 8, 12, 16, 20}

// Decided reports whether measuring may stop after these rounds, and why. It
// looks only after 6, 8, 12, 16 and 20 rounds, and pays for each look from the
// error rate of the run, so that looking early does not make more false alarms.
// A look ends the measurement when every endpoint is decided: the same, or
// changed beyond what this look may spend. It always ends it once more rounds
// could not decide more: at 12, or at as many as the number of tests needs.
func Decided(rounds []Round, opts Options) (bool, string) {
	k := len(rounds)
	if k < minRounds {
		return false, fmt.Sprintf("%d of at least %d rounds measured", k, minRounds)
	}
	r := newRun(Input{}, opts)
	o := r.opts.Latency
	m := r.measure(rounds)
	last := lastLook(m.tests(), o.Level)
	if k >= last {
		return true, "all rounds measured"
	}
	if m.noise > o.MaxNoise && k >= 12 {
		return true, fmt.Sprintf("the machine is too noisy: base differs from itself by %.0f %%", 100*m.noise)
	}
	i := slices.Index(looks, k)
	if i < 0 {
		return false, fmt.Sprintf("the next look is after %d rounds", nextLook(k))
	}
	before := 0.0
	if i > 0 {
		before = stats.Spend(o.Level, float64(looks[i-1])/float64(last))
	}
	o.Level = stats.Spend(o.Level, float64(k)/float64(last)) - before
	open := 0
	for _, e := range m.endpoints(o) {
		for _, q := range []Quantile{e.P50, e.P90} {
			if q.Verdict == SpeedInconclusive {
				open++
			}
		}
	}
	if open > 0 {
		return false, fmt.Sprintf("%d of %d tests are open after %d rounds", open, 2*len(m.timings), k)
	}
	return true, "all endpoints decided"
}

// lastLook is the largest number of rounds worth measuring for a number of
// tests.
func lastLook(tests int, level float64) int {
	need := max(12, stats.RoundsFor(tests, level))
	for _, l := range looks {
		if l >= need {
			return l
		}
	}
	return need
}

func nextLook(k int) int {
	for _, l := range looks {
		if l > k {
			return l
		}
	}
	return math.MaxInt
}
