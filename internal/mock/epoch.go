package mock

import (
	"fmt"
	"hash/maphash"
	"strings"
)

// epochs says which recorded state each read of a lane saw: a write begins a
// new epoch of what it touches, and lasts until the next one. The recording of
// a lane has them only where something was read twice beside a write; elsewhere
// the order of calls has nothing to tell.
type epochs struct {
	ix *index
	// after holds, by entry from the beginning of the lane, the last write
	// before it that touches what it reads, or none; isWrite for writes. Within
	// a chain, whose calls all read the same, it never falls.
	after []int32
}

// isWrite stands in epochs.after for entries that write.
const isWrite = -2

// touched remembers the latest write to each resource. Writes are numbered in
// recorded order. A write touches what lies above and below it: a PUT of
// /orders/7 changes both the list /orders and /orders/7/lines.
type touched struct {
	at    map[uint64]int32 // by the resource written
	below map[uint64]int32 // by each resource above one that was written
}

func newTouched() *touched { return &touched{map[uint64]int32{}, map[uint64]int32{}} }

func (t *touched) write(keys []uint64, i int32) {
	own := len(keys) - 1
	t.at[keys[own]] = max(t.at[keys[own]], i+1) // zero is no write
	for _, k := range keys[:own] {
		t.below[k] = max(t.below[k], i+1)
	}
}

// last returns the latest write that touches a resource, or none.
func (t *touched) last(keys []uint64) int32 {
	latest := t.below[keys[len(keys)-1]]
	for _, k := range keys {
		latest = max(latest, t.at[k])
	}
	return latest - 1
}

// maxResource bounds how deep into a path resources are told apart.
const maxResource = 16

// resources appends the keys of what an entry is about: its dependency, and
// each longer beginning of its path. The procedures of one gRPC service are
// about the same thing.
func (ix *index) resources(dst []uint64, i int32) []uint64 {
	req := ix.request(i)
	var h maphash.Hash
	h.SetSeed(ix.seed)
	h.WriteString(normalAuthority(req.Scheme, req.Authority))
	dst = append(dst, h.Sum64())
	path := strings.Trim(req.Path(), "/")
	if isGRPC(mediaType(req.Header.Get("Content-Type"))) {
		path, _, _ = strings.Cut(path, "/")
	}
	for path != "" && len(dst) < maxResource {
		var segment string
		segment, path, _ = strings.Cut(path, "/")
		h.WriteByte('/')
		h.WriteString(unescape(segment))
		dst = append(dst, h.Sum64())
	}
	return dst
}

// epochsOf works out the epochs of a lane, or returns nil where they cannot
// matter.
func (ix *index) epochsOf(l *laneRange) *epochs {
	again := false
	for i := l.from; i < l.to && !again; i++ {
		again = ix.again(int32(i))
	}
	if !again {
		return nil
	}
	ep := &epochs{ix: ix, after: make([]int32, l.len())}
	t, writes := newTouched(), 0
	var keys [maxResource]uint64
	for i := l.from; i < l.to; i++ {
		switch {
		case !ix.reads(int32(i)):
			ep.after[i-l.from] = isWrite
			t.write(ix.resources(keys[:0], int32(i)), int32(i))
			writes++
		case ix.again(int32(i)):
			ep.after[i-l.from] = t.last(ix.resources(keys[:0], int32(i)))
		default:
			ep.after[i-l.from] = none
		}
	}
	if writes == 0 {
		return nil
	}
	return ep
}

// again reports whether an entry is one of several that are alike in its lane.
func (ix *index) again(i int32) bool {
	e := &ix.entries[i]
	lane := ix.ranges[e.lane]
	if ix.exact.next[i] != none || ix.exact.first(laneKey(e.sig, lane)) != i {
		return true
	}
	return e.class != 0 && (ix.classed.next[i] != none || ix.classed.first(laneKey(e.class, lane)) != i)
}

func (ix *index) reads(i int32) bool {
	c := call{req: ix.request(i)}
	if c.req.Method == "POST" { // only then what it says matters
		c.form = ix.form(nil, c.req)
	}
	return c.reads()
}

// taken is an entry that was used up for a call, or none.
type taken struct {
	entry int32
	// reason says that the entry was recorded in another state than the lane
	// has reached; empty otherwise.
	reason string
}

// turn is where a chain stands: the entries of the epoch that the lane is in.
type turn struct {
	now  int32 // the write that began the epoch, or none
	from int32 // the first entry of the chain that is not from an earlier epoch
	next int32 // no entry of the epoch before this one is free
}

// now returns the write of this lane that began the epoch of what an entry
// reads, or none.
func (ls *laneState) now(i int32) int32 {
	if ls.wrote == nil {
		return none
	}
	var keys [maxResource]uint64
	return ls.wrote.last(ls.epochs.ix.resources(keys[:0], i))
}

func (ls *laneState) after(i int32) int32 { return ls.epochs.after[int(i)-ls.from] }

// turnOf brings a chain of reads to the epoch that the lane is in.
func (ls *laneState) turnOf(c *chains, key uint64) *turn {
	first := c.first(key)
	t, ok := ls.turns[key]
	if !ok {
		if ls.turns == nil {
			ls.turns = map[uint64]*turn{}
		}
		t = &turn{now: none, from: first, next: first}
		ls.turns[key] = t
	}
	if now := ls.now(first); now != t.now {
		t.now = now
		for t.from != none && ls.after(t.from) < now {
			t.from = c.next[t.from]
		}
		t.next = t.from
	}
	return t
}

// holds reports whether an entry was recorded in the epoch.
func (t *turn) holds(ls *laneState, i int32) bool { return i != none && ls.after(i) == t.now }

// stateful reports whether the epochs of the lane tell the entries of a chain
// apart.
func (ls *laneState) stateful(c *chains, key uint64) bool {
	if ls.epochs == nil {
		return false
	}
	begin := c.find(key)
	return begin.first != none && !begin.lone && ls.after(begin.first) != isWrite
}

// epoch returns the write that began the epoch of a chain, or none.
func (ls *laneState) epoch(c *chains, key uint64) int32 {
	if !ls.stateful(c, key) {
		return none
	}
	return ls.turnOf(c, key).now
}

// pick returns the next free entry of a chain: of a read, one that was recorded
// in the state that the lane has reached. Where that state was not recorded it
// is the next one of any. The caller holds mu.
func (ls *laneState) pick(c *chains, key uint64) taken {
	if !ls.stateful(c, key) {
		return taken{entry: ls.nextFree(c, key)}
	}
	t := ls.turnOf(c, key)
	for t.holds(ls, t.next) && ls.used[int(t.next)-ls.from] != free {
		t.next = c.next[t.next]
	}
	if t.holds(ls, t.next) {
		return taken{entry: t.next}
	}
	i := ls.nextFree(c, key)
	if i == none {
		return taken{entry: none}
	}
	if t.holds(ls, t.from) {
		// All calls of this state are used. One of another state will do if it
		// got the same answer.
		if ls.epochs.ix.entries[i].answer == ls.epochs.ix.entries[t.from].answer {
			return taken{entry: i}
		}
		return taken{entry: none}
	}
	return taken{entry: i, reason: ls.outOfTurn(i, t.now)}
}

// outOfTurn says why an entry is not of the state that the lane has reached.
func (ls *laneState) outOfTurn(i, now int32) string {
	if after := ls.after(i); after > now {
		return fmt.Sprintf("recorded after %s, which was not called yet", ls.called(after))
	}
	return fmt.Sprintf("recorded before %s, which was called already", ls.called(now))
}

// called names a recorded call in a sentence.
func (ls *laneState) called(i int32) string {
	req := ls.epochs.ix.request(i)
	return fmt.Sprintf("%s %s (%s)", req.Method, req.URL(), ls.epochs.ix.id(i))
}

// uses notes that an entry was used; what a write touches is in a new
// epoch from now on. The caller holds mu.
func (ls *laneState) uses(i int32) {
	ls.used[int(i)-ls.from] = own
	if ls.epochs == nil || ls.after(i) != isWrite {
		return
	}
	if ls.wrote == nil {
		ls.wrote = newTouched()
	}
	var keys [maxResource]uint64
	ls.wrote.write(ls.epochs.ix.resources(keys[:0], i), i)
}

// inEpoch returns the entries of a chain that were recorded in the state that
// the lane has reached, in order, and the reason why no more of them answer; or
// nil where the state tells nothing. The caller holds mu.
func (ls *laneState) inEpoch(c *chains, key uint64) (entries []int32, reason string) {
	if !ls.stateful(c, key) {
		return nil, ""
	}
	t := ls.turnOf(c, key)
	i := t.from
	for ; t.holds(ls, i); i = c.next[i] {
		entries = append(entries, i)
	}
	switch n := len(entries); {
	case n == 0 || i == none && t.from == c.first(key):
		return entries, "" // nothing to tell apart
	case t.now == none:
		reason = fmt.Sprintf("%s recorded before %s", were(n), ls.called(ls.after(i)))
	default:
		reason = fmt.Sprintf("%s recorded after %s", were(n), ls.called(t.now))
	}
	return entries, reason + ", all used"
}

func were(n int) string {
	if n == 1 {
		return "one such call was"
	}
	return fmt.Sprintf("%d such calls were", n)
}
