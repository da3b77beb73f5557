// Package diffy is the rule of Twitter's Diffy, to stand beside reprise's own on
// the same answers.
package diffy

import (
	"math"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Diffy's defaults, in percent.
const (
	relativeThreshold = 20
	absoluteThreshold = 0.03
)

// Place is what Diffy counts by: an endpoint, an address without indices and
// the way in which values differ there.
type Place struct {
	Endpoint, Address string
	Change            compare.Change
}

// Reports returns the places that the rule reports, sorted: for each it counts
// how often the candidate and the secondary differ from the primary, and
// reports what differs relatively by more than 20 % and absolutely by more than
// 0.03 %. It sees answers alone, as Diffy does; which values differ at all is
// decided by compare, which spares it what is wrong with Diffy's own lists.
func Reports(in analysis.Input, router *traffic.Router) []Place {
	type count struct{ raw, noise float64 }
	counts := make(map[Place]*count)
	total := make(map[string]float64)
	primary, secondary, candidate := byRecorded(in.Base.Inbound), byRecorded(in.Control.Inbound), byRecorded(in.Head.Inbound)
	for _, r := range in.Recorded {
		a := primary[r.ID]
		if r.Direction != traffic.Inbound || a == nil {
			continue
		}
		endpoint := router.Endpoint(&r.Request)
		total[endpoint]++
		add := func(b *traffic.Exchange, field func(*count) *float64) {
			seen := make(map[Place]bool)
			for _, d := range compare.Responses(a, b, compare.Options{}) {
				place := Place{endpoint, d.Path.Pattern().String(), d.Change}
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
	var out []Place
	for place, c := range counts {
		relative := math.Abs(c.raw-c.noise) / (c.raw + c.noise) * 100
		absolute := math.Abs(c.raw-c.noise) / total[place.Endpoint] * 100
		if c.raw > c.noise && relative > relativeThreshold && absolute > absoluteThreshold {
			out = append(out, place)
		}
	}
	slices.SortFunc(out, func(a, b Place) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// String is "GET /v1/orders response.body.orders value".
func (p Place) String() string { return p.Endpoint + " " + p.Address + " " + string(p.Change) }

func byRecorded(list []*traffic.Exchange) map[string]*traffic.Exchange {
	out := make(map[string]*traffic.Exchange)
	for _, x := range list {
		out[x.Recorded] = x
	}
	return out
}
