package pipeline

import (
	"testing"
	"time"
)

// TestFiguresCoverThePass leaves out what was looked at before the work was done.
func TestFiguresCoverThePass(t *testing.T) {
	begun := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return begun.Add(time.Duration(seconds * float64(time.Second))) }
	for reason, tc := range map[string]struct {
		seen, ended time.Time
		want        bool
	}{
		"as of now":                           {time.Time{}, at(2), true},
		"before a short pass":                 {at(-5), at(2), false},
		"in the middle of it":                 {at(1), at(2), false},
		"at its very end":                     {at(1.9), at(2), true},
		"a long pass, and the usual lateness": {at(95), at(100), true},
		"a long pass, seen half":              {at(50), at(100), false},
	} {
		if got := covers(tc.seen, begun, tc.ended); got != tc.want {
			t.Errorf("%s: %v, want %v", reason, got, tc.want)
		}
	}
}
