package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/eval/mutation"
	"github.com/reprise-ci/reprise/internal/stats"
)

// example is what became of the real example, broken and whole.
type example struct {
	Faults   []mutation.Outcome `json:"faults"`
	Harmless []mutation.Outcome `json:"harmless"`
	Same     []mutation.Outcome `json:"same"` // the example against itself
}

// judgeExample runs the whole of reprise on the example as local processes,
// once for each mutation and then a number of times against itself, and keeps
// the outcomes for the page.
func (s settings) judgeExample(ctx context.Context, out io.Writer) error {
	faults, err := mutation.Faults()
	if err != nil {
		return err
	}
	harmless, err := mutation.Harmless()
	if err != nil {
		return err
	}
	if s.only != "" {
		names := strings.Split(s.only, ",")
		unwanted := func(m mutation.Mutation) bool { return !slices.Contains(names, m.Name) }
		faults, harmless = slices.DeleteFunc(faults, unwanted), slices.DeleteFunc(harmless, unwanted)
		if len(faults)+len(harmless) != len(names) {
			return fmt.Errorf("-mutations %s: not all of them exist", s.only)
		}
	}
	var e example
	x := mutation.Experiment{Root: s.root, Seed: 1}
	x.Tell = func(o mutation.Outcome) { tellFault(out, o) }
	if e.Faults, err = x.Run(ctx, faults); err != nil {
		return err
	}
	x.Tell = func(o mutation.Outcome) { tellHarmless(out, o) }
	if e.Harmless, err = x.Run(ctx, harmless); err != nil {
		return err
	}
	if e.Same, err = x.Same(ctx, s.same); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s", exampleSums(e))
	if s.only == "" {
		if err := writeJSON(filepath.Join(s.root, exampleFile), e); err != nil {
			return err
		}
	}
	return e.guard()
}

// Where the outcomes are kept: the last ones, and those of the very first run,
// before anything was mended for them.
const (
	exampleFile = "docs/evaluation/example.json"
	blindFile   = "docs/evaluation/example-blind.json"
)

func readExample(file string) (example, error) {
	var e example
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err != nil {
		return e, fmt.Errorf("read the outcomes of the example: %w", err)
	}
	return e, nil
}

func tellFault(out io.Writer, o mutation.Outcome) {
	word := "found"
	switch {
	case !o.Found && o.Folded:
		word = "folded"
	case !o.Found:
		word = "MISSED"
	}
	fmt.Fprintf(out, "  %-7s %-36s %-18s diffy %-5v %4.1f s\n", word, o.Name, o.Class, o.Diffy, o.Seconds)
	for _, text := range o.Missing {
		fmt.Fprintf(out, "            not reported: %s\n", text)
	}
	if !o.Found {
		for _, text := range o.Reported {
			fmt.Fprintf(out, "            reported: %s\n", text)
		}
	}
	for _, text := range o.Beside {
		fmt.Fprintf(out, "            beside: %s\n", text)
	}
	if o.Snapshot {
		fmt.Fprintln(out, "            the recording is blamed")
	}
}

func tellHarmless(out io.Writer, o mutation.Outcome) {
	word := "silent"
	if !o.Silent() {
		word = "LOUD"
	}
	fmt.Fprintf(out, "  %-7s %-36s %-18s diffy %-5v %4.1f s\n", word, o.Name, "", o.DiffyBeside > 0, o.Seconds)
	for _, text := range o.Beside {
		fmt.Fprintf(out, "            beside: %s\n", text)
	}
	if o.Snapshot {
		fmt.Fprintln(out, "            the recording is blamed")
	}
}

// exampleSums are the sums of some runs of the example, side by side, with those
// of Diffy's rule in the last of them.
func exampleSums(runs ...example) string {
	var b strings.Builder
	b.WriteString("| |")
	for i := range runs {
		switch {
		case i < len(runs)-1:
			b.WriteString(" first run |")
		default:
			b.WriteString(" reprise |")
		}
	}
	b.WriteString(" Diffy's rule |\n|---|" + strings.Repeat("---|", len(runs)+1) + "\n")
	faults := func(e example) []mutation.Outcome { return e.Faults }
	harmless := func(e example) []mutation.Outcome { return e.Harmless }
	same := func(e example) []mutation.Outcome { return e.Same }
	reports := func(o mutation.Outcome) bool { return o.DiffyBeside > 0 }
	for _, line := range []struct {
		what           string
		of             func(example) []mutation.Outcome
		reprise, diffy func(mutation.Outcome) bool
	}{
		{"faults found, with kind, endpoint and address", faults, func(o mutation.Outcome) bool { return o.Found }, func(o mutation.Outcome) bool { return o.Diffy }},
		{"the same, or listed as a consequence of one expected", faults, func(o mutation.Outcome) bool { return o.Found || o.Folded }, nil},
		{"faults with a finding beside it that nothing foretold", faults, func(o mutation.Outcome) bool { return len(o.Beside) > 0 }, reports},
		{"faults for which the recording is blamed", faults, func(o mutation.Outcome) bool { return o.Snapshot }, nil},
		{"harmless rewrites with a finding in answers or calls", harmless, wrong, reports},
		{"sessions against itself with such a finding", same, wrong, reports},
	} {
		fmt.Fprintf(&b, "| %s |", line.what)
		for _, e := range runs {
			fmt.Fprintf(&b, " %s |", outOf(line.of(e), line.reprise))
		}
		if line.diffy == nil {
			b.WriteString(" |\n")
			continue
		}
		fmt.Fprintf(&b, " %s |\n", outOf(line.of(runs[len(runs)-1]), line.diffy))
	}
	return b.String()
}

// wrong reports whether answers or calls were called changed that are not. More
// of a resource is another matter: a rewrite may well cost more.
func wrong(o mutation.Outcome) bool {
	return o.Snapshot || slices.ContainsFunc(o.Beside, func(text string) bool { return !strings.HasPrefix(text, "resource ") })
}

// outOf counts outcomes, with the interval of their share.
func outOf(list []mutation.Outcome, is func(mutation.Outcome) bool) string {
	if len(list) == 0 {
		return "-"
	}
	n := 0
	for _, o := range list {
		if is(o) {
			n++
		}
	}
	low, high := stats.ClopperPearson(n, len(list), 0.95)
	return fmt.Sprintf("%d of %d (%.0f to %.0f %%)", n, len(list), 100*low, 100*high)
}

// exampleTable lists what became of each fault, by its class.
func exampleTable(blind, now example) string {
	first := make(map[string]mutation.Outcome)
	for _, o := range blind.Faults {
		first[o.Name] = o
	}
	list := slices.Clone(now.Faults)
	slices.SortStableFunc(list, func(a, b mutation.Outcome) int { return strings.Compare(a.Class, b.Class) })
	var b strings.Builder
	b.WriteString("| class | fault | first run | now | Diffy's rule |\n|---|---|---|---|---|\n")
	for _, o := range list {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", o.Class, o.About, word(first[o.Name]), word(o), yes(o.Diffy))
	}
	return b.String()
}

func word(o mutation.Outcome) string {
	switch {
	case o.Name == "":
		return "-"
	case o.Found:
		return "found"
	case o.Folded:
		return "as a consequence"
	}
	return "missed"
}

func yes(b bool) string {
	if b {
		return "found"
	}
	return "missed"
}

// guard fails when the judgement misses more than it may.
func (e example) guard() error {
	missed := 0
	for _, o := range e.Faults {
		if !o.Found && !o.Folded {
			missed++
		}
		if o.Snapshot {
			return fmt.Errorf("the recording is blamed for %s", o.Name)
		}
	}
	if missed*20 > len(e.Faults) { // 38 of 40
		return fmt.Errorf("%d of %d faults of the example are missed", missed, len(e.Faults))
	}
	for _, o := range slices.Concat(e.Harmless, e.Same) {
		if wrong(o) {
			return fmt.Errorf("%s is harmless, yet: %s", o.Name, strings.Join(o.Beside, "; "))
		}
	}
	return nil
}

// fillExample puts the outcomes of the example into a page.
func (s settings) fillExample(page string) (string, error) {
	blind, err := readExample(filepath.Join(s.root, blindFile))
	if err != nil {
		return "", err
	}
	now, err := readExample(filepath.Join(s.root, exampleFile))
	if err != nil {
		return "", err
	}
	return fillBlocks(page, []block{{"correctness", exampleSums(blind, now)}, {"mutations", exampleTable(blind, now)}})
}
