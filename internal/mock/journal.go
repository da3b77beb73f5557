package mock

import (
	"strconv"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// record is a decided call, in one piece of memory. Its exchange is complete once
// done.
type record struct {
	mu      sync.Mutex
	x       traffic.Exchange
	match   traffic.Match // that of x
	entry   int32
	kept    bool  // in the journal
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
	r := m.record()
	r.x = traffic.Exchange{
		Direction: traffic.Outbound, Lane: lane, Start: a.start, Request: *c.req,
		Origin: traffic.Origin{Source: "mock", Connection: a.connection, Certainty: by},
		Match:  &r.match,
	}
	r.match = traffic.Match{Tier: o.tier, Pass: p.number, Reason: o.reason}
	r.entry = o.entry
	missed := o.tier == traffic.TierMiss
	if !missed {
		m.index.done(c)
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
	if r.kept = len(p.journal) < m.opts.MaxJournal; r.kept {
		p.journal = append(p.journal, r)
	}
	if r.kept || missed { // nobody else is told the id
		r.x.ID = callID(m.opts.Arm, p.number, p.live)
	}
	if r.kept && missed {
		c.req, r.call = &r.x.Request, c
	}
	return r, o
}

// record returns an empty record, with the memory of one that is dropped where
// there is one.
func (m *Mock) record() *record {
	if r, ok := m.records.Get().(*record); ok {
		return r
	}
	return new(record)
}

// drop takes back the record of a call that was answered, unless the journal
// keeps it, and reports whether it did. Nobody may use it any more then.
func (m *Mock) drop(r *record) bool {
	if r.kept {
		return false
	}
	*r = record{}
	m.records.Put(r)
	return true
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
	r.mu.Lock()
	defer r.mu.Unlock()
	r.x.Response, r.x.Failure, r.x.FirstByte, r.x.Duration = nil, failure, firstByte, duration
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
	x, match := r.x, r.match
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
