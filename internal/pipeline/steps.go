package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/source"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
	"github.com/reprise-ci/reprise/internal/workdir"
)

// readSnapshot reads and verifies the whole recording. It is the first stage,
// so that nothing has been started when the snapshot is damaged.
func (r *run) readSnapshot(ctx context.Context) error {
	const stage = "read the snapshot"
	reader, err := snapshot.Open(r.options.Snapshot)
	if err != nil {
		return badInput(stage, err)
	}
	defer reader.Close()
	m := reader.Manifest()
	if r.options.Scan != nil && (m.Redaction.Version == "" || m.Redaction.Version == "none") {
		return badInput(stage, fmt.Errorf("snapshot %s was not redacted; record it anew, or set redact.trust to replay it all the same", r.options.Snapshot))
	}
	var left []string
	for x, err := range reader.All() {
		if err != nil {
			return badInput(stage, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.options.Scan != nil {
			left = append(left, r.options.Scan(x)...)
		}
		r.recorded = append(r.recorded, x)
	}
	if n := len(left); n > 0 {
		return badInput(stage, fmt.Errorf("snapshot %s holds what redaction should have replaced, at %d places, the first: %s; reprise scan names all; redact.trust replays it all the same", r.options.Snapshot, n, left[0]))
	}
	r.partial = m.Completeness.SampledOut > 0
	r.recording = Recording{Name: m.Name, Digest: m.Digest, RecordedAt: m.RecordedFrom, Inbound: m.Inbound, Outbound: m.Outbound}
	for _, change := range m.Redactions {
		r.recording.Redacted += change.Count
		r.redacted = append(r.redacted, change.Path)
	}
	if m.Inbound == 0 {
		return badInput(stage, fmt.Errorf("snapshot %s holds no inbound exchange; record some traffic first", r.options.Snapshot))
	}
	r.progress.Note("%d inbound and %d outbound exchanges of %s", m.Inbound, m.Outbound, m.RecordedFrom.Format("2006-01-02"))
	return r.selectExchanges(stage)
}

// selectExchanges keeps what the options pick of the recording and learns which
// of its values have to be replaced by live ones.
func (r *run) selectExchanges(stage string) error {
	kept, err := r.options.Transform.Select(r.recorded)
	if err != nil {
		return badInput(stage, err)
	}
	inbound := len(inboundOf(kept))
	if inbound == 0 {
		return badInput(stage, fmt.Errorf("replay.keep and replay.sample leave none of the %d inbound exchanges", r.recording.Inbound))
	}
	if len(kept) < len(r.recorded) {
		r.partial = true
		r.recorded = kept
		r.recording.Inbound, r.recording.Outbound = inbound, len(kept)-inbound
		r.progress.Note("%d inbound and %d outbound exchanges of them are kept", r.recording.Inbound, r.recording.Outbound)
	}
	if r.bindings, err = transform.Learn(r.recorded, r.options.Transform); err != nil {
		return badInput(stage, err)
	}
	if err := r.makeIssuer(); err != nil {
		return badInput(stage, err)
	}
	if tokens := transform.Check(r.recorded, r.bindings, r.options.Transform).String(); tokens != "" {
		for line := range strings.Lines(tokens) {
			r.progress.Note("%s", strings.TrimSpace(line))
		}
	}
	return nil
}

// makeIssuer makes the keys of this run for tokens: replayer and mocks share
// them, on all arms.
func (r *run) makeIssuer() error {
	issuer, err := fresh.NewIssuer(r.recorded, r.options.Issuers...)
	if err != nil || issuer == nil {
		return err
	}
	r.options.Transform.Issuer, r.options.Mock.Issuer = issuer, issuer
	if len(issuer.Known) > 0 {
		r.progress.Note("tokens of %s are signed with keys of this run, which the mocks serve", strings.Join(issuer.Known, ", "))
	}
	return nil
}

// checkTarget makes the target and asks it what can be known to fail.
func (r *run) checkTarget(ctx context.Context) error {
	var err error
	if r.dir, err = workdir.New(r.options.TempDir); err != nil {
		return err
	}
	if r.authority, err = authority.New(r.options.Now()); err != nil {
		return err
	}
	r.target = r.newTarget()
	return r.target.check(ctx)
}

// keeps reports whether what the run made is left standing.
func (r *run) keeps() bool {
	if r.dir == nil {
		return false
	}
	switch r.options.Keep {
	case KeepAlways:
		return true
	case KeepOnFailure:
		return r.result.Verdict == analysis.Fail || r.result.Verdict == analysis.Error
	}
	return false
}

// checkOut finds base and head and gives base a worktree of its own. Head is
// the user's work tree as it stands.
func (r *run) checkOut(ctx context.Context) error {
	const stage = "check out base"
	repo, err := source.Open(ctx, r.options.Dir, r.options.Environ)
	if err != nil {
		return badInput(stage, err)
	}
	ref := r.options.BaseRef
	if ref == "" {
		if ref = repo.DefaultBranch(ctx); ref == "" {
			return badInput(stage, errors.New("base-ref: the repository has no default branch; name the branch, tag or commit to compare with"))
		}
	}
	if r.head, err = repo.Head(ctx); err != nil {
		return badInput(stage, err)
	}
	if r.base, err = repo.MergeBase(ctx, ref); err != nil {
		return badInput(stage, err)
	}
	if r.base.SHA == r.head.SHA && !r.head.Dirty {
		r.progress.Note("head is its own merge base with %s: nothing has changed, so nothing should differ", ref)
	}
	if err := r.dir.Note(workdir.Worktree, repo.Root()); err != nil {
		return err
	}
	tree := r.dir.Path("base")
	remove, err := repo.Checkout(ctx, r.base, tree)
	if err != nil {
		return err
	}
	r.later(remove)
	project, err := filepath.EvalSymlinks(r.options.Dir)
	if err != nil {
		return badInput(stage, err)
	}
	inside, err := filepath.Rel(repo.Root(), project)
	if err != nil {
		return badInput(stage, err)
	}
	r.projects = map[Arm]string{Base: filepath.Join(tree, inside), Control: filepath.Join(tree, inside), Head: project}
	if _, err := os.Stat(r.projects[Base]); err != nil {
		return badInput(stage, fmt.Errorf("base %.12s has no directory %s; there is nothing to compare with", r.base.SHA, inside))
	}
	return nil
}

func (r *run) startTarget(ctx context.Context) error { return r.target.start(ctx) }

func (r *run) build(arm Arm) step {
	return func(ctx context.Context) error {
		log, err := r.openLog(string(arm) + "-build.log")
		if err != nil {
			return err
		}
		defer log.Close()
		return r.blame(arm, r.target.build(ctx, arm, r.projects[arm], log))
	}
}

func (r *run) deploy(arm Arm) step {
	return func(ctx context.Context) error {
		return r.blame(arm, r.target.deploy(ctx, arm, r.projects[arm]))
	}
}

// blame turns a head that does not build or run into a finding. The same
// failure of base is an error of the run: then nothing is known of the change.
// The steps beside it go on, because base may fail in the same way.
func (r *run) blame(arm Arm, err error) error {
	var fault *serviceError
	if arm != Head || !errors.As(err, &fault) {
		return err
	}
	r.seen[Head].crash(fault.reason, fault.log, "")
	r.progress.Note("head: %s", fault.reason)
	return nil
}

// headRuns reports whether head was built and is running.
func (r *run) headRuns() bool { return len(r.seen[Head].crashes) == 0 }

func (r *run) replay(arm Arm) step {
	return r.pass(arm, passPlan{number: correctnessPass, concurrency: r.concurrency}, r.seen[arm])
}

// pass replays the recording on an arm and keeps what was seen of it.
func (r *run) pass(arm Arm, plan passPlan, seen *observation) step {
	return func(ctx context.Context) error {
		begun := r.options.Now()
		err := r.target.pass(ctx, arm, plan, func(o observed) { seen.inbound = append(seen.inbound, o) })
		calls, callsErr := r.target.calls(context.WithoutCancel(ctx), arm, plan.number)
		seen.journal = calls
		if reason, log, yes := r.target.died(ctx, arm); yes {
			seen.crash(reason, log, unanswered(seen.inbound))
		}
		if used, err := r.target.resources(ctx, arm); err == nil {
			if !covers(used.Seen, begun, r.options.Now()) {
				used.CPUSeconds = 0
			}
			used.ErrorLines = r.countErrorLines(ctx, arm)
			seen.used = &used
		}
		hideErr := seen.hide(r.options.Redactor)
		seen.complete = err == nil && callsErr == nil && hideErr == nil
		r.progress.Note("%s: %d requests, %d calls to dependencies", arm, len(seen.inbound), len(calls.calls))
		return errors.Join(err, callsErr, hideErr)
	}
}

// covers reports whether figures that were taken at a moment hold nine tenths of
// what was done from begun to ended. A kubelet looks every 10 to 15 s, and a short
// pass may be over by then: head, which it has seen at work, is not to be held
// against a base that it has not. Figures without a moment are as of now.
func covers(seen, begun, ended time.Time) bool {
	return seen.IsZero() || ended.Sub(seen) <= ended.Sub(begun)/10
}

// countErrorLines returns how many lines of an arm's log tell of an error. Where
// one log cannot be read, no arm is held to the lines of another.
func (r *run) countErrorLines(ctx context.Context, arm Arm) int {
	n, err := r.target.errorLines(ctx, arm)
	if err != nil {
		r.progress.Note("%s: its log could not be read for errors: %v", arm, err)
		r.logUnread = true
	}
	return n
}

// unanswered returns the recorded id of the first exchange that got no answer:
// where a service that has ended was asked for the last time. It is "" when all
// were answered.
func unanswered(live []*traffic.Exchange) string {
	for _, x := range live {
		if x.Response == nil {
			return x.Recorded
		}
	}
	return ""
}

func (r *run) judge(ctx context.Context) error {
	for _, arm := range arms {
		if used, err := r.target.resources(ctx, arm); err == nil {
			// Of all passes, only this one gave every arm the same work, and only
			// the first start was that of all arms side by side.
			if before := r.seen[arm].used; before != nil {
				used.CPUSeconds, used.ErrorLines, used.StartupMS = before.CPUSeconds, before.ErrorLines, before.StartupMS
			}
			r.seen[arm].used = &used
		}
	}
	result := analysis.Run(r.input(), r.options.Analysis)
	for _, name := range r.idleRules() {
		result.Warnings = append(result.Warnings, fmt.Sprintf("The mock rule %q answered no call of any arm; remove it, or mend what it matches.", name))
	}
	r.result = &result
	r.rememberNoise()
	if len(result.Mistakes) > 0 && result.Verdict == analysis.Error {
		return badInput("judge", errors.New(strings.Join(result.Mistakes, " ")))
	}
	return nil
}

// idleRules names the mock rules that no arm needed.
func (r *run) idleRules() []string {
	var idle []string
	for _, name := range r.seen[Base].journal.idleRules {
		if slices.Contains(r.seen[Head].journal.idleRules, name) && slices.Contains(r.seen[Control].journal.idleRules, name) {
			idle = append(idle, name)
		}
	}
	return idle
}

// input is what the analysis gets, whole or up to where the run was stopped.
func (r *run) input() analysis.Input {
	in := analysis.Input{
		Recorded: r.recorded, Partial: r.partial, Redacted: r.redacted, Rounds: r.rounds, Confirm: r.confirm, Seed: r.options.Seed, Stopped: r.stopped,
		OpenRounds: r.open, OpenRate: r.options.Latency.OpenRate, Capacity: r.capacity,
		Base: r.seen[Base].observation(), Control: r.seen[Control].observation(), Head: r.seen[Head].observation(),
	}
	for _, c := range r.chaos {
		in.Chaos = append(in.Chaos, analysis.Chaos{Base: c.base.observation(), Head: c.head.observation()})
	}
	for _, arm := range arms {
		if used := r.seen[arm].used; used != nil {
			used := *used
			if r.logUnread {
				used.ErrorLines = 0
			}
			in.Resources = append(in.Resources, used)
		}
	}
	return in
}

func (r *run) outcome() *Outcome {
	var learned []transform.LearnedRule
	if r.bindings != nil {
		learned = r.bindings.Rules(r.recorded, r.options.Transform.Router)
	}
	return &Outcome{
		Learned: learned,
		Result:  *r.result, Seen: r.input(), Base: r.base, Head: r.head, Recording: r.recording,
		Target: r.options.targetName(), Seed: r.options.Seed, StartedAt: r.begun, Stages: r.stages, Notes: r.notes, Load: r.loaded,
	}
}

// openLog opens a log below the log directory.
func (r *run) openLog(name string) (io.WriteCloser, error) {
	if err := os.MkdirAll(r.options.LogDir, 0o755); err != nil {
		return nil, fmt.Errorf("make the log directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(r.options.LogDir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	return f, nil
}

// observed is one live inbound exchange.
type observed = *traffic.Exchange

// journal is what a mock saw in one pass.
type journal struct {
	calls     []*traffic.Exchange
	account   analysis.Account
	idleRules []string // mock rules that answered no call
}

// observation collects what was seen of one arm.
type observation struct {
	inbound  []*traffic.Exchange
	journal  journal
	crashes  []analysis.Crash
	complete bool
	used     *analysis.Resource
}

func (o *observation) crash(reason, log, last string) {
	o.crashes = append(o.crashes, analysis.Crash{Recorded: last, Reason: reason, Log: log})
}

func (o *observation) observation() analysis.Observation {
	return analysis.Observation{
		Inbound: o.inbound, Outbound: o.journal.calls, Account: o.journal.account, Crashes: o.crashes, Complete: o.complete,
	}
}
