package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// latencySection shows the endpoints whose latency moved beyond noise.
func (d *Document) latencySection() *section {
	s := &section{
		name: "endpoints beyond noise", value: 85,
		head: "#### Latency beyond noise\n\n" + table("lrrrrr", "Endpoint", "Pairs", "Quantile", "base → head", "Change (95 % interval)", "Smallest visible change"),
	}
	for _, e := range d.beyondNoise() {
		for _, q := range e.quantiles() {
			if q.Verdict == analysis.Slower || q.Verdict == analysis.Faster {
				s.items = append(s.items, row(Code(e.Endpoint.Endpoint, 100), thousands(e.Requests), q.Name,
					millis(q.BaseMS)+" → "+millis(q.HeadMS), "**"+change(q.Ratio)+"** ("+interval(q.CI)+")", "±"+share(q.Detectable)))
			}
		}
	}
	return s
}

// endpointView is an endpoint with its quantiles named.
type endpointView struct{ analysis.Endpoint }

type quantileView struct {
	Name string
	analysis.Quantile
}

func (e endpointView) quantiles() []quantileView {
	return []quantileView{{"p50", e.P50}, {"p90", e.P90}}
}

// beyondNoise returns the endpoints that are slower or faster, the largest change
// first. Those whose speed follows from a finding are left to it.
func (d *Document) beyondNoise() []endpointView {
	var out []endpointView
	for _, e := range d.Endpoints {
		if s := speedOf(e); (s == analysis.Slower || s == analysis.Faster) && !d.followsFrom(e.Endpoint) {
			out = append(out, endpointView{e})
		}
	}
	slices.SortStableFunc(out, func(a, b endpointView) int {
		switch x, y := a.P50.Ratio, b.P50.Ratio; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return strings.Compare(a.Endpoint.Endpoint, b.Endpoint.Endpoint)
	})
	return out
}

// followsFrom reports whether the change of speed of an endpoint is a consequence
// of a finding.
func (d *Document) followsFrom(endpoint string) bool {
	return slices.ContainsFunc(d.Findings, func(f analysis.Finding) bool {
		return slices.ContainsFunc(f.Consequences, func(c analysis.Consequence) bool {
			return c.Endpoint == endpoint && (c.Change == analysis.ChangeSlower || c.Change == analysis.ChangeFaster)
		})
	})
}

// endpointsSection is the folded table of all endpoints.
func (d *Document) endpointsSection() *section {
	if len(d.Endpoints) == 0 {
		return nil
	}
	head, foot := details("All " + count(len(d.Endpoints), "endpoint") + ": " + d.speeds())
	s := &section{name: "endpoints", value: 40, foot: foot,
		head: head + table("lrrrrl", "Endpoint", "Pairs", "p50", "p90", "p99 (not judged)", "Verdict")}
	shared := d.sharedNote()
	for _, e := range d.Endpoints {
		verdict := speedWord(speedOf(e))
		if e.Note != "" && e.Note != shared {
			verdict += ": " + Text(e.Note, 120)
		} else if e.P50.Detectable > 0 && speedOf(e) == analysis.Same {
			verdict += " (would have seen ±" + share(e.P50.Detectable) + ")"
		}
		s.items = append(s.items, row(Code(e.Endpoint, 100), thousands(e.Requests),
			millis(e.P50.BaseMS)+" → "+millis(e.P50.HeadMS), millis(e.P90.BaseMS)+" → "+millis(e.P90.HeadMS),
			millis(e.P99.BaseMS)+" → "+millis(e.P99.HeadMS)+" ("+interval(e.P99.CI)+")", verdict))
	}
	return s
}

// speeds counts the endpoints by verdict: "1 slower, 7 same".
func (d *Document) speeds() string {
	counts := map[analysis.Speed]int{}
	for _, e := range d.Endpoints {
		counts[speedOf(e)]++
	}
	var parts []string
	for _, s := range []analysis.Speed{analysis.Slower, analysis.Faster, analysis.Same, analysis.SpeedInconclusive} {
		if n := counts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}
