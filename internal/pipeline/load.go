package pipeline

import (
	"context"
	"fmt"

	"github.com/reprise-ci/reprise/internal/agent"
	"github.com/reprise-ci/reprise/internal/replay"
)

// Load is what the open load on base and head came to. It stands beside the
// paired rounds: both arms are busy at the same time, so it shows queueing and
// contention, and the arms disturb each other as much as they share a machine.
type Load struct {
	Plan string // in words
	*agent.Opened
	Arms []LoadArm
}

// LoadArm is one arm under load.
type LoadArm struct {
	Arm     Arm
	Summary replay.Summary
	Unsent  int64 // planned and never sent
	Skipped int64 // planned and left out, because too many waited
}

// load sends the open load that the options ask for to base and head at once.
func (r *run) load(ctx context.Context) error {
	if !r.headRuns() {
		return nil
	}
	targets := []Arm{Base, Head}
	opened, err := r.target.open(ctx, targets, *r.options.Latency.Load, r.nextPass())
	if err != nil {
		return err
	}
	r.loaded = &Load{Plan: opened.Results[0].Plan.String(), Opened: opened}
	for i, result := range opened.Results {
		s := result.Summary(nil)
		r.loaded.Arms = append(r.loaded.Arms, LoadArm{Arm: targets[i], Summary: s, Unsent: result.Unsent, Skipped: result.Skipped})
		r.progress.Note("%s under load: %d requests, p50 %v, p99 %v", targets[i], s.Requests, s.Response.Quantile(0.5), s.Response.Quantile(0.99))
	}
	return nil
}

// nextPass numbers what comes after the correctness passes.
func (r *run) nextPass() uint32 {
	r.passes = max(r.passes, correctnessPass) + 1
	return r.passes
}

// open sends a load from this process, which counts as one worker.
func (l *local) open(ctx context.Context, on []Arm, load replay.Load, pass uint32) (*agent.Opened, error) {
	load.Pass = pass
	load.Rewriter = func(int, int) replay.Rewriter { _, rewriter := l.to(on[0]); return rewriter }
	plan, err := l.engine.Plan(load)
	if err != nil {
		return nil, err
	}
	l.r.progress.Note("load: %s", plan)
	targets, rewriters := make([]replay.Target, len(on)), make([]func(copy, loop int) replay.Rewriter, len(on))
	for i, arm := range on {
		targets[i], _ = l.to(arm)
		rewriters[i] = func(int, int) replay.Rewriter { _, rewriter := l.to(arm); return rewriter }
	}
	results, err := l.engine.DriveAll(ctx, targets, rewriters, plan)
	return &agent.Opened{Results: results, Workers: 1}, err
}

// workers returns how many pods send what is shared out; 0 when nothing is.
func (c *onCluster) workers() int {
	o := c.r.options
	if o.Latency.Load != nil || c.sharesPasses() {
		return max(c.o.Workers, 1)
	}
	return 0
}

// sharesPasses reports whether the correctness passes are shared out too. They
// are where that puts no more sessions side by side than the options allow.
func (c *onCluster) sharesPasses() bool {
	return c.o.Workers > 1 && c.r.options.Replay.Concurrency >= c.o.Workers
}

// workersName is that of the Job.
const workersName = "reprise-worker"

// startWorkers starts the Job of the workers and hands them their shares.
func (c *onCluster) startWorkers(ctx context.Context, pull []string) error {
	n := c.workers()
	if n == 0 {
		return nil
	}
	if err := c.kube.StartWorkers(ctx, c.describe(replaying, workersName, agent.RoleReplay, pull), n); err != nil {
		return err
	}
	c.crew = agent.NewWorkers(n, func(ctx context.Context, index int) (agent.Endpoint, error) {
		at, err := c.reachWorker(ctx, index)
		if err != nil && ctx.Err() == nil { // it may have been lost that moment
			at, err = c.reachWorker(ctx, index)
		}
		return at, err
	})
	settings := c.settings()
	settings.Concurrency = max(settings.Concurrency/n, 1)
	_, err := c.crew.Load(ctx, settings, inboundOf(c.r.recorded))
	return err
}

// reachWorker waits for the pod of an index and forwards a port to it.
func (c *onCluster) reachWorker(ctx context.Context, index int) (agent.Endpoint, error) {
	pod, err := c.kube.Worker(ctx, c.namespace(replaying), workersName, index)
	if err != nil {
		return agent.Endpoint{}, err
	}
	c.r.progress.Note("worker %d is pod %s", index, pod.Name)
	return c.reach(ctx, pod)
}

// passByWorkers is a correctness pass that is shared out.
func (c *onCluster) passByWorkers(ctx context.Context, arm Arm, pass uint32, emit func(observed)) error {
	before := c.crew.Lost()
	err := c.crew.Pass(ctx, c.to(arm), pass, emit)
	if lost := c.crew.Lost() - before; lost > 0 {
		c.r.note("%d workers were lost during the pass on %s: their requests were sent again, and what the first ones left behind may show as differences.", lost, arm)
	}
	return err
}

func (c *onCluster) open(ctx context.Context, on []Arm, load replay.Load, pass uint32) (*agent.Opened, error) {
	targets := make([]agent.Target, len(on))
	for i, arm := range on {
		targets[i] = c.to(arm)
	}
	plan, err := c.crew.Plan(load)
	if err != nil {
		return nil, err
	}
	c.r.progress.Note("load: %s, by %s", plan, count(c.workers(), "worker", "workers"))
	opened, err := c.crew.Open(ctx, targets, load, pass)
	if err != nil {
		return nil, err
	}
	if opened.Lost > 0 {
		c.r.note("%s lost and replaced during the load; what had been sent was dropped, and all sent it again.", count(opened.Lost, "worker was", "workers were"))
	}
	return opened, nil
}

func count(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}
