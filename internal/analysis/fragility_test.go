package analysis_test

import (
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// outcome is how one request ended in one pass; 0 is no answer.
type outcome int

func answers(of ...outcome) []*traffic.Exchange {
	var live []*traffic.Exchange
	for i, status := range of {
		x := &traffic.Exchange{ID: "live", Recorded: laneID(i), Direction: traffic.Inbound, Lane: traffic.Lane(laneID(i)), Request: traffic.Request{Method: "GET", Target: "/v1/orders"}}
		if status != 0 {
			x.Response = &traffic.Response{Status: int(status)}
		} else {
			x.Failure = traffic.FailureTimeout
		}
		live = append(live, x)
	}
	return live
}

func laneID(i int) string { return string(rune('a' + i)) }

func faultedCall(lane int, fault string) *traffic.Exchange {
	return &traffic.Exchange{
		Lane: traffic.Lane(laneID(lane)), Direction: traffic.Outbound, Request: traffic.Request{Method: "GET", Authority: "stock", Target: "/v1/stock"},
		Match: &traffic.Match{Tier: traffic.TierRule, Reason: "fault: " + fault},
	}
}

// Only what head fails at, in every pass with faults, and base survives, is a
// finding, and only where both answer well without faults.
func TestOnlyNewFragilityIsFound(t *testing.T) {
	tests := []struct {
		reason             string
		base, head         outcome // without faults
		withBase, withHead []outcome
		found              bool
	}{
		{"base survives, head does not", 200, 200, []outcome{200}, []outcome{502}, true},
		{"head gives no answer at all", 200, 200, []outcome{200}, []outcome{0}, true},
		{"base answers otherwise, but answers", 201, 201, []outcome{409}, []outcome{500}, true},
		{"both fail: not new", 200, 200, []outcome{502}, []outcome{502}, false},
		{"head survives what base does not", 200, 200, []outcome{502}, []outcome{200}, false},
		{"head fails without any fault: judged as a response", 200, 500, []outcome{200}, []outcome{500}, false},
		{"base fails without any fault", 500, 200, []outcome{200}, []outcome{500}, false},
		{"once more, head survives", 200, 200, []outcome{200, 200}, []outcome{502, 200}, false},
		{"once more, base fails", 200, 200, []outcome{200, 502}, []outcome{502, 502}, false},
		{"once more, the same", 200, 200, []outcome{200, 200}, []outcome{502, 502}, true},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			recorded := answers(200)
			recorded[0].ID, recorded[0].Recorded = laneID(0), ""
			in := analysis.Input{
				Recorded: recorded,
				Base:     analysis.Observation{Inbound: answers(tt.base), Complete: true},
				Control:  analysis.Observation{Inbound: answers(tt.base), Complete: true},
				Head:     analysis.Observation{Inbound: answers(tt.head), Complete: true},
			}
			for i := range tt.withBase {
				in.Chaos = append(in.Chaos, analysis.Chaos{
					Base: analysis.Observation{Inbound: answers(tt.withBase[i]), Outbound: []*traffic.Exchange{faultedCall(0, "status 503"), faultedCall(0, "status 503")}},
					Head: analysis.Observation{Inbound: answers(tt.withHead[i]), Outbound: []*traffic.Exchange{faultedCall(0, "status 503")}},
				})
			}
			if got := analysis.Fragile(in, analysis.Options{}); got != tt.found {
				t.Errorf("fragile: %v, want %v", got, tt.found)
			}
			result := analysis.Run(in, analysis.Options{FailOn: []string{"fragility"}})
			var found []analysis.Finding
			for _, f := range result.Findings {
				if f.Kind == analysis.KindFragility {
					found = append(found, f)
				}
			}
			if (len(found) == 1) != tt.found || result.Chaos == nil || (result.Chaos.New == 1) != tt.found {
				t.Fatalf("findings %+v, summary %+v", found, result.Chaos)
			}
			if tt.found && (result.Verdict != analysis.Fail || found[0].Call != "GET stock/v1/stock" || found[0].Detail != "with status 503, base makes 2 such calls and survives, head makes 1 such call") {
				t.Errorf("%s: %+v", result.Verdict, found[0])
			}
		})
	}
}
