package pipeline

import (
	"testing"
	"time"
)

func TestPairsFor(t *testing.T) {
	for _, row := range []struct {
		reason        string
		left, cost    time.Duration
		rounds, pairs int
		want          int
	}{
		{"there is time for all", time.Minute, 5 * time.Millisecond, 20, 100, 100},
		{"fewer pairs keep the rounds", 50 * time.Second, 25 * time.Millisecond, 20, 100, 64},
		{"a median needs some pairs even when rounds are lost", time.Second, 50 * time.Millisecond, 20, 100, leastPairs},
		{"the time is already used up", -time.Second, 50 * time.Millisecond, 20, 100, leastPairs},
		{"nothing could be measured", time.Minute, 0, 20, 100, 100},
	} {
		if got := pairsFor(row.left, row.cost, row.rounds, row.pairs); got != row.want {
			t.Errorf("%s: %d, want %d", row.reason, got, row.want)
		}
	}
}
