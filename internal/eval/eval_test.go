package main

import (
	"testing"

	"github.com/reprise-ci/reprise/internal/eval/miniature"
)

// Every seeded fault is found where it is, no other is made up, and nothing
// harmless is reported.
func TestSeededFaults(t *testing.T) {
	w := miniature.Record()
	for _, c := range seeded(w, faults(), 300) {
		if !c.Found {
			t.Errorf("%s: not found; %v", c.Name, c.Others)
		}
		if c.Snapshot {
			t.Errorf("%s: the recording is blamed", c.Name)
		}
	}
	for _, c := range seeded(w, harmless(), 400) {
		if len(c.Others) > 0 || c.Snapshot {
			t.Errorf("%s is harmless, yet: %v", c.Name, c.Others)
		}
	}
}
