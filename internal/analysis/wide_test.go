package analysis_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
)

// A rule that hides more than it can be meant to is warned about, with the number.
func TestRulesThatMatchTooMuch(t *testing.T) {
	in := input(miniature.Record(), miniature.Faults{Body: func(_ string, b map[string]any) {
		for i := range 80 {
			b["field_"+strings.Repeat("x", i)] = i
		}
	}})
	wide := func(r analysis.Result) string {
		i := slices.IndexFunc(r.Warnings, func(w string) bool { return strings.Contains(w, "it may be too wide") })
		if i < 0 {
			return ""
		}
		return r.Warnings[i]
	}
	for _, tt := range []struct{ reason, address, want string }{
		{"a whole body of which eighty places differ", "response.body", "The ignore rule for response.body hides "},
		{"one place", "response.body.field_x", ""},
	} {
		got := wide(analysis.Run(in, analysis.Options{Ignore: []analysis.Ignore{{Address: pattern(t, tt.address)}}}))
		if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}
