package analysis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// The entries of [Options.FailOn] that are no kinds of findings.
const (
	GateInconclusive = "inconclusive" // a run that could not tell fails
	GateAssisted     = "assisted"     // a run that rests on guessed answers fails
	GateNever        = "never"        // nothing fails; it stands alone
)

// Options are the user's say about the verdict. The zero value has the
// documented defaults.
type Options struct {
	// FailOn names what makes the verdict fail: see [Gates]. Nil means
	// response, outbound and crash; an empty list means nothing does.
	FailOn []string
	// Compare holds the rules of comparison, Ignore those that may be for one
	// endpoint only.
	Compare compare.Options
	Ignore  []Ignore
	// Thresholds must hold; one that does not fails the run.
	Thresholds []Threshold
	// Accepts are changes that were agreed to. Now tells which have expired;
	// with the zero time none has.
	Accepts []Accept
	Now     time.Time
	// Router names endpoints and call routes; nil has no templates.
	Router *traffic.Router
	// Latency bounds what counts as a change of speed.
	Latency LatencyOptions
}

// LatencyOptions bound what counts as a change of speed. Zero fields have the
// defaults in brackets.
type LatencyOptions struct {
	// FloorShare and FloorMS are the smallest change that matters, relative
	// (0.03) and absolute (0.01 ms: nine of ten endpoints of identical
	// processes differ by less). A verdict needs both.
	FloorShare float64
	FloorMS    float64
	// Level is the false discovery rate at which an endpoint counts as
	// changed (0.01). A run has many tests and a repository many runs, so at
	// 0.05 one run in twenty would name an endpoint that did not change.
	Level float64
	// Equivalence is how near to no change the whole interval must be for the
	// verdict "same" (0.05).
	Equivalence float64
	// MinPairs is how many pairs an endpoint needs to be judged (30).
	MinPairs int
	// History holds the noise floors of earlier runs on the same class of
	// machine. From [leastHistory] runs on what 95 % of them did not exceed is
	// a floor of this run too, but never above MaxNoise: an earlier run can
	// make this one more cautious, not void.
	History []float64
	// MaxNoise is the noise floor above which nothing is judged (0.10).
	MaxNoise float64
}

var defaultFailOn = []string{string(KindResponse), string(KindOutbound), string(KindCrash)}

// Gates lists what FailOn may name.
func Gates() []string {
	return []string{string(KindResponse), string(KindOutbound), string(KindCrash), string(KindFragility), string(KindLatency), string(KindResource), GateInconclusive, GateAssisted, GateNever}
}

// Validate reports the first setting that cannot be meant.
func (o Options) Validate() error {
	for _, name := range o.FailOn {
		if !slices.Contains(Gates(), name) {
			return fmt.Errorf("fail-on: %q is not known; use %s", name, strings.Join(Gates(), ", "))
		}
	}
	if slices.Contains(o.FailOn, GateNever) && len(o.FailOn) > 1 {
		return fmt.Errorf("fail-on: never stands alone; remove it or the others")
	}
	for i, rule := range o.Ignore {
		if s := rule.Address.String(); s == "" || s == "**" {
			return fmt.Errorf("ignore[%d]: %q hides everything; name a place", i, s)
		}
	}
	for _, a := range o.Accepts {
		if err := a.Validate(); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name   string
		value  float64
		at, to float64
	}{
		{"floor-share", o.Latency.FloorShare, 0, 10}, {"floor-ms", o.Latency.FloorMS, 0, 1e6},
		{"level", o.Latency.Level, 0, 0.5},
		{"equivalence", o.Latency.Equivalence, 0, 10}, {"max-noise", o.Latency.MaxNoise, 0, 10},
		{"min-pairs", float64(o.Latency.MinPairs), 0, 1e9},
	} {
		if !(f.value >= f.at && f.value <= f.to) {
			return fmt.Errorf("latency: %s is %v; it must lie between %v and %v", f.name, f.value, f.at, f.to)
		}
	}
	return o.Compare.Validate()
}

func (o Options) withDefaults() Options {
	if o.FailOn == nil {
		o.FailOn = defaultFailOn
	}
	if o.Compare.Tally == nil {
		o.Compare.Tally = new(compare.Tally)
	}
	l := &o.Latency
	for _, d := range []struct {
		field *float64
		value float64
	}{
		{&l.FloorShare, 0.03}, {&l.FloorMS, 0.01}, {&l.Level, 0.01}, {&l.Equivalence, 0.05}, {&l.MaxNoise, 0.10},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if l.MinPairs == 0 {
		l.MinPairs = 30
	}
	return o
}
