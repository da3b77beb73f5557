package snapshot

import (
	"container/heap"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// ShrinkOptions bound a smaller snapshot. A bound of zero does not bind.
type ShrinkOptions struct {
	// Size is the largest sum of the bytes of requests and responses.
	Size int64
	// Budget is the longest time that the recorded inbound requests took
	// together, which is about what replaying them one by one takes.
	Budget time.Duration
}

// Shrunk says what [Shrink] kept and what it let go.
type Shrunk struct {
	Manifest Manifest
	Before   Extent
	After    Extent
	// LetGo lists what the source covers and the result does not, the kinds
	// that matter most first. It is empty when the bounds left room.
	LetGo []Coverage
}

// Extent is the size of a set of exchanges.
type Extent struct {
	Exchanges int
	Bytes     int64
	Time      time.Duration // of the inbound requests together
}

// Coverage is one thing that traffic shows, and how often.
type Coverage struct {
	Kind  CoverageKind
	Name  string // "GET /v1/orders/{id} 404"
	Count int    // exchanges that show it
}

// CoverageKind is what a Coverage is about.
type CoverageKind string

// The kinds of coverage, the most important first.
const (
	CoversEndpoint     CoverageKind = "endpoint"
	CoversStatus       CoverageKind = "status"
	CoversOutbound     CoverageKind = "outbound"       // a dependency's endpoint and status
	CoversCalls        CoverageKind = "calls"          // which calls one request causes, in order
	CoversResponseBody CoverageKind = "response shape" // the members and types of a body
	CoversRequestBody  CoverageKind = "request shape"
)

// Shrink writes to dst the smallest set of the exchanges at src that it finds
// which covers the same endpoints, statuses, body shapes and outbound shapes
// within the bounds. An inbound exchange stays together with the calls it
// caused, and with earlier exchanges whose answers it uses.
func Shrink(src, dst string, opts ShrinkOptions) (Shrunk, error) {
	s, err := shrink(src, dst, opts)
	if err != nil {
		return Shrunk{}, fmt.Errorf("shrink snapshot: %w", err)
	}
	return s, nil
}

func shrink(src, dst string, opts ShrinkOptions) (Shrunk, error) {
	r, err := openFor(src, dst)
	if err != nil {
		return Shrunk{}, err
	}
	defer r.Close()
	set := newLaneSet()
	if err := each(r.tier, func(x *traffic.Exchange, rt route) error {
		set.observe(x, rt)
		return nil
	}); err != nil {
		return Shrunk{}, err
	}
	set.finish()
	result := Shrunk{Before: set.extent(func(*laneInfo) bool { return true })}
	set.choose(opts)
	kept := func(l *laneInfo) bool { return l.kept }
	result.After = set.extent(kept)
	result.LetGo = set.letGo()

	m := r.Manifest()
	m.Inbound, m.Outbound, m.Completeness.Incomplete = 0, 0, 0
	m.RecordedFrom, m.RecordedTo = time.Time{}, time.Time{}
	keptOnly := func(yield func(*traffic.Exchange, route, error) bool) {
		r.tier.all(func(x *traffic.Exchange, rt route, err error) bool {
			if err == nil && !set.of(x).kept {
				return true
			}
			return yield(x, rt, err)
		})
	}
	err = each(tierFunc(keptOnly), func(x *traffic.Exchange, _ route) error {
		if x.Direction == traffic.Inbound {
			m.Inbound++
		} else {
			m.Outbound++
		}
		if len(x.Incomplete) > 0 {
			m.Completeness.Incomplete++
		}
		if m.RecordedFrom.IsZero() {
			m.RecordedFrom = x.Start
		}
		m.RecordedTo = x.Start
		return nil
	})
	if err != nil {
		return Shrunk{}, err
	}
	// What is left out now was left out on purpose, as if it had been sampled.
	c := &m.Completeness
	c.SampledOut += c.Stored - m.Inbound - m.Outbound
	c.Stored = m.Inbound + m.Outbound
	result.Manifest, err = writeTier(dst, m, keptOnly)
	return result, err
}

// sequence is the exchanges of a tier, in order, with their routes.
type sequence interface {
	all(yield func(*traffic.Exchange, route, error) bool)
}

type tierFunc func(yield func(*traffic.Exchange, route, error) bool)

func (f tierFunc) all(yield func(*traffic.Exchange, route, error) bool) { f(yield) }

// each calls visit for every exchange, until the first error.
func each(s sequence, visit func(*traffic.Exchange, route) error) (err error) {
	s.all(func(x *traffic.Exchange, r route, readErr error) bool {
		if err = readErr; err == nil {
			err = visit(x, r)
		}
		return err == nil
	})
	return err
}

// writeTier writes a snapshot of the tier that the name of dst asks for.
func writeTier(dst string, m Manifest, all tierFunc) (Manifest, error) {
	dst = filepath.Clean(dst)
	if strings.HasSuffix(dst, packSuffix) {
		return packTo(dst, m, all)
	}
	return m, writeText(dst, false, &m, all)
}

// laneInfo is what is known about one lane: the unit that is kept or not.
type laneInfo struct {
	lane     traffic.Lane
	extent   Extent
	features []int
	needs    []int // lanes whose answers this one uses
	calls    []string
	endpoint string
	kept     bool
}

// laneSet judges which lanes are worth keeping.
type laneSet struct {
	lanes   []*laneInfo
	byLane  map[traffic.Lane]int
	names   []Coverage
	byName  map[Coverage]int // with Count zero
	covered []bool
	origins map[uint64]int // hash of a value to the lane whose answer had it first
}

func newLaneSet() *laneSet {
	return &laneSet{byLane: map[traffic.Lane]int{}, byName: map[Coverage]int{}, origins: map[uint64]int{}}
}

// key is the lane of an exchange. Calls that no request caused stand for
// themselves, so that a long background does not have to be kept whole.
func (s *laneSet) key(x *traffic.Exchange) traffic.Lane {
	if x.Direction == traffic.Outbound && (x.Lane == traffic.LaneBackground || x.Lane == "") {
		return traffic.Lane("\x00" + x.ID)
	}
	return x.Lane
}

func (s *laneSet) of(x *traffic.Exchange) *laneInfo { return s.lanes[s.byLane[s.key(x)]] }

func (s *laneSet) observe(x *traffic.Exchange, r route) {
	key := s.key(x)
	n, ok := s.byLane[key]
	if !ok {
		n = len(s.lanes)
		s.byLane[key] = n
		s.lanes = append(s.lanes, &laneInfo{lane: key})
	}
	l := s.lanes[n]
	l.extent.Exchanges++
	l.extent.Bytes += exchangeBytes(x)
	status := "no answer"
	if x.Response != nil {
		status = fmt.Sprint(x.Response.Status)
	} else if x.Failure != "" {
		status = string(x.Failure)
	}
	if x.Direction == traffic.Inbound {
		l.extent.Time += x.Duration
		l.endpoint = r.title
		s.feature(l, CoversEndpoint, r.title)
		s.feature(l, CoversStatus, r.title+" "+status)
	} else {
		l.calls = append(l.calls, r.title)
		s.feature(l, CoversOutbound, r.title+" "+status)
	}
	s.feature(l, CoversRequestBody, r.title+" "+shapeOf(x.Request.Body)+" "+queryKeys(&x.Request))
	if x.Response != nil {
		s.feature(l, CoversResponseBody, r.title+" "+status+" "+shapeOf(x.Response.Body))
	}
	s.link(x, n)
}

func exchangeBytes(x *traffic.Exchange) int64 {
	size := len(x.Request.Target) + len(x.Request.Body.Raw)
	for _, f := range x.Request.Header {
		size += len(f.Name) + len(f.Value) + 4
	}
	if x.Response != nil {
		size += len(x.Response.Body.Raw)
		for _, f := range x.Response.Header {
			size += len(f.Name) + len(f.Value) + 4
		}
	}
	return int64(size)
}

func (s *laneSet) feature(l *laneInfo, kind CoverageKind, name string) {
	id := Coverage{Kind: kind, Name: name}
	n, ok := s.byName[id]
	if !ok {
		n = len(s.names)
		s.byName[id] = n
		s.names = append(s.names, id)
	}
	s.names[n].Count++
	if !slices.Contains(l.features, n) {
		l.features = append(l.features, n)
	}
}

// link finds the earlier lanes whose answers a request uses, and remembers
// the values of its own answer.
func (s *laneSet) link(x *traffic.Exchange, n int) {
	l := s.lanes[n]
	if x.Direction == traffic.Inbound {
		for word := range wordsOf(x.Request.Target, x.Request.Header, x.Request.Body) {
			if origin, ok := s.origins[word]; ok && origin != n && !slices.Contains(l.needs, origin) {
				l.needs = append(l.needs, origin)
			}
		}
	}
	if x.Direction == traffic.Inbound && x.Response != nil {
		for word := range wordsOf("", x.Response.Header, x.Response.Body) {
			if _, ok := s.origins[word]; !ok && len(s.origins) < maxOrigins {
				s.origins[word] = n
			}
		}
	}
}

// maxOrigins bounds the values that are remembered (24 bytes each).
const maxOrigins = 4 << 20

func (s *laneSet) finish() {
	for _, l := range s.lanes {
		if l.endpoint != "" && len(l.calls) > 0 {
			s.feature(l, CoversCalls, l.endpoint+": "+strings.Join(l.calls, ", "))
		}
	}
	s.covered = make([]bool, len(s.names))
	s.origins = nil
}

func (s *laneSet) extent(with func(*laneInfo) bool) (sum Extent) {
	for _, l := range s.lanes {
		if with(l) {
			sum.Exchanges += l.extent.Exchanges
			sum.Bytes += l.extent.Bytes
			sum.Time += l.extent.Time
		}
	}
	return sum
}

// weight makes whole endpoints worth more than another shape of one.
func (k CoverageKind) weight() float64 {
	switch k {
	case CoversEndpoint:
		return 100
	case CoversStatus, CoversOutbound:
		return 10
	case CoversCalls:
		return 5
	}
	return 1
}

// choose marks the lanes to keep: greedily the one that covers most for its
// bytes. What one lane covers only falls as others are kept, so a stale
// estimate at the head of the queue is made anew and put back.
func (s *laneSet) choose(opts ShrinkOptions) {
	used := Extent{}
	if n, ok := s.byLane[traffic.LaneBoot]; ok { // no service starts without it
		s.keep([]int{n}, &used)
	}
	queue := &laneQueue{}
	for n := range s.lanes {
		if worth, _, _ := s.estimate(n); worth > 0 {
			heap.Push(queue, candidate{n, worth})
		}
	}
	for queue.Len() > 0 {
		c := heap.Pop(queue).(candidate)
		worth, lanes, cost := s.estimate(c.lane)
		if worth <= 0 {
			continue
		}
		if queue.Len() > 0 && worth < (*queue)[0].worth {
			heap.Push(queue, candidate{c.lane, worth})
			continue
		}
		if opts.Size > 0 && used.Bytes+cost.Bytes > opts.Size || opts.Budget > 0 && used.Time+cost.Time > opts.Budget {
			continue // a smaller one may still fit
		}
		s.keep(lanes, &used)
	}
}

func (s *laneSet) keep(lanes []int, used *Extent) {
	for _, n := range lanes {
		l := s.lanes[n]
		l.kept = true
		used.Bytes += l.extent.Bytes
		used.Time += l.extent.Time
		for _, f := range l.features {
			s.covered[f] = true
		}
	}
}

// estimate returns what keeping a lane and all it needs would newly cover for
// each byte, the lanes that this takes, and what they cost.
func (s *laneSet) estimate(n int) (worth float64, lanes []int, cost Extent) {
	if s.lanes[n].kept {
		return 0, nil, cost
	}
	fresh := map[int]bool{}
	lanes = []int{n}
	for i := 0; i < len(lanes); i++ {
		l := s.lanes[lanes[i]]
		cost.Bytes += l.extent.Bytes
		cost.Time += l.extent.Time
		for _, f := range l.features {
			if !s.covered[f] && !fresh[f] {
				fresh[f] = true
				worth += s.names[f].Kind.weight()
			}
		}
		for _, need := range l.needs {
			if !s.lanes[need].kept && !slices.Contains(lanes, need) {
				lanes = append(lanes, need)
			}
		}
	}
	return worth / float64(cost.Bytes+64), lanes, cost
}

// letGo lists what is not covered.
func (s *laneSet) letGo() []Coverage {
	var list []Coverage
	for i, c := range s.names {
		if !s.covered[i] {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Coverage) int {
		switch {
		case a.Kind.weight() != b.Kind.weight():
			return int(b.Kind.weight() - a.Kind.weight())
		case a.Count != b.Count:
			return b.Count - a.Count
		}
		return strings.Compare(string(a.Kind)+a.Name, string(b.Kind)+b.Name)
	})
	return list
}

type candidate struct {
	lane  int
	worth float64
}

// laneQueue is a heap with the worthiest first; ties go to the earlier lane.
type laneQueue []candidate

func (q laneQueue) Len() int { return len(q) }
func (q laneQueue) Less(i, j int) bool {
	if q[i].worth != q[j].worth {
		return q[i].worth > q[j].worth
	}
	return q[i].lane < q[j].lane
}
func (q laneQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *laneQueue) Push(c any)   { *q = append(*q, c.(candidate)) }
func (q *laneQueue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	*q = (*q)[:last]
	return c
}

var errShape = errors.New("not a shape")
