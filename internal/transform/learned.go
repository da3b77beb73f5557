package transform

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// LearnedRule is all bindings between the same two places of the same
// endpoints, in the words of a [BindRule]: who likes it can pin it under bind,
// and who does not can name one of its places under forbid.
type LearnedRule struct {
	// Answer is the endpoint whose answers give the value at From, empty for
	// dates that follow the client's clock.
	Answer string          `json:"answer,omitempty"`
	From   traffic.Pattern `json:"from,omitzero"`
	// Request is the endpoint whose requests hold it at To; that of an outbound
	// call begins with the host.
	Request string          `json:"request"`
	To      traffic.Pattern `json:"to"`
	Times   int             `json:"times"`
	// Example is the id of the first exchange that uses it.
	Example string `json:"example"`
	// Pinned says that a rule of the options binds it, not learning.
	Pinned bool `json:"pinned,omitempty"`
}

// String is one line for people.
func (r LearnedRule) String() string {
	from := "the clock of the client"
	if r.Answer != "" {
		from = r.From.String() + " of " + r.Answer
	}
	text := fmt.Sprintf("%s of %s comes from %s", r.To, r.Request, from)
	if r.Pinned {
		text += ", by rule"
	}
	return text
}

// Rules sums up what was learned from recorded, the most frequent first. It
// holds no value.
func (b *Bindings) Rules(recorded []*traffic.Exchange, router *traffic.Router) []LearnedRule {
	endpoints := make(map[string]string, len(recorded))
	for _, x := range recorded {
		endpoints[x.ID] = router.Endpoint(&x.Request)
		if x.Direction == traffic.Outbound {
			endpoints[x.ID] = x.Request.Host() + " " + endpoints[x.ID]
		}
	}
	type key struct {
		answer, from, request, to string
		pinned                    bool
	}
	at := make(map[key]int)
	var rules []LearnedRule
	for _, l := range b.learned {
		r := LearnedRule{
			Answer: endpoints[l.Source], From: l.From.Pattern(), Request: endpoints[l.Use], To: l.To.Pattern(),
			Example: l.Use, Pinned: l.Rule,
		}
		k := key{r.Answer, r.From.String(), r.Request, r.To.String(), r.Pinned}
		i, ok := at[k]
		if !ok {
			i = len(rules)
			at[k] = i
			rules = append(rules, r)
		}
		rules[i].Times++
	}
	slices.SortStableFunc(rules, func(a, b LearnedRule) int {
		return cmp.Or(b.Times-a.Times, cmp.Compare(a.Request, b.Request), cmp.Compare(a.To.String(), b.To.String()))
	})
	return rules
}
