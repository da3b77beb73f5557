package mock

import (
	"cmp"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

// index finds recorded calls by hashes of their canonical form. It is
// immutable once built, but for the masks of class groups, which are worked
// out at the first use.
type index struct {
	seed    maphash.Seed
	canon   *canonicalizer
	deps    *dependencies
	entries []entry   // those of a lane together, by time
	said    []address // by entry, its answer
	store   store     // what the entries and inbound calls say
	ranges  []*laneRange
	lanes   map[traffic.Lane]*laneRange
	inbound map[traffic.Lane]address // requests
	numbers map[uint64]traffic.Lane  // by traffic.LaneNumber

	renewals map[int32]renewal // by entry: what expires in its answer; most have none

	exact   chains // by form and lane
	classed chains // by classed form and lane
	any     chains // by form, over all lanes
	opening chains // streams by classed form of what is asked first, and lane

	// openings holds the keys of opening without the lane.
	openings map[uint64]struct{}

	// ambiguous holds the signatures for which different answers were recorded.
	ambiguous  map[uint64]struct{}
	unanswered int // recorded calls without an answer, which cannot be served

	spreads map[string]*spread // how long dependencies took

	hosts    sync.Map  // traffic.Lane -> map[string]bool, of what lanes called
	calls    sync.Pool // of *call, to be used again
	groupsMu sync.Mutex
	groups   map[uint64]*group
}

// entry is one recorded outbound call. It holds no pointers: there may be a
// million.
type entry struct {
	sig    uint64  // hash of the form
	class  uint64  // hash with volatile values replaced by their class; 0 when there are none
	answer uint64  // hash of the answer, to tell whether two calls got the same one
	call   address // its id, times and request
	lane   int32   // its place in index.ranges
}

// laneRange is where the entries of a lane lie.
type laneRange struct {
	name     traffic.Lane
	number   int32 // its place in index.ranges
	salt     uint64
	from, to int
	epochs   *epochs // nil where the order of calls tells nothing
}

func (l *laneRange) len() int { return l.to - l.from }

// chains maps a key to entries in recorded order: a linked list in two flat
// structures, which a million entries fill without an allocation each.
type chains struct {
	head table   // links
	next []int32 // index of the next entry with the same key, or none
}

const none = -1

// link is how a chain begins. It stands in the table as a whole, so that a call
// is found and answered over one place that no cache holds, not over two.
type link struct {
	first int32   // its first entry, or none
	lone  bool    // there is no other one
	said  address // the answer of first; 0 when it lies too far out
}

// pack makes a link one value of a table: the first entry, whether others
// follow, and the answer in short.
func (l link) pack() uint64 {
	value := uint64(l.first)<<33 | uint64(l.said.short())
	if !l.lone {
		value |= 1 << 32
	}
	return value
}

func unpack(value uint64) link {
	return link{int32(value >> 33), value>>32&1 == 0, long(uint32(value))}
}

func newChains(n int) chains { return chains{newTable(n), make([]int32, n)} }

// push puts entry i, and its answer, before all entries of the same key.
func (c *chains) push(key uint64, i int32, said address) {
	c.next[i] = c.first(key)
	c.head.set(key, link{i, c.next[i] == none, said}.pack())
}

// first returns the first entry of a key, or none.
func (c *chains) first(key uint64) int32 { return c.find(key).first }

// find returns how the chain of a key begins.
func (c *chains) find(key uint64) link {
	v, ok := c.head.get(key)
	if !ok {
		return link{first: none}
	}
	return unpack(v)
}

func laneKey(sig uint64, lane *laneRange) uint64 { return sig ^ lane.salt }

func laneSalt(l traffic.Lane) uint64 { return traffic.LaneNumber(l)*0x9e3779b97f4a7c15 | 1 }

// newIndex builds the index of recorded exchanges.
func newIndex(recorded []*traffic.Exchange, o *Options, types *protobuf.Types) *index {
	ix := &index{
		seed: maphash.MakeSeed(), canon: newCanonicalizer(o.Headers, types), deps: newDependencies(),
		lanes: map[traffic.Lane]*laneRange{}, inbound: map[traffic.Lane]address{},
		renewals: map[int32]renewal{},
		numbers:  map[uint64]traffic.Lane{}, spreads: map[string]*spread{}, groups: map[uint64]*group{}, ambiguous: map[uint64]struct{}{},
	}
	ix.store.seed = ix.seed
	calls := make([]*traffic.Exchange, 0, len(recorded))
	for _, x := range recorded {
		if x == nil {
			continue
		}
		if x.Direction == traffic.Inbound {
			ix.inbound[traffic.Lane(x.ID)] = ix.store.add(appendRequest(nil, &x.Request))
			ix.numbers[traffic.LaneNumber(traffic.Lane(x.ID))] = traffic.Lane(x.ID)
			continue
		}
		dep := ix.deps.add(x.Request.Scheme, x.Request.Authority)
		if x.Response == nil && x.Failure == traffic.FailureNone {
			ix.unanswered++
			continue
		}
		if x.Response != nil {
			if ix.spreads[dep] == nil {
				ix.spreads[dep] = &spread{}
			}
			ix.spreads[dep].add(x.Duration)
		}
		calls = append(calls, x)
	}
	calls = ix.order(calls, o.OneLane)
	ix.examine(calls)
	ix.keep(calls)
	n := len(ix.entries)
	ix.exact, ix.any = newChains(n), newChains(n)
	ix.classed, ix.opening = chains{next: make([]int32, n)}, chains{next: make([]int32, n)}
	ix.openings = map[uint64]struct{}{}
	for i := n - 1; i >= 0; i-- {
		e := &ix.entries[i]
		lane := ix.ranges[e.lane]
		ix.exact.push(laneKey(e.sig, lane), int32(i), ix.said[i])
		if j := ix.any.first(e.sig); j != none && ix.entries[j].answer != e.answer {
			ix.ambiguous[e.sig] = struct{}{}
		}
		ix.any.push(e.sig, int32(i), ix.said[i])
		if e.class != 0 {
			ix.classed.push(laneKey(e.class, lane), int32(i), ix.said[i])
		}
		if opening := ix.openingOf(calls[i]); opening != 0 {
			ix.openings[opening] = struct{}{}
			ix.opening.push(laneKey(opening, lane), int32(i), ix.said[i])
		}
	}
	for _, l := range ix.lanes {
		l.epochs = ix.epochsOf(l)
	}
	return ix
}

// order sorts calls by lane and time, and makes their entries and the lanes.
func (ix *index) order(calls []*traffic.Exchange, oneLane bool) []*traffic.Exchange {
	// Small keys are sorted in place of the calls, and lanes by number.
	type key struct {
		lane int32
		at   int32
		time int64
	}
	keys := make([]key, len(calls))
	for i, x := range calls {
		name := x.Lane
		if oneLane || name == "" {
			name = traffic.LaneBackground
		}
		keys[i] = key{ix.lane(name).number, int32(i), x.Start.UnixNano()}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.lane, b.lane), cmp.Compare(a.time, b.time), cmp.Compare(a.at, b.at))
	})
	sorted := make([]*traffic.Exchange, len(keys))
	ix.entries = make([]entry, len(keys))
	preferHugePages(ix.entries)
	for i, k := range keys {
		sorted[i] = calls[k.at]
		ix.entries[i].lane = k.lane
		l := ix.ranges[k.lane]
		if l.len() == 0 {
			l.from = i
		}
		l.to = i + 1
	}
	ix.lane(traffic.LaneBoot)
	ix.lane(traffic.LaneBackground)
	return sorted
}

// lane returns the range of a lane, making an empty one. Only for building.
func (ix *index) lane(name traffic.Lane) *laneRange {
	l, ok := ix.lanes[name]
	if !ok {
		l = &laneRange{name: name, number: int32(len(ix.ranges)), salt: laneSalt(name)}
		ix.ranges = append(ix.ranges, l)
		ix.lanes[name] = l
		ix.numbers[traffic.LaneNumber(name)] = name
	}
	return l
}

// examine computes the hashes of all entries, and finds those whose answers
// expire, on all cores.
func (ix *index) examine(calls []*traffic.Exchange) {
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	var renewals sync.Mutex // guards those of ix
	chunk := (len(ix.entries) + workers - 1) / workers
	for from := 0; from < len(ix.entries); from += chunk {
		part := ix.entries[from:min(from+chunk, len(ix.entries))]
		wg.Go(func() {
			var f form
			for i := range part {
				x := calls[from+i]
				f = ix.hashEntry(&part[i], x, f)
				if kind := fresh.KindOf(x); kind != fresh.Other {
					renewals.Lock()
					ix.renewals[int32(from+i)] = renewal{kind, x.Start}
					renewals.Unlock()
				}
			}
		})
	}
	wg.Wait()
}

func (ix *index) hashEntry(e *entry, x *traffic.Exchange, scratch form) form {
	f := ix.form(scratch, &x.Request)
	e.sig = f.hash(ix.seed, nil)
	if f.volatile() {
		e.class = f.hash(ix.seed, classed)
	}
	var h maphash.Hash
	h.SetSeed(ix.seed)
	if r := x.Response; r != nil {
		h.Write([]byte{byte(r.Status >> 8), byte(r.Status)})
		h.Write(r.Body.Raw)
	} else {
		h.WriteString(string(x.Failure))
	}
	e.answer = h.Sum64()
	return f
}

// form returns the canonical form of a recorded request.
func (ix *index) form(scratch form, req *traffic.Request) form {
	return ix.canon.form(scratch, normalAuthority(req.Scheme, req.Authority), req)
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
	return ix.form(nil, &req).hash(ix.seed, classed)
}
