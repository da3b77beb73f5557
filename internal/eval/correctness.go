package main

import (
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/diffy"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
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
		for _, place := range diffy.Reports(in, nil) {
			if f.at != "" && strings.Contains(place.String(), f.at) {
				c.Diffy = true
			} else {
				c.Noise++
			}
		}
		out = append(out, c)
	}
	return out
}
