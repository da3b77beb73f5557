package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/stats"
)

// share is how many of some sessions show something.
type share struct {
	K int `json:"k"`
	N int `json:"n"`
}

func (s *share) add(yes bool) {
	s.N++
	if yes {
		s.K++
	}
}

func (s share) value() float64 { return float64(s.K) / float64(max(1, s.N)) }

// interval is that of Clopper and Pearson, 95 %.
func (s share) interval() (low, high float64) { return stats.ClopperPearson(s.K, s.N, 0.95) }

// String is the share with its interval, as a table shows it.
func (s share) String() string {
	if s.N == 0 {
		return "–"
	}
	low, high := s.interval()
	return fmt.Sprintf("%d of %d (%.1f to %.1f %%)", s.K, s.N, 100*low, 100*high)
}

// judged is a session with what a run would have said of it.
type judged struct {
	digest
	outcome
}

// alarm reports whether an endpoint is named that did not change so, or all
// endpoints together where none did.
func (j judged) alarm() bool {
	if j.Truth.Everywhere {
		return len(j.faster) > 0
	}
	wrong := func(e string) bool { return e != j.Truth.Slow }
	same := j.Truth == truth{}
	return len(j.faster) > 0 || slices.ContainsFunc(j.slower, wrong) || same && j.overall == analysis.Slower
}

// found reports whether what is slower was named.
func (j judged) found() bool {
	if j.Truth.Everywhere {
		return len(j.slower) > 0 || j.overall == analysis.Slower
	}
	return slices.Contains(j.slower, j.Truth.Slow)
}

func judgeAll(all []digest, opts analysis.Options) []judged {
	out := make([]judged, len(all))
	for i, d := range all {
		out[i] = judged{d, d.judge(opts)}
	}
	return out
}

// tally counts the sessions of one level.
type tally struct {
	Level string `json:"level"`
	// Alarms counts sessions that name what did not change, Found those that
	// name what did.
	Alarms share `json:"alarms"`
	Found  share `json:"found"`
	// Rounds and Seconds are medians of what a run would have measured, fresh
	// rounds left out.
	Rounds  float64 `json:"rounds"`
	Seconds float64 `json:"seconds"`
	// Cut counts sessions that ended before the rule would have.
	Cut int `json:"cut"`
}

func tallyOf(name string, all []judged) tally {
	t := tally{Level: name}
	var rounds, seconds []float64
	for _, j := range all {
		t.Alarms.add(j.alarm())
		t.Found.add(j.found())
		rounds = append(rounds, float64(j.rounds))
		seconds = append(seconds, j.Took*float64(j.rounds)/float64(max(1, j.digest.Rounds)))
		if j.cut {
			t.Cut++
		}
	}
	if len(all) > 0 {
		t.Rounds, t.Seconds = stats.Median(rounds), stats.Median(seconds)
	}
	return t
}

// pick returns the sessions for which a condition holds.
func pick[T any](all []T, ok func(T) bool) []T {
	var out []T
	for _, v := range all {
		if ok(v) {
			out = append(out, v)
		}
	}
	return out
}

// curve is how a rule fares as its bound moves: Alarm is the share of sessions
// of the same program in which it calls any endpoint slower, Found the share of
// sessions of a slowdown in which it names the slow endpoint. Usual is how it
// fares as it is used.
type curve struct {
	Name  string  `json:"name"`
	Usual point   `json:"usual"`
	Trace []point `json:"trace"`
}

type point struct {
	Alarm share `json:"alarm"`
	Found share `json:"found"`
}

// ownCurve moves the level of the method. Where it stops measuring, its floors
// and the confirmation stay as they are. To be compared with rules that look for what is slower
// only, what it calls faster does not count.
func ownCurve(all []digest, slowdown string) curve {
	c := curve{Name: "reprise"}
	rounds := make([]int, len(all))
	for i, d := range all {
		rounds[i], _ = d.stop(options)
	}
	at := func(level float64) point {
		opts := options
		opts.Latency.Level = level
		var p point
		for i, d := range all {
			switch d.Truth.level() {
			case levelSame:
				p.Alarm.add(len(d.judgeAfter(rounds[i], opts).slower) > 0)
			case slowdown:
				p.Found.add(slices.Contains(d.judgeAfter(rounds[i], opts).slower, d.Truth.Slow))
			}
		}
		return p
	}
	c.Usual = at(defaultLevel)
	for _, level := range []float64{0.0002, 0.001, 0.003, defaultLevel, 0.03, 0.1, 0.2, 0.35, 0.5} {
		c.Trace = append(c.Trace, at(level))
	}
	return c
}

// defaultLevel is that of analysis.LatencyOptions.
const defaultLevel = 0.01

// rivalCurve moves the bound of a rival over all scores that occur.
func rivalCurve(all []digest, slowdown string, number int) curve {
	var same, slow []float64 // the score that decides each session
	for _, d := range all {
		row := d.Scores[number]
		if len(row) == 0 {
			continue
		}
		switch d.Truth.level() {
		case levelSame:
			same = append(same, float64(slices.Max(row))/100)
		case slowdown:
			if i := slices.IndexFunc(d.Head, func(s strip) bool { return s.Endpoint == d.Truth.Slow }); i >= 0 {
				slow = append(slow, float64(row[i])/100)
			}
		}
	}
	at := func(bound float64) point {
		var p point
		for _, s := range same {
			p.Alarm.add(s > bound)
		}
		for _, s := range slow {
			p.Found.add(s > bound)
		}
		return p
	}
	c := curve{Name: rivals[number].name, Usual: at(rivals[number].usual)}
	bounds := slices.Concat(same, slow)
	slices.Sort(bounds)
	for _, b := range slices.Backward(slices.Compact(bounds)) {
		c.Trace = append(c.Trace, at(b))
	}
	c.Trace = append(c.Trace, at(math.Inf(-1)))
	return c
}
