package replay

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// driver knows which request of a load goes next and what became of those
// before. It neither waits nor sends: its owner, one transport, calls it from
// one goroutine at a time.
type driver struct {
	engine *Engine
	target Target
	plan   *Plan
	load   Load
	graph  graph
	start  time.Time
	meet   func() time.Time // waits for the other arm and returns the common start; nil: alone

	next      int64 // number of the next shot
	ahead     *job  // the next shot, perhaps ready to be sent
	blocked   int   // jobs that are due but wait for an answer
	instances map[int32]*instance
	templates []template
	sources   []bool // by exchange: later requests need its answer
	last      []bool // by exchange: the last of its session
	spare     []*job
	result    *Result
}

// instance is one copy of the recording in one loop.
type instance struct {
	number   int32
	pass     uint32
	rewriter Rewriter
	learned  *learned
	waits    []int32
	blocked  map[int32]*job
	left     int
}

// template is a request that needs no rewriting, as bytes with a hole for the
// pass in its mark.
type template struct {
	method string
	bytes  []byte
	hole   int
}

// job is one request on its way.
type job struct {
	shot
	instance *instance
	planned  time.Duration
	due      time.Duration // planned, or when the answer that it waited for came
	ready    bool          // request is made
	request  []byte
	method   string
	keep     bool
	sent     *traffic.Request // nil when made from a template
	err      error            // why it cannot be sent
	retried  bool
}

func (e *Engine) newDriver(t Target, p *Plan) *driver {
	d := &driver{
		engine: e, target: t, plan: p, load: p.load,
		instances: make(map[int32]*instance),
		templates: make([]template, len(e.inbound)), sources: make([]bool, len(e.inbound)),
	}
	rw := p.load.rewriter(0, 0)
	d.graph = newGraph(e.inbound, e.sessions, rw.Needs)
	d.last = make([]bool, len(e.inbound))
	ended := make(map[int]bool)
	for i := range slices.Backward(e.inbound) {
		d.last[i] = !ended[e.sessions[i]]
		ended[e.sessions[i]] = true
	}
	all := wantsAll(rw)
	index := make(map[string]int, len(e.inbound))
	for i, x := range e.inbound {
		d.sources[i] = d.sources[i] || all
		index[x.ID] = i
		for _, id := range rw.Needs(x.ID) {
			if j, ok := index[id]; ok {
				d.sources[j] = true
			}
		}
	}
	expected := p.Requests
	if expected < 0 {
		expected = 1 << 16
	}
	d.result = &Result{Plan: p, Samples: make([]Sample, 0, min(expected, 1<<20)), engine: e, arm: t.Arm}
	if t.Mock != nil {
		t.Mock.BeginPass(p.load.Pass)
	}
	return d
}

// peek returns the moment of the next shot, and false after the last.
func (d *driver) peek() (time.Duration, bool) {
	if d.ahead == nil {
		if d.plan.Requests >= 0 && d.next >= d.plan.Requests || len(d.engine.inbound) == 0 {
			return 0, false
		}
		j := d.job()
		j.shot = d.plan.shot(d.next)
		j.planned = j.at
		j.instance = d.instanceOf(j.shot.instance)
		if j.instance.waits[j.exchange] == 0 {
			d.prepare(j)
		}
		d.ahead = j
	}
	return d.ahead.at, true
}

// Drive sends a load to t and returns what it came to, in whatever state it is
// when ctx ends; the error is then the cause of ctx.
func (e *Engine) Drive(ctx context.Context, t Target, p *Plan) (*Result, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	if p.n != len(e.inbound) {
		return nil, errors.New("replay: the plan was made for another recording")
	}
	if err := enoughFiles(p.load.Connections); err != nil {
		return nil, err
	}
	return e.drive(ctx, t, p, nil)
}

func (e *Engine) drive(ctx context.Context, t Target, p *Plan, meet func() time.Time) (*Result, error) {
	d := e.newDriver(t, p)
	d.meet = meet
	ran, err := e.runLoop(ctx, d)
	if err != nil {
		return nil, err
	}
	if !ran {
		e.runWorkers(ctx, d)
	}
	d.close()
	if ctx.Err() != nil {
		return d.result, fmt.Errorf("load on %s: %d requests not sent: %w", t.Arm, d.result.Unsent, context.Cause(ctx))
	}
	return d.result, nil
}

// begin starts the clock of the load.
func (d *driver) begin() {
	d.start = time.Now()
	if d.meet != nil {
		d.start = d.meet()
	}
	d.result.Start = d.start
}

// take hands out the shot that peek announced, or nil when it has to wait for
// an answer first; done hands it out then. A load without moments of its own
// plans it for now.
func (d *driver) take(now time.Duration) *job {
	j := d.ahead
	d.ahead = nil
	d.next++
	if d.load.Max {
		j.planned = now
	}
	j.due = j.planned
	if j.instance.waits[j.exchange] > 0 {
		j.instance.blocked[j.exchange] = j
		d.blocked++
		return nil
	}
	if !j.ready {
		d.prepare(j)
	}
	return j
}

// over reports that a load that is limited by time has none left.
func (d *driver) over(now time.Duration) bool {
	return d.load.Budget > 0 && d.load.Max && now >= d.load.Budget
}

func (d *driver) job() *job {
	if n := len(d.spare); n > 0 {
		j := d.spare[n-1]
		d.spare = d.spare[:n-1]
		*j = job{request: j.request[:0]}
		return j
	}
	return new(job)
}

func (d *driver) instanceOf(number int32) *instance {
	if in, ok := d.instances[number]; ok {
		return in
	}
	copies := int32(d.load.Copies)
	rw := d.load.rewriter(int(number%copies), int(number/copies))
	in := &instance{
		number: number, pass: d.load.Pass + uint32(number)<<16, rewriter: rw, learned: newLearned(rw, d.target.Mock),
		waits: append([]int32(nil), d.graph.waits...), blocked: make(map[int32]*job), left: len(d.engine.inbound),
	}
	d.instances[number] = in
	return in
}

// prepare makes the bytes of a request: from a template when it goes out as
// recorded, which copies some bytes and allocates nothing.
func (d *driver) prepare(j *job) {
	j.ready = true
	x := d.engine.inbound[j.exchange]
	j.keep = d.sources[j.exchange]
	req := j.instance.rewriter.Request(x)
	if req != &x.Request || d.engine.overHTTP2(x) || overWebSocket(x) {
		mark := traffic.Mark{Pass: j.instance.pass, Lane: traffic.LaneNumber(laneOf(x))}
		out, err := d.engine.outgoing(d.target, req, mark)
		j.sent, j.err, j.method = &out, err, out.Method
		j.request = appendHTTP1(j.request[:0], &out)
		return
	}
	t := &d.templates[j.exchange]
	if t.bytes == nil {
		mark := traffic.Mark{Lane: traffic.LaneNumber(laneOf(x))}
		out, err := d.engine.outgoing(d.target, req, mark)
		if err != nil {
			j.err = err
			return
		}
		t.method, t.bytes = out.Method, appendHTTP1(nil, &out)
		t.hole = bytes.Index(t.bytes, []byte(mark.Traceparent())) + len("00-72657072")
	}
	j.method = t.method
	j.request = append(j.request[:0], t.bytes...)
	p := j.instance.pass
	hex.Encode(j.request[t.hole:t.hole+8], []byte{byte(p >> 24), byte(p >> 16), byte(p >> 8), byte(p)})
}

// launch tells the mock that a request is about to be sent.
func (d *driver) launch(j *job) {
	if d.target.Mock == nil {
		return
	}
	x := d.engine.inbound[j.exchange]
	d.target.Mock.Enter(j.instance.pass, laneOf(x))
	j.instance.learned.bind(j.instance.pass, x.ID, laneOf(x))
}

// finish records what became of a request and appends to released the jobs that
// waited for it and are due. Times in o count from the start of the load.
func (d *driver) finish(ctx context.Context, j *job, o sampleTimes, ans *answer, err error, released []*job) []*job {
	s := Sample{
		Exchange: j.exchange, Instance: j.shot.instance, Planned: j.planned, Due: j.due,
		Sent: o.sent, First: o.first, Last: o.last, Retried: j.retried,
		failure: failureCode(failureOf(ctx, err)),
	}
	if err != nil {
		d.result.explain(s.Failure(), err.Error()+remedy(err))
	} else {
		s.Status = uint16(ans.status)
		s.Size = ans.size
	}
	d.result.add(s)
	in, x := j.instance, d.engine.inbound[j.exchange]
	if d.target.Mock != nil {
		defer d.target.Mock.Leave(in.pass, laneOf(x))
	}
	if j.keep {
		d.observe(ctx, j, o, ans, err)
	}
	for _, next := range d.graph.after[j.exchange] {
		if in.waits[next]--; in.waits[next] == 0 {
			if w, ok := in.blocked[next]; ok {
				delete(in.blocked, next)
				d.blocked--
				w.due = max(o.last, w.planned)
				d.prepare(w)
				released = append(released, w)
			}
		}
	}
	if in.left--; in.left == 0 {
		delete(d.instances, in.number)
		if f, ok := d.target.Mock.(interface{ Forget(uint32) }); ok && in.number > 0 {
			f.Forget(in.pass)
		}
	}
	d.spare = append(d.spare, j)
	return released
}

func (d *driver) observe(ctx context.Context, j *job, o sampleTimes, ans *answer, err error) {
	x := d.engine.inbound[j.exchange]
	live := &traffic.Exchange{
		ID: d.target.Arm + "-" + x.ID, Direction: traffic.Inbound, Lane: laneOf(x), Recorded: x.ID, Request: x.Request,
	}
	if j.sent != nil {
		live.Request = *j.sent
	}
	full := outcome{moments: moments{d.start.Add(o.sent), d.start.Add(o.first), d.start.Add(o.last)}}
	if ans != nil {
		full.answer = *ans
	}
	fillIn(ctx, live, full, err)
	j.instance.learned.observe(j.instance.pass, x, live, laneOf(x))
}

// sampleTimes are moments from the start of a load.
type sampleTimes struct{ sent, first, last time.Duration }

// lastOfSession reports whether no request follows in the session of j, in
// its copy and loop.
func (d *driver) lastOfSession(j *job) bool { return d.last[j.exchange] }

// close forgets the passes that did not end and counts what was never sent.
func (d *driver) close() {
	for _, in := range d.instances {
		d.result.Unsent += int64(len(in.blocked))
		if f, ok := d.target.Mock.(interface{ Forget(uint32) }); ok && in.number > 0 {
			f.Forget(in.pass)
		}
	}
	if d.plan.Requests >= 0 {
		d.result.Unsent += d.plan.Requests - d.next
	}
	d.result.Elapsed = time.Since(d.start)
}
