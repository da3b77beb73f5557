// Command eval measures how often the judgement errs: false alarms of a program
// against itself, the power to see what is slower, and seeded faults among
// noise, each beside the usual rules on the same measurements.
//
//	go run ./internal/eval -short     # a few minutes, fails when far off
//	go run ./internal/eval            # hundreds of sessions of real processes
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/reprise-ci/reprise/internal/eval/miniature"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "eval:", err)
		os.Exit(1)
	}
}

// figures is what an evaluation writes down.
type figures struct {
	Synthetic []row    `json:"synthetic"`
	Loopback  []row    `json:"loopback"`
	Faults    []caught `json:"faults"`
	Harmless  []caught `json:"harmless"`
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("eval", flag.ContinueOnError)
	short := flags.Bool("short", false, "a few minutes: fewer and shorter sessions, and an error when the figures are far off")
	seed := flags.Uint64("seed", 1, "`seed` of everything random")
	sessions := flags.Int("sessions", 300, "`number` of real sessions of a program against itself")
	power := flags.Int("power", 60, "`number` of real sessions for each slowdown")
	model := flags.Int("model", 300, "`number` of sessions on the model of a machine, for each slowdown")
	file := flags.String("out", "out/eval.json", "`file` for the figures")
	server := flags.Bool("serve", false, "be one arm of a session")
	work := flags.Int("work", 1000, "of -serve: work of the first endpoint")
	slow := flags.String("slow", "", "of -serve: the slow endpoint")
	factor := flags.Float64("factor", 1, "of -serve: by how much it is slower")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *server {
		return serve(*work, *slow, *factor)
	}
	var f figures
	world := miniature.Record()
	fmt.Fprintln(out, "Seeded faults")
	f.Faults, f.Harmless = seeded(world, faults(), *seed+100), seeded(world, harmless(), *seed+200)
	printFaults(out, f.Faults, f.Harmless)

	modelPlan := plan{endpoints: 12, pairs: 100, maxRounds: 16}
	realPlan := plan{endpoints: 12, pairs: 100, maxRounds: 16, round: 700 * time.Millisecond, sequential: 2}
	levels := []float64{1.01, 1.02, 1.05, 1.10, 1.20}
	if *short {
		*sessions, *power, *model, levels = 12, 8, 40, []float64{1.10}
		realPlan = plan{endpoints: 4, pairs: 40, maxRounds: 12, round: 200 * time.Millisecond, sequential: 6}
	}
	var err error
	fmt.Fprintln(out, "\nModel of a shared machine, 12 endpoints, one slower")
	f.Synthetic, err = measureAll(ctx, out, levels, *model, *model, func(n uint64, factor float64) (session, error) {
		return synthetic(*seed*1000003+n, modelPlan, factor), nil
	})
	if err != nil {
		return err
	}
	steps := calibrate(500 * time.Microsecond)
	fmt.Fprintf(out, "\nReal processes on loopback, %d endpoints, one slower\n", realPlan.endpoints)
	f.Loopback, err = measureAll(ctx, out, levels, *sessions, *power, func(n uint64, factor float64) (session, error) {
		return loopback(ctx, *seed*1000033+n, realPlan, factor, steps)
	})
	if err != nil {
		return err
	}
	if err := write(*file, f); err != nil {
		return err
	}
	if *short {
		return f.guard()
	}
	return nil
}

func write(file string, f figures) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}

// guard fails when the figures are far from what they should be; by chance it
// does in fewer than one of a hundred runs.
func (f figures) guard() error {
	missed, silent := 0, 0
	for _, c := range f.Faults {
		if !c.Found {
			missed++
		}
		if c.Snapshot {
			return fmt.Errorf("the recording is blamed for %q", c.Name)
		}
	}
	for _, c := range f.Harmless {
		if len(c.Others) == 0 {
			silent++
		}
	}
	switch {
	case missed*20 > len(f.Faults): // 38 of 40
		return fmt.Errorf("%d of %d faults are missed", missed, len(f.Faults))
	case silent < len(f.Harmless):
		return fmt.Errorf("%d of %d harmless changes are reported", len(f.Harmless)-silent, len(f.Harmless))
	}
	for _, rows := range [][]row{f.Synthetic, f.Loopback} {
		for _, r := range rows {
			switch {
			case r.Rule != rules[0].name:
			case r.Factor == 1 && r.Alarms*20 > 3*r.Sessions:
				return fmt.Errorf("%d of %d sessions raise a false alarm", r.Alarms, r.Sessions)
			case r.Factor >= 1.10 && r.Found*2 < r.Sessions:
				return errors.New("a slowdown of 10 % is found too rarely")
			}
		}
	}
	return nil
}
