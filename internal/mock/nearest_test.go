package mock

import (
	"testing"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Of several places where a call differs, the one that says something is first.
func TestDrawnValuesAreNamedLast(t *testing.T) {
	body := traffic.At("request", "body")
	leaf := func(name, value string) located { return located{body.Child(name), value, 1} }
	recorded := []located{leaf("id", "5c1f5c0e-1b1f-4c39-9d4a-0b7a8f3f2a11"), leaf("grams", "450")}
	live := []located{leaf("id", "0a4b21d2-77ff-4a0e-8f0a-3c41ee0a8b02"), leaf("grams", "4500")}
	near := compareLeaves(recorded, live)
	if len(near.Differences) != 2 || near.Differences[0].Path.String() != "request.body.grams" || near.Differences[1].Path.String() != "request.body.id" {
		t.Errorf("differences %+v", near.Differences)
	}
	const want = `the nearest recorded call differs in 2 places: request.body.grams is "4500", recorded was "450"`
	if got := likelyCause("no recorded call matches", []traffic.Near{near}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
