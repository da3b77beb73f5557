package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// CapacityOptions says what an arm must hold at a rate, and how to search for
// the highest one. The zero value is not valid: there must be a limit.
type CapacityOptions struct {
	// Limits fail a rate, as in p90>200ms. A load with more failures than one in
	// a hundred fails anyway, and so does one whose sender was late by more than
	// a tenth of the least time that a limit names.
	Limits []Limit
	// Start is the first rate, requests a second. Default 50.
	Start float64
	// Most is the highest rate that is tried. Default 20,000.
	Most float64
	// Probe is how long one rate is tried. Default 2 s.
	Probe time.Duration
	// Precision ends the search: the share by which the rate that holds and the
	// one that fails may differ. Default 0.05.
	Precision float64
	// Load gives connections, copies and rewriters; its timing is not used.
	Load Load
}

// Validate names the first field that cannot be used.
func (o CapacityOptions) Validate() error {
	switch {
	case len(o.Limits) == 0:
		return errors.New("capacity: give at least one limit, as in p90>200ms")
	case o.Start < 0 || o.Most < 0 || o.Most > 0 && o.Start > o.Most:
		return fmt.Errorf("capacity from %v to %v requests a second: the least must be positive and below the most", o.Start, o.Most)
	case o.Probe < 0 || o.Precision < 0 || o.Precision >= 1:
		return fmt.Errorf("capacity: probes of %v to a precision of %v: times must be positive, the precision below 1", o.Probe, o.Precision)
	}
	return nil
}

func (o CapacityOptions) withDefaults() CapacityOptions {
	if o.Start == 0 {
		o.Start = 50
	}
	if o.Most == 0 {
		o.Most = max(20_000, o.Start)
	}
	if o.Probe == 0 {
		o.Probe = 2 * time.Second
	}
	if o.Precision == 0 {
		o.Precision = 0.05
	}
	return o
}

// Capacity is what was found for one arm.
type Capacity struct {
	Arm string
	// Rate is the highest rate that held, requests a second; 0 when none did.
	Rate float64
	// Bounded says that a higher rate failed; otherwise the search ended at
	// CapacityOptions.Most.
	Bounded bool
	Probes  []Probe
}

// Probe is one rate that was tried.
type Probe struct {
	Rate  float64
	Holds bool
	// Why names what failed, with the measured value; Late says that it was the
	// sender, late or short of files or ports, so that nothing is known of the arm.
	Why     string
	Late    bool
	Summary Summary
}

// Capacity searches the highest rate that each target holds. The arms are
// probed in turn, in an order thrown from seed, so that a machine that becomes
// slower hits all alike. When ctx ends, what is known so far comes back with
// its cause.
func (e *Engine) Capacity(ctx context.Context, targets []Target, seed int64, opts CapacityOptions) ([]Capacity, error) {
	return searchCapacity(ctx, targets, seed, opts, func(ctx context.Context, t Target, l Load) (*Result, error) {
		plan, err := e.Plan(l)
		if err != nil {
			return nil, err
		}
		return e.Drive(ctx, t, plan)
	})
}

// Capacity searches as that of an [Engine] does. The recording is read from end
// to end once, and from its beginning for each rate that is tried, as far as it
// takes.
func (s *Streamed) Capacity(ctx context.Context, targets []Target, seed int64, opts CapacityOptions) ([]Capacity, error) {
	var known *scan
	return searchCapacity(ctx, targets, seed, opts, func(ctx context.Context, t Target, l Load) (*Result, error) {
		plan, err := s.planWith(ctx, l, known)
		if err != nil {
			return nil, err
		}
		known = plan.streamed
		return s.Drive(ctx, t, plan, nil)
	})
}

// searchCapacity searches with loads that send sends.
func searchCapacity(ctx context.Context, targets []Target, seed int64, opts CapacityOptions, send sendLoad) ([]Capacity, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	coin := rand.New(rand.NewPCG(uint64(seed), 0))
	searches := make([]*search, len(targets))
	found := make([]Capacity, len(targets))
	for i, t := range targets {
		searches[i] = &search{rate: opts.Start, most: opts.Most, precision: opts.Precision}
		found[i].Arm = t.Arm
	}
	for open := true; open; {
		open = false
		for _, i := range coin.Perm(len(targets)) {
			s := searches[i]
			if s.done {
				continue
			}
			open = true
			probe, err := send.probe(ctx, targets[i], s.rate, opts)
			if err != nil {
				return found, err
			}
			found[i].Probes = append(found[i].Probes, probe)
			s.report(probe.Holds)
			found[i].Rate, found[i].Bounded = s.holds, s.fails > 0
		}
	}
	return found, nil
}

// sendLoad plans a load and sends it.
type sendLoad func(context.Context, Target, Load) (*Result, error)

func (send sendLoad) probe(ctx context.Context, t Target, rate float64, opts CapacityOptions) (Probe, error) {
	l := opts.Load
	l.Speed, l.Stages, l.Max, l.Loops = 0, nil, false, 0
	l.Rate, l.Budget = rate, opts.Probe
	r, err := send(ctx, t, l)
	if err != nil {
		return Probe{}, err
	}
	p := Probe{Rate: rate, Holds: true, Summary: r.overall()}
	if n := p.Summary.Short(); n > 0 {
		p.Holds, p.Late, p.Why = false, true, fmt.Sprintf("%d requests not sent: %s", n, r.Errors[traffic.FailureLimit])
		return p, nil
	}
	var failed int64
	for _, n := range p.Summary.Failures {
		failed += n
	}
	for _, limit := range opts.Limits {
		if measured, fails := limit.Check(p.Summary); fails && p.Holds {
			p.Holds, p.Why = false, fmt.Sprintf("%s: %s", limit, measured)
		}
	}
	switch {
	case !p.Holds:
	case r.Skipped > 0:
		p.Holds, p.Why = false, fmt.Sprintf("%d requests not sent: too many waiting", r.Skipped)
	case failed*100 > p.Summary.Requests:
		p.Holds, p.Why = false, fmt.Sprintf("%d of %d requests failed", failed, p.Summary.Requests)
	case p.Summary.Lag.Quantile(0.99) > opts.patience(p.Summary):
		p.Holds, p.Late, p.Why = false, true, fmt.Sprintf("the sender was late by %v at p99", p.Summary.Lag.Quantile(0.99).Round(time.Microsecond))
	}
	return p, nil
}

// patience is how late the sender may be at p99: a tenth of the time that a
// rate must keep, or of the median response where no limit is a time.
func (o CapacityOptions) patience(s Summary) time.Duration {
	least := time.Duration(math.MaxInt64)
	for _, limit := range o.Limits {
		if limit.kind == inTime {
			least = min(least, time.Duration(limit.value*float64(time.Second)))
		}
	}
	if least == math.MaxInt64 {
		least = s.Response.Quantile(0.5)
	}
	return least / 10
}

// search doubles a rate until it fails and then halves the interval, on a
// logarithmic scale.
type search struct {
	rate, most, precision float64
	holds, fails          float64
	done                  bool
}

func (s *search) report(holds bool) {
	if holds {
		s.holds = s.rate
	} else {
		s.fails = s.rate
	}
	switch {
	case s.fails == 0 && s.holds >= s.most, s.fails > 0 && s.fails < 1:
		s.done = true
	case s.fails == 0:
		s.rate = min(s.rate*2, s.most)
	case s.holds == 0:
		s.rate = s.fails / 2
	case s.fails/s.holds <= 1+s.precision:
		s.done = true
	default:
		s.rate = s.holds * math.Sqrt(s.fails/s.holds)
	}
}
