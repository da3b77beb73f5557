package mock

import (
	"strconv"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// record is a journalled call. Its exchange is complete once done.
type record struct {
	mu      sync.Mutex
	x       *traffic.Exchange
	entry   int32
	replays bool  // the response is that of the entry, which is read when somebody asks
	call    *call // kept for misses, until they are explained
	nearest bool  // the nearest recorded calls have been looked for
}

// arrival is what the listener knows of a call.
type arrival struct {
	connection string
	start      time.Time
}

// decide finds the answer to a request and journals it.
func (m *Mock) decide(req *traffic.Request, a arrival) (*record, outcome) {
	return m.decideCall(m.index.newCall(req), a)
}

func (m *Mock) decideCall(c *call, a arrival) (*record, outcome) {
	p, lane, by, others := m.attribute(c, a.connection)
	p.settle.RLock()
	defer p.settle.RUnlock()
	ls := p.lane(m.index, lane)
	if by == traffic.ByTrace {
		ls.mu.Lock()
		ls.entered = true
		ls.mu.Unlock()
	}
	o := m.settle(p, ls, c, others)
	x := &traffic.Exchange{
		Direction: traffic.Outbound, Lane: lane, Start: a.start, Request: *c.req,
		Origin: traffic.Origin{Source: "mock", Connection: a.connection, Certainty: by},
		Match:  &traffic.Match{Tier: o.tier, Pass: p.number, Reason: o.reason},
	}
	r := &record{x: x, entry: o.entry}
	if o.tier == traffic.TierMiss {
		r.call = c
	} else if c.scratch != nil {
		defer m.index.done(c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live++
	p.by[by]++
	if others != nil {
		p.unsure++
	}
	p.tiers[o.tier]++
	p.byLane[lane]++
	if by != traffic.ByNothing {
		p.onConnection(a.connection, lane)
	}
	x.ID = callID(m.opts.Arm, p.number, p.live)
	if len(p.journal) < m.opts.MaxJournal {
		p.journal = append(p.journal, r)
	}
	return r, o
}

// callID names the n-th call of a pass.
func callID(arm string, pass uint32, n int) string {
	b := make([]byte, 0, len(arm)+24)
	b = append(append(b, arm...), '-')
	b = strconv.AppendUint(b, uint64(pass), 10)
	b = append(b, "-out-"...)
	for width := 100000; width > n && width > 1; width /= 10 {
		b = append(b, '0')
	}
	return string(strconv.AppendInt(b, int64(n), 10))
}

// heard replaces the body of a request whose end came after its decision.
func (r *record) heard(raw []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.x.Request.Body = traffic.NewBody(raw, r.x.Request.Header)
}

// replayed completes a journalled call that was answered as recorded.
func (r *record) replayed(failure traffic.Failure, firstByte, duration time.Duration) {
	r.finish(nil, failure, firstByte, duration)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replays = true
}

// finish completes a journalled call with what was sent.
func (r *record) finish(response *traffic.Response, failure traffic.Failure, firstByte, duration time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.x.Response, r.x.Failure, r.x.FirstByte, r.x.Duration = response, failure, firstByte, duration
}

// Calls returns the calls of a pass in the order of arrival. Each is complete
// as of now: one whose answer is still being written has no Response yet. The
// caller may change the exchanges, but not the bytes of their bodies. Misses
// carry their nearest recorded calls.
func (m *Mock) Calls(number uint32) []*traffic.Exchange {
	m.mu.Lock()
	p := m.passes[number]
	m.mu.Unlock()
	if p == nil {
		return nil
	}
	journal := p.kept()
	calls := make([]*traffic.Exchange, len(journal))
	for i, r := range journal {
		calls[i] = m.snapshot(r)
	}
	return calls
}

// kept returns the journal as of now; the caller must not change the slice.
func (p *pass) kept() []*record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.journal[:len(p.journal):len(p.journal)]
}

// snapshot returns a journalled call as of now, explained if it is a miss.
func (m *Mock) snapshot(r *record) *traffic.Exchange {
	m.explainMiss(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	x, match := *r.x, *r.x.Match
	x.Match = &match
	if r.entry != none {
		x.Recorded = m.index.id(r.entry)
		match.Record = x.Recorded
	}
	if r.replays {
		x.Response = m.index.response(r.entry)
	}
	return &x
}
