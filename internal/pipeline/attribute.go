package pipeline

import (
	"context"
	"fmt"
	"strings"
)

// tooUnsure is the share of calls that may belong to several requests, above
// which an account by request means little.
const tooUnsure = 0.02

// attributeBetter repeats the passes with one request at a time when too few
// calls could be attributed to the request that caused them: where only one is
// under way, all its calls are its own. All arms are repeated, so that they go on
// being compared with the same past.
func (r *run) attributeBetter(ctx context.Context) error {
	unsure := r.unsureArms()
	if r.options.Replay.Concurrency < 2 || len(unsure) == 0 || !r.headRuns() {
		return nil
	}
	r.note("With %d requests at a time, too many calls to dependencies could belong to any of several requests (%s): the service does not forward traceparent or baggage. All passes were repeated with one request at a time.",
		r.options.Replay.Concurrency, strings.Join(unsure, ", "))
	r.concurrency = 1
	for _, arm := range arms {
		if err := r.stage("replay on "+string(arm)+" again", r.replayAgain(arm))(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unsureArms names the arms with too few attributed calls, and the shares.
func (r *run) unsureArms() []string {
	var unsure []string
	for _, arm := range arms {
		a, calls := r.seen[arm].journal.account, 0
		for _, n := range a.Attributed {
			calls += n
		}
		if share := float64(a.Unsure) / float64(max(calls, 1)); share > tooUnsure {
			unsure = append(unsure, fmt.Sprintf("%s %.0f %%", arm, 100*share))
		}
	}
	return unsure
}

// replayAgain is replay with one request at a time, on a service that knows
// nothing of the first try where that can be had.
func (r *run) replayAgain(arm Arm) step {
	return func(ctx context.Context) error {
		fresh, err := r.target.renew(ctx, arm)
		if err != nil {
			return r.blame(arm, err)
		}
		if !fresh {
			r.note("The service was not started anew for the repeated passes: what it keeps is that of two passes, in every arm.")
		}
		seen := &observation{crashes: r.seen[arm].crashes}
		r.seen[arm] = seen
		return r.pass(arm, passPlan{number: correctnessPass, concurrency: r.concurrency}, seen)(ctx)
	}
}
