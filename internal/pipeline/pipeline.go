// Package pipeline is the order of a run. [Run] reads from top to bottom like
// a recipe; beside it stand the two kinds of target that a run can have. The
// stages themselves live in their own rooms and know nothing of each other.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/source"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
	"github.com/reprise-ci/reprise/internal/workdir"
)

// Arm is one deployed version under test.
type Arm string

// The arms. Control is base again: its answers show what is noise, and its
// latency shows what the machine can tell apart.
const (
	Base    Arm = "base"
	Control Arm = "control"
	Head    Arm = "head"
)

// arms is the order in which they are deployed and replayed. Control comes
// last, so that as much time lies between the two passes of base as between
// base and head, and values that follow the clock show themselves as noise.
var arms = []Arm{Base, Head, Control}

// correctnessPass numbers the pass whose answers are compared; the numbers
// above it are warm-up and latency rounds.
const correctnessPass = 1

// Progress hears of the stages of a run while it runs.
type Progress interface {
	// Stage begins a stage; the function it returns ends it.
	Stage(name string) (end func(error))
	// Note says one thing about the running stage.
	Note(format string, args ...any)
}

// Outcome is what a run found, whole or up to where it was stopped.
type Outcome struct {
	Result analysis.Result
	// Seen is what Result was made of, for those who want to judge it by
	// another rule.
	Seen      analysis.Input
	Base      source.Commit
	Head      source.Commit
	Recording Recording
	Target    string
	Seed      int64
	StartedAt time.Time
	Stages    []Stage
	// Notes are facts about the run that a reader should weigh.
	Notes []string
	// Learned are the bindings that the requests were sent with.
	Learned []transform.LearnedRule
	Load    *Load // nil when none was asked for, or not reached
}

// Stage is one stage and how long it took. Stages overlap.
type Stage struct {
	Name    string
	Started time.Duration // since the run began
	Took    time.Duration
	Failure string // one line; empty when the stage succeeded
}

// Recording describes the snapshot that was replayed.
type Recording struct {
	Name       string
	Digest     string
	RecordedAt time.Time
	Inbound    int
	Outbound   int
	Redacted   int // values that were replaced before it was stored
}

// Error is a run that broke before it could judge.
type Error struct {
	Stage string
	// Input says that the configuration, the snapshot or the chart is to
	// blame; otherwise it is the machine it ran on.
	Input bool
	Err   error
}

// Error names the stage and the cause.
func (e *Error) Error() string { return e.Stage + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Run does the whole job. It always returns an outcome: when it stops early,
// by error or because ctx ended, the outcome holds what is known so far and
// its verdict is analysis.Error. Everything it started is gone when it
// returns, unless the options keep it.
func Run(ctx context.Context, o Options, progress Progress) (*Outcome, error) {
	r := &run{options: o, progress: progress, begun: o.Now(), concurrency: max(o.Replay.Concurrency, 1), seen: map[Arm]*observation{}}
	for _, arm := range arms {
		r.seen[arm] = &observation{}
	}
	hurried := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(hurried); r.hurry() })
	err := r.do(ctx)
	hurries := !stop()
	r.settle(ctx, err)
	if hurries {
		<-hurried
	}
	return r.outcome(), err
}

// run is the state of one run: what the stages have handed over so far.
type run struct {
	options  Options
	progress Progress
	begun    time.Time

	dir       *workdir.Dir
	authority *authority.Authority
	recorded  []*traffic.Exchange
	partial   bool // recorded is a part of what there was
	bindings  *transform.Bindings
	redacted  []traffic.Pattern // places of the recording that hold pseudonyms
	recording Recording
	base      source.Commit
	head      source.Commit
	projects  map[Arm]string // the project's directory in each version
	target    target
	seen      map[Arm]*observation
	rounds    []analysis.Round
	confirm   []analysis.Round // fresh ones, when the others show a change
	chaos     []*chaosPass     // while dependencies went wrong
	// concurrency is that of the passes: that of the options, or less.
	concurrency int
	logUnread   bool      // the log of an arm could not be read for errors
	stopped     string    // why measuring ended
	past        []pastRun // of the history of noise
	loaded      *Load
	passes      uint32 // the number that was given out last
	result      *analysis.Result
	mu          sync.Mutex
	stages      []Stage
	notes       []string
	teardown    []func(context.Context) error
	urgent      []func(context.Context) error // of those, what a cancelled run begins at once
	open        []analysis.Round              // both arms at once
	capacity    *analysis.CapacityFound
}

// do is the recipe.
func (r *run) do(ctx context.Context) error {
	if err := r.stage("read the snapshot", r.readSnapshot)(ctx); err != nil {
		return err
	}
	if err := r.stage("check the target", r.checkTarget)(ctx); err != nil {
		return err
	}
	if err := r.stage("check out base", r.checkOut)(ctx); err != nil {
		return err
	}
	if err := together(ctx,
		r.stage("start the target", r.startTarget),
		r.stage("build base", r.build(Base)),
		r.stage("build head", r.build(Head)),
	); err != nil {
		return err
	}
	if !r.headRuns() {
		return r.stage("judge", r.judge)(ctx)
	}
	if err := together(ctx,
		r.stage("deploy base", r.deploy(Base)),
		r.stage("deploy head", r.deploy(Head)),
		r.stage("deploy control", r.deploy(Control)),
	); err != nil {
		return err
	}
	if !r.headRuns() {
		return r.stage("judge", r.judge)(ctx)
	}
	for _, arm := range arms {
		if err := r.stage("replay on "+string(arm), r.replay(arm))(ctx); err != nil {
			return err
		}
	}
	if err := r.attributeBetter(ctx); err != nil {
		return err
	}
	if err := r.stage("measure latency", r.measure)(ctx); err != nil {
		return err
	}
	if r.options.Latency.Load != nil {
		if err := r.stage("send the load", r.load)(ctx); err != nil {
			return err
		}
	}
	if r.measuresUnderLoad() {
		if err := r.stage("measure under load", r.underLoad)(ctx); err != nil {
			return err
		}
	}
	if err := r.breakDependencies(ctx); err != nil {
		return err
	}
	return r.stage("judge", r.judge)(ctx)
}

// step is one line of the recipe.
type step func(context.Context) error

// stage wraps a step with its name for progress, timing and errors.
func (r *run) stage(name string, do step) step {
	return func(ctx context.Context) error {
		started := r.options.Now()
		end := r.progress.Stage(name)
		err := do(ctx)
		if err == nil {
			err = ctx.Err()
		}
		end(err)
		done := Stage{Name: name, Started: started.Sub(r.begun), Took: r.options.Now().Sub(started)}
		if err != nil {
			done.Failure, _, _ = strings.Cut(err.Error(), "\n")
		}
		r.mu.Lock()
		r.stages = append(r.stages, done)
		r.mu.Unlock()
		var known *Error
		if err != nil && !errors.As(err, &known) {
			err = &Error{Stage: name, Err: err}
		}
		return err
	}
}

// together runs steps at once and returns the first error, after all of them
// have ended.
func together(ctx context.Context, steps ...step) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, do := range steps {
		group.Go(func() error { return do(ctx) })
	}
	return group.Wait()
}

// badInput blames the input for an error of a stage.
func badInput(stage string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Stage: stage, Input: true, Err: err}
}

// later registers what must happen however the run ends, unless it is kept.
func (r *run) later(undo func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.teardown = append(r.teardown, undo)
}

// atOnce registers what a cancelled run must begin to undo the moment it is
// cancelled, because it takes most of the time there is. It is undone once
// more in the end, so it must bear that.
func (r *run) atOnce(undo func(context.Context) error) {
	r.later(undo)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.urgent = append(r.urgent, undo)
}

// hurry runs when the run is cancelled, beside the stages that are unwinding.
func (r *run) hurry() {
	if r.options.Keep == KeepAlways {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelledTime)
	defer cancel()
	r.mu.Lock()
	urgent := r.urgent
	r.mu.Unlock()
	var all sync.WaitGroup
	for _, undo := range urgent {
		all.Go(func() { _ = undo(ctx) }) // the end tries again, and tells
	}
	all.Wait()
}

// How long it may take until everything is gone. A cancelled job of GitHub has
// 7.5 s before SIGTERM and 10 s in all.
const (
	teardownTime  = 2 * time.Minute
	cancelledTime = 7 * time.Second
)

// settle judges what an interrupted run has seen, saves logs where something
// went wrong, and takes everything down.
func (r *run) settle(ctx context.Context, cause error) {
	if r.result == nil {
		result := analysis.Run(r.input(), r.options.Analysis)
		result.Verdict = analysis.Error
		result.Reason = reasonOf(cause)
		r.result = &result
	}
	if err := r.keepCalls(); err != nil {
		r.progress.Note("%v", err)
	}
	limit, cancelled := teardownTime, ctx.Err() != nil
	if cancelled {
		limit = cancelledTime
	}
	ctx = context.WithoutCancel(ctx)
	end := r.progress.Stage("tear down")
	if v := r.result.Verdict; r.target != nil && !cancelled && (v == analysis.Fail || v == analysis.Error) {
		r.target.saveLogs(ctx, r.options.LogDir)
	}
	// Whatever the logs took, there is time to remove everything.
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	end(r.takeDown(ctx))
}

// takeDown undoes everything at once, because a cancelled run has no time to
// wait, and removes the run's directory when nothing needs it any more.
func (r *run) takeDown(ctx context.Context) error {
	if r.keeps() {
		r.progress.Note("kept what the run made, its directory is %s; reprise cleanup removes it once this process has ended", r.dir.Path())
		return nil
	}
	errs := make([]error, len(r.teardown))
	var wait sync.WaitGroup
	for i, undo := range r.teardown {
		wait.Go(func() { errs[i] = undo(ctx) })
	}
	wait.Wait()
	if r.dir != nil {
		errs = append(errs, r.dir.Remove())
	}
	return errors.Join(errs...)
}

// note keeps a fact that a reader of the report should weigh.
func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
}

func reasonOf(err error) string {
	if errors.Is(err, context.Canceled) {
		return "The run was cancelled before it could judge."
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "The run took longer than its timeout."
	}
	return fmt.Sprintf("The run broke: %v.", err)
}
