package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "noise.jsonl")
	runs, broken, err := readHistory(file)
	if runs != nil || broken != 0 || err != nil {
		t.Fatalf("a file that is not there gives %v, %d, %v", runs, broken, err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for n := range keptRuns + 5 {
		for _, machine := range []string{"a", "b"} {
			if machine == "b" && n > 1 {
				continue // the runs of another machine stay, however old
			}
			if runs, _, err = readHistory(file); err != nil {
				t.Fatal(err)
			}
			if err := addToHistory(file, runs, pastRun{at.Add(time.Duration(n) * time.Hour), machine, float64(n) / 100}); err != nil {
				t.Fatal(err)
			}
		}
	}
	runs, broken, err = readHistory(file)
	if err != nil || broken != 0 {
		t.Fatalf("%d broken, %v", broken, err)
	}
	if a := noiseOf(runs, "a"); len(a) != keptRuns || a[0] != 0.05 || a[keptRuns-1] != 0.24 {
		t.Errorf("of a are kept %v, want the last %d", a, keptRuns)
	}
	if b := noiseOf(runs, "b"); !slices.Equal(b, []float64{0, 0.01}) {
		t.Errorf("of b are kept %v", b)
	}
}

func TestBrokenHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "noise.jsonl")
	text := "no JSON\n\n" + `{"machine":"a","noise":0.02,"time":"2026-01-02T03:04:05Z"}` + "\n" + `{"machine":"a","noise":-1}` + "\n{}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	runs, broken, err := readHistory(file)
	if err != nil || broken != 3 || len(runs) != 1 || runs[0].Noise != 0.02 {
		t.Errorf("got %v, %d broken, %v", runs, broken, err)
	}
}
