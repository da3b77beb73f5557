package analysis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
)

func TestOpenLoop(t *testing.T) {
	late := func(rounds []analysis.Round, by time.Duration) []analysis.Round {
		for i := range rounds {
			rounds[i].SendLag = []time.Duration{by, by}
		}
		return rounds
	}
	tests := []struct {
		why    string
		rounds []analysis.Round
		want   analysis.Speed
		note   string
	}{
		{"half as fast again", measured(3, 12, 4, 60, 1.5, true), analysis.Slower, ""},
		{"faster", measured(4, 12, 4, 60, 0.7, true), analysis.Faster, ""},
		{"the same", measured(5, 12, 4, 60, 1, true), analysis.Same, ""},
		{"a sender that is late by more than a tenth measures itself", late(measured(6, 12, 4, 60, 1.5, true), 400*time.Microsecond), analysis.SpeedInconclusive, "the sender was late"},
		{"too few rounds", measured(7, 3, 4, 60, 1.5, true), analysis.SpeedInconclusive, "3 rounds measured"},
		{"nothing valid", []analysis.Round{{Number: 1}}, analysis.SpeedInconclusive, "no pair"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			got := analysis.Run(analysis.Input{OpenRounds: tt.rounds, OpenRate: 200}, analysis.Options{}).OpenLoop
			if got == nil || got.Verdict != tt.want || !strings.Contains(got.Note, tt.note) || tt.note == "" && got.Note != "" {
				t.Fatalf("%+v, want %s %q", got, tt.want, tt.note)
			}
			if got.Rate != 200 || got.Rounds != len(tt.rounds) {
				t.Errorf("%+v", got)
			}
		})
	}
	if got := analysis.Run(analysis.Input{}, analysis.Options{}); got.OpenLoop != nil || got.Capacity != nil {
		t.Errorf("judged without measuring: %+v, %+v", got.OpenLoop, got.Capacity)
	}
}

func TestCapacityVerdict(t *testing.T) {
	tests := []struct {
		why   string
		found analysis.CapacityFound
		want  analysis.Speed
	}{
		{"head holds half", analysis.CapacityFound{Base: 1000, Control: 1030, Head: 500, Bounded: true}, analysis.Slower},
		{"head holds nothing", analysis.CapacityFound{Base: 1000, Control: 1030, Bounded: true}, analysis.Slower},
		{"head holds more", analysis.CapacityFound{Base: 1000, Control: 1000, Head: 1300, Bounded: true}, analysis.Faster},
		{"within a tenth", analysis.CapacityFound{Base: 1000, Control: 1000, Head: 950, Bounded: true}, analysis.Same},
		{"base differs from itself as much", analysis.CapacityFound{Base: 1000, Control: 700, Head: 600, Bounded: true}, analysis.SpeedInconclusive},
		{"a late sender ends a search early", analysis.CapacityFound{Base: 18, Control: 15, Head: 100, Bounded: true, Late: true}, analysis.SpeedInconclusive},
		{"base holds nothing", analysis.CapacityFound{Head: 100, Bounded: true}, analysis.SpeedInconclusive},
	}
	for _, tt := range tests {
		if got := analysis.Run(analysis.Input{Capacity: &tt.found}, analysis.Options{}).Capacity; got == nil || got.Verdict != tt.want {
			t.Errorf("%s: %+v, want %s", tt.why, got, tt.want)
		}
	}
}

// TestLateSenderIsNotJudged: pairs are timed from the moment of sending, so
// that only a sender that is late as a rule spoils them.
func TestLateSenderIsNotJudged(t *testing.T) {
	rounds := measured(12, 12, 4, 60, 1.5, false)
	for i := range rounds {
		rounds[i].SendLag = []time.Duration{400 * time.Microsecond, 400 * time.Microsecond, 10 * time.Microsecond}
	}
	got := analysis.Run(analysis.Input{Rounds: rounds}, analysis.Options{FailOn: []string{"latency"}})
	if !strings.Contains(got.Latency.Note, "the sender was late") || got.Endpoints[0].P50.Verdict != analysis.SpeedInconclusive || got.Latency.Overall.Verdict != analysis.SpeedInconclusive {
		t.Errorf("%q, %+v", got.Latency.Note, got.Endpoints[0].P50)
	}
}
