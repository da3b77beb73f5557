package mock

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// laneState is what one pass knows of one lane: which recorded calls are used,
// where the search for the next one starts, and the learned pairs of values.
// Its lock is held for look-ups only, never across reading or writing a
// connection, and never together with that of another lane.
type laneState struct {
	*laneRange

	mu       sync.Mutex
	used     []use             // by entry, from laneRange.from
	cursor   map[uint64]int32  // by chain: no entry before this one is free
	spent    map[uint64]*spent // by chain: what answers calls beyond the recorded ones
	borrower map[int32]*laneState
	lent     int
	entered  bool
	recorded map[string]string // live value -> recorded value
	tries    map[uint64]int    // calls by what they are, for dice
	wrote    *touched          // the recorded writes that were used; nil before the first
	turns    map[uint64]*turn  // by chain of reads, where epochs matter

	// The account. Borrowed counts calls answered by an entry of another lane;
	// the owner may take the entry back, so it is changed from outside.
	extra, missed int
	borrowed      atomic.Int64
	surplus       atomic.Int64 // borrowed once, then taken back: extra
}

// spent is a chain whose entries are all used, or those of one epoch.
type spent struct {
	entries []int32
	epoch   int32
	again   int // answers given since
	reason  string
}

// use is what became of an entry.
type use uint8

const (
	free use = iota
	own      // answered a call of its lane
	lent     // answered a call of another lane
)

func newLaneState(l *laneRange) *laneState {
	return &laneState{laneRange: l, used: make([]use, l.len()), cursor: map[uint64]int32{}, spent: map[uint64]*spent{}, recorded: map[string]string{}}
}

// take uses up the next free entry of a chain for a call of this lane. It
// takes back what was lent when nothing else is left. The caller holds mu.
func (ls *laneState) take(c *chains, key uint64) taken {
	if t := ls.pick(c, key); t.entry != none {
		ls.uses(t.entry)
		return t
	}
	if ls.lent == 0 {
		return taken{entry: none}
	}
	for i := c.first(key); i != none; i = c.next[i] {
		if ls.used[int(i)-ls.from] == lent {
			ls.reclaim(i)
			return taken{entry: i}
		}
	}
	return taken{entry: none}
}

// reclaim turns a lent entry into one of our own; the borrower's call becomes
// one beyond the recorded ones. So the account does not depend on which lane
// came first.
func (ls *laneState) reclaim(i int32) {
	ls.uses(i)
	ls.lent--
	b := ls.borrower[i]
	delete(ls.borrower, i)
	b.borrowed.Add(-1)
	b.surplus.Add(1)
}

// lend uses up the next free entry of a chain for a call of another lane. The
// caller holds mu of this lane alone.
func (ls *laneState) lend(c *chains, key uint64, to *laneState) taken {
	i := ls.nextFree(c, key)
	if i == none {
		return taken{entry: none}
	}
	ls.used[int(i)-ls.from] = lent
	ls.lent++
	if ls.borrower == nil {
		ls.borrower = map[int32]*laneState{}
	}
	ls.borrower[i] = to
	to.borrowed.Add(1)
	return taken{entry: i}
}

func (ls *laneState) nextFree(c *chains, key uint64) int32 {
	begin := c.find(key)
	if begin.first == none || ls.used[int(begin.first)-ls.from] == free {
		return begin.first
	}
	if begin.lone { // as most are, and need no cursor
		return none
	}
	i, known := ls.cursor[key]
	if !known {
		i = begin.first
	}
	for i != none && ls.used[int(i)-ls.from] != free {
		i = c.next[i]
	}
	ls.cursor[key] = i
	return i
}

// repeats returns the entry that answers a call beyond the recorded ones of a
// chain, and why one of them cannot. With RepeatFail the entry is of no use. The
// caller holds mu.
func (ls *laneState) repeats(c *chains, key uint64, policy Repeat) (entry int32, reason string) {
	if begin := c.find(key); begin.lone { // nothing has to be remembered
		return begin.first, "one such call was recorded and it is used"
	}
	s := ls.exhausted(c, key)
	n := len(s.entries)
	entry = s.entries[n-1]
	if policy == RepeatCycle {
		entry = s.entries[s.again%n]
	}
	if policy != RepeatFail {
		s.again++
	}
	return entry, s.reason
}

// exhausted returns the state of a chain whose entries are all used: those of
// the epoch that the lane is in, if there are any. The caller holds mu.
func (ls *laneState) exhausted(c *chains, key uint64) *spent {
	epoch := ls.epoch(c, key)
	if s, ok := ls.spent[key]; ok && s.epoch == epoch {
		return s
	}
	s := &spent{epoch: epoch}
	if s.entries, s.reason = ls.inEpoch(c, key); s.reason == "" {
		s.entries = nil
		for i := c.first(key); i != none; i = c.next[i] {
			s.entries = append(s.entries, i)
		}
		s.reason = fmt.Sprintf("%d such calls were recorded and all are used", len(s.entries))
	}
	ls.spent[key] = s
	return s
}

// minEmbedded is the length from which a learned value is also replaced
// inside a longer one.
const minEmbedded = 6

// learn notes that live stands for recorded in this lane. The caller holds mu.
func (ls *laneState) learn(recorded, live string) {
	if recorded != live && live != "" {
		ls.recorded[live] = recorded
	}
}

// toRecorded replaces learned live values in s by the recorded ones. The
// caller holds mu.
func (ls *laneState) toRecorded(s string) string {
	if r, ok := ls.recorded[s]; ok {
		return r
	}
	if len(s) <= minEmbedded {
		return s
	}
	for live, recorded := range ls.recorded {
		if len(live) >= minEmbedded && strings.Contains(s, live) {
			s = strings.ReplaceAll(s, live, recorded)
		}
	}
	return s
}

// pass is one replay against this mock, or the boot of the service.
type pass struct {
	number uint32

	// settle is held for reading while a call is decided and journalled, and
	// for writing while the account is drawn up.
	settle sync.RWMutex
	faults atomic.Pointer[Faults]
	lanes  sync.Map // traffic.Lane -> *laneState

	mu      sync.Mutex
	active  []traffic.Lane          // in the order of entering
	conns   map[string]traffic.Lane // lane of a client connection, "" once it is shared
	journal []*record
	live    int // calls that arrived, kept or not
	by      map[traffic.Certainty]int
	unsure  int // calls that may belong to any of several active lanes
	tiers   map[traffic.Tier]int
	byLane  map[traffic.Lane]int
	names   map[string]map[traffic.Lane]int // questions and handshakes by kind and name, for faults
}

func newPass(number uint32) *pass {
	return &pass{
		number: number, conns: map[string]traffic.Lane{},
		by: map[traffic.Certainty]int{}, tiers: map[traffic.Tier]int{}, byLane: map[traffic.Lane]int{},
	}
}

// lane returns the state of a lane, making it at the first use.
func (p *pass) lane(ix *index, name traffic.Lane) *laneState {
	if ls, ok := p.lanes.Load(name); ok {
		return ls.(*laneState)
	}
	l, ok := ix.lanes[name]
	if !ok { // a lane without recorded calls
		l = &laneRange{name: name, salt: laneSalt(name)}
	}
	ls, _ := p.lanes.LoadOrStore(name, newLaneState(l))
	return ls.(*laneState)
}

// states returns the states of all lanes that the pass has touched.
func (p *pass) states() []*laneState {
	var states []*laneState
	p.lanes.Range(func(_, ls any) bool {
		states = append(states, ls.(*laneState))
		return true
	})
	return states
}

func (p *pass) enter(name traffic.Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = append(p.active, name)
}

func (p *pass) leave(name traffic.Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.active, name); i >= 0 {
		p.active = slices.Delete(p.active, i, i+1)
	}
}

// running returns the active lanes as of now.
func (p *pass) running() []traffic.Lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.active)
}
