package main

import (
	"math"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// caught is what became of one fault.
type caught struct {
	Name     string   `json:"name"`
	Found    bool     `json:"found"`    // by reprise, with kind and address
	Others   []string `json:"others"`   // findings beside it
	Snapshot bool     `json:"snapshot"` // the recording was blamed
	Diffy    bool     `json:"diffy"`    // Diffy's rule reports the place, or anything for faults in calls
	Noise    int      `json:"noise"`    // places that Diffy's rule reports beside it
}

// seeded runs every fault through the whole judgement.
func seeded(w miniature.World, list []fault, seed uint64) []caught {
	var out []caught
	for _, f := range list {
		in := w.Input(seed, seed+1, seed+2, f.faults)
		result := analysis.Run(in, analysis.Options{})
		c := caught{Name: f.name}
		for _, x := range result.Findings {
			switch {
			case x.Cause == analysis.CauseSnapshot:
				c.Snapshot = true
			case f.kind != "" && f.found(x):
				c.Found = true
			default:
				c.Others = append(c.Others, strings.Join(strings.Fields(string(x.Change)+" "+x.Endpoint+" "+x.Call+" "+x.Address), " "))
			}
		}
		for _, place := range diffy(in) {
			if f.at != "" && strings.Contains(place, f.at) {
				c.Diffy = true
			} else {
				c.Noise++
			}
		}
		out = append(out, c)
	}
	return out
}

// diffy is the rule of Diffy at its defaults, on answers: per endpoint and
// flattened address it counts how often candidate and secondary differ from
// primary, and reports what differs relatively by more than 20 % and
// absolutely by more than 0.03 %.
func diffy(in analysis.Input) []string {
	type count struct{ raw, noise float64 }
	counts := make(map[string]*count)
	total := make(map[string]float64)
	var router *traffic.Router
	byID := func(list []*traffic.Exchange) map[string]*traffic.Exchange {
		out := make(map[string]*traffic.Exchange)
		for _, x := range list {
			out[x.Recorded] = x
		}
		return out
	}
	primary, secondary, candidate := byID(in.Base.Inbound), byID(in.Control.Inbound), byID(in.Head.Inbound)
	for _, r := range in.Recorded {
		a := primary[r.ID]
		if r.Direction != traffic.Inbound || a == nil {
			continue
		}
		endpoint := router.Endpoint(&r.Request)
		total[endpoint]++
		add := func(b *traffic.Exchange, field func(*count) *float64) {
			seen := make(map[string]bool)
			for _, d := range compare.Responses(a, b, compare.Options{}) {
				place := endpoint + " " + d.Path.Pattern().String() + " " + string(d.Change)
				if seen[place] {
					continue
				}
				seen[place] = true
				if counts[place] == nil {
					counts[place] = &count{}
				}
				*field(counts[place])++
			}
		}
		add(candidate[r.ID], func(c *count) *float64 { return &c.raw })
		add(secondary[r.ID], func(c *count) *float64 { return &c.noise })
	}
	var out []string
	for place, c := range counts {
		parts := strings.SplitN(place, " ", 3)
		relative := math.Abs(c.raw-c.noise) / (c.raw + c.noise) * 100
		absolute := math.Abs(c.raw-c.noise) / total[parts[0]+" "+parts[1]] * 100
		if c.raw > c.noise && relative > 20 && absolute > 0.03 {
			out = append(out, place)
		}
	}
	return out
}
