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
	shots  shots
	start  time.Time
	meet   func() time.Time // waits for the other arm and returns the common start; nil: alone

	next      int64 // number of the next shot
	ahead     *job  // the next shot, perhaps ready to be sent
	starved   bool  // the next shot is still being read
	blocked   int   // jobs that are due but wait for an answer
	open      int   // jobs that were due and have not ended
	waiting   []waiter
	instances map[instanceKey]*instance
	recent    *instance // the one asked for last
	spare     []*job
	result    *Result
}

// shots gives the requests of a load one after the other.
type shots interface {
	// shot returns request k and the part of the recording that holds its
	// exchange. It is called with each number once, in order, and reports false
	// when there are no more, or ctx ended.
	shot(k int64) (shot, *stretch, bool)
	// waits reports whether shot would wait for the recording to be read.
	waits() bool
	// close frees what was read ahead and returns what went wrong on the way.
	close() error
}

type instanceKey struct {
	number  int32
	stretch *stretch
}

// instance is one copy, in one loop, of a stretch of the recording.
type instance struct {
	number   int32
	stretch  *stretch
	pass     uint32
	rewriter Rewriter
	learned  *learned
	waits    []int32
	blocked  map[int32]*job
	done     []bool              // by exchange; nil when no other stretch follows
	later    map[int32][]waiting // those of stretches that follow, by what they wait for
	left     int
}

// waiting is an exchange that waits for one of an earlier stretch.
type waiting struct {
	in       *instance
	exchange int32
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
	number   int64 // of the shot, from 1
	launched bool
}

// recorded returns the exchange whose request the job is.
func (j *job) recorded() *traffic.Exchange { return j.instance.stretch.exchanges[j.exchange] }

// stream returns what is wanted of the answer.
func (j *job) stream() stream {
	if len(j.instance.stretch.streams) == 0 {
		return stream{}
	}
	return j.instance.stretch.streams[j.recorded().ID]
}

// session returns the session of the job, in its copy and loop.
func (j *job) session() sessionKey {
	return sessionKey{j.shot.instance, int32(j.instance.stretch.sessions[j.exchange])}
}

func (e *Engine) newDriver(t Target, p *Plan, from shots) *driver {
	d := &driver{engine: e, target: t, plan: p, load: p.load, shots: from, instances: make(map[instanceKey]*instance)}
	d.result = &Result{Plan: p, engine: e, arm: t.Arm}
	if t.Mock != nil {
		t.Mock.BeginPass(p.load.Pass)
	}
	return d
}

// hunger is how long a starved transport waits before it looks again.
const hunger = time.Millisecond

// peek returns the moment of the next shot, and false after the last, or when
// the driver is starved.
func (d *driver) peek() (time.Duration, bool) {
	if d.ahead == nil {
		if d.plan.Requests >= 0 && d.next >= d.plan.Requests {
			return 0, false
		}
		if d.starved = d.shots.waits(); d.starved {
			return 0, false
		}
		next, part, ok := d.shots.shot(d.next)
		if !ok {
			return 0, false
		}
		j := d.job()
		j.shot = next
		j.planned = j.at
		j.instance = d.instanceOf(j.shot.instance, part)
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
	d := e.newDriver(t, p, e.whole(p))
	d.meet = meet
	if p.Requests > 0 {
		d.result.Samples = make([]Sample, 0, min(p.Requests, 1<<20))
	}
	return d.run(ctx, slices.ContainsFunc(e.inbound, e.needsWorkers))
}

// needsWorkers reports whether an exchange needs more than plain HTTP/1.1.
func (e *Engine) needsWorkers(x *traffic.Exchange) bool { return e.overHTTP2(x) || overWebSocket(x) }

// run sends the load. elaborate says that something in it needs more than
// plain HTTP/1.1.
func (d *driver) run(ctx context.Context, elaborate bool) (*Result, error) {
	e, t := d.engine, d.target
	ran, err := false, error(nil)
	if !elaborate {
		ran, err = e.runLoop(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	if !ran {
		e.runWorkers(ctx, d)
	}
	if err := d.close(); err != nil && ctx.Err() == nil {
		return d.result, fmt.Errorf("load on %s: %d requests not sent: %w", t.Arm, d.result.Unsent, err)
	}
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
// an answer first, in which case finish hands it out, or when it is left out
// because too many wait. A load without moments of its own
// plans it for now.
func (d *driver) take(now time.Duration) *job {
	j := d.ahead
	d.ahead = nil
	d.next++
	if d.load.Max {
		j.planned = now
	}
	j.due = j.planned
	if !d.load.Max && d.open >= d.load.Connections+d.load.MaxWaiting {
		d.skip(j, now)
		return nil
	}
	d.open++
	j.number = d.next
	if j.instance.waits[j.exchange] > 0 {
		j.instance.blocked[j.exchange] = j
		d.blocked++
		return nil
	}
	if !j.ready {
		d.prepare(j)
	}
	if !d.load.Max && d.open > d.load.Connections {
		d.waiting = append(d.waiting, waiter{j, j.number})
	}
	return j
}

// skip leaves a request out. Those that wait for it come later in the plan, so
// there is none to release yet; they no longer wait for those before it in
// their session either.
func (d *driver) skip(j *job, now time.Duration) {
	d.result.Skipped++
	d.settle(j, now, nil)
}

// waiter is a job that has to wait for a connection, told by its number from the
// one that may have its memory later.
type waiter struct {
	job    *job
	number int64
}

// errWaited is why a job is not sent that has waited for longer than it may.
var errWaited = errors.New("waited too long for a connection")

// giveUp marks the jobs that have waited too long. Their transport hands them
// back when it would send them.
func (d *driver) giveUp(now time.Duration) {
	for len(d.waiting) > 0 {
		w := d.waiting[0]
		if waits := w.job.number == w.number && !w.job.launched; waits && now-w.job.due <= d.load.MaxWait {
			return
		} else if waits && w.job.err == nil {
			w.job.err = errWaited
		}
		d.waiting = d.waiting[1:]
	}
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

func (d *driver) instanceOf(number int32, part *stretch) *instance {
	if in := d.recent; in != nil && in.number == number && in.stretch == part {
		return in
	}
	key := instanceKey{number, part}
	if in, ok := d.instances[key]; ok {
		d.recent = in
		return in
	}
	copies := int32(d.load.Copies)
	rw := part.rewriter(d.load, int(number%copies), int(number/copies))
	in := &instance{
		number: number, stretch: part, pass: d.load.Pass + uint32(number)<<16, rewriter: rw, learned: newLearned(rw, d.target.Mock),
		waits: append([]int32(nil), part.graph.waits...), blocked: make(map[int32]*job), left: len(part.exchanges),
	}
	if part.window != nil {
		part.users++
		in.done = make([]bool, len(part.exchanges))
	}
	d.instances[key], d.recent = in, in
	for _, link := range part.earlier {
		before, ok := d.instances[instanceKey{number, link.stretch}]
		if !ok || before.done[link.exchange] {
			continue // that one has ended
		}
		in.waits[link.waiter]++
		if before.later == nil {
			before.later = make(map[int32][]waiting)
		}
		before.later[link.exchange] = append(before.later[link.exchange], waiting{in, link.waiter})
	}
	return in
}

// prepare makes the bytes of a request: from a template when it goes out as
// recorded, which copies some bytes and allocates nothing.
func (d *driver) prepare(j *job) {
	j.ready = true
	x, part := j.recorded(), j.instance.stretch
	j.keep = part.sources[j.exchange]
	req := j.instance.rewriter.Request(x)
	if req != &x.Request || d.engine.overHTTP2(x) || overWebSocket(x) {
		mark := traffic.Mark{Pass: j.instance.pass, Lane: traffic.LaneNumber(laneOf(x))}
		out, err := d.engine.outgoing(d.target, req, mark)
		j.sent, j.err, j.method = &out, err, out.Method
		j.request = appendHTTP1(j.request[:0], &out)
		return
	}
	if part.window != nil && d.load.Copies == 1 { // sent once: a template is of no use
		mark := traffic.Mark{Pass: j.instance.pass, Lane: traffic.LaneNumber(laneOf(x))}
		out, err := d.engine.outgoing(d.target, req, mark)
		j.err, j.method, j.request = err, out.Method, appendHTTP1(j.request[:0], &out)
		return
	}
	t := &part.templates[j.exchange]
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
	j.launched = true
	if d.target.Mock == nil {
		return
	}
	x := j.recorded()
	d.target.Mock.Enter(j.instance.pass, laneOf(x))
	j.instance.learned.bind(j.instance.pass, x.ID, laneOf(x))
}

// finish records what became of a request and appends to released the jobs that
// waited for it and are due. Times in o count from the start of the load.
func (d *driver) finish(ctx context.Context, j *job, o sampleTimes, ans *answer, err error, released []*job) []*job {
	d.giveUp(o.last)
	if err == errWaited {
		d.result.Skipped++
		d.open--
		return d.settle(j, o.last, released)
	}
	in, x := j.instance, j.recorded()
	s := Sample{
		Exchange: in.stretch.first + j.exchange, Instance: j.shot.instance, Planned: j.planned, Due: j.due,
		Sent: o.sent, First: o.first, Last: o.last, Retried: j.retried,
		failure: failureCode(failureOf(ctx, err)),
	}
	if err != nil {
		d.result.explain(s.Failure(), err.Error()+remedy(err))
	} else {
		s.Status = uint16(ans.status)
		s.Size = ans.size
	}
	d.result.add(s, in.stretch.endpointAt(j.exchange))
	if d.target.Mock != nil {
		defer d.target.Mock.Leave(in.pass, laneOf(x))
	}
	if j.keep {
		d.observe(ctx, j, o, ans, err)
	}
	d.open--
	return d.settle(j, o.last, released)
}

// settle ends a job, whatever became of it, and appends to released the jobs
// that waited for it and are due.
func (d *driver) settle(j *job, at time.Duration, released []*job) []*job {
	in := j.instance
	for _, next := range in.stretch.graph.after[j.exchange] {
		released = d.release(in, next, at, released)
	}
	if in.done != nil {
		in.done[j.exchange] = true
		for _, next := range in.later[j.exchange] {
			released = d.release(next.in, next.exchange, at, released)
		}
		delete(in.later, j.exchange)
	}
	if in.left--; in.left == 0 {
		delete(d.instances, instanceKey{in.number, in.stretch})
		if d.recent == in {
			d.recent = nil
		}
		if in.stretch.window != nil {
			in.stretch.leave()
		}
		if f, ok := d.target.Mock.(interface{ Forget(uint32) }); ok && in.number > 0 {
			f.Forget(in.pass)
		}
	}
	d.spare = append(d.spare, j)
	return released
}

// release takes one away from what an exchange waits for. When nothing is left
// and it is due, its job is appended to released.
func (d *driver) release(in *instance, exchange int32, at time.Duration, released []*job) []*job {
	if in.waits[exchange]--; in.waits[exchange] > 0 {
		return released
	}
	w, ok := in.blocked[exchange]
	if !ok {
		return released
	}
	delete(in.blocked, exchange)
	d.blocked--
	w.due = max(at, w.planned)
	d.prepare(w)
	return append(released, w)
}

func (d *driver) observe(ctx context.Context, j *job, o sampleTimes, ans *answer, err error) {
	x := j.recorded()
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
func (d *driver) lastOfSession(j *job) bool { return j.instance.stretch.last[j.exchange] }

// close forgets the passes that did not end and counts what was never sent. It
// returns what kept the rest of the recording from being read.
func (d *driver) close() error {
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
	d.result.gather()
	return d.shots.close()
}
