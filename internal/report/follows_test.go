package report_test

import (
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/report"
)

// A change of speed that follows from a finding is told there, and not once more.
func TestSpeedThatFollowsIsNotToldTwice(t *testing.T) {
	const beyond = "#### Latency beyond noise"
	slow := func() *report.Document {
		d := clean()
		d.Endpoints[4].P50 = quantile(16.9, 21.1, 1.248, 1.231, 1.266, 0.0005, 0.018, analysis.Slower)
		return d
	}
	root := func(c ...analysis.Consequence) analysis.Finding {
		return analysis.Finding{ID: "F1", Kind: analysis.KindOutbound, Cause: analysis.CauseHead, Endpoint: "GET /v1/quote", Call: "GET inventory/v1/stock/{id}",
			Change: analysis.ChangeRepeatedCall, Count: 8, Of: 8, Gates: true, Consequences: c}
	}
	for _, tt := range []struct {
		reason   string
		findings []analysis.Finding
		want     bool
	}{
		{"on its own", nil, true},
		{"beside a finding of something else", []analysis.Finding{root()}, true},
		{"as a consequence", []analysis.Finding{root(analysis.Consequence{Endpoint: "GET /v1/quote", Address: "latency.p50", Change: analysis.ChangeSlower, Count: 1})}, false},
		{"another endpoint's consequence", []analysis.Finding{root(analysis.Consequence{Endpoint: "GET /v1/me", Address: "latency.p50", Change: analysis.ChangeSlower, Count: 1})}, true},
	} {
		d := slow()
		d.Findings = tt.findings
		var b strings.Builder
		if err := d.WriteMarkdown(&b, report.MarkdownOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), beyond); got != tt.want {
			t.Errorf("%s: told is %t, want %t", tt.reason, got, tt.want)
		}
	}
}
