package main

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// Sessions are drawn among the levels that lack some, and among all when none
// does.
func TestDraw(t *testing.T) {
	enough := make(map[string]int)
	for _, l := range levels {
		enough[l.name] = l.want
	}
	lacking := make(map[string]int)
	for name, n := range enough {
		lacking[name] = n
	}
	lacking["+5 %"]--
	seen := make(map[string]bool)
	for seed := range uint64(2000) {
		if l := draw(rand.New(rand.NewPCG(seed, 2)), lacking).level(); l != "+5 %" {
			t.Fatalf("seed %d draws %s, of which there are enough", seed, l)
		}
		seen[draw(rand.New(rand.NewPCG(seed, 2)), enough).level()] = true
	}
	for _, l := range levels {
		if !seen[l.name] {
			t.Errorf("%s is never drawn", l.name)
		}
	}
}

func TestOnly(t *testing.T) {
	have := map[string]int{"+5 %": 1000}
	if err := only(have, []string{"+5 %", "+10 %"}); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(200) {
		l := draw(rand.New(rand.NewPCG(seed, 2)), have).level()
		if have[l]++; l != "+5 %" && l != "+10 %" {
			t.Fatalf("seed %d draws %s", seed, l)
		}
	}
	if err := only(have, []string{"+6 %"}); err == nil {
		t.Error("a level that does not exist is taken")
	}
}

// A session that is summed up and packed is judged as its raw times are.
func TestDigestKeepsTheVerdict(t *testing.T) {
	dir := t.TempDir()
	for n, factor := range []float64{1, 1.05, 1.10, 1} {
		raw := modelled(uint64(50+n), factor)
		raw.Started = time.Date(2026, 1, 2, 3, 4, n, 0, time.UTC)
		if err := saveTrial(filepath.Join(dir, "raw"), raw); err != nil {
			t.Fatal(err)
		}
	}
	s := settings{raw: filepath.Join(dir, "raw"), stored: filepath.Join(dir, "sessions.jsonl.gz")}
	for range 2 { // the second time nothing is new
		if err := s.packSessions(t.Output()); err != nil {
			t.Fatal(err)
		}
	}
	have, err := s.have()
	if err != nil || have[levelSame] != 2 || have["+5 %"] != 1 || have["+10 %"] != 1 {
		t.Fatalf("there are %v (%v), want two of the same program and one of each slowdown", have, err)
	}
	all, err := s.sessions()
	if err != nil || len(all) != 4 {
		t.Fatalf("%d sessions (%v), want 4", len(all), err)
	}
	k := 0
	if err := eachTrial(s.raw, func(raw trial) error {
		rounds := raw.analysed()
		want, _ := analysis.JudgeSpeed(analysis.Measure(rounds, options), analysis.Measurement{}, options)
		got, _ := analysis.JudgeSpeed(all[k].measurement(), analysis.Measurement{}, options)
		for i := range want {
			if want[i].P50.Verdict != got[i].P50.Verdict || math.Abs(want[i].P50.Ratio-got[i].P50.Ratio) > 2e-4 {
				t.Errorf("session %d, %s: %s at %.4f, raw %s at %.4f", k, want[i].Endpoint, got[i].P50.Verdict, got[i].P50.Ratio, want[i].P50.Verdict, want[i].P50.Ratio)
			}
		}
		k++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
