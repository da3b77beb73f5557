package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/stats"
)

// row is what one rule made of the sessions of one slowdown.
type row struct {
	Rule     string  `json:"rule"`
	Factor   float64 `json:"factor"`
	Sessions int     `json:"sessions"`
	// Alarms counts sessions in which an endpoint that is not slower was
	// called so, Found those in which the slow one was.
	Alarms int `json:"alarms"`
	Found  int `json:"found"`
	// Rounds is the median number of rounds measured.
	Rounds float64 `json:"rounds"`
}

// measureAll makes sessions of a program against itself and of each slowdown in
// turn, so that a change of the machine's mood meets all of them, and judges
// each by all rules.
func measureAll(ctx context.Context, out io.Writer, levels []float64, same, each int, measure func(uint64, float64) (session, error)) ([]row, error) {
	factors := append([]float64{1}, levels...)
	rows := make([]row, 0, len(rules)*len(factors))
	rounds := make([][]float64, len(factors))
	for _, f := range factors {
		for _, r := range rules {
			rows = append(rows, row{Rule: r.name, Factor: f})
		}
	}
	number := uint64(0)
	for n := range max(same, each) {
		for i, f := range factors {
			if f == 1 && n >= same || f != 1 && n >= each {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			number++
			s, err := measure(number, f)
			if err != nil {
				return nil, fmt.Errorf("session %d: %w", number, err)
			}
			rounds[i] = append(rounds[i], float64(len(s.rounds)))
			for k, r := range rules {
				row := &rows[i*len(rules)+k]
				row.Sessions++
				named := r.slower(s)
				if f != 1 && slices.Contains(named, s.slow) {
					row.Found++
				}
				if slices.ContainsFunc(named, func(e string) bool { return f == 1 || e != s.slow }) {
					row.Alarms++
				}
			}
		}
	}
	for i := range rows {
		rows[i].Rounds = stats.Median(rounds[i/len(rules)])
	}
	printRows(out, rows)
	return rows, nil
}

// printRows writes one line a rule: false alarms of a program against itself
// with their interval, then the share of slowdowns found.
func printRows(out io.Writer, rows []row) {
	fmt.Fprintf(out, "%-36s  %-28s", "rule", "false alarms (95 %)")
	for _, r := range rows {
		if r.Rule == rules[0].name && r.Factor != 1 {
			fmt.Fprintf(out, "  %-12s", fmt.Sprintf("found +%.0f %%", 100*(r.Factor-1)))
		}
	}
	fmt.Fprintln(out)
	for _, rule := range rules {
		for _, r := range rows {
			if r.Rule != rule.name {
				continue
			}
			if r.Factor == 1 {
				low, high := stats.ClopperPearson(r.Alarms, r.Sessions, 0.95)
				fmt.Fprintf(out, "%-36s  %-28s", r.Rule, fmt.Sprintf("%d of %d (%.1f to %.1f %%)", r.Alarms, r.Sessions, 100*low, 100*high))
				continue
			}
			fmt.Fprintf(out, "  %-12s", fmt.Sprintf("%d of %d", r.Found, r.Sessions))
		}
		fmt.Fprintln(out)
	}
	for _, r := range rows {
		if r.Rule == rules[0].name {
			fmt.Fprintf(out, "median rounds at +%.0f %%: %.0f\n", 100*(r.Factor-1), r.Rounds)
		}
	}
}

func printFaults(out io.Writer, faults, harmless []caught) {
	found, byDiffy := 0, 0
	for _, c := range faults {
		if c.Found {
			found++
		}
		if c.Diffy {
			byDiffy++
		}
		if !c.Found || len(c.Others) > 0 || c.Snapshot {
			fmt.Fprintf(out, "  %-32s found %-5v others: %s\n", c.Name, c.Found, strings.Join(c.Others, "; "))
		}
	}
	silent, quiet := 0, 0
	for _, c := range harmless {
		if len(c.Others) == 0 && !c.Snapshot {
			silent++
		} else {
			fmt.Fprintf(out, "  %-32s is harmless, yet: %s\n", c.Name, strings.Join(c.Others, "; "))
		}
		if c.Noise == 0 {
			quiet++
		}
	}
	fmt.Fprintf(out, "%d of %d faults found, %d of %d harmless changes silent\n", found, len(faults), silent, len(harmless))
	fmt.Fprintf(out, "Diffy's rule on the same answers: %d of %d faults, %d of %d harmless changes silent\n", byDiffy, len(faults), quiet, len(harmless))
}
