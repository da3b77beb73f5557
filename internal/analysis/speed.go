package analysis

import (
	"fmt"
	"slices"
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
