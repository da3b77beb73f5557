package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/eval/miniature"
	"github.com/reprise-ci/reprise/internal/eval/mutation"
	"github.com/reprise-ci/reprise/internal/stats"
)

// What stored and modelled sessions must give. They are the same every time, so
// nothing here fails by chance.
const (
	mostAlarms  = 0.01 // of sessions of the same program
	leastOfFive = 0.90 // of sessions of +5 %
	leastOfTen  = 0.99 // of sessions of +10 %
	modelSame   = 40
	modelSlow   = 20
)

// What fresh sessions must give. They are measured on whatever machine this
// runs on, so they only fail at what has a probability below improbable even
// where false alarms are many times as frequent as in the stored sessions, and
// a slowdown of 30 % is missed in one of five. With five sessions of each kind
// that is three with an alarm (0.03 %), or none that names the slow endpoint
// (0.03 %).
const (
	improbable  = 1e-3
	alarmOdds   = 0.03
	foundOdds   = 0.80
	freshEach   = 5
	freshFactor = 1.30
	freshTime   = 150 * time.Second // after which what is measured must do
)

// sampled are faults of the example that the whole of reprise must find: one each
// of a changed answer, a lost call, an extra call and a header. The names are those
// of the faults.
var sampled = []string{"type-quantity-text", "call-lost-stock-check", "call-charge-twice", "header-cache-control-lost"}

// guard judges all that is stored, sessions on the model, a sample of the broken
// example and a few fresh sessions, and fails when something must be broken.
func guard(ctx context.Context, s settings, out io.Writer) error {
	return errors.Join(guardFaults(out), guardStored(s, out), guardModel(out), guardExample(ctx, s, out), guardFresh(ctx, out))
}

// guardExample breaks the example in a few ways and wants each found by the whole
// of reprise, with nothing beside it that nobody foretold.
func guardExample(ctx context.Context, s settings, out io.Writer) error {
	all, err := mutation.Faults()
	if err != nil {
		return err
	}
	list := pick(all, func(m mutation.Mutation) bool { return slices.Contains(sampled, m.Name) })
	if len(list) != len(sampled) {
		return fmt.Errorf("of the faults %q, %d exist", sampled, len(list))
	}
	fmt.Fprintln(out, "\nthe example, broken:")
	outcomes, err := mutation.Experiment{Root: s.root, Seed: 1, Tell: func(o mutation.Outcome) { tellFault(out, o) }}.Run(ctx, list)
	if err != nil {
		return fmt.Errorf("break the example: %w", err)
	}
	var errs []error
	for _, o := range outcomes {
		if !o.Found || wrong(o) {
			errs = append(errs, fmt.Errorf("the example, broken by %s: not reported %q, beside it %q, the recording blamed: %v", o.Name, o.Missing, o.Beside, o.Snapshot))
		}
	}
	return errors.Join(errs...)
}

func guardFaults(out io.Writer) error {
	world := miniature.Record()
	found, silent := seeded(world, faults(), 101), seeded(world, harmless(), 201)
	printFaults(out, found, silent)
	missed := len(pick(found, func(c caught) bool { return !c.Found }))
	loud := len(pick(silent, func(c caught) bool { return len(c.Others) > 0 || c.Snapshot }))
	switch {
	case slices.ContainsFunc(found, func(c caught) bool { return c.Snapshot }):
		return errors.New("the recording is blamed for a fault of head")
	case missed*20 > len(found): // 38 of 40
		return fmt.Errorf("%d of %d faults are missed", missed, len(found))
	case loud > 0:
		return fmt.Errorf("%d of %d harmless changes are reported", loud, len(silent))
	}
	return nil
}

func guardStored(s settings, out io.Writer) error {
	all, err := s.sessions()
	if err != nil {
		return err
	}
	return within(out, "stored sessions", judgeAll(all, options), map[string]float64{"+5 %": leastOfFive, "+10 %": leastOfTen})
}

func guardModel(out io.Writer) error {
	var all []digest
	for n := range uint64(modelSame) {
		all = append(all, newDigest(modelled(1000+n, 1)))
	}
	for n := range uint64(modelSlow) {
		all = append(all, newDigest(modelled(2000+n, 1.10)))
	}
	return within(out, "a model of a shared machine", judgeAll(all, options), map[string]float64{"+10 %": leastOfTen})
}

// within prints what sessions gave and fails when it is not within the bounds:
// the least share found by level, and mostAlarms.
func within(out io.Writer, name string, all []judged, least map[string]float64) error {
	of := func(level string) tally {
		return tallyOf(level, pick(all, func(j judged) bool { return j.Truth.level() == level }))
	}
	same := of(levelSame)
	fmt.Fprintf(out, "\n%s: false alarms in %s, %.0f rounds\n", name, same.Alarms, same.Rounds)
	var errs []error
	if same.Alarms.N == 0 || same.Alarms.value() > mostAlarms {
		errs = append(errs, fmt.Errorf("%s: false alarms in %s; at most %.0f %% are allowed", name, same.Alarms, 100*mostAlarms))
	}
	for _, l := range levels {
		if share, ok := least[l.name]; ok {
			t := of(l.name)
			fmt.Fprintf(out, "%s: %s named in %s\n", name, l.name, t.Found)
			if t.Found.N == 0 || t.Found.value() < share {
				errs = append(errs, fmt.Errorf("%s: %s is named in %s; at least %.0f %% are asked for", name, l.name, t.Found, 100*share))
			}
		}
	}
	return errors.Join(errs...)
}

// guardFresh measures real processes, of the same program and of one that is
// slower in turn.
func guardFresh(ctx context.Context, out io.Writer) error {
	of, err := calibrated(ctx)
	if err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	var alarms, found share
	noisy := 0
	for began, n := time.Now(), 0; n < 2*freshEach && time.Since(began) < freshTime; n++ {
		what := truth{}
		if n%2 == 1 {
			what = truth{Slow: endpointName(n), Factor: freshFactor}
		}
		t, err := measureRun(ctx, newSeed(), of, what)
		if err != nil {
			return fmt.Errorf("measure a session: %w", err)
		}
		d := newDigest(t)
		switch j := (judged{d, d.judge(options)}); {
		case j.noisy:
			noisy++
		case what == truth{}:
			alarms.add(j.alarm())
		default:
			found.add(j.found())
		}
	}
	fmt.Fprintf(out, "\nfresh sessions: false alarms in %s, +%.0f %% named in %s, too noisy to judge %d\n", alarms, 100*(freshFactor-1), found, noisy)
	if p := atLeast(alarms.K, alarms.N, alarmOdds); p < improbable {
		return fmt.Errorf("fresh sessions: false alarms in %s; that many are improbable (%.2g)", alarms, p)
	}
	if p := atLeast(found.N-found.K, found.N, 1-foundOdds); p < improbable {
		return fmt.Errorf("fresh sessions: +%.0f %% is named in %s; that few are improbable (%.2g)", 100*(freshFactor-1), found, p)
	}
	return nil
}

// atLeast is the probability of at least k of n when each has probability p.
func atLeast(k, n int, p float64) float64 {
	switch {
	case k <= 0:
		return 1
	case k > n:
		return 0
	}
	return math.Max(0, stats.BetaInc(float64(k), float64(n-k+1), p))
}
