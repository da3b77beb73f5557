package mock

import (
	"cmp"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"

	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// index finds recorded calls by hashes of their canonical form. It is
// immutable once built, but for the masks of class groups, which are worked
// out at the first use.
type index struct {
	seed    maphash.Seed
	canon   *canonicalizer
	deps    *dependencies
	entries []entry // those of a lane together, by time
	lanes   map[traffic.Lane]*laneRange
	inbound map[traffic.Lane]*traffic.Exchange
	numbers map[uint64]traffic.Lane // by traffic.LaneNumber

	exact   chains // by form and lane
	classed chains // by classed form and lane
	any     chains // by form, over all lanes
	opening chains // streams by classed form of what is asked first, and lane

	// openings holds the keys of opening without the lane.
	openings map[uint64]struct{}

	// ambiguous holds the signatures for which different answers were recorded.
	ambiguous  map[uint64]struct{}
	unanswered int // recorded calls without an answer, which cannot be served

	forms    sync.Pool // of *form, to be used again
	groupsMu sync.Mutex
	groups   map[uint64]*group
}

// entry is one recorded outbound call.
type entry struct {
	x      *traffic.Exchange
	lane   *laneRange
	sig    uint64 // hash of the form
	class  uint64 // hash with volatile values replaced by their class; 0 when there are none
	answer uint64 // hash of the answer, to tell whether two calls got the same one
}

// laneRange is where the entries of a lane lie.
type laneRange struct {
	name     traffic.Lane
	salt     uint64
	from, to int
	epochs   *epochs // nil where the order of calls tells nothing
}

func (l *laneRange) len() int { return l.to - l.from }

// chains maps a key to entries in recorded order: a linked list in two flat
// structures, which a million entries fill without an allocation each.
type chains struct {
	head map[uint64]int32
	next []int32 // index of the next entry with the same key, or none
}

const none = -1

func newChains(n int) chains { return chains{make(map[uint64]int32, n), make([]int32, n)} }

// push puts entry i before all entries of the same key.
func (c *chains) push(key uint64, i int32) {
	if h, ok := c.head[key]; ok {
		c.next[i] = h
	} else {
		c.next[i] = none
	}
	c.head[key] = i
}

// first returns the first entry of a key, or none.
func (c *chains) first(key uint64) int32 {
	if i, ok := c.head[key]; ok {
		return i
	}
	return none
}

func laneKey(sig uint64, lane *laneRange) uint64 { return sig ^ lane.salt }

func laneSalt(l traffic.Lane) uint64 { return traffic.LaneNumber(l)*0x9e3779b97f4a7c15 | 1 }

// newIndex builds the index of recorded exchanges.
func newIndex(recorded []*traffic.Exchange, o *Options, files *protoregistry.Files) *index {
	ix := &index{
		seed: maphash.MakeSeed(), canon: newCanonicalizer(o.Headers, files), deps: newDependencies(),
		lanes: map[traffic.Lane]*laneRange{}, inbound: map[traffic.Lane]*traffic.Exchange{},
		numbers: map[uint64]traffic.Lane{}, groups: map[uint64]*group{}, ambiguous: map[uint64]struct{}{},
	}
	for _, x := range recorded {
		if x == nil {
			continue
		}
		if x.Direction == traffic.Inbound {
			ix.inbound[traffic.Lane(x.ID)] = x
			ix.numbers[traffic.LaneNumber(traffic.Lane(x.ID))] = traffic.Lane(x.ID)
			continue
		}
		ix.deps.add(x.Request.Scheme, x.Request.Authority)
		if x.Response == nil && x.Failure == traffic.FailureNone {
			ix.unanswered++
			continue
		}
		ix.entries = append(ix.entries, entry{x: x})
	}
	ix.order(o.OneLane)
	ix.hashAll()
	n := len(ix.entries)
	ix.exact, ix.any = newChains(n), newChains(n)
	ix.classed, ix.opening = chains{map[uint64]int32{}, make([]int32, n)}, chains{map[uint64]int32{}, make([]int32, n)}
	ix.openings = map[uint64]struct{}{}
	for i := n - 1; i >= 0; i-- {
		e := &ix.entries[i]
		ix.exact.push(laneKey(e.sig, e.lane), int32(i))
		if j := ix.any.first(e.sig); j != none && ix.entries[j].answer != e.answer {
			ix.ambiguous[e.sig] = struct{}{}
		}
		ix.any.push(e.sig, int32(i))
		if e.class != 0 {
			ix.classed.push(laneKey(e.class, e.lane), int32(i))
		}
		if opening := ix.openingOf(e.x); opening != 0 {
			ix.openings[opening] = struct{}{}
			ix.opening.push(laneKey(opening, e.lane), int32(i))
		}
	}
	for _, l := range ix.lanes {
		l.epochs = ix.epochsOf(l)
	}
	return ix
}

// order sorts the entries by lane and time, and makes the lanes.
func (ix *index) order(oneLane bool) {
	// Small keys are sorted in place of the entries, and lanes by number.
	type key struct {
		lane int32
		at   int32
		time int64
	}
	keys := make([]key, len(ix.entries))
	numbers := map[traffic.Lane]int32{}
	for i := range ix.entries {
		x := ix.entries[i].x
		name := x.Lane
		if oneLane || name == "" {
			name = traffic.LaneBackground
		}
		n, ok := numbers[name]
		if !ok {
			n = int32(len(numbers))
			numbers[name] = n
			ix.lane(name)
		}
		ix.entries[i].lane = ix.lanes[name]
		keys[i] = key{n, int32(i), x.Start.UnixNano()}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.lane, b.lane), cmp.Compare(a.time, b.time), cmp.Compare(a.at, b.at))
	})
	sorted := make([]entry, len(keys))
	for i, k := range keys {
		sorted[i] = ix.entries[k.at]
		l := sorted[i].lane
		if l.len() == 0 {
			l.from = i
		}
		l.to = i + 1
	}
	ix.entries = sorted
	ix.lane(traffic.LaneBoot)
	ix.lane(traffic.LaneBackground)
}

// lane returns the range of a lane, making an empty one. Only for building.
func (ix *index) lane(name traffic.Lane) *laneRange {
	l, ok := ix.lanes[name]
	if !ok {
		l = &laneRange{name: name, salt: laneSalt(name)}
		ix.lanes[name] = l
		ix.numbers[traffic.LaneNumber(name)] = name
	}
	return l
}

// hashAll computes the hashes of all entries on all cores.
func (ix *index) hashAll() {
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	chunk := (len(ix.entries) + workers - 1) / workers
	for from := 0; from < len(ix.entries); from += chunk {
		part := ix.entries[from:min(from+chunk, len(ix.entries))]
		wg.Go(func() {
			var f form
			for i := range part {
				f = ix.hashEntry(&part[i], f)
			}
		})
	}
	wg.Wait()
}

func (ix *index) hashEntry(e *entry, scratch form) form {
	f := ix.form(scratch, e.x)
	e.sig = f.hash(ix.seed, nil)
	if f.volatile() {
		e.class = f.hash(ix.seed, classed)
	}
	var h maphash.Hash
	h.SetSeed(ix.seed)
	if r := e.x.Response; r != nil {
		h.Write([]byte{byte(r.Status >> 8), byte(r.Status)})
		h.Write(r.Body.Raw)
	} else {
		h.WriteString(string(e.x.Failure))
	}
	e.answer = h.Sum64()
	return f
}

// form returns the canonical form of a recorded exchange.
func (ix *index) form(scratch form, x *traffic.Exchange) form {
	return ix.canon.form(scratch, normalAuthority(x.Request.Scheme, x.Request.Authority), &x.Request)
}

// volatile reports whether any leaf is of a volatile class.
func (f form) volatile() bool {
	return slices.ContainsFunc(f, func(t token) bool { return t.kind.leaf() && classOf(t) != "" })
}

// classed is a value function for form.hash: class names for volatile values.
// The zero byte keeps a class apart from a value that is spelled like it.
func classed(_ int, t token) string {
	if c := classOf(t); c != "" {
		return "\x00" + c
	}
	return t.text
}

// openingOf returns the hash of what a recorded stream of gRPC began with, 0
// for all other calls.
func (ix *index) openingOf(x *traffic.Exchange) uint64 {
	if !isGRPC(mediaType(x.Request.Header.Get("Content-Type"))) {
		return 0
	}
	first, _, ok := nextGRPC(x.Request.Body.Raw)
	if !ok {
		return 0
	}
	req := x.Request
	req.Body.Raw = first.frame
	return ix.canon.form(nil, normalAuthority(req.Scheme, req.Authority), &req).hash(ix.seed, classed)
}
