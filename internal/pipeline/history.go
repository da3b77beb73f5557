package pipeline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// pastRun is a line of the history file: how far base differed from itself in
// one run.
type pastRun struct {
	Time    time.Time `json:"time"`
	Machine string    `json:"machine"` // class of machines that compare
	Noise   float64   `json:"noise"`   // floor of that run alone, a share
}

// keptRuns is how many runs of each class of machine the history keeps.
const keptRuns = 20

// roundsForNoise is how many rounds a run needs to tell its noise.
const roundsForNoise = 6

// machineClass names what measurements can be compared by: the system, the
// number of processors and where the arms run.
func machineClass(target string) string {
	return fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), target)
}

// readHistory returns the runs in a file, oldest first, and how many of its
// lines are no runs. A file that does not exist holds none.
func readHistory(file string) (runs []pastRun, broken int, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the history of noise: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var p pastRun
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if json.Unmarshal(lines.Bytes(), &p) != nil || p.Machine == "" || !(p.Noise >= 0) {
			broken++
			continue
		}
		runs = append(runs, p)
	}
	if lines.Err() != nil { // a line without an end is no history
		broken++
	}
	return runs, broken, nil
}

// noiseOf returns the floors of the runs on one class of machine.
func noiseOf(runs []pastRun, machine string) []float64 {
	var out []float64
	for _, p := range runs {
		if p.Machine == machine {
			out = append(out, p.Noise)
		}
	}
	return out
}

// addToHistory writes the runs and one more to a file, whole or not at all; the
// oldest of its class of machine go.
func addToHistory(file string, runs []pastRun, last pastRun) error {
	runs = append(append([]pastRun(nil), runs...), last)
	drop := max(0, len(noiseOf(runs, last.Machine))-keptRuns)
	var text bytes.Buffer
	for _, p := range runs {
		if p.Machine == last.Machine && drop > 0 {
			drop--
			continue
		}
		line, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("write the history of noise: %w", err)
		}
		text.Write(append(line, '\n'))
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write the history of noise: %w", err)
	}
	part := file + ".part"
	if err := os.WriteFile(part, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the history of noise: %w", err)
	}
	if err := os.Rename(part, file); err != nil {
		return fmt.Errorf("write the history of noise: %w", err)
	}
	return nil
}

// recallNoise lets the noise of earlier runs bound what this one calls a
// change. A history that cannot be read is told and not used.
func (r *run) recallNoise() {
	file := r.options.Latency.History
	if file == "" {
		return
	}
	runs, broken, err := readHistory(file)
	if err != nil {
		r.note("Earlier noise is not used: %v.", err)
		return
	}
	if broken > 0 {
		r.note("%s: %d lines are no runs and were left out.", file, broken)
	}
	r.past = runs
	r.options.Analysis.Latency.History = noiseOf(runs, machineClass(r.options.targetName()))
}

// rememberNoise adds the noise of this run to the history.
func (r *run) rememberNoise() {
	if r.options.Latency.History == "" || len(r.rounds) < roundsForNoise {
		return
	}
	if err := addToHistory(r.options.Latency.History, r.past, pastRun{
		Time: r.options.Now().UTC().Truncate(time.Second), Machine: machineClass(r.options.targetName()), Noise: r.result.Latency.NoiseOfRun,
	}); err != nil {
		r.note("The noise of this run is not remembered: %v.", err)
	}
}
