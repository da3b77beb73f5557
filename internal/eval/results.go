package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// slowdown is the level at which the rules are compared.
const slowdown = "+5 %"

// results are the figures that stored sessions give.
type results struct {
	Alarms []group `json:"alarms"` // of the same program, by group of sessions
	Power  []tally `json:"power"`  // of all sessions, by level
	Places []group `json:"places"` // power at slowdown, by group of sessions
	Curves []curve `json:"curves"`
	// Seen checks what reports call the smallest visible change: of slow
	// endpoints slower than that, so many were named.
	Seen share `json:"seen"`
	// Apart are the largest differences that identical programs showed, as
	// quantiles over endpoints: 50, 90, 99, 100 %.
	Apart [2][]float64 `json:"apart"` // of the median: share, ms
	// Sessions are all of them, Tuned how many were looked at when the rule was
	// tuned.
	Sessions int `json:"sessions"`
	Tuned    int `json:"tuned"`
}

// tuned is when the last session began that was looked at for tuning the rule.
var tuned = time.Date(2026, 11, 23, 13, 1, 42, 0, time.UTC)

func (d digest) tunedOn() bool { return !d.Started.After(tuned) }

// group is a named set of sessions.
type group struct {
	Name string `json:"name"`
	tally
}

func newResults(all []digest) results {
	r := results{Sessions: len(all), Tuned: len(pick(all, digest.tunedOn))}
	j := judgeAll(all, options)
	for _, g := range groups(j) {
		of := func(level string) []judged {
			return pick(g.sessions, func(j judged) bool { return j.Truth.level() == level })
		}
		r.Alarms = append(r.Alarms, group{g.name, tallyOf(levelSame, of(levelSame))})
		r.Places = append(r.Places, group{g.name, tallyOf(slowdown, of(slowdown))})
	}
	for _, l := range levels {
		r.Power = append(r.Power, tallyOf(l.name, pick(j, func(j judged) bool { return j.Truth.level() == l.name })))
	}
	for _, s := range j {
		if s.Truth.Slow == "" || s.Truth.Factor == 0 {
			continue
		}
		if visible := s.detectable[s.Truth.Slow]; visible > 0 && s.Truth.Factor-1 >= visible {
			r.Seen.add(s.found())
		}
	}
	r.Curves = append(r.Curves, ownCurve(all, slowdown))
	for i := range rivals {
		r.Curves = append(r.Curves, rivalCurve(all, slowdown, i))
	}
	r.Apart = apart(all)
	return r
}

type sessionGroup struct {
	name     string
	sessions []judged
}

// groups are all sessions, those before and after the tuning, and each
// condition.
func groups(all []judged) []sessionGroup {
	out := []sessionGroup{
		{"all sessions", all},
		{"tuned on", pick(all, func(j judged) bool { return j.tunedOn() })},
		{"new: measured after the tuning", pick(all, func(j judged) bool { return !j.tunedOn() })},
	}
	by := make(map[string][]judged)
	for _, j := range all {
		by[j.condition()] = append(by[j.condition()], j)
	}
	var names []string
	for name := range by {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out = append(out, sessionGroup{name, by[name]})
	}
	return out
}

// condition names what the machine did beside a session.
func (d digest) condition() string {
	place := cmp.Or(d.Place, "elsewhere")
	if d.Bursts {
		return place + ", bursts beside it"
	}
	return place
}

// falseAlarms is the table of sessions of the same program.
func (r results) falseAlarms() string {
	var b strings.Builder
	b.WriteString("| sessions of the same program | with any latency finding (95 % interval) | median rounds | median traffic |\n|---|---|---|---|\n")
	for _, g := range r.Alarms {
		if g.Alarms.N > 0 {
			fmt.Fprintf(&b, "| %s | %s | %.0f | %.1f s |\n", g.Name, g.Alarms, g.Rounds, g.Seconds)
		}
	}
	return b.String()
}

// power is the table of slowdowns.
func (r results) power() string {
	var b strings.Builder
	b.WriteString("| slower | named (95 % interval) | sessions that name another | median rounds | median traffic |\n|---|---|---|---|---|\n")
	for _, t := range r.Power {
		if t.Level != levelSame && t.Found.N > 0 {
			fmt.Fprintf(&b, "| %s | %s | %s | %.0f | %.1f s |\n", t.Level, t.Found, t.Alarms, t.Rounds, t.Seconds)
		}
	}
	return b.String()
}

// places is the power at one slowdown by condition.
func (r results) places() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| sessions of %s | named (95 %% interval) |\n|---|---|\n", slowdown)
	for _, g := range r.Places {
		if g.Found.N > 0 {
			fmt.Fprintf(&b, "| %s | %s |\n", g.Name, g.Found)
		}
	}
	return b.String()
}

// rules is the table of all rules on the same sessions.
func (r results) rules() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| rule | sessions of the same program with an endpoint called slower | %s named |\n|---|---|---|\n", slowdown)
	for _, c := range r.Curves {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Name, c.Usual.Alarm, c.Usual.Found)
	}
	return b.String()
}

// differences is the table of how far identical programs are apart.
func (r results) differences() string {
	var b strings.Builder
	b.WriteString("| of the endpoints of the same program | apart in the median by at most | |\n|---|---|---|\n")
	for i, name := range []string{"half", "90 %", "99 %", "all"} {
		fmt.Fprintf(&b, "| %s | %.1f %% | %.4f ms |\n", name, 100*r.Apart[0][i], r.Apart[1][i])
	}
	return b.String()
}

func (r results) summary() string {
	return fmt.Sprintf("%d sessions, of which the rule was tuned on %d. Of slow endpoints slower than what the session called the smallest visible change, %s were named.\n", r.Sessions, r.Tuned, r.Seen)
}

// fill puts each block of the figures between its marks in a page, and fails
// when a mark is missing.
func (r results) fill(page string) (string, error) {
	return fillBlocks(page, []block{
		{"summary", r.summary()}, {"false-alarms", r.falseAlarms()}, {"power", r.power()}, {"conditions", r.places()}, {"rules", r.rules()}, {"apart", r.differences()},
	})
}

// block is a text and the name of its place in a page.
type block struct{ name, text string }

func fillBlocks(page string, blocks []block) (string, error) {
	for _, block := range blocks {
		begin, end := "<!-- "+block.name+" -->\n", "<!-- /"+block.name+" -->"
		head, rest, ok := strings.Cut(page, begin)
		_, tail, closed := strings.Cut(rest, end)
		if !ok || !closed {
			return "", fmt.Errorf("the page has no place %q", block.name)
		}
		page = head + begin + block.text + end + tail
	}
	return page, nil
}
