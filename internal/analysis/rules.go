package analysis

import (
	"fmt"
	"strings"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Ignore drops differences at a place of one endpoint, or of all.
type Ignore struct {
	Address  traffic.Pattern
	Endpoint string // "" for all
}

// comparing returns the rules of comparison for an endpoint.
func (o *Options) comparing(endpoint string) compare.Options {
	c := o.Compare
	for _, rule := range o.Ignore {
		if rule.Endpoint == "" || rule.Endpoint == endpoint {
			c.Ignore = append(c.Ignore[:len(c.Ignore):len(c.Ignore)], rule.Address)
		}
	}
	return c
}

// tooMuch is the number of applications of one ignore rule, for each exchange
// replayed, above which it is warned about.
const tooMuch = 20

// ruleWarnings tells which rules apply so often that they may hide more than was
// meant, and which are mistakes: their address is no place in any exchange. A
// rule whose place exists is none where nothing differs in this run. Where only
// a part of a recording was replayed, a rule may be for the rest of it.
func (r *run) ruleWarnings() (warnings, mistakes []string) {
	tally := r.opts.Compare.Tally
	check := func(rule, endpoint string, p traffic.Pattern) {
		switch n := tally.Count(rule, p); {
		case n == 0 && !r.hasPlace(endpoint, p):
			text := fmt.Sprintf("The %s rule for %s matches nothing; correct its address or remove it.", rule, strings.TrimSpace(endpoint+" "+p.String()))
			if r.in.Partial {
				warnings = append(warnings, text)
			} else {
				mistakes = append(mistakes, text)
			}
		case rule == "ignore" && n > tooMuch*max(1, len(r.head)):
			warnings = append(warnings, fmt.Sprintf("The ignore rule for %s hides %d differences in %d exchanges; it may be too wide.", p, n, len(r.head)))
		}
	}
	for _, p := range r.opts.Compare.Ignore {
		check("ignore", "", p)
	}
	for _, rule := range r.opts.Ignore {
		check("ignore", rule.Endpoint, rule.Address)
	}
	for _, p := range r.opts.Compare.Unordered {
		check("unordered", "", p)
	}
	for _, p := range r.opts.Compare.Reading.SQL {
		check("sql", "", p)
	}
	for _, t := range r.opts.Compare.Tolerances {
		check("tolerance", "", t.Pattern)
	}
	return warnings, mistakes
}

// hasPlace reports whether an address is a place in some answer, or in some
// call to a dependency, recorded or live.
func (r *run) hasPlace(endpoint string, p traffic.Pattern) bool {
	for _, list := range [][]*traffic.Exchange{
		r.in.Recorded, r.in.Base.Inbound, r.in.Head.Inbound, r.in.Base.Outbound, r.in.Head.Outbound,
	} {
		for _, x := range list {
			if x == nil || endpoint != "" && endpoint != r.laneEndpoint(x) {
				continue
			}
			values := r.opts.Compare.Reading.RequestValues
			if x.Direction == traffic.Inbound {
				values = r.opts.Compare.Reading.ResponseValues
			}
			for path := range values(x) {
				if p.Covers(path) {
					return true
				}
			}
		}
	}
	return false
}

// laneEndpoint names the endpoint of the lane of an exchange.
func (r *run) laneEndpoint(x *traffic.Exchange) string {
	if e, ok := r.endpoints[string(x.Lane)]; ok {
		return e
	}
	return r.endpoints[x.Recorded]
}
