package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// GateInconclusive is the entry of [Options.FailOn] that makes an inconclusive
// run fail.
const GateInconclusive = "inconclusive"

// Options are the user's say about the verdict. The zero value has the
// documented defaults.
type Options struct {
	// FailOn names what makes the verdict fail: kinds of findings and
	// "inconclusive". Nil means response, outbound and crash; an empty list
	// means nothing does.
	FailOn []string
	// Compare holds the rules of comparison.
	Compare compare.Options
	// Router names endpoints and call routes; nil has no templates.
	Router *traffic.Router
	// Latency bounds what counts as a change of speed.
	Latency LatencyOptions
}

// LatencyOptions bound what counts as a change of speed. Zero fields have the
// defaults in brackets.
type LatencyOptions struct {
	// FloorShare and FloorMS are the smallest change that matters, relative
	// (0.03) and absolute (0.1 ms). A verdict needs both.
	FloorShare float64
	FloorMS    float64
	// Level is the false discovery rate at which an endpoint counts as
	// changed (0.05), FailLevel the one at which it may fail the check (0.01).
	Level     float64
	FailLevel float64
	// Equivalence is how near to no change the whole interval must be for the
	// verdict "same" (0.05).
	Equivalence float64
	// MinPairs is how many pairs an endpoint needs to be judged (30).
	MinPairs int
	// MaxNoise is the noise floor above which nothing is judged (0.10).
	MaxNoise float64
}

var defaultFailOn = []string{string(KindResponse), string(KindOutbound), string(KindCrash)}

// Gates lists what FailOn may name.
func Gates() []string {
	return []string{string(KindResponse), string(KindOutbound), string(KindCrash), string(KindLatency), string(KindResource), GateInconclusive}
}

// Validate reports the first setting that cannot be meant.
func (o Options) Validate() error {
	for _, name := range o.FailOn {
		if !slices.Contains(Gates(), name) {
			return fmt.Errorf("fail-on: %q is not known; use %s", name, strings.Join(Gates(), ", "))
		}
	}
	for _, f := range []struct {
		name   string
		value  float64
		at, to float64
	}{
		{"floor-share", o.Latency.FloorShare, 0, 10}, {"floor-ms", o.Latency.FloorMS, 0, 1e6},
		{"level", o.Latency.Level, 0, 0.5}, {"fail-level", o.Latency.FailLevel, 0, 0.5},
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
	l := &o.Latency
	for _, d := range []struct {
		field *float64
		value float64
	}{
		{&l.FloorShare, 0.03}, {&l.FloorMS, 0.1}, {&l.Level, 0.05}, {&l.FailLevel, 0.01}, {&l.Equivalence, 0.05}, {&l.MaxNoise, 0.10},
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
