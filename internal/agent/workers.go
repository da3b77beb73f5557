package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// Connect returns where the worker of an index is reached. After a loss it is
// asked again, and waits for the one that takes its place.
type Connect func(ctx context.Context, index int) (Endpoint, error)

// Workers replays from several places at once, and its results are those of one
// replayer that had sent everything. A worker that is lost is replaced; what it
// had done of the pass or load under way is dropped and done again, so that
// nothing counts twice.
//
// Pairs are not for workers: they are sent one request at a time, so that a
// second sender would only disturb the first.
type Workers struct {
	workers  []*worker
	order    map[string]int // recorded ID -> place in the recording
	owner    []int          // by that place: the worker
	engine   *replay.Engine // of the whole recording, for planning and joining
	rewriter func(copy, loop int) replay.Rewriter
	lead     time.Duration
}

// worker is one replayer and what it needs to start over.
type worker struct {
	index    int
	connect  Connect
	settings ReplaySettings
	share    []*traffic.Exchange

	mu       sync.Mutex
	replayer *Replayer // nil before the first use and after a loss
	clock    Clock
	losses   int
}

// NewWorkers returns a client of n workers. Nothing is connected yet.
func NewWorkers(n int, connect Connect) *Workers {
	w := &Workers{lead: lead}
	for i := range n {
		w.workers = append(w.workers, &worker{index: i, connect: connect})
	}
	return w
}

// Load shares the recorded inbound exchanges out, hands each worker its share
// and returns how many requests a pass of all together sends.
func (w *Workers) Load(ctx context.Context, settings ReplaySettings, inbound []*traffic.Exchange) (requests int, err error) {
	bindings, err := transform.Learn(inbound, settings.Transform)
	if err != nil {
		return 0, err
	}
	opts, err := settings.options()
	if err != nil {
		return 0, err
	}
	if w.engine, err = replay.New(inbound, opts); err != nil {
		return 0, err
	}
	w.rewriter = func(int, int) replay.Rewriter { return transform.NewRewriter(bindings, settings.Transform) }
	w.order = make(map[string]int, len(inbound))
	for i, x := range w.engine.Recorded() {
		w.order[x.ID] = i
	}
	w.owner = make([]int, len(w.order))
	for i, share := range replay.Share(inbound, bindings.Needs, len(w.workers)) {
		w.workers[i].settings, w.workers[i].share = settings, share
		requests += len(share)
		for _, x := range share {
			w.owner[w.order[x.ID]] = i
		}
	}
	return requests, w.each(ctx, func(ctx context.Context, k *worker, r *Replayer) error { return nil })
}

// each runs do on every worker that has a share, at the same time.
func (w *Workers) each(ctx context.Context, do func(context.Context, *worker, *Replayer) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, k := range w.workers {
		if len(k.share) > 0 {
			g.Go(func() error {
				if err := k.do(ctx, func(r *Replayer) error { return do(ctx, k, r) }); err != nil {
					return fmt.Errorf("worker %d: %w", k.index, err)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

// attempts is how often a worker may be lost within one pass or round.
const attempts = 4

// do runs f with the worker's replayer, and again from the start with the one
// in its place when the worker is lost.
func (k *worker) do(ctx context.Context, f func(*Replayer) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var err error
	for range attempts {
		if k.replayer == nil {
			if k.replayer, err = k.start(ctx); err != nil {
				return err
			}
		}
		if err = f(k.replayer); err == nil || ctx.Err() != nil || !lost(err) {
			return err
		}
		k.drop()
	}
	return fmt.Errorf("lost %d times: %w", attempts, err)
}

// drop forgets a worker that was lost, so that another takes its place.
func (k *worker) drop() {
	k.replayer.http.CloseIdleConnections()
	k.replayer = nil
	k.losses++
}

// Lost returns how often a worker was lost and replaced so far.
func (w *Workers) Lost() int {
	n := 0
	for _, k := range w.workers {
		k.mu.Lock()
		n += k.losses
		k.mu.Unlock()
	}
	return n
}

// start connects and hands over the share.
func (k *worker) start(ctx context.Context) (*Replayer, error) {
	var err error
	for range attempts {
		var at Endpoint
		if at, err = k.connect(ctx, k.index); err != nil {
			return nil, err
		}
		r := NewReplayer(at)
		if _, err = r.Load(ctx, k.settings, List(k.share)); err == nil {
			k.clock, err = r.clock(ctx)
		}
		if err == nil || ctx.Err() != nil || !lost(err) {
			return r, err
		}
	}
	return nil, err
}

// lost reports whether an error means that the worker is gone: the connection
// failed, or a new process answered that knows nothing. Everything else that a
// worker says would be said again.
func lost(err error) bool {
	var remote *RemoteError
	if errors.As(err, &remote) {
		return remote.Message == errNotLoaded.Error()
	}
	return true
}

// Pass runs a correctness pass on all workers at the same time. emit gets the
// live exchanges in the order of the recording, after the last worker is done.
// Their times are those of this process's clock.
func (w *Workers) Pass(ctx context.Context, t Target, pass uint32, emit func(*traffic.Exchange)) error {
	parts := make([][]*traffic.Exchange, len(w.workers))
	err := w.each(ctx, func(ctx context.Context, k *worker, r *Replayer) error {
		var part []*traffic.Exchange
		if err := r.Pass(ctx, t, pass, func(x *traffic.Exchange) {
			x.Start = x.Start.Add(-k.clock.Ahead)
			part = append(part, x)
		}); err != nil {
			return err
		}
		parts[k.index] = part
		return nil
	})
	if err != nil {
		return err
	}
	all := slices.Concat(parts...)
	slices.SortStableFunc(all, func(a, b *traffic.Exchange) int { return w.order[a.Recorded] - w.order[b.Recorded] })
	for _, x := range all {
		emit(x)
	}
	return nil
}
