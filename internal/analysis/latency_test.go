package analysis_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
)

// measured makes rounds of paired requests to the given number of endpoints:
// log-normal service times around 2 ms, a drift shared by both arms, and one
// arm slower by the given factor on the first endpoint (or everywhere).
func measured(seed uint64, rounds, endpoints, pairs int, factor float64, everywhere bool) []analysis.Round {
	rng := rand.New(rand.NewPCG(seed, 99))
	var out []analysis.Round
	for k := range rounds {
		r := analysis.Round{Number: k + 1}
		drift := 1 + 0.3*rng.Float64()
		service := func(e int) time.Duration {
			base := 2 + 0.2*float64(e)
			return time.Duration(base * drift * math.Exp(0.15*rng.NormFloat64()) * float64(time.Millisecond))
		}
		for e := range endpoints {
			name := fmt.Sprintf("GET /v1/e%02d", e)
			for range pairs {
				a, b := service(e), service(e)
				if e == 0 || everywhere {
					b = time.Duration(float64(b) * factor)
				}
				r.HeadVsBase = append(r.HeadVsBase, analysis.Pair{Endpoint: name, A: a, B: b})
				if rng.IntN(4) == 0 {
					r.ControlVsBase = append(r.ControlVsBase, analysis.Pair{Endpoint: name, A: service(e), B: service(e)})
				}
			}
		}
		r.SendLag = append(r.SendLag, 20*time.Microsecond, 40*time.Microsecond)
		out = append(out, r)
	}
	return out
}

func TestLatency(t *testing.T) {
	w := miniature.Record()
	in := analysis.Input{Recorded: w.Recorded, Base: w.Pass("base", 11, miniature.Faults{}), Control: w.Pass("control", 12, miniature.Faults{}), Head: w.Pass("head", 13, miniature.Faults{})}
	tests := []struct {
		name    string
		reason  string
		rounds  []analysis.Round
		failOn  []string
		want    []string
		first   analysis.Speed
		verdict analysis.Verdict
	}{
		{"a quarter slower", "shown, but latency warns by default", measured(1, 12, 12, 60, 1.25, false), nil,
			[]string{"latency slower GET /v1/e00 latency.p50 720/720"}, analysis.Slower, analysis.Pass},
		{"a quarter slower, gating", "latency fails when it is asked to", measured(1, 12, 12, 60, 1.25, false), []string{"latency"},
			[]string{"latency slower GET /v1/e00 latency.p50 720/720"}, analysis.Slower, analysis.Fail},
		{"faster", "an improvement never fails", measured(2, 12, 12, 60, 0.8, false), []string{"latency"},
			[]string{"latency faster GET /v1/e00 latency.p50 720/720"}, analysis.Faster, analysis.Pass},
		{"the same", "no change is told as that", measured(3, 12, 12, 120, 1, false), []string{"latency"}, nil, analysis.Same, analysis.Pass},
		{"too few rounds", "five rounds cannot show anything", measured(4, 5, 12, 60, 1.25, false), nil, nil, analysis.SpeedInconclusive, analysis.Pass},
		{"too few rounds, gating", "what cannot be told is not passed", measured(4, 5, 12, 60, 1.25, false), []string{"latency"}, nil, analysis.SpeedInconclusive, analysis.Inconclusive},
		{"below the floor", "2 % is less than matters", measured(5, 12, 12, 200, 1.02, false), []string{"latency"}, nil, analysis.Same, analysis.Pass},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in.Rounds = tt.rounds
			got := analysis.Run(in, analysis.Options{FailOn: tt.failOn})
			if diff := summaryDiff(tt.want, got.Findings); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
			if e := got.Endpoints[0]; e.P50.Verdict != tt.first {
				t.Errorf("p50 of the first endpoint is %s, want %s: %+v", e.P50.Verdict, tt.first, e.P50)
			}
			if got.Verdict != tt.verdict {
				t.Errorf("verdict %s (%s), want %s", got.Verdict, got.Reason, tt.verdict)
			}
			if _, err := json.Marshal(got); err != nil {
				t.Errorf("the result cannot be written: %v", err)
			}
		})
	}
}

func TestLatencyOfEachEndpointIsHonest(t *testing.T) {
	in := analysis.Input{Rounds: measured(6, 12, 4, 60, 1.25, false), Seed: 7, Stopped: "time budget"}
	got := analysis.Run(in, analysis.Options{})
	e := got.Endpoints[0]
	if e.P50.CI[0] > 1.25 || e.P50.CI[1] < 1.25 || e.P50.Ratio < 1.15 || e.P50.Ratio > 1.35 {
		t.Errorf("a ratio of 1.25 is estimated as %.3f, interval %v", e.P50.Ratio, e.P50.CI)
	}
	if e.P50.Detectable < 0.03 || e.P50.Detectable > 0.25 {
		t.Errorf("detectable is %.3f; it must be above the floor and below what was found", e.P50.Detectable)
	}
	if e.P99.CI[0] > e.P99.Ratio || e.P99.CI[1] < e.P99.Ratio {
		t.Errorf("the p99 ratio %.3f is outside of its interval %v", e.P99.Ratio, e.P99.CI)
	}
	if len(e.RoundsBaseMS) != 12 || len(e.RoundsHeadMS) != 12 {
		t.Errorf("%d and %d round medians, want 12", len(e.RoundsBaseMS), len(e.RoundsHeadMS))
	}
	l := got.Latency
	if l.Rounds != 12 || l.Pairs != 12*4*60 || l.Seed != 7 || l.Stopped != "time budget" || l.SendLagP50MS != 0.03 {
		t.Errorf("summed up as %+v", l)
	}
	if l.NoiseFloor < 0 || l.NoiseFloor > 0.03 {
		t.Errorf("noise floor %.3f of a calm machine", l.NoiseFloor)
	}
}

// A machine so noisy that the planned rounds leave a change open shows it in the
// second stage.
func TestMoreRoundsShowWhatNoiseHides(t *testing.T) {
	all := measured(1, 40, 12, 10, 1.08, false)
	slow := func(rounds int) analysis.Speed {
		return analysis.Run(analysis.Input{Rounds: all[:rounds]}, analysis.Options{}).Endpoints[0].P50.Verdict
	}
	if got := slow(16); got != analysis.SpeedInconclusive {
		t.Fatalf("16 rounds say %s; there is nothing left to show", got)
	}
	if got := slow(40); got != analysis.Slower {
		t.Errorf("40 rounds say %s, want slower", got)
	}
}

func TestSmallShiftEverywhereIsSeenTogether(t *testing.T) {
	in := analysis.Input{Rounds: measured(8, 12, 12, 100, 1.05, true)}
	got := analysis.Run(in, analysis.Options{})
	if got.Latency.Overall.Verdict != analysis.Slower {
		t.Errorf("5 %% everywhere is judged %s: %+v", got.Latency.Overall.Verdict, got.Latency.Overall)
	}
}

func TestNoisyMachineIsNotJudged(t *testing.T) {
	rounds := measured(9, 12, 4, 60, 1.5, false)
	for i := range rounds {
		for k := range rounds[i].ControlVsBase {
			rounds[i].ControlVsBase[k].B = rounds[i].ControlVsBase[k].B * 5 / 4
		}
	}
	got := analysis.Run(analysis.Input{Rounds: rounds}, analysis.Options{})
	if got.Endpoints[0].P50.Verdict != analysis.SpeedInconclusive || !strings.Contains(got.Latency.Note, "too noisy") {
		t.Errorf("base differs from itself by 25 %%, yet: %s, %q", got.Endpoints[0].P50.Verdict, got.Latency.Note)
	}
}

func TestRareEndpointsAreJudgedTogether(t *testing.T) {
	rounds := measured(10, 12, 6, 2, 1, false)
	got := analysis.Run(analysis.Input{Rounds: rounds}, analysis.Options{})
	if len(got.Endpoints) != 1 || got.Endpoints[0].Endpoint != "other endpoints" || got.Endpoints[0].Requests != 144 {
		t.Errorf("got %+v", got.Endpoints)
	}
}

func TestDecided(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rounds []analysis.Round
		want   bool
		reason string
	}{
		{"nothing", nil, false, "at least 6"},
		{"too few", measured(1, 5, 4, 60, 1, false), false, "at least 6"},
		{"clearly the same", measured(1, 6, 4, 400, 1, false), true, "all endpoints decided"},
		{"between looks", measured(1, 7, 4, 400, 1, false), false, "next look is after 8"},
		{"six rounds cannot show a change", measured(1, 6, 4, 400, 1.3, false), false, "open"},
		{"not yet the end", measured(1, 12, 12, 10, 1.3, false), false, "hint at a change after 12"},
		{"the end of the plan, with a hint", measured(1, 16, 12, 10, 1.3, false), false, "hint at a change after 16"},
		{"no look in the second stage", measured(1, 17, 12, 10, 1.3, false), false, "next look is after 20"},
		{"the end of the plan, without a hint", measured(3, 16, 12, 400, 1, false), true, ""},
		{"the end", measured(1, 40, 12, 10, 1.3, false), true, "all rounds measured"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, reason := analysis.Decided(tt.rounds, analysis.Options{})
			if got != tt.want || !strings.Contains(reason, tt.reason) {
				t.Errorf("got %v (%s), want %v (%s)", got, reason, tt.want, tt.reason)
			}
		})
	}
}

// Identical arms under a drift that both share are hardly ever called
// different: at most two of 40 sessions, each of twelve endpoints.
func TestFalseAlarmsAreRare(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates 40 sessions")
	}
	alarms := 0
	for seed := range uint64(40) {
		got := analysis.Run(analysis.Input{
			Rounds: measured(1000+seed, 12, 12, 30, 1, false), Confirm: measured(5000+seed, 4, 12, 30, 1, false),
		}, analysis.Options{})
		for _, f := range got.Findings {
			if f.Kind == analysis.KindLatency {
				alarms++
				break
			}
		}
	}
	if alarms > 2 {
		t.Errorf("%d of 40 sessions raise an alarm", alarms)
	}
}

// A change that is gone in fresh rounds was none.
func TestConfirm(t *testing.T) {
	rounds := measured(1, 12, 6, 60, 1.25, false)
	if got := analysis.Suspects(rounds, analysis.Options{}); len(got) != 1 || got[0] != "GET /v1/e00" {
		t.Errorf("suspects are %v", got)
	}
	for _, tt := range []struct {
		name   string
		factor float64
		want   analysis.Speed
	}{{"stays", 1.25, analysis.Slower}, {"went away", 0.95, analysis.SpeedInconclusive}} {
		t.Run(tt.name, func(t *testing.T) {
			got := analysis.Run(analysis.Input{Rounds: rounds, Confirm: measured(2, 4, 6, 60, tt.factor, false)}, analysis.Options{})
			if e := got.Endpoints[0]; e.P50.Verdict != tt.want || (tt.want == analysis.Slower) != (len(got.Findings) == 1) {
				t.Errorf("%s (%s), findings %v", e.P50.Verdict, e.Note, summary(got.Findings))
			}
		})
	}
}

// More calls make an endpoint slower and fewer make it faster; that is no news
// beside the calls. Speed in the other direction, or that fails the check, is.
func TestSpeedFollowsFromCalls(t *testing.T) {
	w := miniature.Record()
	rounds := func(factor float64) []analysis.Round {
		out := measured(1, 12, 12, 60, factor, false)
		for _, r := range out {
			for i := range r.HeadVsBase {
				if r.HeadVsBase[i].Endpoint == "GET /v1/e00" {
					r.HeadVsBase[i].Endpoint = "POST /v1/orders"
				}
			}
			for i := range r.ControlVsBase {
				if r.ControlVsBase[i].Endpoint == "GET /v1/e00" {
					r.ControlVsBase[i].Endpoint = "POST /v1/orders"
				}
			}
		}
		return out
	}
	for _, row := range []struct {
		reason string
		faults miniature.Faults
		factor float64
		failOn []string
		alone  int // latency findings
	}{
		{"a lost call saves its time", miniature.Faults{LostCall: true}, 0.75, nil, 0},
		{"a lost call makes nothing slower", miniature.Faults{LostCall: true}, 1.25, nil, 1},
		{"repeated calls take time", miniature.Faults{NPlusOne: 3}, 1.25, nil, 0},
		{"a new call takes time", miniature.Faults{NewHost: true}, 1.25, nil, 0},
		{"no call changed", miniature.Faults{}, 1.25, nil, 1},
		{"whoever fails on latency wants to see it", miniature.Faults{NPlusOne: 3}, 1.25, []string{"latency", "outbound"}, 1},
	} {
		in := analysis.Input{Recorded: w.Recorded, Base: w.Pass("base", 11, miniature.Faults{}), Control: w.Pass("control", 12, miniature.Faults{}), Head: w.Pass("head", 13, row.faults)}
		in.Rounds = rounds(row.factor)
		alone, followed := 0, 0
		for _, f := range analysis.Run(in, analysis.Options{FailOn: row.failOn}).Findings {
			if f.Kind == analysis.KindLatency {
				alone++
			}
			for _, c := range f.Consequences {
				if c.Change == analysis.ChangeSlower || c.Change == analysis.ChangeFaster {
					followed++
				}
			}
		}
		if alone != row.alone || followed != 1-row.alone {
			t.Errorf("%s: %d findings and %d consequences of speed, want %d and %d", row.reason, alone, followed, row.alone, 1-row.alone)
		}
	}
}

func TestEarlierNoiseRaisesTheFloor(t *testing.T) {
	rounds := measured(1, 12, 4, 60, 1.08, false)
	for _, tt := range []struct {
		name    string
		history []float64
		want    analysis.Speed
	}{
		{"none", nil, analysis.Slower},
		{"too few", []float64{0.09, 0.09, 0.09, 0.09}, analysis.Slower},
		{"calm", []float64{0.01, 0.01, 0.02, 0.01, 0.01}, analysis.Slower},
		{"noisy", []float64{0.02, 0.09, 0.09, 0.09, 0.09, 0.09}, analysis.SpeedInconclusive},
		{"beyond what is judged", []float64{0.5, 0.5, 0.5, 0.5, 0.5}, analysis.SpeedInconclusive},
	} {
		got := analysis.Run(analysis.Input{Rounds: rounds}, analysis.Options{Latency: analysis.LatencyOptions{History: tt.history}})
		if v := got.Endpoints[0].P50.Verdict; v != tt.want {
			t.Errorf("%s: 8 %% slower is judged %s, want %s (floor %.3f)", tt.name, v, tt.want, got.Latency.NoiseFloor)
		}
		if strings.Contains(got.Latency.Note, "too noisy") {
			t.Errorf("%s: earlier runs alone made this one too noisy to judge", tt.name)
		}
	}
}
