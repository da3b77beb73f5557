package replay_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// TestShare checks for any traffic that each exchange is in exactly one share,
// and that what belongs together is in the same one.
func TestShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "workers")
		needs := map[string][]string{}
		var xs []*traffic.Exchange
		for i := range rapid.IntRange(0, 40).Draw(t, "exchanges") {
			x := &traffic.Exchange{ID: fmt.Sprintf("x%d", i), Direction: traffic.Inbound, Start: epoch.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "second")) * time.Second)}
			if c := rapid.IntRange(0, 12).Draw(t, "connection"); c > 0 {
				x.Origin.Connection = fmt.Sprint(c)
			}
			if i > 0 && rapid.IntRange(0, 9).Draw(t, "needs one") == 0 {
				needs[x.ID] = []string{fmt.Sprintf("x%d", rapid.IntRange(0, i-1).Draw(t, "which"))}
			}
			xs = append(xs, x)
		}
		where := map[string]int{}
		of := map[string]int{}
		for k, share := range replay.Share(xs, func(id string) []string { return needs[id] }, n) {
			for i, x := range share {
				if _, twice := where[x.ID]; twice {
					t.Fatalf("%s is in two shares", x.ID)
				}
				where[x.ID] = k
				if i > 0 && x.Start.Before(share[i-1].Start) {
					t.Fatalf("share %d is not sorted", k)
				}
				if c := x.Origin.Connection; c != "" {
					if other, ok := of[c]; ok && other != k {
						t.Fatalf("connection %s is in the shares %d and %d", c, other, k)
					}
					of[c] = k
				}
			}
		}
		if len(where) != len(xs) {
			t.Fatalf("%d of %d exchanges were shared out", len(where), len(xs))
		}
		for id, ids := range needs {
			if where[id] != where[ids[0]] {
				t.Fatalf("%s needs %s, which another worker has", id, ids[0])
			}
		}
	})
}
