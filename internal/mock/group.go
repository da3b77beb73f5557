package mock

import (
	"slices"
	"strings"
	"sync"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// group is the recorded calls of one lane that are the same once volatile
// values are replaced by their class. Which of these values may differ is
// worked out at the first use: a value that the service made up itself (a new
// id, the time) may, one that it passed on from what it was sent may not.
type group struct {
	once  sync.Once
	masks []mask
	// lone says that an exact match would not tell the calls apart: all have
	// the same signature, so that any volatile value may differ without the
	// risk of swapping two answers.
	lone bool
}

// mask is a set of places that may differ, and the calls it holds for.
type mask struct {
	free    []int // indices into the form, ascending
	entries map[uint64][]int32
}

// Limits of the search for where a value came from. Beyond them values count
// as made up, which is right for long lists of polls.
const (
	maxTraced  = 512 // calls in a group
	maxEarlier = 256 // answers looked into
)

func (ix *index) group(key uint64) *group {
	ix.groupsMu.Lock()
	g, ok := ix.groups[key]
	if !ok {
		g = &group{}
		ix.groups[key] = g
	}
	ix.groupsMu.Unlock()
	g.once.Do(func() { ix.fill(g, key) })
	return g
}

func (ix *index) fill(g *group, key uint64) {
	first := ix.classed.first(key)
	g.lone = true
	size := 0
	for i := first; i != none; i = ix.classed.next[i] {
		size++
		g.lone = g.lone && ix.entries[i].sig == ix.entries[first].sig
	}
	var f form
	for i := first; i != none; i = ix.classed.next[i] {
		f = ix.form(f, ix.request(i))
		var free []int
		for at, t := range f {
			if t.kind.leaf() && classOf(t) != "" && (size > maxTraced || !ix.passedOn(i, t.text)) {
				free = append(free, at)
			}
		}
		if free == nil {
			continue
		}
		k := slices.IndexFunc(g.masks, func(m mask) bool { return slices.Equal(m.free, free) })
		if k < 0 {
			k = len(g.masks)
			g.masks = append(g.masks, mask{free, map[uint64][]int32{}})
		}
		sig := f.hash(ix.seed, g.masks[k].value(nil))
		g.masks[k].entries[sig] = append(g.masks[k].entries[sig], i)
	}
}

// value is a value function for form.hash: class names at the free places,
// and what then returns (the value itself if nil) at all others.
func (m *mask) value(then func(string) string) func(int, token) string {
	return func(i int, t token) string {
		if _, free := slices.BinarySearch(m.free, i); free {
			return classed(i, t)
		}
		if then != nil {
			return then(t.text)
		}
		return t.text
	}
}

// passedOn reports whether a value of entry i was known to the service from
// outside: from the inbound request of the lane, or from an earlier answer in
// the lane or in the boot lane.
func (ix *index) passedOn(i int32, value string) bool {
	lane := ix.ranges[ix.entries[i].lane]
	if req, ok := ix.inboundOf(lane.name); ok && requestHolds(&req, value) {
		return true
	}
	for j := int(i) - 1; j >= lane.from && int(i)-j <= maxEarlier; j-- {
		if responseHolds(ix.response(int32(j)), value) {
			return true
		}
	}
	boot := ix.lanes[traffic.LaneBoot]
	if boot == lane {
		return false
	}
	for j := boot.from; j < boot.to && j-boot.from < maxEarlier; j++ {
		if responseHolds(ix.response(int32(j)), value) {
			return true
		}
	}
	return false
}

func requestHolds(r *traffic.Request, value string) bool {
	return strings.Contains(r.Target, value) || headerHolds(r.Header, value) || bodyHolds(&r.Body, value)
}

func responseHolds(r *traffic.Response, value string) bool {
	return r != nil && (headerHolds(r.Header, value) || bodyHolds(&r.Body, value))
}

func headerHolds(h traffic.Header, value string) bool {
	return slices.ContainsFunc(h, func(f traffic.Field) bool { return strings.Contains(f.Value, value) })
}

func bodyHolds(b *traffic.Body, value string) bool {
	data, err := b.Decoded()
	return err == nil && strings.Contains(string(data), value)
}
