package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// digest is a trial summed up: the estimates of its rounds, and the scores of
// the rivals, whose samples are not kept.
type digest struct {
	Seed    uint64    `json:"seed"`
	Started time.Time `json:"started"`
	Truth   truth     `json:"truth"`
	Bursts  bool      `json:"bursts,omitempty"`
	Place   string    `json:"place"`
	Load    float64   `json:"load"`
	Others  float64   `json:"others"`
	Took    float64   `json:"seconds"`
	Rounds  int       `json:"rounds"`
	Head    []strip   `json:"head"`
	Control []strip   `json:"control"`
	// Scores are by rival and endpoint, in hundredths; see [lowest].
	Scores [][]int `json:"scores"`
}

// strip holds the estimates of one endpoint by round: logarithms in units of
// 10^-4, times in units of 100 ns.
type strip struct {
	Endpoint string `json:"endpoint"`
	Pairs    []int  `json:"pairs"`
	P50      []int  `json:"p50"`
	P90      []int  `json:"p90,omitempty"`
	BaseMS   []int  `json:"base_ms,omitempty"`
	Times    [4]int `json:"times"` // base p50, p90, head p50, p90 of all requests
}

const (
	perLog = 1e4
	perMS  = 1e4
	// lowest stands for a score of minus infinity, and for no estimate.
	lowest = math.MinInt32
)

// newDigest sums up a trial, but for the scores.
func newDigest(t trial) digest {
	d := digest{
		Seed: t.Seed, Started: t.Started.Truncate(time.Second), Truth: t.Truth, Bursts: t.Bursts, Place: t.Place,
		Load: t.Load, Others: math.Round(100*t.Others) / 100, Took: math.Round(10*t.Took) / 10, Rounds: len(t.Rounds),
	}
	m := analysis.Measure(t.analysed(), options)
	d.Head, d.Control = strips(m.Series, len(t.Rounds), true), strips(m.Control, len(t.Rounds), false)
	return d
}

// packed makes scores fit to be stored.
func packed(scores [][]float64) [][]int {
	var out [][]int
	for _, of := range scores {
		var row []int
		for _, s := range of {
			if math.IsInf(s, -1) {
				row = append(row, lowest)
			} else {
				row = append(row, int(math.Round(100*max(-1e6, min(1e6, s)))))
			}
		}
		out = append(out, row)
	}
	return out
}

func strips(all []analysis.Series, rounds int, whole bool) []strip {
	var out []strip
	round := func(v, unit float64) int {
		if math.IsNaN(v) {
			return lowest
		}
		return int(math.Round(v * unit))
	}
	for _, s := range all {
		p := strip{Endpoint: s.Endpoint, Pairs: make([]int, rounds), P50: make([]int, rounds)}
		if whole {
			p.P90, p.BaseMS = make([]int, rounds), make([]int, rounds)
			p.Times = [4]int{round(s.Times.Base50, perMS), round(s.Times.Base90, perMS), round(s.Times.Head50, perMS), round(s.Times.Head90, perMS)}
		}
		for _, r := range s.Rounds {
			p.Pairs[r.Round], p.P50[r.Round] = r.Pairs, round(r.P50, perLog)
			if whole {
				p.P90[r.Round], p.BaseMS[r.Round] = round(r.P90, perLog), round(r.BaseMS, perMS)
			}
		}
		out = append(out, p)
	}
	return out
}

// measurement is the inverse of newDigest, as far as the verdict needs it.
func (d digest) measurement() analysis.Measurement {
	return analysis.Measurement{Rounds: d.Rounds, Series: series(d.Head), Control: series(d.Control)}
}

func series(all []strip) []analysis.Series {
	var out []analysis.Series
	for _, p := range all {
		s := analysis.Series{Endpoint: p.Endpoint, Times: analysis.Times{
			Base50: float64(p.Times[0]) / perMS, Base90: float64(p.Times[1]) / perMS,
			Head50: float64(p.Times[2]) / perMS, Head90: float64(p.Times[3]) / perMS,
		}}
		for k, n := range p.Pairs {
			if n == 0 {
				continue
			}
			r := analysis.RoundShift{Round: k, Pairs: n, P50: logarithm(p.P50[k]), P90: math.NaN()}
			if p.P90 != nil {
				r.P90, r.BaseMS = logarithm(p.P90[k]), float64(p.BaseMS[k])/perMS
			}
			s.Rounds = append(s.Rounds, r)
		}
		out = append(out, s)
	}
	return out
}

func logarithm(v int) float64 {
	if v == lowest {
		return math.NaN()
	}
	return float64(v) / perLog
}

// writeDigests packs digests into a file, one line of JSON each.
func writeDigests(name string, all []digest) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("pack the sessions: %w", err)
	}
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("pack the sessions: %w", err)
	}
	defer func() {
		if e := file.Close(); err == nil && e != nil {
			err = fmt.Errorf("pack the sessions: %w", e)
		}
	}()
	z, err := gzip.NewWriterLevel(file, gzip.BestCompression)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(z)
	for _, d := range all {
		if err := enc.Encode(d); err != nil {
			return fmt.Errorf("pack the sessions: %w", err)
		}
	}
	return z.Close()
}

// readDigests reads packed sessions in the order of their time.
func readDigests(r io.Reader) ([]digest, error) {
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return nil, fmt.Errorf("read the sessions: %w", err)
	}
	dec := json.NewDecoder(z)
	var out []digest
	for {
		var d digest
		if err := dec.Decode(&d); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read the sessions: session %d: %w", len(out)+1, err)
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b digest) int { return a.Started.Compare(b.Started) })
	return out, nil
}
