package analysis

import (
	"fmt"

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

// ruleWarnings tells which rules never applied, and which apply so often that
// they may hide more than was meant.
func (r *run) ruleWarnings() (warnings []string) {
	tally := r.opts.Compare.Tally
	check := func(rule string, p traffic.Pattern) {
		switch n := tally.Count(rule, p); {
		case n == 0:
			warnings = append(warnings, fmt.Sprintf("The %s rule for %s matches nothing; correct its address or remove it.", rule, p))
		case rule == "ignore" && n > tooMuch*max(1, len(r.head)):
			warnings = append(warnings, fmt.Sprintf("The ignore rule for %s hides %d differences in %d exchanges; it may be too wide.", p, n, len(r.head)))
		}
	}
	for _, p := range r.opts.Compare.Ignore {
		check("ignore", p)
	}
	for _, rule := range r.opts.Ignore {
		check("ignore", rule.Address)
	}
	for _, p := range r.opts.Compare.Unordered {
		check("unordered", p)
	}
	for _, t := range r.opts.Compare.Tolerances {
		check("tolerance", t.Pattern)
	}
	return warnings
}
