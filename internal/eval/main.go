// Command eval measures how often the judgement errs: false alarms of a program
// against itself, the power to see what is slower, and seeded faults among
// noise, each beside the usual rules on the same measurements.
//
//	go run ./internal/eval                          # judge the stored sessions, redraw docs/evaluation.md
//	go run ./internal/eval -measure 1h -raw DIR     # measure more sessions into DIR
//	go run ./internal/eval -pack -raw DIR           # sum DIR up and add it to the stored sessions
//	go run ./internal/eval -example                 # break the example in many ways and judge each
//	go run ./internal/eval -short                   # a few minutes, fails when far off
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
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

// settings are the command line.
type settings struct {
	short, pack bool
	measure     time.Duration
	raw, place  string
	levels      string
	bursts      bool
	stored      string // file of packed sessions
	page, file  string

	// The example, broken in many ways; see judgeExample.
	example bool
	root    string
	only    string
	same    int

	// What a child process is told.
	serve   bool
	service service
	burst   uint64
}

func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("eval", flag.ContinueOnError)
	flags.BoolVar(&s.short, "short", false, "judge a sample and measure a few sessions; an error when the figures are far off")
	flags.DurationVar(&s.measure, "measure", 0, "measure sessions for this `time` and store each in -raw")
	flags.BoolVar(&s.pack, "pack", false, "sum up the sessions in -raw and add them to -sessions")
	flags.StringVar(&s.raw, "raw", "out/eval-raw", "`directory` of measured sessions")
	flags.StringVar(&s.place, "place", "shared cores", "`name` of the conditions, for -measure, and for -pack where a session has none")
	flags.StringVar(&s.levels, "levels", "", "of -measure: comma-separated `names` of the levels to draw among, instead of all that lack sessions")
	flags.BoolVar(&s.bursts, "bursts", true, "of -measure: keep a core busy now and then beside a third of the sessions")
	flags.StringVar(&s.stored, "sessions", "docs/evaluation/sessions.jsonl.gz", "`file` of sessions that are summed up")
	flags.StringVar(&s.page, "page", "docs/evaluation.md", "`file` of the page to redraw, its plots beside it")
	flags.StringVar(&s.file, "out", "out/eval.json", "`file` for the figures")
	flags.BoolVar(&s.example, "example", false, "run the example, broken in many ways and against itself, write docs/evaluation/example.json and fail when the figures are not as they must be")
	flags.StringVar(&s.root, "root", ".", "of -example and -short: `directory` of the repository")
	flags.StringVar(&s.only, "mutations", "", "of -example: comma-separated `names` of mutations instead of all; nothing is written")
	flags.IntVar(&s.same, "same", 100, "of -example: `number` of sessions against itself")
	flags.BoolVar(&s.serve, "serve", false, "be one arm of a session")
	flags.IntVar(&s.service.work, "work", 1000, "of -serve: work of the first endpoint")
	flags.IntVar(&s.service.overhead, "overhead", 0, "of -serve: work that takes as long as a request without any")
	flags.BoolVar(&s.service.waits, "waits", false, "of -serve: one endpoint also waits")
	flags.Func("truth", "of -serve: what is slower, as `JSON`", func(v string) error { return json.Unmarshal([]byte(v), &s.service.truth) })
	flags.Uint64Var(&s.burst, "burst", 0, "be the load beside a session, by this `seed`")
	return s, flags.Parse(args)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args)
	switch {
	case err != nil:
		return err
	case s.serve:
		return s.service.serve()
	case s.burst != 0:
		burst(s.burst)
		return nil
	case s.measure > 0:
		return s.measureSessions(ctx, out)
	case s.pack:
		return s.packSessions(out)
	case s.example:
		return s.judgeExample(ctx, out)
	case s.short:
		return guard(ctx, s, out)
	}
	return s.draw(out)
}

// figures is what an evaluation writes down.
type figures struct {
	Faults   []caught `json:"faults"`
	Harmless []caught `json:"harmless"`
	Latency  results  `json:"latency"`
}

// draw judges the stored sessions and the seeded faults, and writes tables,
// plots and figures.
func (s settings) draw(out io.Writer) error {
	var f figures
	world := miniature.Record()
	f.Faults, f.Harmless = seeded(world, faults(), 101), seeded(world, harmless(), 201)
	printFaults(out, f.Faults, f.Harmless)
	all, err := s.sessions()
	if err != nil {
		return err
	}
	f.Latency = newResults(all)
	for _, table := range []string{f.Latency.summary(), f.Latency.falseAlarms(), f.Latency.power(), f.Latency.places(), f.Latency.rules(), f.Latency.differences()} {
		fmt.Fprintf(out, "\n%s", table)
	}
	page, err := os.ReadFile(s.page)
	if err != nil {
		return fmt.Errorf("redraw the page: %w", err)
	}
	filled, err := f.Latency.fill(string(page))
	if err == nil {
		filled, err = s.fillExample(filled)
	}
	if err != nil {
		return fmt.Errorf("redraw %s: %w", s.page, err)
	}
	files := map[string]string{s.page: filled}
	for name, c := range map[string]chart{"power.svg": powerChart(f.Latency.Power), "rules.svg": rocChart(f.Latency.Curves, slowdown)} {
		files[filepath.Join(filepath.Dir(s.stored), name)] = c.svg()
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return fmt.Errorf("redraw the page: %w", err)
		}
	}
	return write(s.file, f)
}

func write(file string, f figures) error { return writeJSON(file, f) }

func writeJSON(file string, f any) error {
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

// sessions reads the stored sessions; none is an error.
func (s settings) sessions() ([]digest, error) {
	file, err := os.Open(s.stored)
	if err != nil {
		return nil, fmt.Errorf("read the stored sessions: %w", err)
	}
	defer file.Close()
	all, err := readDigests(file)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s holds no session", s.stored)
	}
	return all, err
}

// measureSessions measures sessions until the time is over, and stores each.
func (s settings) measureSessions(ctx context.Context, out io.Writer) error {
	of, err := calibrated(ctx)
	if err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	have, err := s.have()
	if err != nil {
		return err
	}
	if s.levels != "" {
		if err := only(have, strings.Split(s.levels, ",")); err != nil {
			return err
		}
	}
	for end := time.Now().Add(s.measure); time.Now().Before(end); {
		t, err := measureTrial(ctx, newSeed(), of, have, s.place, s.bursts)
		if err != nil {
			return fmt.Errorf("measure a session: %w", err)
		}
		have[t.Truth.level()]++
		if err := saveTrial(s.raw, t); err != nil {
			return err
		}
		// The truth is not told: whoever watches shall not stop at a good moment.
		fmt.Fprintf(out, "%s %d rounds in %.1f s, load %.1f, others %.0f %%\n", t.Started.Format(time.TimeOnly), len(t.Rounds), t.Took, t.Load, 100*t.Others)
	}
	return nil
}

// have counts the sessions there are by level, stored or in the raw directory.
func (s settings) have() (map[string]int, error) {
	levels := make(map[uint64]string) // by seed, because a session may be in both
	all, err := s.sessions()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, d := range all {
		levels[d.Seed] = d.Truth.level()
	}
	err = eachTrial(s.raw, func(t trial) error {
		levels[t.Seed] = t.Truth.level()
		return nil
	})
	count := make(map[string]int)
	for _, l := range levels {
		count[l]++
	}
	return count, err
}

// packSessions adds the measured sessions to the stored ones. A session that is
// stored already, which its seed tells, is replaced.
func (s settings) packSessions(out io.Writer) error {
	all, err := s.sessions()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	at := make(map[uint64]int)
	for i, d := range all {
		at[d.Seed] = i
	}
	before := len(all)
	if err := eachTrial(s.raw, func(t trial) error {
		if t.Place == "" {
			t.Place = s.place
		}
		d := newDigest(t)
		d.Scores = packed(scores(t))
		if i, ok := at[d.Seed]; ok {
			all[i] = d
			return nil
		}
		at[d.Seed] = len(all)
		all = append(all, d)
		return nil
	}); err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b digest) int { return a.Started.Compare(b.Started) })
	fmt.Fprintf(out, "%d sessions, %d of them new\n", len(all), len(all)-before)
	return writeDigests(s.stored, all)
}
