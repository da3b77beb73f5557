package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/mutation"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// expectation is what one "# expect:" line of a patch demands of the report: a
// finding with cause head that has these fields. Address and Call may be empty,
// which demands nothing of them.
type expectation struct {
	Kind     analysis.Kind
	Change   analysis.Change
	Endpoint string
	Address  string
	Call     string
}

func (e expectation) String() string {
	return fmt.Sprintf("%s %s at %s %s %s", e.Kind, e.Change, e.Endpoint, e.Call, e.Address)
}

// matches reports whether a finding is the expected one.
func (e expectation) matches(f analysis.Finding) bool {
	return f.Kind == e.Kind && f.Change == e.Change && f.Endpoint == e.Endpoint &&
		(e.Address == "" || f.Address == e.Address) && (e.Call == "" || f.Call == e.Call)
}

var (
	kinds = []analysis.Kind{
		analysis.KindResponse, analysis.KindOutbound, analysis.KindLatency, analysis.KindCrash, analysis.KindResource, analysis.KindFragility,
	}
	changes = []analysis.Change{
		analysis.ChangeStatus, analysis.ChangeMissing, analysis.ChangeExtra, analysis.ChangeType, analysis.ChangeLength,
		analysis.ChangeValue, analysis.ChangeOrder, analysis.ChangeClass, analysis.ChangeNewCall, analysis.ChangeMissingCall,
		analysis.ChangeRepeatedCall, analysis.ChangeChangedCall, analysis.ChangeReordered, analysis.ChangeSlower,
		analysis.ChangeFaster, analysis.ChangeNoResponse, analysis.ChangeCrash, analysis.ChangeFragile,
	}
)

// parseExpectations reads the expect lines above the diff of a patch. The only
// line "# expect: none" demands that nothing is found.
func parseExpectations(patch string) ([]expectation, error) {
	head, _, ok := strings.Cut(patch, "\ndiff --git ")
	if !ok {
		return nil, fmt.Errorf("there is no diff")
	}
	var list []expectation
	lines, none := 0, false
	for line := range strings.Lines(head) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), "# expect: ")
		if !ok {
			continue
		}
		lines++
		if text == "none" {
			none = true
			continue
		}
		e, err := parseExpectation(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		list = append(list, e)
	}
	if lines == 0 || none && lines > 1 {
		return nil, fmt.Errorf("there must be expect lines, or one that says none")
	}
	return list, nil
}

// parseExpectation reads one expectation, which must leave no choice.
func parseExpectation(text string) (expectation, error) {
	read, err := mutation.ParseExpectation(text)
	if err != nil {
		return expectation{}, err
	}
	e := expectation{
		Kind: read.Kind, Change: analysis.Change(strings.Join(read.Changes, "|")), Endpoint: read.Endpoint,
		Address: strings.Join(read.Addresses, "|"), Call: read.Call,
	}
	switch {
	case !slices.Contains(kinds, e.Kind):
		return e, fmt.Errorf("kind %q is not one of %q", e.Kind, kinds)
	case !slices.Contains(changes, e.Change):
		return e, fmt.Errorf("change %q is not one of %q", e.Change, changes)
	case !strings.Contains(e.Endpoint, " /"):
		return e, fmt.Errorf("endpoint %q is not a method and a path", e.Endpoint)
	case e.Kind == analysis.KindOutbound && e.Call == "":
		return e, fmt.Errorf("an outbound finding has a call")
	}
	if e.Address != "" {
		if _, err := traffic.ParsePattern(e.Address); err != nil {
			return e, err
		}
	}
	return e, nil
}

func TestParseExpectations(t *testing.T) {
	const diff = "\n\ndiff --git a/x b/x\n"
	for _, row := range []struct {
		reason, head string
		want         []expectation
		wrong        bool
	}{
		{reason: "nothing expected", head: "# words\n# expect: none"},
		{
			reason: "values with and without quotes, in any order",
			head:   "# expect: endpoint=\"GET /v1/orders\" kind=response change=status address=response.status",
			want:   []expectation{{Kind: "response", Change: "status", Endpoint: "GET /v1/orders", Address: "response.status"}},
		},
		{reason: "no line at all would pass anything", head: "# words", wrong: true},
		{reason: "none contradicts a second line", head: "# expect: none\n# expect: kind=latency change=slower endpoint=\"GET /\"", wrong: true},
		{reason: "a misspelt kind would never match", head: "# expect: kind=answer change=status endpoint=\"GET /\"", wrong: true},
		{reason: "a misspelt key would be ignored", head: "# expect: kind=latency change=slower endpoint=\"GET /\" at=x", wrong: true},
		{reason: "an outbound finding needs its call", head: "# expect: kind=outbound change=new-call endpoint=\"GET /\"", wrong: true},
		{reason: "an address must be readable", head: "# expect: kind=response change=type endpoint=\"GET /\" address=a..b", wrong: true},
	} {
		got, err := parseExpectations(row.head + diff)
		if (err != nil) != row.wrong {
			t.Errorf("%s: error %v", row.reason, err)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.reason, got, row.want)
		}
	}
}
