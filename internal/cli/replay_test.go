package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
)

// TestLateSenderJudgesNothing: with a late sender a time neither fails nor
// passes, while counts still do.
func TestLateSenderJudgesNothing(t *testing.T) {
	tests := []struct {
		why, limit string
		reliable   bool
		want       string
		fails      bool
	}{
		{"a time that is too long", "p90>1ms", true, "FAILED: ", true},
		{"the same, from a late sender", "p90>1ms", false, "INCONCLUSIVE: ", false},
		{"a service time", "service.p90>1ms", false, "INCONCLUSIVE: ", false},
		{"the lateness itself", "lag.p90>1ms", false, "FAILED: ", true},
		{"a count", "status.5xx>1", false, "FAILED: ", true},
		{"a count that holds", "status.5xx>9", false, "ok: ", false},
	}
	times := replay.Times{5 * time.Millisecond}
	for _, tt := range tests {
		limit, err := replay.ParseLimit(tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		s := replay.Summary{Requests: 5, Status: map[int]int64{503: 5}, Response: times, Service: times, Lag: times, Reliable: tt.reliable}
		var out strings.Builder
		if err := judgeLoad(&out, s, []replay.Limit{limit}); (err != nil) != tt.fails || !strings.HasPrefix(out.String(), tt.want) {
			t.Errorf("%s: %q, %v", tt.why, out.String(), err)
		}
	}
}
