package mock

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Explanation says why a call got the answer it got, or none.
type Explanation struct {
	ID        string
	Call      string // "POST http://payments/v1/charge"
	Lane      traffic.Lane
	Certainty traffic.Certainty
	Match     traffic.Match
	// Looked lists where the call was looked for, in order, and what was there.
	Looked []Look
	// Cause says what the call is a sign of, where more than the call itself is
	// known; see [Explanation.Beside].
	Cause string
	// Differences are the places where the call is not as the recorded one
	// that answered it: values of one class, or learned pairs.
	Differences []traffic.Disagreement
	// Rule is a mock rule that would answer a miss, with the answer of the
	// nearest recorded call; empty for hits.
	Rule string
}

// Look is one step of the search.
type Look struct {
	Tier  traffic.Tier
	Where string // "lane in-17", "other lanes"
	Found string // "2 recorded calls, all used before"
}

// Explain explains a call of the journal by its id.
func (m *Mock) Explain(id string) (Explanation, bool) {
	m.mu.Lock()
	passes := make([]*pass, 0, len(m.passes))
	for _, p := range m.passes {
		passes = append(passes, p)
	}
	m.mu.Unlock()
	for _, p := range passes {
		for _, r := range p.kept() {
			r.mu.Lock()
			found := r.x.ID == id
			r.mu.Unlock()
			if found {
				return m.ExplainCall(m.snapshot(r)), true
			}
		}
	}
	return Explanation{}, false
}

// ExplainCall explains a call that a mock of the same recording answered
// before: one of [Mock.Calls], perhaps of an earlier run.
func (m *Mock) ExplainCall(x *traffic.Exchange) Explanation {
	e := Explanation{ID: x.ID, Call: x.Request.Method + " " + x.Request.URL(), Lane: x.Lane, Certainty: x.Origin.Certainty}
	if x.Match != nil {
		e.Match = *x.Match
	}
	c := m.index.newCall(&x.Request)
	answered := m.find(x.Recorded, x.Lane)
	c.sig = m.signature(c, x, answered)
	e.Looked = m.looked(c, x.Lane)
	if e.Match.Tier == traffic.TierBound {
		e.Looked = append(e.Looked, Look{traffic.TierBound, "lane " + string(x.Lane), "1 recorded call, with values learned in this pass"})
	}
	if e.Match.Tier == traffic.TierFuzzy || e.Match.Tier == traffic.TierMiss {
		e.Looked = append(e.Looked, m.guessed(c, x.Lane))
	}
	if i := answered; i != none {
		e.Differences = compareLeaves(leavesOf(m.index.form(nil, m.index.request(i))), leavesOf(c.form)).Differences
	}
	if e.Match.Tier == traffic.TierMiss {
		if e.Match.Nearest == nil {
			e.Match.Nearest = m.nearest(c, x.Lane)
		}
		e.Rule = m.ruleFor(x, e.Match.Nearest)
	}
	return e
}

// signature returns the signature of a call as it was made. A call that was
// answered as recorded has that of the recorded one, whatever redaction has made
// of it since.
func (m *Mock) signature(c *call, x *traffic.Exchange, answered int32) uint64 {
	if answered != none {
		switch x.Match.Tier {
		case traffic.TierExact, traffic.TierOtherLane, traffic.TierRepeat:
			return m.index.entries[answered].sig
		}
	}
	return c.sig
}

// Beside adds what base did: whether base, too, made a call that nothing
// answers, or made the nearest recorded one, which head then changed. base holds
// the calls of base in the same pass.
func (e *Explanation) Beside(base []*traffic.Exchange) {
	if e.Match.Tier != traffic.TierMiss {
		return
	}
	reason := e.Match.Reason
	switch {
	case strings.HasPrefix(reason, "no call to "):
		e.Cause = "the dependency was never recorded"
	case strings.HasPrefix(reason, "more calls than recorded"):
		e.Cause = "the call is made more often than when it was recorded"
	case strings.Contains(reason, "recorded in another lane only"), strings.Contains(reason, "recorded in other lanes only"):
		e.Cause = "the call is made for another request than when it was recorded"
	}
	if len(e.Match.Nearest) == 0 {
		return
	}
	near := e.Match.Nearest[0]
	for _, b := range base {
		if b.Lane != e.Lane || b.Match == nil || b.ID == e.ID {
			continue
		}
		same := b.Match.Tier == traffic.TierMiss && len(b.Match.Nearest) > 0 && b.Match.Nearest[0].Record == near.Record && len(b.Match.Nearest[0].Differences) == len(near.Differences)
		switch {
		case same:
			e.Cause = fmt.Sprintf("base misses it too (%s): the snapshot is stale or the value is drawn anew each time; record again or add a rule", b.ID)
			return
		case b.Match.Record == near.Record && len(near.Differences) > 0:
			var places []string
			for _, d := range near.Differences {
				if class := textClass(d.Live); class == "" || class != textClass(d.Recorded) {
					places = append(places, d.Path.String())
				}
			}
			e.Cause = fmt.Sprintf("head changed %s: base makes this call as recorded (%s)", cmp.Or(strings.Join(places, ", "), "it"), b.ID)
			return
		}
	}
}

// looked repeats the search without using anything up.
func (m *Mock) looked(c *call, lane traffic.Lane) []Look {
	ix := m.index
	var looks []Look
	look := func(tier traffic.Tier, where string, chain *chains, key uint64) {
		n := 0
		for i := chain.first(key); i != none; i = chain.next[i] {
			n++
		}
		looks = append(looks, Look{tier, where, plural(n, "recorded call")})
	}
	class := c.form.hash(ix.seed, classed)
	lanes := []traffic.Lane{lane}
	for _, other := range []traffic.Lane{traffic.LaneBackground, traffic.LaneBoot} {
		if other != lane {
			lanes = append(lanes, other)
		}
	}
	for _, name := range lanes {
		l, ok := ix.lanes[name]
		where := "lane " + string(name)
		if !ok {
			looks = append(looks, Look{traffic.TierExact, where, "nothing was recorded in it"})
			continue
		}
		look(traffic.TierExact, where, &ix.exact, laneKey(c.sig, l))
		if c.form.volatile() {
			look(traffic.TierClassed, where, &ix.classed, laneKey(class, l))
		}
	}
	look(traffic.TierOtherLane, "all lanes", &ix.any, c.sig)
	if _, ambiguous := ix.ambiguous[c.sig]; ambiguous {
		looks[len(looks)-1].Found += ", with different answers"
	}
	return looks
}

func plural(n int, what string) string {
	switch n {
	case 0:
		return "no " + what
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// find returns the entry with an id, which is most likely in the given lane.
func (m *Mock) find(id string, lane traffic.Lane) int32 {
	if id == "" {
		return none
	}
	if l, ok := m.index.lanes[lane]; ok {
		for i := l.from; i < l.to; i++ {
			if m.index.id(int32(i)) == id {
				return int32(i)
			}
		}
	}
	for i := range m.index.entries {
		if m.index.id(int32(i)) == id {
			return int32(i)
		}
	}
	return none
}

// ruleFor writes a rule that answers a miss as the nearest recorded call was
// answered, ready to paste.
func (m *Mock) ruleFor(x *traffic.Exchange, nearest []traffic.Near) string {
	r := Rule{Name: "answer " + x.Request.Method + " " + m.opts.Routes.Template(x.Request.Path())}
	r.Match = RuleMatch{Method: []string{x.Request.Method}, Host: x.Request.Host(), Path: x.Request.Path()}
	r.Reply = RuleAnswer{Status: 200, Body: "{}", Header: map[string]traffic.Values{"Content-Type": {"application/json"}}}
	if len(nearest) > 0 {
		if i := m.find(nearest[0].Record, x.Lane); i != none {
			if answer := m.index.response(i); answer != nil && answer.Status >= 200 && answer.Status < 600 {
				plain, err := answer.Body.Decoded()
				if err == nil && len(plain) <= maxText && !strings.Contains(string(plain), "{{") {
					r.Reply = RuleAnswer{Status: answer.Status, Body: string(plain), Header: map[string]traffic.Values{}}
					if t := answer.Header.Get("Content-Type"); t != "" {
						r.Reply.Header["Content-Type"] = traffic.Values{t}
					}
				}
			}
		}
	}
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode([]Rule{r}); err != nil {
		return "" // a rule of plain values always encodes
	}
	return b.String()
}

// Write writes the explanation for people.
func (e Explanation) Write(w io.Writer) error {
	var b strings.Builder
	what := "HIT " + string(e.Match.Tier)
	if e.Match.Tier == traffic.TierMiss {
		what = "MISS"
	}
	fmt.Fprintf(&b, "%s  %s\n", what, e.ID)
	fmt.Fprintf(&b, "  call     %s\n", e.Call)
	fmt.Fprintf(&b, "  lane     %s (found by %s)\n", e.Lane, cmp.Or(string(e.Certainty), "nothing"))
	if e.Match.Record != "" {
		fmt.Fprintf(&b, "  answer   that of %s\n", e.Match.Record)
	}
	if e.Match.Reason != "" {
		fmt.Fprintf(&b, "  reason   %s\n", e.Match.Reason)
	}
	if e.Cause != "" {
		fmt.Fprintf(&b, "  cause    %s\n", e.Cause)
	}
	b.WriteString("  looked for\n")
	for _, l := range e.Looked {
		fmt.Fprintf(&b, "    %-10s  %-24s  %s\n", l.Tier, l.Where, l.Found)
	}
	if len(e.Differences) > 0 {
		b.WriteString("  not as recorded, and allowed to differ\n")
		writeDifferences(&b, e.Differences)
	}
	for i, n := range e.Match.Nearest {
		if i == 0 {
			b.WriteString("  nearest recorded calls\n")
		}
		fmt.Fprintf(&b, "    %s  score %.2f\n", n.Record, n.Score)
		writeDifferences(&b, n.Differences)
	}
	if e.Rule != "" {
		b.WriteString("  a rule that would answer it, for the file of mock.rules\n")
		for line := range strings.Lines(e.Rule) {
			b.WriteString("    " + line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeDifferences(b *strings.Builder, differences []traffic.Disagreement) {
	for _, d := range differences {
		note := ""
		if class := textClass(d.Live); class != "" && class == textClass(d.Recorded) {
			note = "  (both " + class + ")"
		}
		fmt.Fprintf(b, "      %s: recorded %s, live %s%s\n", d.Path, orAbsent(d.Recorded), orAbsent(d.Live), note)
	}
}

func orAbsent(s string) string {
	if s == "" {
		return "nothing"
	}
	return quoted(s)
}
