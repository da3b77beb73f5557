package timing

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The estimate comes to rest near the 99th percentile of what it saw, without a
// clock: the wakings are drawn.
func TestLatenessFollowsThe99thPercentile(t *testing.T) {
	tests := []struct {
		reason    string
		late      func(r *rand.Rand) time.Duration
		low, high time.Duration
	}{
		{"evenly up to 100 µs", func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(100_000)) }, 88 * time.Microsecond, 110 * time.Microsecond},
		{"always at once", func(*rand.Rand) time.Duration { return 0 }, 0, step},
		{"milliseconds, on a busy machine: the loop stays short", func(*rand.Rand) time.Duration { return 3 * time.Millisecond }, MaxLearned, MaxLearned},
		{"one in a thousand is very late: not worth a loop for all", func(r *rand.Rand) time.Duration {
			if r.IntN(1000) == 0 {
				return 5 * time.Millisecond
			}
			return 20 * time.Microsecond
		}, 12 * time.Microsecond, 40 * time.Microsecond},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var l Lateness
			var sum time.Duration
			const settle, seen = 20_000, 10_000
			for i := range settle + seen {
				l.Saw(tt.late(r))
				if i >= settle {
					sum += l.Margin()
				}
			}
			if mean := sum / seen; mean < tt.low || mean > tt.high {
				t.Errorf("it rests at %v, want between %v and %v", mean, tt.low, tt.high)
			}
		})
	}
}
