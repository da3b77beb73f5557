package mock

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/timing"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Mock answers calls to dependencies from a recording. It is safe for
// concurrent use.
type Mock struct {
	opts   Options
	rules  []*rule
	ca     *authority.Authority
	index  *index
	waiter *timing.Waiter

	wallClock bool // opts.Now is time.Now

	mu     sync.RWMutex
	passes map[uint32]*pass
	now    atomic.Uint32 // the pass of calls without a mark

	entered    sync.Map // lane number -> traffic.Lane, for lanes that are not recorded
	laneValues sync.Map // traffic.Lane -> map[string]struct{}

	ring *fresh.Ring // nil signs nothing

	connections atomic.Uint64
	answers     sync.Pool // of *answer, to be used again
	records     sync.Pool // of *record, likewise
	near        nearIndex
	evidence    evidence
}

// New makes a mock that answers as the outbound exchanges of recorded were
// answered. Inbound ones are not served; they tell which values a lane owns.
// The mock keeps a copy of what it needs of them. ca signs the
// certificates that it presents.
func New(recorded []*traffic.Exchange, ca *authority.Authority, opts Options) (*Mock, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if ca == nil {
		return nil, errors.New("a mock needs a certificate authority")
	}
	o := opts.withDefaults()
	rules, err := compileRules(o.Rules)
	if err != nil {
		return nil, err
	}
	types, err := o.types()
	if err != nil {
		return nil, err
	}
	ring, err := o.Issuer.Open()
	if err != nil {
		return nil, err
	}
	m := &Mock{opts: o, rules: rules, ca: ca, index: newIndex(recorded, &o, types), waiter: &timing.Waiter{Learn: true}, passes: map[uint32]*pass{}}
	m.ring, m.wallClock = ring, opts.Now == nil
	if m.opts.Wait == nil {
		m.opts.Wait = m.waiter.Until
	}
	if m.index.unanswered > 0 {
		o.Log.Warn("recorded calls without an answer cannot be served", "calls", m.index.unanswered)
	}
	return m, nil
}

// BeginPass says that calls without a mark belong to this pass from now on.
// Before the first BeginPass they belong to pass 0, the boot.
func (m *Mock) BeginPass(number uint32) {
	m.pass(number)
	m.now.Store(number)
}

// Enter says that an inbound request of the lane is about to be sent: calls
// that carry no mark may belong to it until Leave.
func (m *Mock) Enter(number uint32, lane traffic.Lane) {
	p := m.pass(number)
	if _, ok := m.index.numbers[traffic.LaneNumber(lane)]; !ok {
		m.entered.LoadOrStore(traffic.LaneNumber(lane), lane)
	}
	ls := p.lane(m.index, lane)
	ls.mu.Lock()
	ls.entered = true
	ls.mu.Unlock()
	p.enter(lane)
}

// Leave says that the inbound request of the lane was answered. Calls with a
// mark are still attributed to the lane, however late.
func (m *Mock) Leave(number uint32, lane traffic.Lane) { m.pass(number).leave(lane) }

// Bind says that in this pass and lane the value live stands for recorded.
func (m *Mock) Bind(number uint32, lane traffic.Lane, recorded, live string) {
	ls := m.pass(number).lane(m.index, lane)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.learn(recorded, live)
}

// Forget drops the journal and all state of a pass, for passes whose calls
// nobody will ask for. The pass may begin anew.
func (m *Mock) Forget(number uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.passes, number)
}

// Close frees the timers of the mock. Serve must have returned.
func (m *Mock) Close() error { return m.waiter.Close() }

// Ambiguity returns the share of recorded signatures that got different
// answers, where only the order can tell which one is meant.
func (m *Mock) Ambiguity() float64 {
	if m.index.any.head.n == 0 {
		return 0
	}
	return float64(len(m.index.ambiguous)) / float64(m.index.any.head.n)
}

// maxPasses bounds the passes that marks can create, should a service make up
// marks of its own.
const maxPasses = 1 << 12

// pass returns the state of a pass, making it at the first use.
func (m *Mock) pass(number uint32) *pass {
	m.mu.RLock()
	p, ok := m.passes[number]
	m.mu.RUnlock()
	if ok {
		return p
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok = m.passes[number]
	if !ok {
		p = newPass(number)
		if len(m.passes) < maxPasses {
			m.passes[number] = p
		}
	}
	return p
}

func (m *Mock) current() *pass { return m.pass(m.now.Load()) }
