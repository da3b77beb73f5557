package report

import (
	"fmt"
	"slices"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// The values that a document may hold.
var (
	verdicts = []analysis.Verdict{analysis.Pass, analysis.Fail, analysis.Inconclusive, analysis.Error}
	kinds    = []analysis.Kind{analysis.KindCrash, analysis.KindResponse, analysis.KindOutbound, analysis.KindFragility, analysis.KindLatency, analysis.KindResource}
	causes   = []analysis.Cause{analysis.CauseHead, analysis.CauseSnapshot, analysis.CauseNoise}
	speeds   = []analysis.Speed{"", analysis.Slower, analysis.Faster, analysis.Same, analysis.SpeedInconclusive}
)

// Validate reports the first thing in the document that no run could have
// written.
func (d *Document) Validate() error {
	if d.Schema != SchemaV1 {
		return fmt.Errorf("schema is %q, not %q", visible(d.Schema, 60), SchemaV1)
	}
	if !slices.Contains(verdicts, d.Verdict) {
		return fmt.Errorf("unknown verdict %q", visible(string(d.Verdict), 60))
	}
	for i, f := range d.Findings {
		switch {
		case !slices.Contains(kinds, f.Kind):
			return fmt.Errorf("findings[%d]: unknown kind %q", i, visible(string(f.Kind), 60))
		case !slices.Contains(causes, f.Cause):
			return fmt.Errorf("findings[%d]: unknown cause %q", i, visible(string(f.Cause), 60))
		case f.Count < 0 || f.Of < 0:
			return fmt.Errorf("findings[%d]: negative count", i)
		}
	}
	for i, e := range d.Endpoints {
		if !slices.Contains(speeds, e.P50.Verdict) || !slices.Contains(speeds, e.P90.Verdict) {
			return fmt.Errorf("endpoints[%d]: unknown verdict on latency", i)
		}
	}
	return nil
}
