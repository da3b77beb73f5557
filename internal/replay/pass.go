package replay

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Pass sends every recorded request to t once and hands each live exchange to
// emit, one at a time. The requests of a session keep their order, and a
// request waits for the answers it needs; otherwise at most
// Options.Concurrency are in flight.
//
// A live exchange has the ID "<arm>-<pass>-<recorded id>", the lane of the
// recorded one, the request as it was sent and either the whole answer or its
// Failure. A request that fails is no error of the pass. Pass returns an error
// only for a target that cannot be meant or when ctx ends first; requests that
// were in flight are then emitted as cancelled, and the rest not at all.
//
// rw may be nil: then the requests go out as recorded.
func (e *Engine) Pass(ctx context.Context, t Target, rw Rewriter, pass uint32, emit func(*traffic.Exchange)) error {
	return e.PassWith(ctx, t, rw, pass, e.opts.Concurrency, emit)
}

// PassWith is Pass with another bound on the requests in flight.
func (e *Engine) PassWith(ctx context.Context, t Target, rw Rewriter, pass uint32, concurrency int, emit func(*traffic.Exchange)) error {
	if err := t.validate(); err != nil {
		return err
	}
	if rw == nil {
		rw = asRecorded{}
	}
	if t.Mock != nil {
		t.Mock.BeginPass(pass)
	}
	run := &passRun{
		engine: e, target: t, rewriter: rw, pass: pass,
		pool: pool{idle: make(map[int]*conn)}, client2: e.newClient2(t), learned: newLearned(rw, t.Mock),
	}
	defer run.pool.close()
	defer run.client2.close()
	q := newQueue(newGraph(e.inbound, e.sessions, rw.Needs))
	stop := context.AfterFunc(ctx, func() { q.close() })
	defer stop()

	var emitting sync.Mutex
	var workers sync.WaitGroup
	for range min(concurrency, len(e.inbound)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i, ok := q.next()
				if !ok {
					return
				}
				live := run.send(ctx, i)
				emitting.Lock()
				emit(live)
				emitting.Unlock()
				q.done(i)
			}
		})
	}
	workers.Wait()
	if left := q.close(); ctx.Err() != nil {
		return fmt.Errorf("pass %d on %s: %d of %d requests not sent: %w", pass, t.Arm, left, len(e.inbound), context.Cause(ctx))
	}
	return nil
}

// passRun is the state of one pass.
type passRun struct {
	engine   *Engine
	target   Target
	rewriter Rewriter
	pass     uint32
	pool     pool
	client2  *client2
	learned  *learned
}

// send sends exchange i and returns what became of it.
func (r *passRun) send(ctx context.Context, i int) *traffic.Exchange {
	e, x, session := r.engine, r.engine.inbound[i], r.engine.sessions[i]
	lane := laneOf(x)
	live := &traffic.Exchange{
		ID:        r.target.Arm + "-" + strconv.FormatUint(uint64(r.pass), 10) + "-" + x.ID,
		Direction: traffic.Inbound, Lane: lane, Recorded: x.ID,
		Origin: traffic.Origin{Source: "replay"},
	}
	var err error
	live.Request, err = e.outgoing(r.target, r.rewriter.Request(x), traffic.Mark{Pass: r.pass, Lane: traffic.LaneNumber(lane)})
	var o outcome
	if err == nil {
		if r.target.Mock != nil {
			r.target.Mock.Enter(r.pass, lane)
			defer r.target.Mock.Leave(r.pass, lane)
			r.learned.bind(r.pass, x.ID, lane)
		}
		o, err = r.over(ctx, x, session, &live.Request)
	}
	fillIn(ctx, live, o, err)
	r.learned.observe(r.pass, x, live, lane)
	return live
}

// over sends a request over the protocol that it needs.
func (r *passRun) over(ctx context.Context, x *traffic.Exchange, session int, out *traffic.Request) (outcome, error) {
	if overWebSocket(x) {
		return r.engine.webSocket(ctx, r.target, x, out, r.rewriter, 1)
	}
	if r.engine.overHTTP2(x) {
		out.Proto = "HTTP/2.0"
		return r.client2.paced(ctx, x, out, r.rewriter, 1, true)
	}
	c, o, _, err := r.engine.send(ctx, r.pool.take(session), sending{
		target: r.target, request: appendHTTP1(nil, out), method: out.Method, keep: true, stream: r.engine.streams[x.ID],
	})
	r.pool.give(session, c)
	return o, err
}

// fillIn completes a live exchange with what came of it.
func fillIn(ctx context.Context, live *traffic.Exchange, o outcome, err error) {
	live.Start = o.sent
	live.Origin.Connection = o.connection
	a := o.answer
	if err != nil {
		live.Failure = failureOf(ctx, err)
		live.Incomplete = append(live.Incomplete, err.Error())
		if a.status != 0 {
			live.Incomplete = append(live.Incomplete,
				fmt.Sprintf("status %d and %d body bytes came before the failure", a.status, a.size))
		}
		return
	}
	live.FirstByte, live.Duration = o.first.Sub(o.sent), o.last.Sub(o.sent)
	live.Response = &traffic.Response{
		Status: a.status, Proto: a.proto, Header: a.header, Trailer: a.trailer,
		Body: traffic.NewBody(a.body, a.header),
	}
	if a.truncated {
		live.Response.Body.Truncated = true
		live.Response.Body.Size = max(a.declared, a.size)
		live.Incomplete = append(live.Incomplete, fmt.Sprintf("response body cut at %d bytes", a.size))
	}
}

// learned keeps the pairs of values that answers taught, by the recorded
// exchange they came from, and tells the mock of them in each lane that
// depends on it.
type learned struct {
	rewriter Rewriter
	mock     Lanes
	mu       sync.Mutex
	from     map[string][]traffic.Binding
}

func newLearned(rw Rewriter, mock Lanes) *learned {
	return &learned{rewriter: rw, mock: mock, from: make(map[string][]traffic.Binding)}
}

// bind tells the mock, before the exchange id is sent in lane, what its
// sources taught, and which dates of its own moved.
func (l *learned) bind(pass uint32, id string, lane traffic.Lane) {
	for _, source := range l.rewriter.Needs(id) {
		l.mu.Lock()
		pairs := l.from[source]
		l.mu.Unlock()
		for _, b := range pairs {
			l.mock.Bind(pass, lane, b.Recorded, b.Live)
		}
	}
	if dates, ok := l.rewriter.(interface {
		Moved(string) []traffic.Binding
	}); ok {
		for _, b := range dates.Moved(id) {
			l.mock.Bind(pass, lane, b.Recorded, b.Live)
		}
	}
}

// observe learns from a live answer, for the rest of its own lane too.
func (l *learned) observe(pass uint32, recorded, live *traffic.Exchange, lane traffic.Lane) {
	pairs := l.rewriter.Observe(recorded, live)
	if len(pairs) == 0 || l.mock == nil {
		return
	}
	l.mu.Lock()
	l.from[recorded.ID] = pairs
	l.mu.Unlock()
	for _, b := range pairs {
		l.mock.Bind(pass, lane, b.Recorded, b.Live)
	}
}
