package e2e

import (
	"slices"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/report"
)

// repeating is the regression that asks a dependency once for each line of an
// order, one question after the other.
const repeating = "n-plus-one"

// waitsLonger wants the repeated calls to show in the time that the endpoint waits
// for its dependencies: beyond what both passes of base differ by, as a consequence
// of the calls, and nowhere else where the calls are what they were.
func waitsLonger(t *testing.T, d *report.Document) {
	t.Helper()
	const endpoint = "GET /v1/orders/{id}/summary"
	for _, w := range d.Waiting {
		switch {
		case w.Endpoint != endpoint && w.Changed != "" && w.Head.Calls == w.Base.Calls:
			t.Errorf("%s: %s, and its calls are what they were", w.Endpoint, w.Changed)
		case w.Endpoint != endpoint:
		case w.Changed != analysis.ChangeWaitsLonger || w.Control == nil:
			t.Errorf("%s: %q, want %q: %+v", endpoint, w.Changed, analysis.ChangeWaitsLonger, w)
		case w.Head.Calls <= max(w.Base.Calls, w.Control.Calls) || w.Head.MS <= max(w.Base.MS, w.Control.MS) || w.Head.Share <= max(w.Base.Share, w.Control.Share):
			t.Errorf("%s: base %+v, control %+v, head %+v; want more calls, more time and a larger share", endpoint, w.Base, *w.Control, w.Head)
		default:
			t.Logf("%s: waits for %.0f %% of its time and not %.0f %%", endpoint, 100*w.Head.Share, 100*w.Base.Share)
		}
	}
	if !slices.ContainsFunc(d.Waiting, func(w analysis.Waiting) bool { return w.Endpoint == endpoint }) {
		t.Errorf("%s: nothing is said of its waiting", endpoint)
	}
	for _, f := range d.Findings {
		follows := slices.ContainsFunc(f.Consequences, func(c analysis.Consequence) bool {
			return c.Endpoint == endpoint && c.Address == "latency.waiting" && c.Change == analysis.ChangeWaitsLonger
		})
		if is := f.Change == analysis.ChangeRepeatedCall && f.Endpoint == endpoint; is != follows {
			t.Errorf("the waiting follows from it: %v, want %v: %s", follows, is, describe(f))
		}
	}
}
