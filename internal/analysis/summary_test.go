package analysis_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
)

// judge runs the whole analysis with the given faults in head.
func judge(t *testing.T, w miniature.World, f miniature.Faults) analysis.Result {
	t.Helper()
	return analysis.Run(w.Input(11, 12, 13, f), analysis.Options{})
}

// summary writes findings as "kind change endpoint [call] address count/of".
func summary(findings []analysis.Finding) []string {
	var out []string
	for _, f := range findings {
		parts := []string{string(f.Kind), string(f.Change), f.Endpoint}
		if f.Call != "" {
			parts = append(parts, "["+f.Call+"]")
		}
		if f.Address != "" {
			parts = append(parts, f.Address)
		}
		parts = append(parts, fmt.Sprintf("%d/%d", f.Count, f.Of))
		if f.Cause != analysis.CauseHead {
			parts = append(parts, "cause:"+string(f.Cause))
		}
		out = append(out, strings.Join(parts, " "))
	}
	return out
}
