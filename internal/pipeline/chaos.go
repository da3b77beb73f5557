package pipeline

import (
	"context"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// chaosPassNumber numbers the first pass in which dependencies go wrong: above
// all rounds of measuring.
const chaosPassNumber = 1 << 20

// chaosPass is what was seen of base and head while their dependencies went
// wrong in the same way.
type chaosPass struct{ base, head *observation }

// breakDependencies replays on base and head while their dependencies go wrong,
// by the same seed for both. What head alone fails at is tried once more, because
// a time limit may be missed by chance.
func (r *run) breakDependencies(ctx context.Context) error {
	if r.options.Chaos == nil || !r.headRuns() {
		return nil
	}
	for n := range 2 {
		seen := &chaosPass{&observation{}, &observation{}}
		plan := passPlan{number: chaosPassNumber + uint32(n), concurrency: r.concurrency, faults: r.options.Chaos}
		again := []string{"", " again"}[n]
		if err := r.stage("chaos on base"+again, r.chaosOn(Base, plan, seen.base))(ctx); err != nil {
			return err
		}
		if err := r.stage("chaos on head"+again, r.chaosOn(Head, plan, seen.head))(ctx); err != nil {
			return err
		}
		r.chaos = append(r.chaos, seen)
		if !analysis.Fragile(r.input(), r.options.Analysis) {
			return nil
		}
	}
	return nil
}

// chaosOn is one pass on a service that starts anew where that can be had. A
// service that ends is a finding of this pass alone.
func (r *run) chaosOn(arm Arm, plan passPlan, seen *observation) step {
	return func(ctx context.Context) error {
		fresh, err := r.target.renew(ctx, arm)
		if err != nil {
			return err
		}
		if !fresh {
			r.note("The services were not started anew before their dependencies went wrong.")
		}
		return r.pass(arm, plan, seen)(ctx)
	}
}
