package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
)

// Opened is what a load of all workers came to.
type Opened struct {
	// Results are by target, as one sender would have given them.
	Results []*replay.Result
	Workers int // those with a share
	// Lost counts workers that were lost during a load and replaced. A load in
	// which one was lost is dropped and sent again by all, because the others
	// were sending less than planned.
	Lost int
	// Clocks are those of the workers.
	Clocks []Clock
	// Late is how long after the agreed moment the last worker began, by the
	// clocks.
	Late time.Duration
}

// lead is how far ahead of the workers the agreed moment is: they open their
// connections before, which takes them a second at most.
const lead = 2500 * time.Millisecond

// Open sends a load from all workers to all targets, each request at the moment
// at which one sender would send it: a moment counts from a start on which all
// agree. The workers' calls carry pass numbers of their own, because mocks
// forget a repetition of the recording as soon as the worker that made it is
// done. The rewriters of the load are those of the settings.
func (w *Workers) Open(ctx context.Context, targets []Target, load replay.Load, pass uint32) (*Opened, error) {
	plan, err := w.Plan(load)
	if err != nil {
		return nil, err
	}
	parts, err := plan.Parts(w.owner, len(w.workers))
	if err != nil {
		return nil, err
	}
	out := &Opened{Clocks: make([]Clock, len(w.workers))}
	for _, k := range w.workers {
		if len(k.share) > 0 {
			out.Workers++
		}
	}
	before := w.Lost()
	for attempt := range attempts {
		var results [][]*replay.Result
		if results, err = w.openOnce(ctx, targets, parts, pass, attempt, out); err == nil {
			out.Lost = w.Lost() - before
			return out, w.join(plan, targets, results, out)
		}
		if ctx.Err() != nil || !lost(err) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("workers were lost in %d attempts: %w", attempts, err)
}

// Plan works out a load for all workers together. It sends nothing.
func (w *Workers) Plan(load replay.Load) (*replay.Plan, error) {
	load.Rewriter = w.rewriter
	return w.engine.Plan(load)
}

// openOnce is one attempt. The results are by worker and by target. The loss of a
// worker ends the attempt of all.
func (w *Workers) openOnce(ctx context.Context, targets []Target, parts []replay.Part, pass uint32, attempt int, out *Opened) ([][]*replay.Result, error) {
	err := w.each(ctx, func(ctx context.Context, k *worker, r *Replayer) error {
		part := parts[k.index]
		var err error
		if part.Load.Pass, err = w.passOf(pass, attempt, k.index); err != nil {
			return err
		}
		if k.clock, err = r.clock(ctx); err != nil {
			return err
		}
		out.Clocks[k.index] = k.clock
		return r.give(ctx, part)
	})
	if err != nil {
		return nil, err
	}
	start := time.Now().Add(w.lead)
	results := make([][]*replay.Result, len(w.workers))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, k := range w.workers {
		if len(k.share) == 0 {
			continue
		}
		all.Go(func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			var failed error
			if results[k.index], failed = k.replayer.drive(ctx, targets, start.Add(k.clock.Ahead)); failed == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() != nil {
				return // another one's loss ended this one
			}
			failed = fmt.Errorf("worker %d: %w", k.index, failed)
			if lost(failed) {
				k.drop()
			}
			cancel(failed)
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	out.Late = 0
	for i, parts := range results {
		for _, r := range parts {
			out.Late = max(out.Late, r.Start.Add(-out.Clocks[i].Ahead).Sub(start))
		}
	}
	return results, nil
}

// join makes one result of those of the workers, for each target.
func (w *Workers) join(plan *replay.Plan, targets []Target, results [][]*replay.Result, out *Opened) error {
	for i, t := range targets {
		parts := make([]*replay.Result, len(w.workers))
		for k, of := range results {
			if of != nil {
				parts[k] = of[i]
			}
		}
		joined, err := w.engine.Join(plan, t.Arm, w.owner, parts)
		if err != nil {
			return err
		}
		out.Results = append(out.Results, joined)
	}
	return nil
}

// passOf numbers the loads of workers from 2 on, each attempt anew, below
// 1<<16, where the engine counts repetitions.
func (w *Workers) passOf(pass uint32, attempt, index int) (uint32, error) {
	const first = 2
	if pass < first {
		return 0, errors.New("a load by workers has a pass number of 2 or more")
	}
	own := uint64(first) + (uint64(pass-first)*attempts+uint64(attempt))*uint64(len(w.workers)) + uint64(index)
	if own >= 1<<16 {
		return 0, fmt.Errorf("load %d with %d workers is beyond what can be numbered", pass, len(w.workers))
	}
	return uint32(own), nil
}
