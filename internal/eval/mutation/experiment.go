package mutation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/diffy"
)

// Outcome is what the judges made of one change.
type Outcome struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Class string `json:"class,omitempty"`
	// Found says that all expected findings are there, Missing which are not.
	Found   bool     `json:"found"`
	Missing []string `json:"missing,omitempty"`
	// Folded says that each of them is at least listed as a consequence of a
	// finding with cause head that was expected too.
	Folded bool `json:"folded"`
	// Reported are all findings; they are not kept.
	Reported []string `json:"-"`
	// Beside are findings with cause head that nothing foretold.
	Beside []string `json:"beside,omitempty"`
	// Snapshot says that the recording was blamed.
	Snapshot bool             `json:"snapshot"`
	Verdict  analysis.Verdict `json:"verdict"`
	// Diffy says that its rule reports a place that was expected, DiffyBeside
	// how many others it reports.
	Diffy       bool    `json:"diffy"`
	DiffyBeside int     `json:"diffy_beside"`
	Seconds     float64 `json:"seconds"`
}

// Silent reports whether nothing at all was said by reprise.
func (o Outcome) Silent() bool { return o.Found && len(o.Beside) == 0 && !o.Snapshot }

// Experiment runs mutations, those of one setup after the other.
type Experiment struct {
	Root string // of the repository that holds the example
	Seed int64
	// Tell hears of each outcome, in the order of the runs.
	Tell func(Outcome)
}

// Run judges the given changes. Outcomes are in the order of the list.
func (x Experiment) Run(ctx context.Context, list []Mutation) ([]Outcome, error) {
	setups, err := Setups()
	if err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(list))
	for _, setup := range append([]Mutation{{}}, setups...) {
		if !slices.ContainsFunc(list, func(m Mutation) bool { return m.Setup == setup.Name }) {
			continue
		}
		if err := x.among(ctx, setup, list, outcomes); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

// among judges those of the list that need the given setup.
func (x Experiment) among(ctx context.Context, setup Mutation, list []Mutation, outcomes []Outcome) error {
	var need *Mutation
	if setup.Name != "" {
		need = &setup
	}
	world, err := NewWorld(ctx, x.Root, need)
	if err != nil {
		return err
	}
	defer world.Close()
	for i, m := range list {
		if m.Setup != setup.Name {
			continue
		}
		judged, err := world.Judge(ctx, &m, x.Seed+int64(i))
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		outcomes[i] = outcomeOf(m, judged)
		x.Tell(outcomes[i])
	}
	return nil
}

// Same judges the example against itself a number of times.
func (x Experiment) Same(ctx context.Context, sessions int) ([]Outcome, error) {
	world, err := NewWorld(ctx, x.Root, nil)
	if err != nil {
		return nil, err
	}
	defer world.Close()
	var outcomes []Outcome
	for n := range sessions {
		judged, err := world.Judge(ctx, nil, x.Seed+int64(n))
		if err != nil {
			return nil, err
		}
		o := outcomeOf(Mutation{Name: fmt.Sprintf("session %d", n+1)}, judged)
		outcomes = append(outcomes, o)
		x.Tell(o)
	}
	return outcomes, nil
}

func outcomeOf(m Mutation, judged Judged) Outcome {
	o := Outcome{Name: m.Name, About: m.About, Class: m.Class, Verdict: judged.Result.Verdict, Seconds: judged.Took.Seconds()}
	foretold := slices.Concat(m.Expect, m.Also)
	o.Folded = true
	for _, e := range m.Expect {
		if slices.ContainsFunc(judged.Result.Findings, e.Matches) {
			continue
		}
		o.Missing = append(o.Missing, e.String())
		o.Folded = o.Folded && slices.ContainsFunc(judged.Result.Findings, func(f analysis.Finding) bool {
			return slices.ContainsFunc(foretold, func(e Expectation) bool { return e.Matches(f) }) &&
				slices.ContainsFunc(f.Consequences, e.follows)
		})
	}
	o.Found = len(o.Missing) == 0
	for _, f := range judged.Result.Findings {
		o.Reported = append(o.Reported, describe(f))
		switch {
		case f.Cause == analysis.CauseSnapshot:
			o.Snapshot = true
		case !slices.ContainsFunc(foretold, func(e Expectation) bool { return e.Matches(f) }):
			o.Beside = append(o.Beside, describe(f))
		}
	}
	for _, place := range judged.Diffy {
		if slices.ContainsFunc(foretold, func(e Expectation) bool { return seenByDiffy(e, place) }) {
			o.Diffy = true
		} else {
			o.DiffyBeside++
		}
	}
	return o
}

// describe is a finding on one line.
func describe(f analysis.Finding) string {
	text := fmt.Sprintf("%s %s %s %s %s (%s, %d of %d", f.Kind, f.Change, f.Endpoint, f.Call, f.Address, f.Cause, f.Count, f.Of)
	if n := len(f.Consequences); n > 0 {
		text += fmt.Sprintf(", %d follow from it", n)
	}
	return strings.Join(strings.Fields(text+")"), " ")
}

// seenByDiffy reports whether a place that Diffy's rule reports is an expected
// one. Its name for the kind of change is not asked for.
func seenByDiffy(e Expectation, place diffy.Place) bool {
	return e.Kind == analysis.KindResponse && (e.Endpoint == "" || e.Endpoint == "*" || e.Endpoint == place.Endpoint) && e.at(place.Address)
}
