package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/pipeline"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// replayFlags are what reprise replay takes beside the configuration.
type replayFlags struct {
	load     replay.Load
	stages   string
	limits   []string
	allow    []string
	dry      bool
	capacity bool
	http2    bool
	keepHost bool
	samples  string
}

func newReplay(s Surroundings) *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay URL",
		Short: "Send the requests of a snapshot to a running service, as a load",
		Long: `Send the recorded inbound requests to a service that is running, with the
recorded timing or another one, and print what came back and how long it took.
Response times count from the planned moment of a request.

Hosts that are neither loopback nor private are refused unless --allow-host names
them: recorded requests change data. Nothing is compared; reprise run does that.

A condition on a time is inconclusive, and does not fail, when the load was not
sent as planned: the sender was late by more than a tenth of the median, left
requests out because too many waited (--max-waiting), or had no file or local
port for some.

A signal ends the load and prints what was counted until then; a second one ends
at once.

Exit codes: 0 no limit of --fail-if holds, 1 one does, 3 none does but this
machine had no file or local port for some requests, 130 a signal came.`,
		Example: `  reprise replay http://127.0.0.1:8080 --snapshot snapshots/shop
  reprise replay http://127.0.0.1:8080 --rate 200 --budget 30s --fail-if 'p90>200ms' --fail-if 'status.5xx>0.1%'
  reprise replay http://127.0.0.1:8080 --stages 0..500:30s,500:1m --copies 4
  reprise replay http://127.0.0.1:8080 --capacity --fail-if 'p90>50ms'`,
		Args: cobra.ExactArgs(1),
	}
	fl := cmd.Flags()
	fl.Float64Var(&f.load.Speed, "speed", 0, "divide the recorded times: 2 is twice as fast")
	fl.Float64Var(&f.load.Rate, "rate", 0, "send this many requests a second instead")
	fl.StringVar(&f.stages, "stages", "", "send at these rates one after the other: 0..500:30s,500:1m")
	fl.BoolVar(&f.load.Max, "max", false, "send as fast as answers come")
	fl.IntVar(&f.load.Copies, "copies", 0, "multiply the load by whole sessions")
	fl.IntVar(&f.load.Loops, "loops", 0, "send the recording this often")
	fl.DurationVar(&f.load.Budget, "budget", 0, "stop sending after this time")
	fl.DurationVar(&f.load.MaxIdle, "max-idle", 0, "longest gap between recorded requests that is kept; all if 0")
	fl.IntVar(&f.load.Connections, "connections", 0, "most connections; 64 if 0")
	fl.IntVar(&f.load.MaxWaiting, "max-waiting", 0, "most requests that are due and wait, beyond the connections; more are left out; 10000 if 0")
	fl.DurationVar(&f.load.MaxWait, "max-wait", 0, "longest time for which a request waits for a connection before it is left out; 5m if 0")
	fl.BoolVar(&f.load.Churn, "churn", false, "open a connection for each session, as its client did")
	fl.StringArrayVar(&f.limits, "fail-if", nil, "condition that fails the load, such as 'p90>200ms', 'status.5xx>0.1%', 'failures>0' (repeat)")
	fl.StringArrayVar(&f.allow, "allow-host", nil, "host outside of private networks that may be sent to (repeat)")
	fl.BoolVar(&f.dry, "dry-run", false, "print what would be sent, and send nothing")
	fl.BoolVar(&f.capacity, "capacity", false, "search the highest rate at which no limit of --fail-if holds")
	fl.BoolVar(&f.http2, "http2", false, "send over HTTP/2")
	fl.BoolVar(&f.keepHost, "keep-host", false, "send the recorded Host instead of that of the URL")
	fl.StringVar(&f.samples, "samples", "", "write the moments of every request to this file, as comma-separated values")
	st := addSettings(cmd, oneOf("snapshot", "routes", "replay.timeout", "replay.middleware", "mock.descriptors", "seed"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := st.loadWith(cmd, s, noInput, neitherChartNorCommand)
		if err != nil {
			return err
		}
		return replayTo(cmd.Context(), s, p, cmd.OutOrStdout(), args[0], f)
	}
	return cmd
}

func replayTo(ctx context.Context, s Surroundings, p *project, w io.Writer, url string, f replayFlags) error {
	target, err := replay.TargetOf(ctx, "target", url, f.allow)
	if err != nil {
		return badInput(err)
	}
	limits := make([]replay.Limit, len(f.limits))
	for i, text := range f.limits {
		if limits[i], err = replay.ParseLimit(text); err != nil {
			return badInput(fmt.Errorf("--fail-if: %w", err))
		}
	}
	if f.load.Stages, err = stagesOf(f.stages); err != nil {
		return badInput(err)
	}
	program, stop, err := p.startMiddleware(ctx, s)
	if err != nil {
		return badInput(err)
	}
	defer stop()
	source, err := within(ctx, func() (*loadSource, error) { return p.loadSource(s, f, program) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return badInput(err)
	}
	if f.capacity {
		return findCapacity(ctx, w, source, target, p.Seed, limits)
	}
	plan, err := within(ctx, func() (*replay.Plan, error) { return source.plan(ctx) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return badInput(err)
	}
	fmt.Fprintln(s.Stderr, plan)
	if f.dry {
		return nil
	}
	result, err := f.send(ctx, source, target, plan)
	if result == nil {
		return err
	}
	all, endpoints := result.Overview()
	if err := errors.Join(err, writeLoad(w, result, all, endpoints)); err != nil {
		return err
	}
	if err := judgeLoad(w, all, limits); err != nil {
		return err
	}
	if n := all.Short(); n > 0 {
		return fmt.Errorf("%d of %d requests not sent: %s", n, all.Requests, result.Errors[traffic.FailureLimit])
	}
	return nil
}

// within returns what do returns, or the cause of ctx when that ends first: a
// file may give nothing for as long as it likes. Do is then left behind, and
// ends with the process.
func within[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := do()
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// send sends a load, and writes its samples to the file that is named for them.
func (f replayFlags) send(ctx context.Context, source *loadSource, t replay.Target, p *replay.Plan) (*replay.Result, error) {
	if f.samples == "" {
		return source.drive(ctx, t, p, nil)
	}
	file, err := os.Create(f.samples)
	if err != nil {
		return nil, badInput(fmt.Errorf("--samples: %w", err))
	}
	samples := replay.NewSampleWriter(file)
	result, err := source.drive(ctx, t, p, samples)
	if wrong := errors.Join(samples.Close(), file.Close()); wrong != nil {
		err = errors.Join(err, fmt.Errorf("write samples: %w", wrong))
	}
	return result, err
}

// startMiddleware starts the program that changes requests; nil without one.
// Stop tells on standard error what went wrong with it.
func (p *project) startMiddleware(ctx context.Context, s Surroundings) (program *transform.Program, stop func(), err error) {
	if p.Replay.Middleware == "" {
		return nil, func() {}, nil
	}
	program, end, err := pipeline.StartMiddleware(context.WithoutCancel(ctx), p.Replay.Middleware, p.dir, s.Environ, s.Stderr)
	if err != nil {
		return nil, nil, p.Mistake("replay.middleware", "%v", err)
	}
	return program, func() {
		if err := end(); err != nil {
			fmt.Fprintf(s.Stderr, "replay.middleware: %v\n", err)
		}
		if n := program.Left(); n > 0 {
			fmt.Fprintf(s.Stderr, "replay.middleware: %d requests were not returned in time and went out as they were\n", n)
		}
	}, nil
}

func stagesOf(text string) ([]replay.Stage, error) {
	if text == "" {
		return nil, nil
	}
	stages, err := replay.ParseStages(text)
	if err != nil {
		return nil, fmt.Errorf("--stages: %w", err)
	}
	return stages, nil
}

// writeLoad prints what came back, over all and by endpoint.
func writeLoad(w io.Writer, r *replay.Result, all replay.Summary, endpoints []replay.EndpointSummary) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "REQUESTS\tENDPOINT\tANSWERS\tP50\tP90\tP99\tMAX")
	for _, e := range endpoints {
		writeSummary(t, e.Endpoint, e.Summary)
	}
	writeSummary(t, "all", all)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "%.1f requests a second for %s; %d not sent; %d connections; sender late by %s (p50), %s (p99)\n",
		all.Rate, r.Elapsed.Round(time.Millisecond), r.Unsent, r.Connections,
		all.Lag.Quantile(0.5).Round(time.Microsecond), all.Lag.Quantile(0.99).Round(time.Microsecond))
	if r.Skipped > 0 {
		fmt.Fprintf(w, "inconclusive: %d requests not sent: too many waiting; this is no result at the planned rate (--max-waiting and --connections allow more)\n", r.Skipped)
	}
	if n := all.Short(); n > 0 {
		fmt.Fprintf(w, "inconclusive: %d requests not sent: no file or local port left here, which is no fault of the service\n", n)
	}
	if all.Late && len(all.Status) > 0 {
		fmt.Fprintln(w, "inconclusive: the sender was late by more than a tenth of the median time, so that these times say little of the service")
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(w, "%s: %s\n", kind, r.Errors[kind])
	}
	return nil
}

func writeSummary(w io.Writer, name string, s replay.Summary) {
	answers := map[string]int{}
	for status, n := range s.Status {
		answers[fmt.Sprint(status)] = int(n)
	}
	for kind, n := range s.Failures {
		answers[string(kind)] = int(n)
	}
	q := func(q float64) time.Duration { return s.Response.Quantile(q).Round(10 * time.Microsecond) }
	fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Requests, name, tally(answers), q(0.5), q(0.9), q(0.99), q(1))
}

// judgeLoad says which limits hold; one is enough to fail.
func judgeLoad(w io.Writer, s replay.Summary, limits []replay.Limit) error {
	failed := false
	for _, limit := range limits {
		measured, bad := limit.Check(s)
		word := "ok"
		switch {
		case !limit.Conclusive(s):
			word = "INCONCLUSIVE" // it says more of the sender than of the service
		case bad:
			word, failed = "FAILED", true
		}
		if _, err := fmt.Fprintf(w, "%s: fail if %s; measured %s\n", word, limit, measured); err != nil {
			return err
		}
	}
	if failed {
		return errSilent(exitGate)
	}
	return nil
}

func findCapacity(ctx context.Context, w io.Writer, source *loadSource, target replay.Target, seed int64, limits []replay.Limit) error {
	opts := replay.CapacityOptions{Limits: limits, Load: source.load}
	if err := opts.Validate(); err != nil {
		return badInput(err)
	}
	if seed == 0 {
		seed = rand.Int64()
	}
	found, err := source.capacity(ctx, []replay.Target{target}, seed, opts)
	for _, c := range found {
		for _, probe := range c.Probes {
			word := "holds"
			if !probe.Holds {
				word = probe.Why
			}
			fmt.Fprintf(w, "%.0f requests a second: %s\n", probe.Rate, word)
		}
		word := "the highest rate that holds"
		switch {
		case err != nil && c.Rate == 0:
			fmt.Fprintln(w, "capacity: unknown, the search was ended before a rate held")
			continue
		case err != nil:
			word = "or more, the search was ended"
		case !c.Bounded:
			word = "the highest rate that was tried, and it holds"
		}
		fmt.Fprintf(w, "capacity: %.0f requests a second, %s\n", c.Rate, word)
	}
	return err
}
