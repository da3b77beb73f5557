package pipeline

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/replay"
)

// The shape of warm-up: rounds until the pooled median of both arms settles,
// which tells nothing of their difference, and at most a third of the budget.
const (
	warmRounds    = 8
	warmSettled   = 0.03 // change of the pooled median that counts as settled
	warmInRow     = 2
	warmShare     = 3  // of the budget: 1/3
	controlShare  = 4  // pairs of base and control for each pair of base and head: 1/4
	leastPairs    = 10 // of each endpoint in a round
	confirmRounds = 4
)

// measure takes paired rounds until every endpoint is decided, the rounds or
// the budget are used up. A latency that cannot be measured is told in the
// result and never fails a run.
func (r *run) measure(ctx context.Context) error {
	l := r.options.Latency
	if l.Off || !r.headRuns() {
		return nil
	}
	r.recallNoise()
	deadline := r.options.Now().Add(l.Budget)
	next := r.nextPass

	cost, err := r.warmUp(ctx, next, r.options.Now().Add(l.Budget/warmShare))
	if err != nil {
		return err
	}
	planned := min(l.MaxRounds, analysis.PlannedRounds)
	pairs := pairsFor(deadline.Sub(r.options.Now()), cost, planned+confirmRounds, l.Pairs)
	if pairs < l.Pairs {
		r.progress.Note("%d pairs of each endpoint in a round, not %d, so that there is time for %d rounds", pairs, l.Pairs, planned)
	}
	for n := 1; n <= l.MaxRounds; n++ {
		if n > 1 && r.options.Now().After(deadline) {
			r.stopped = "the time for measuring was used up"
			break
		}
		round, err := r.takeRound(ctx, n, pairs, next, deadline)
		if err != nil {
			return err
		}
		r.rounds = append(r.rounds, round)
		if n < l.MinRounds {
			continue
		}
		if decided, why := analysis.Decided(r.rounds, r.options.Analysis); decided {
			r.stopped = why
			break
		}
	}
	if r.stopped == "" {
		r.stopped = "the most rounds were taken"
	}
	r.progress.Note("measuring stopped after round %d: %s", len(r.rounds), r.stopped)
	return r.confirmMeasured(ctx, pairs, next, deadline)
}

// confirmMeasured takes a few fresh rounds when some endpoint seems to have
// changed, because what was only a burst of other load is gone by then.
// Where the budget is used up by then, they are short.
func (r *run) confirmMeasured(ctx context.Context, pairs int, next func() uint32, deadline time.Time) error {
	suspects := analysis.Suspects(r.rounds, r.options.Analysis)
	if len(suspects) == 0 {
		return nil
	}
	for n := 1; n <= confirmRounds; n++ {
		round, err := r.takeRound(ctx, len(r.rounds)+n, pairs, next, deadline)
		if err != nil {
			return err
		}
		r.confirm = append(r.confirm, round)
	}
	r.progress.Note("%d fresh rounds to confirm %s", confirmRounds, strings.Join(suspects, ", "))
	return nil
}

// takeRound measures head against base, and base against itself beside it.
func (r *run) takeRound(ctx context.Context, n, pairs int, next func() uint32, deadline time.Time) (analysis.Round, error) {
	left := max(deadline.Sub(r.options.Now()), time.Second)
	main, err := r.target.round(ctx, Base, Head, next(), r.options.Seed+int64(n), replay.RoundOptions{
		PairsPerEndpoint: pairs, MaxDuration: left,
	})
	if err != nil {
		return analysis.Round{}, err
	}
	control, err := r.target.round(ctx, Base, Control, next(), r.options.Seed-int64(n), replay.RoundOptions{
		PairsPerEndpoint: max(pairs/controlShare, leastPairs), MinDuration: 200 * time.Millisecond, MaxDuration: left,
	})
	if err != nil {
		return analysis.Round{}, err
	}
	return analysis.Round{
		Number: n, HeadVsBase: analysisPairs(main), ControlVsBase: analysisPairs(control), SendLag: main.SendLag,
	}, nil
}

// pairsFor returns how many pairs of each endpoint a round should have so that
// the rounds fit into the time: at most the wanted number, and never fewer than
// make a median worth having. Rounds come before pairs, because the test counts
// rounds: with few of them no difference is large enough. cost is the time of
// one pair of every endpoint.
func pairsFor(left, cost time.Duration, rounds, wanted int) int {
	if cost <= 0 {
		return wanted
	}
	// Beside each pair of base and head stands a share of base and control, and
	// about a quarter more is sent for what other requests need.
	const overhead = (1 + 1.0/controlShare) * 1.25
	fit := float64(left) / (float64(rounds) * float64(cost) * overhead)
	return max(min(wanted, int(fit)), leastPairs)
}

// warmUp replays on all arms, without looking at which is which, until the
// pooled median has settled. It returns the time that one pair of every
// endpoint takes.
func (r *run) warmUp(ctx context.Context, next func() uint32, deadline time.Time) (cost time.Duration, err error) {
	before, settled := math.NaN(), 0
	for n := 0; n < warmRounds && settled < warmInRow && r.options.Now().Before(deadline); n++ {
		opts := replay.RoundOptions{PairsPerEndpoint: leastPairs, MinDuration: 300 * time.Millisecond, MaxDuration: max(deadline.Sub(r.options.Now()), time.Second)}
		started := r.options.Now()
		a, err := r.target.round(ctx, Base, Head, next(), r.options.Seed, opts)
		if err != nil {
			return 0, err
		}
		b, err := r.target.round(ctx, Control, Base, next(), r.options.Seed, opts)
		if err != nil {
			return 0, err
		}
		if pairs := len(a.Pairs) + len(b.Pairs); pairs > 0 {
			cost = r.options.Now().Sub(started) * time.Duration(endpoints(a)) / time.Duration(pairs)
		}
		now := pooledMedian(a, b)
		if math.Abs(now/before-1) < warmSettled {
			settled++
		} else {
			settled = 0
		}
		before = now
	}
	return cost, nil
}

// endpoints counts the endpoints of a round.
func endpoints(round replay.Round) int {
	seen := make(map[string]bool)
	for _, p := range round.Pairs {
		seen[p.Endpoint] = true
	}
	return len(seen)
}

// pooledMedian is the median service time of all requests of some rounds.
func pooledMedian(rounds ...replay.Round) float64 {
	var all []time.Duration
	for _, round := range rounds {
		for _, p := range round.Pairs {
			all = append(all, p.A, p.B)
		}
	}
	if len(all) == 0 {
		return math.NaN()
	}
	slices.Sort(all)
	return float64(all[len(all)/2])
}

func analysisPairs(round replay.Round) []analysis.Pair {
	pairs := make([]analysis.Pair, len(round.Pairs))
	for i, p := range round.Pairs {
		pairs[i] = analysis.Pair{Recorded: p.Recorded, Endpoint: p.Endpoint, A: p.A, B: p.B}
	}
	return pairs
}
