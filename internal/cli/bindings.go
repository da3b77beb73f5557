package cli

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/transform"
)

// showBindings prints what a replay of a snapshot would bind, by the rules of
// the project.
func (p *project) showBindings(w io.Writer, s Surroundings, path string) error {
	recorded, err := readExchanges(path)
	if err != nil {
		return err
	}
	opts, err := p.Transformation(config.Place{Dir: p.dir, Getenv: s.env, Now: time.Now})
	if err != nil {
		return err
	}
	kept, err := opts.Select(recorded)
	if err != nil {
		return err
	}
	bindings, err := transform.Learn(kept, opts)
	if err != nil {
		return err
	}
	rules := bindings.Rules(kept, opts.Router)
	if len(rules) == 0 {
		_, err := fmt.Fprintln(w, "no request holds a value of an earlier answer, or a date that follows the clock")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "TIMES\tREQUEST\tTO\tANSWER\tFROM\tFIRST\tBY")
	for _, r := range rules {
		by, from := "learning", r.From.String()
		if r.Pinned {
			by = "rule"
		}
		if r.Answer == "" {
			from = "the client's clock"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Times, r.Request, r.To, cmp.Or(r.Answer, "-"), from, r.Example, by)
	}
	return t.Flush()
}
