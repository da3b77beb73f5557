package transform

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// visit is one request of a visitor, on a connection.
func visit(i int, visitor, connection string) *traffic.Exchange {
	x := &traffic.Exchange{ID: fmt.Sprintf("%06d", i), Direction: traffic.Inbound, Start: time.Unix(int64(i), 0)}
	x.Origin.Connection = connection
	if visitor != "" {
		x.Request.Header.Add("Authorization", "Bearer "+visitor)
	}
	return x
}

// TestSamplerIsSelect: one exchange after the other, the same are kept as of the
// whole recording.
func TestSamplerIsSelect(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var exchanges []*traffic.Exchange
	for i := range 2000 {
		v := r.IntN(200)
		x := visit(i, fmt.Sprint("user-", v), fmt.Sprintf("c%d-%d", v, r.IntN(3)))
		if r.IntN(5) == 0 {
			x.Request.Header = nil // known by its connection alone
			x.Origin.Connection = fmt.Sprintf("lone-%d", v)
		}
		exchanges = append(exchanges, x)
	}
	for _, share := range []float64{0, 0.01, 0.3, 0.9, 1} {
		o := Options{Sample: share}
		selected, err := o.Select(exchanges)
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[string]bool)
		for _, x := range selected {
			want[x.ID] = true
		}
		s := o.Sampler()
		for _, x := range exchanges {
			if got := s.Keeps(x); got != want[x.ID] {
				t.Errorf("a share of %v: %s is kept: %v, of the whole recording %v", share, x.ID, got, want[x.ID])
			}
		}
	}
}

// TestSamplerForgets: what it remembers has a bound, and who comes back often
// stays one session.
func TestSamplerForgets(t *testing.T) {
	s := Options{Sample: 0.5}.Sampler()
	s.most = 64
	faithful := s.Keeps(visit(0, "faithful", ""))
	for i := 1; i < 5000; i++ {
		s.Keeps(visit(i, fmt.Sprint("once-", i), ""))
		if n := len(s.recent) + len(s.old); n > s.most {
			t.Fatalf("%d marks are remembered, want at most %d", n, s.most)
		}
		if i%20 == 0 && s.Keeps(visit(10_000+i, "faithful", "")) != faithful {
			t.Fatalf("after %d others the session is sampled anew", i)
		}
	}
}
