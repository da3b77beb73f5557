package replay

import (
	"hash/fnv"
	"slices"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Share divides recorded inbound exchanges among n workers. Exchanges of one
// session stay together, and so do those that need each other's answers, as
// needs tells by ID (it may be nil): a worker replays its share without asking
// another. Who gets what depends on the exchanges alone, so that a worker that
// is started again gets the same. Each share is sorted by Start; one may be
// empty.
func Share(inbound []*traffic.Exchange, needs func(id string) []string, n int) [][]*traffic.Exchange {
	sorted := slices.Clone(inbound)
	slices.SortStableFunc(sorted, func(a, b *traffic.Exchange) int { return a.Start.Compare(b.Start) })
	// parent leads from each exchange to the earliest one of its set. It starts
	// as the sessions, whose numbers are the places of their first exchanges.
	parent := traffic.Sessions(sorted)
	find := func(i int) int {
		for parent[i] != i {
			i = parent[i]
		}
		return i
	}
	at := make(map[string]int, len(sorted))
	for i, x := range sorted {
		at[x.ID] = i
	}
	for i, x := range sorted {
		if needs == nil {
			break
		}
		for _, id := range needs(x.ID) {
			if j, ok := at[id]; ok {
				a, b := find(i), find(j)
				parent[max(a, b)] = min(a, b)
			}
		}
	}
	shares := make([][]*traffic.Exchange, n)
	for i, x := range sorted {
		h := fnv.New64a()
		h.Write([]byte(sorted[find(i)].ID)) // the earliest of its set
		k := int(h.Sum64() % uint64(n))
		shares[k] = append(shares[k], x)
	}
	return shares
}
