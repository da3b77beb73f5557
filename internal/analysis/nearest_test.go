package analysis_test

import (
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// The nearest recorded call differs in the fresh id of an order too; what the
// finding is about is the amount.
func TestNearestIsAboutTheFinding(t *testing.T) {
	in := input(miniature.Record(), miniature.Faults{Amount: 100})
	body := traffic.At("request", "body")
	missed := 0
	for _, x := range in.Head.Outbound {
		if x.Match != nil && x.Match.Tier == traffic.TierMiss {
			missed++
			x.Match.Nearest = []traffic.Near{{Record: "out-7", Differences: []traffic.Disagreement{
				{Path: body.Child("order_id"), Recorded: "a", Live: "b"}, {Path: body.Child("amount"), Recorded: "2000", Live: "2100"},
			}}}
		}
	}
	got := analysis.Run(in, analysis.Options{})
	if missed == 0 || len(got.Findings) != 1 || got.Findings[0].Address != "request.body.amount" {
		t.Fatalf("%d missed, findings %q", missed, summary(got.Findings))
	}
	if d := got.Findings[0].Detail; !strings.HasSuffix(d, "the nearest is out-7 with request.body.amount 2000 instead of 2100") {
		t.Errorf("the detail is %q", d)
	}
}
