package replay

import (
	"context"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// side is one arm of a round: its connection, and the request and outcome of
// the present pair.
type side struct {
	target   Target
	rewriter Rewriter
	learned  *learned
	sources  map[string]bool // exchanges whose answers later ones need
	conn     *conn
	client2  *client2
	pass     uint32

	request traffic.Request
	bytes   []byte // request on the wire; reused from pair to pair
	err     error  // why it cannot be sent
	http2   bool

	out     outcome
	retried bool
	failure traffic.Failure
}

func newSide(e *Engine, t Target, rw Rewriter) *side {
	if rw == nil {
		rw = asRecorded{}
	}
	return &side{target: t, rewriter: rw, client2: e.newClient2(t), learned: newLearned(rw, t.Mock), sources: make(map[string]bool)}
}

// keep notes whose answers the exchange id needs.
func (s *side) keep(id string) {
	if wantsAll(s.rewriter) {
		s.sources[id] = true
	}
	for _, source := range s.rewriter.Needs(id) {
		s.sources[source] = true
	}
}

// begin starts repetition n of the recording. For a mock that can forget, each
// is a pass of its own; what is forgotten is two repetitions old, so that late
// calls of the one before still find their pass.
func (s *side) begin(pass, n uint32) {
	forgetter, ok := s.target.Mock.(interface{ Forget(uint32) })
	if n > 0 && !ok {
		return
	}
	s.pass = pass
	if s.target.Mock != nil {
		s.target.Mock.BeginPass(pass)
	}
	if n >= 3 { // the first is the caller's to forget
		forgetter.Forget(pass - 2<<16)
	}
}

func (s *side) close() {
	s.client2.close()
	if s.conn != nil {
		s.conn.Close()
	}
	forgetter, ok := s.target.Mock.(interface{ Forget(uint32) })
	if !ok {
		return
	}
	for n := range min(s.pass>>16, 2) {
		forgetter.Forget(s.pass - n<<16)
	}
}

// prepare makes the request of the next pair and sees to a live connection.
func (s *side) prepare(ctx context.Context, e *Engine, p *planned) {
	s.out, s.retried, s.failure = outcome{}, false, traffic.FailureNone
	mark := traffic.Mark{Pass: s.pass, Lane: traffic.LaneNumber(p.lane)}
	if s.request, s.err = e.outgoing(s.target, s.rewriter.Request(p.recorded), mark); s.err != nil {
		return
	}
	if s.http2 = e.overHTTP2(p.recorded); s.http2 {
		return // the library keeps its connection
	}
	s.bytes = appendHTTP1(s.bytes[:0], &s.request)
	if s.conn != nil && !s.conn.alive() {
		s.conn.Close()
		s.conn = nil
	}
	if s.conn == nil {
		s.conn, s.err = e.dialBefore(ctx, s.target, time.Now().Add(e.opts.Timeout))
		if s.err == nil {
			s.conn.Conn = direct(s.conn.Conn)
			s.conn.answers.src = s.conn.Conn
		}
	}
}

// send sends the prepared request and waits for the whole answer. It returns
// how late after its planned moment the request was sent.
func (s *side) send(ctx context.Context, r *roundRun, p *planned) (lag time.Duration, sent bool) {
	if s.err != nil {
		s.failure = failureOf(ctx, s.err)
		return 0, false
	}
	if s.target.Mock != nil {
		s.target.Mock.Enter(s.pass, p.lane)
		defer s.target.Mock.Leave(s.pass, p.lane)
		s.learned.bind(s.pass, p.recorded.ID, p.lane)
	}
	moment := time.Now().Add(r.opts.Gap)
	if r.opts.Gap > 0 && r.waiter.Until(ctx, moment) != nil {
		s.failure = traffic.FailureCanceled
		return 0, false
	}
	source := s.sources[p.recorded.ID]
	var err error
	if s.http2 {
		s.out, err = s.client2.send(ctx, &s.request, source)
	} else {
		s.conn, s.out, s.retried, err = r.engine.send(ctx, s.conn, sending{
			target: s.target, request: s.bytes, method: s.request.Method, keep: source, stream: r.engine.streams[p.recorded.ID],
		})
	}
	s.failure = failureOf(ctx, err)
	if source {
		live := &traffic.Exchange{
			ID: s.target.Arm + "-" + p.recorded.ID, Direction: traffic.Inbound, Lane: p.lane,
			Recorded: p.recorded.ID, Request: s.request,
		}
		fillIn(ctx, live, s.out, err)
		s.learned.observe(s.pass, p.recorded, live, p.lane)
	}
	return s.out.sent.Sub(moment), true
}
