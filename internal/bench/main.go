// Command bench runs the benchmarks that have a peer in them and shows each
// figure beside the peer's, as a ratio. A benchmark takes part when one element
// of its name is "reprise" and a sibling differs in that element alone:
//
//	BenchmarkInbound/reprise/one
//	BenchmarkInbound/httputil/one
//
// Each package's benchmarks are built once and run several times over, so that
// the sides alternate and a disturbance of the machine meets both; the median
// counts. A benchmark whose peer is not installed says so by skipping.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/reprise-ci/reprise/internal/command"
)

// rooms are the packages whose benchmarks have peers.
var rooms = []string{"replay", "mock", "compare", "capture", "snapshot", "redact"}

func main() {
	only := flag.String("only", "", "room to measure; all if empty")
	out := flag.String("out", "out/bench.json", "file for the rows as JSON")
	count := flag.Int("count", 5, "runs of each benchmark; the median counts")
	benchtime := flag.String("benchtime", "300ms", "time for each run of a benchmark")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *out, *count, *benchtime); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, out string, count int, benchtime string) error {
	var rows []Row
	var skipped []string
	for _, room := range rooms {
		if only != "" && only != room {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s\n", room)
		samples, skips, err := measure(ctx, room, count, benchtime)
		if err != nil {
			return err
		}
		rows = append(rows, pair(room, samples)...)
		skipped = append(skipped, skips...)
	}
	if len(rows) == 0 && len(skipped) == 0 {
		return fmt.Errorf("no benchmark of %q has a peer; rooms are %s", only, strings.Join(rooms, ", "))
	}
	if err := show(os.Stdout, rows, skipped); err != nil {
		return err
	}
	return save(out, rows)
}

// measure builds the tests of a room and runs its benchmarks count times.
func measure(ctx context.Context, room string, count int, benchtime string) (samples map[string][]float64, skipped []string, err error) {
	dir, err := os.MkdirTemp("", "reprise-bench-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, room+".test")
	if err := command.Run(ctx, command.Command{Argv: []string{"go", "test", "-c", "-o", binary, "./internal/" + room}, Env: os.Environ()}); err != nil {
		return nil, nil, err
	}
	samples = map[string][]float64{}
	for range count {
		var text bytes.Buffer
		err := command.Run(ctx, command.Command{
			Argv: []string{binary, "-test.run=^$", "-test.bench=.", "-test.v", "-test.benchtime=" + benchtime},
			Dir:  filepath.Join("internal", room), Env: os.Environ(), Out: &text,
		})
		skipped = parse(text.String(), samples)
		if err != nil { // one benchmark failed; the others have their figures
			skipped = append(skipped, "a benchmark failed: "+failure(text.String(), err))
		}
		if ctx.Err() != nil {
			return nil, nil, err
		}
	}
	for i, s := range skipped {
		skipped[i] = room + ": " + s
	}
	return samples, skipped, nil
}

// failure finds what a failing benchmark said.
func failure(text string, err error) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, "_test.go:") {
			err = errors.New(strings.TrimSpace(line))
		}
	}
	return err.Error()
}

func show(w io.Writer, rows []Row, skipped []string) error {
	table := tablewriter.NewTable(w,
		tablewriter.WithHeaderAutoFormat(tw.Off), tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithRowAlignmentConfig(tw.CellAlignment{PerColumn: []tw.Align{tw.AlignLeft, tw.AlignRight, tw.AlignLeft, tw.AlignLeft, tw.AlignRight, tw.AlignRight, tw.AlignLeft, tw.AlignLeft}}))
	table.Header("benchmark", "reprise", "unit", "peer", "value", "ratio", "goal", "")
	for _, r := range rows {
		verdict := ""
		if r.Goal != "" && r.Holds {
			verdict = "holds"
		} else if r.Goal != "" {
			verdict = "missed"
		}
		if err := table.Append(r.Name, figure(r.Value), r.Unit, r.Peer, figure(r.PeerValue), figure(r.Ratio), r.Goal, verdict); err != nil {
			return err
		}
	}
	if err := table.Render(); err != nil {
		return err
	}
	for _, s := range skipped {
		fmt.Fprintln(w, "not measured:", s)
	}
	return nil
}

// figure writes a number with three digits that matter.
func figure(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func save(path string, rows []Row) error {
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
