package mock

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Fuzzy lets a call that only reads, and that nothing recorded equals, get the
// answer of the recorded call most like it. Such an answer is a guess. The zero
// value guesses nothing.
type Fuzzy struct {
	On bool
	// Score is how alike the two must be, 0 to 1; 0.9 if zero.
	Score float64
	// Margin is how much less alike every recorded call with another answer
	// must be; 0.1 if zero.
	Margin float64
}

// Validate reports the first value that cannot be used.
func (f Fuzzy) Validate() error {
	if !(f.Score >= 0 && f.Score <= 1) {
		return fmt.Errorf("mock.fuzzy-score: %v must be between 0 and 1", f.Score)
	}
	if !(f.Margin >= 0 && f.Margin <= 1) {
		return fmt.Errorf("mock.fuzzy-margin: %v must be between 0 and 1", f.Margin)
	}
	return nil
}

const (
	defaultFuzzyScore  = 0.9
	defaultFuzzyMargin = 0.1
	// maxFuzzy bounds the recorded calls that are compared with one call. Of
	// more, none is picked: the best one would not be known.
	maxFuzzy = 4096
)

// guess is the recorded call most like a live one, and what speaks against it.
type guess struct {
	entry       int32
	score, next float64 // of the best, and of the best with another answer
	considered  int
}

// fuzzy answers a call by the most similar recorded one of its method,
// dependency and route. It uses nothing up and depends on no state: the call is
// none of the recorded ones, whatever else has happened.
func (m *Mock) fuzzy(ls *laneState, c *call) (outcome, bool) {
	if !m.opts.Fuzzy.On || c.opens || !c.reads() {
		return outcome{}, false
	}
	g := m.guess(ls, c)
	if !m.sure(g) {
		return outcome{}, false
	}
	ls.count(&ls.extra)
	return outcome{tier: traffic.TierFuzzy, entry: g.entry, reason: fmt.Sprintf("the most similar recorded call: score %.2f, the next with another answer %.2f", g.score, g.next)}, true
}

func (m *Mock) sure(g guess) bool {
	f := m.opts.Fuzzy
	return g.entry != none && g.score >= f.Score && g.score-g.next >= f.Margin
}

// guess compares a call with all recorded ones of its route. Of equals, the one
// of the lane comes first.
func (m *Mock) guess(ls *laneState, c *call) guess {
	m.near.once.Do(m.buildNear)
	g := guess{entry: none}
	candidates := m.near.byRoute[c.dep+" "+m.opts.Routes.Endpoint(c.req)]
	if g.considered = len(candidates); g.considered == 0 || g.considered > maxFuzzy {
		return g
	}
	live := leavesOf(c.form)
	ls.mu.Lock()
	for i := range live {
		live[i].value = ls.toRecorded(live[i].value)
	}
	ls.mu.Unlock()
	type scored struct {
		entry int32
		score float64
	}
	var all []scored
	var f form
	for _, i := range candidates {
		f = m.index.form(f, m.index.request(i))
		if near := compareLeaves(leavesOf(f), live); samePath(near) {
			all = append(all, scored{i, near.Score})
		}
	}
	if g.considered = len(all); all == nil {
		return g
	}
	rank := func(i int32) int {
		if m.index.laneName(i) == ls.name {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(rank(a.entry), rank(b.entry)))
	})
	g.entry, g.score = all[0].entry, all[0].score
	for _, s := range all[1:] {
		if m.index.entries[s.entry].answer != m.index.entries[g.entry].answer {
			g.next = s.score
			break
		}
	}
	return g
}

// samePath reports whether two requests ask for the same thing: a path names it,
// and no likeness elsewhere makes up for another name.
func samePath(n traffic.Near) bool {
	return !slices.ContainsFunc(n.Differences, func(d traffic.Disagreement) bool {
		return d.Path.Within(requestPath) && (textClass(d.Live) == "" || textClass(d.Live) != textClass(d.Recorded))
	})
}

var requestPath = traffic.At("request", "path")

// guessed says what a guess came to, for an explanation.
func (m *Mock) guessed(c *call, lane traffic.Lane) Look {
	look := Look{Tier: traffic.TierFuzzy, Where: "the same path"}
	switch {
	case !m.opts.Fuzzy.On:
		look.Found = "off (mock.fuzzy)"
	case !c.reads():
		look.Found = "never for calls that may change something"
	default:
		g := m.guess(&laneState{laneRange: &laneRange{name: lane}}, c)
		switch look.Found = plural(g.considered, "recorded call"); {
		case g.considered > maxFuzzy:
			look.Found += ", too many to pick from"
		case g.entry != none:
			look.Found += fmt.Sprintf(": best %.2f, next with another answer %.2f; needs %.2f and a margin of %.2f", g.score, g.next, m.opts.Fuzzy.Score, m.opts.Fuzzy.Margin)
		}
	}
	return look
}
