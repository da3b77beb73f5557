package compare

import (
	"fmt"
	"math"
	"sync"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// DefaultLimit is how many differences of two exchanges are reported when
// [Options.Limit] is zero. What differs in more places differs altogether.
const DefaultLimit = 1000

// Options are the user's say about what counts as a difference. The zero value
// compares everything exactly.
type Options struct {
	// Ignore drops differences at the addressed places and below them.
	Ignore []traffic.Pattern
	// Unordered compares the addressed lists without regard to order.
	Unordered []traffic.Pattern
	// Tolerances allow numbers to differ.
	Tolerances []Tolerance
	// Reading says how exchanges are read.
	Reading Reading
	// Limit is how many differences are reported; zero means [DefaultLimit].
	Limit int
	// Tally counts how often each rule was applied. It may be nil.
	Tally *Tally
}

// Tolerance allows the numbers at a place to differ by Absolute, or by Relative
// times the larger magnitude, whichever is more.
type Tolerance struct {
	Pattern  traffic.Pattern
	Absolute float64
	Relative float64
}

// Validate reports the first rule that cannot be meant.
func (o Options) Validate() error {
	for i, p := range o.Ignore {
		if s := p.String(); s == "" || s == "**" {
			return fmt.Errorf("compare: ignore[%d] %q hides everything; name a place", i, s)
		}
	}
	for i, p := range o.Unordered {
		if p.String() == "" {
			return fmt.Errorf("compare: unordered[%d] is empty; name a list", i)
		}
	}
	for i, t := range o.Tolerances {
		switch {
		case t.Pattern.String() == "":
			return fmt.Errorf("compare: tolerance[%d] has no address", i)
		case !(t.Absolute >= 0) || !(t.Relative >= 0) || math.IsInf(t.Absolute, 0) || math.IsInf(t.Relative, 0):
			return fmt.Errorf("compare: tolerance of %s must be a finite number that is not negative", t.Pattern)
		case t.Absolute == 0 && t.Relative == 0:
			return fmt.Errorf("compare: tolerance of %s is zero; give absolute or relative", t.Pattern)
		}
	}
	if o.Limit < 0 {
		return fmt.Errorf("compare: limit %d is negative", o.Limit)
	}
	return nil
}

// ignores reports whether a rule drops differences at p, and counts it.
func (o *Options) ignores(p traffic.Path) bool {
	for _, rule := range o.Ignore {
		if rule.Covers(p) {
			o.Tally.add("ignore", rule)
			return true
		}
	}
	return false
}

func (o *Options) unordered(p traffic.Path) bool {
	for _, rule := range o.Unordered {
		if rule.Matches(p) {
			o.Tally.add("unordered", rule)
			return true
		}
	}
	return false
}

// tolerates reports whether a rule allows the numbers a and b at p.
func (o *Options) tolerates(p traffic.Path, a, b float64) bool {
	for _, t := range o.Tolerances {
		if t.Pattern.Matches(p) {
			allowed := max(t.Absolute, t.Relative*max(math.Abs(a), math.Abs(b)))
			if math.Abs(a-b) <= allowed {
				o.Tally.add("tolerance", t.Pattern)
				return true
			}
		}
	}
	return false
}

// Tally counts how often each rule was applied, so that a rule that matches
// nothing, or too much, can be told. The zero value is ready; it is safe for
// concurrent use. A nil Tally counts nothing.
type Tally struct {
	mu     sync.Mutex
	counts map[[2]string]int
}

func (t *Tally) add(rule string, p traffic.Pattern) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[[2]string]int)
	}
	t.counts[[2]string{rule, p.String()}]++
}

// Count returns how often a rule was applied: rule is "ignore", "unordered" or
// "tolerance".
func (t *Tally) Count(rule string, p traffic.Pattern) int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[[2]string{rule, p.String()}]
}
