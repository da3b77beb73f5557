package main

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Row is one figure beside a peer's.
type Row struct {
	Name      string  `json:"name"` // "capture Inbound/one"
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
	Peer      string  `json:"peer"`
	PeerValue float64 `json:"peer_value"`
	Ratio     float64 `json:"ratio"`          // Value / PeerValue
	Goal      string  `json:"goal,omitempty"` // of the ratio, "at most 1.3", or "figure at most 60", or "at most 60 above"; empty when there is none
	Holds     bool    `json:"holds"`
}

// us is the element of a benchmark's name that stands for this program.
const us = "reprise"

// goal bounds the ratio to a peer, the figure itself, or how far it lies above
// the peer's.
type goal struct {
	benchmark, unit, peer string
	atMost, atLeast       float64
	above                 float64 // in the unit
	// The bounds of the figure itself, which is shown beside the peer's.
	figureAtMost, figureAtLeast float64
}

// goals are what the project promises.
var goals = []goal{
	{benchmark: "capture Inbound/one", unit: "p50-µs", peer: "httputil", atMost: 1.3},
	{benchmark: "capture Added", unit: "added-p50-µs", peer: "toxiproxy", atMost: 1.3},
	{benchmark: "capture Inbound/many", unit: "exchanges/s", peer: "httputil", atLeast: 1.5},
	{benchmark: "compare Equal", unit: "ns/op", peer: "jsondiff", atMost: 1.0 / 20},
	{benchmark: "compare Unequal", unit: "ns/op", peer: "jsondiff", atMost: 1.0 / 4},
	{benchmark: "replay MaxRate", unit: "cpu-us/req", peer: "vegeta", atMost: 1.0 / 4},
	{benchmark: "replay MaxRate", unit: "cpu-us/req", peer: "fortio", atMost: 1.0 / 3},
	{benchmark: "replay SendError/1000", unit: "p50-us", peer: "vegeta", atMost: 1.0 / 10},
	{benchmark: "replay SendError/1000", unit: "p99-us", peer: "vegeta", atMost: 1.0 / 5},
	{benchmark: "replay SendError/5000", unit: "p50-us", peer: "vegeta", atMost: 1.0 / 10},
	{benchmark: "replay SendError/5000", unit: "p99-us", peer: "vegeta", atMost: 1.0 / 5},
	{benchmark: "replay SendError/10000", unit: "p50-us", peer: "vegeta", atMost: 1.0 / 10},
	{benchmark: "replay SendError/10000", unit: "p99-us", peer: "vegeta", atMost: 1.0 / 5},
	{benchmark: "replay Trace/1x", unit: "KS", peer: "goreplay", figureAtMost: 0.01},
	{benchmark: "replay Trace/1x", unit: "length-off-%", peer: "goreplay", figureAtMost: 0.1},
	{benchmark: "replay Trace/10x", unit: "KS", peer: "goreplay", figureAtMost: 0.01},
	{benchmark: "replay Trace/10x", unit: "length-off-%", peer: "goreplay", figureAtMost: 0.1},
	{benchmark: "replay Memory", unit: "resident-MB", peer: "ten-thousand", figureAtMost: 200},
	{benchmark: "mock Flat", unit: "req/s", peer: "hundred", atLeast: 0.9},
	{benchmark: "mock Throughput", unit: "req/s", peer: "nginx", atLeast: 0.5},
	{benchmark: "mock Throughput", unit: "req/s", peer: "hoverfly", atLeast: 5},
	{benchmark: "mock Throughput", unit: "req/s", peer: "wiremock", atLeast: 20},
	{benchmark: "mock Throughput", unit: "req/s", peer: "mountebank", atLeast: 50},
	{benchmark: "mock Delay", unit: "p99-us", peer: "spin", above: 60},
	{benchmark: "snapshot Load", unit: "exchanges/cpu-s", peer: "json-lines", atLeast: 5},
	{benchmark: "snapshot Load", unit: "heap-MB", peer: "json-lines", figureAtMost: 60},
	{benchmark: "snapshot Load", unit: "first-ms", peer: "json-lines", figureAtMost: 100},
	{benchmark: "redact Redact", unit: "cpu-MB/s", peer: "encoding-json", figureAtLeast: 100},
	{benchmark: "snapshot Size/synthetic", unit: "B/exchange", peer: "zstd-lines", atMost: 0.9},
	{benchmark: "snapshot Size/synthetic", unit: "B/exchange", peer: "zstd+-lines", atMost: 0.9},
	{benchmark: "snapshot Size/synthetic", unit: "B/exchange", peer: "gzip-har", atMost: 0.35},
	{benchmark: "snapshot Size/shop", unit: "B/exchange", peer: "zstd-lines", atMost: 0.9},
	{benchmark: "snapshot Size/shop", unit: "B/exchange", peer: "zstd+-lines", atMost: 0.9},
	{benchmark: "snapshot Size/shop", unit: "B/exchange", peer: "gzip-har", atMost: 0.35},
}

var (
	resultLine = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.+)$`)
	skipLine   = regexp.MustCompile(`^\s*--- SKIP: Benchmark(\S+)`)
	reasonLine = regexp.MustCompile(`^\s+\S+_test\.go:\d+: (.*)$`)
)

// parse adds the figures of one run of a test binary to samples, by
// "name unit", and returns the benchmarks that were skipped, with the reason.
func parse(text string, samples map[string][]float64) (skipped []string) {
	waiting := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := skipLine.FindStringSubmatch(line); m != nil {
			waiting = m[1]
			continue
		}
		if m := reasonLine.FindStringSubmatch(line); m != nil && waiting != "" {
			skipped = append(skipped, waiting+": "+m[1])
			waiting = ""
			continue
		}
		m := resultLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		fields := strings.Fields(m[2])
		for i := 0; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				key := m[1] + " " + fields[i+1]
				samples[key] = append(samples[key], v)
			}
		}
	}
	return skipped
}

// pair makes a row of every figure of ours that a peer has too.
func pair(room string, samples map[string][]float64) []Row {
	var rows []Row
	for key, ours := range samples {
		name, unit, _ := strings.Cut(key, " ")
		elements := strings.Split(name, "/")
		at := slices.Index(elements, us)
		if at < 0 || standard[unit] && (unit != "ns/op" || ownMetric(name, samples)) {
			continue
		}
		for other, theirs := range samples {
			peer, ok := sibling(elements, at, other, unit)
			if !ok {
				continue
			}
			row := Row{
				Name: room + " " + strings.Join(slices.Delete(slices.Clone(elements), at, at+1), "/"),
				Unit: unit, Peer: peer, Value: median(ours), PeerValue: median(theirs),
			}
			row.Ratio = row.Value / row.PeerValue
			if math.IsNaN(row.Ratio) || math.IsInf(row.Ratio, 0) {
				continue // neither allocates, or the peer does not
			}
			row.judge()
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Peer, b.Peer))
	})
	return rows
}

// standard are the units that the testing package reports by itself.
var standard = map[string]bool{"ns/op": true, "B/op": true, "allocs/op": true, "MB/s": true}

// ownMetric reports whether a benchmark reports a figure of its own, beside
// which the time of an operation means nothing.
func ownMetric(name string, samples map[string][]float64) bool {
	for key := range samples {
		if n, unit, _ := strings.Cut(key, " "); n == name && !standard[unit] {
			return true
		}
	}
	return false
}

// sibling reports whether other is the same figure of a peer, and whose.
func sibling(elements []string, at int, other, unit string) (string, bool) {
	name, otherUnit, _ := strings.Cut(other, " ")
	theirs := strings.Split(name, "/")
	if otherUnit != unit || len(theirs) != len(elements) || theirs[at] == us {
		return "", false
	}
	for i := range elements {
		if i != at && elements[i] != theirs[i] {
			return "", false
		}
	}
	return theirs[at], true
}

// judge compares the ratio with the goal for it, if there is one.
func (r *Row) judge() {
	r.Holds = true
	for _, g := range goals {
		if g.benchmark != r.Name || g.unit != r.Unit || g.peer != r.Peer {
			continue
		}
		switch {
		case g.above > 0:
			r.Goal, r.Holds = fmt.Sprintf("at most %.3g above", g.above), r.Value-r.PeerValue <= g.above
		case g.figureAtMost > 0:
			r.Goal, r.Holds = fmt.Sprintf("figure at most %.3g", g.figureAtMost), r.Value <= g.figureAtMost
		case g.figureAtLeast > 0:
			r.Goal, r.Holds = fmt.Sprintf("figure at least %.3g", g.figureAtLeast), r.Value >= g.figureAtLeast
		case g.atMost > 0:
			r.Goal, r.Holds = fmt.Sprintf("at most %.3g", g.atMost), r.Ratio <= g.atMost
		default:
			r.Goal, r.Holds = fmt.Sprintf("at least %.3g", g.atLeast), r.Ratio >= g.atLeast
		}
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
