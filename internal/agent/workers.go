package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// Workers replays from several places at once: the methods are those of
// [Replayer], and the results those of one replayer that had sent everything.
// A worker that is lost is replaced; what it had done of the pass or round
// under way is dropped and done again, so that nothing counts twice.
type Workers struct {
	workers []*worker
	order   map[string]int // recorded ID -> place in the recording
}

// worker is one replayer and what it needs to start over.
type worker struct {
	index    int
	connect  Connect
	settings ReplaySettings
	share    []*traffic.Exchange

	mu       sync.Mutex
	replayer *Replayer     // nil before the first use and after a loss
	ahead    time.Duration // of the worker's clock before this one
}

// NewWorkers returns a client of n workers. Nothing is connected yet.
func NewWorkers(n int, connect Connect) *Workers {
	w := &Workers{}
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
	w.order = make(map[string]int, len(inbound))
	for i, x := range inbound {
		w.order[x.ID] = i
	}
	for i, share := range replay.Share(inbound, bindings.Needs, len(w.workers)) {
		w.workers[i].settings, w.workers[i].share = settings, share
		requests += len(share)
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
		k.replayer.http.CloseIdleConnections()
		k.replayer = nil
	}
	return fmt.Errorf("lost %d times: %w", attempts, err)
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
			k.ahead, err = r.clockAhead(ctx)
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
			x.Start = x.Start.Add(-k.ahead)
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

// Round runs one paired round on all workers at the same time and returns the
// union of their samples. Each worker's calls carry a pass number of its own,
// because the mocks forget a repetition of the recording as soon as the worker
// that made it is done.
func (w *Workers) Round(ctx context.Context, a, b Target, pass uint32, seed int64, opts RoundOptions) (replay.Round, error) {
	parts := make([]replay.Round, len(w.workers))
	err := w.each(ctx, func(ctx context.Context, k *worker, r *Replayer) error {
		own, err := w.passOf(pass, k.index)
		if err != nil {
			return err
		}
		part, err := r.Round(ctx, a, b, own, seed+int64(k.index), opts)
		parts[k.index] = part
		return err
	})
	return merge(pass, parts, opts.PairsPerEndpoint), err
}

// passOf numbers the rounds of workers from 2 on, below 1<<16, where the
// engine counts repetitions.
func (w *Workers) passOf(pass uint32, index int) (uint32, error) {
	const first = 2
	if pass < first {
		return 0, fmt.Errorf("round %d: passes before %d are no rounds", pass, first)
	}
	own := uint64(first) + uint64(pass-first)*uint64(len(w.workers)) + uint64(index)
	if own >= 1<<16 {
		return 0, fmt.Errorf("round %d with %d workers is beyond what can be numbered", pass, len(w.workers))
	}
	return uint32(own), nil
}

// merge joins the rounds of workers that ran side by side. Samples are kept
// raw, so quantiles of the union are exact.
func merge(pass uint32, parts []replay.Round, wanted int) replay.Round {
	all := replay.Round{Pass: pass, Dropped: map[string]int{}}
	short, pairs := map[string]bool{}, map[string]int{}
	for _, p := range parts {
		all.Pairs = append(all.Pairs, p.Pairs...)
		all.SendLag = append(all.SendLag, p.SendLag...)
		all.Repetitions = max(all.Repetitions, p.Repetitions)
		for reason, n := range p.Dropped {
			all.Dropped[reason] += n
		}
		for _, endpoint := range p.Short {
			short[endpoint] = true
		}
	}
	for _, p := range all.Pairs {
		pairs[p.Endpoint]++
	}
	// What one worker lacks, the others may have.
	maps.DeleteFunc(short, func(endpoint string, _ bool) bool { return wanted > 0 && pairs[endpoint] >= wanted })
	all.Short = slices.Sorted(maps.Keys(short))
	return all
}
