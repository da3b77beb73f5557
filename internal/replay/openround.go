package replay

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// OpenRound sends a load to a and b at the same time, each request at the same
// planned moment, and pairs the response times, which count from that moment.
// It shows what a round of one request after the other cannot: queueing, lock
// contention, saturation. The arms disturb each other as much as they share a
// machine, so that its figures stand beside those of [Engine.Round] and never
// in their place.
//
// rwA and rwB give the rewriters of each arm, as Load.Rewriter does, which they
// replace; nil sends as recorded. First is empty in the pairs.
func (e *Engine) OpenRound(ctx context.Context, a, b Target, rwA, rwB func(copy, loop int) Rewriter, p *Plan) (Round, error) {
	results, err := e.DriveAll(ctx, []Target{a, b}, []func(copy, loop int) Rewriter{rwA, rwB}, p)
	if results == nil {
		return Round{}, err
	}
	return pairUp(results[0], results[1], p.load.Pass), err
}

// DriveAll sends a load to several targets at the same time, each request at
// the same planned moment, and returns what it came to on each. Each target has
// the rewriters of its place in the list. When ctx ends, what is known so far
// comes back with its cause.
func (e *Engine) DriveAll(ctx context.Context, targets []Target, rewriters []func(copy, loop int) Rewriter, p *Plan) ([]*Result, error) {
	for _, t := range targets {
		if err := t.validate(); err != nil {
			return nil, err
		}
	}
	if p.n != len(e.inbound) {
		return nil, errors.New("replay: the plan was made for another recording")
	}
	if err := enoughFiles(p.load.Connections * len(targets)); err != nil {
		return nil, err
	}
	meet := meeting(ctx, len(targets), p.start)
	results, errs := make([]*Result, len(targets)), make([]error, len(targets))
	var all sync.WaitGroup
	for i, target := range targets {
		all.Go(func() {
			plan := *p
			plan.load.Rewriter = rewriters[i]
			results[i], errs[i] = e.drive(ctx, target, &plan, meet)
		})
	}
	all.Wait()
	if slices.Contains(results, nil) {
		return nil, errors.Join(errs...)
	}
	return results, errors.Join(errs...)
}

// meeting returns a function that waits until n callers have called it, and
// returns the same moment to all: the given one, or one shortly ahead if that
// is not ahead any more.
func meeting(ctx context.Context, n int, at time.Time) func() time.Time {
	var mu sync.Mutex
	var start time.Time
	arrived := make(chan struct{})
	return func() time.Time {
		mu.Lock()
		if n--; n == 0 {
			start = time.Now().Add(time.Millisecond)
			if wait := time.Until(at); wait > 0 {
				start = time.Now().Add(wait) // on the clock that never jumps
			}
			close(arrived)
		}
		mu.Unlock()
		select {
		case <-arrived:
			return start
		case <-ctx.Done():
			return time.Now()
		}
	}
}

// pairUp pairs the samples of two arms that belong to the same request of the
// same copy and loop.
func pairUp(a, b *Result, pass uint32) Round {
	round := Round{Pass: pass, Dropped: make(map[string]int), Repetitions: 1}
	type key struct{ exchange, instance int32 }
	other := make(map[key]Sample, len(b.Samples))
	for _, s := range b.Samples {
		other[key{s.Exchange, s.Instance}] = s
		round.SendLag = append(round.SendLag, s.Lag())
	}
	drop := func(r *Result, s Sample) bool {
		if f := s.Failure(); f != traffic.FailureNone {
			round.Dropped[r.arm+": "+string(f)]++
			return true
		}
		if s.Retried {
			round.Dropped[r.arm+": retried"]++
		}
		return s.Retried
	}
	ordered := slices.Clone(a.Samples)
	slices.SortStableFunc(ordered, func(x, y Sample) int { return int(min(max(x.Planned-y.Planned, -1), 1)) })
	for _, x := range ordered {
		round.SendLag = append(round.SendLag, x.Lag())
		y, ok := other[key{x.Exchange, x.Instance}]
		if !ok {
			round.Dropped[b.arm+": not sent"]++
			continue
		}
		dropped := drop(a, x)
		dropped = drop(b, y) || dropped
		if !dropped && x.Status != y.Status {
			round.Dropped["status differs"]++
			dropped = true
		}
		if !dropped {
			round.Pairs = append(round.Pairs, Pair{Recorded: a.Recorded(x), Endpoint: a.Endpoint(x), A: x.Response(), B: y.Response()})
		}
	}
	return round
}
