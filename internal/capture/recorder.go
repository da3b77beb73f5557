package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
	"github.com/reprise-ci/reprise/internal/traffic/lanes"
)

// Sink keeps recorded exchanges, and the account of those it is not given. Its
// methods are called by one goroutine, Add in the order in which exchanges
// end; the exchange is the sink's from then on, and one that Add refuses is in
// the sink's own account. *snapshot.Writer satisfies it.
type Sink interface {
	Add(x *traffic.Exchange) error
	SampledOut(n int)
	Dropped(n int)
}

// Options are the settings of a Recorder.
type Options struct {
	// BodyLimit is how many bytes of each body are kept; the rest streams by
	// and the body is marked as truncated. Zero means 8 MiB.
	BodyLimit int64
	// QueueBytes bounds what waits for the sink. Zero means 128 MiB.
	QueueBytes int64
	// Lossless makes a full queue hold up the traffic. Without it, exchanges
	// that find the queue full are dropped and counted, so that a slow disk
	// never slows the service.
	Lossless bool
	Sampling Sampling
	Budget   Budget
	// Inbound and Outbound are the last numbers given by the recording that
	// this one goes on with; 0 for a new one.
	Inbound, Outbound int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// The defaults of [Options].
const (
	DefaultBodyLimit  = 8 << 20
	DefaultQueueBytes = 128 << 20
)

// Validate reports the first setting that cannot work.
func (o Options) Validate() error {
	switch {
	case o.BodyLimit < 0:
		return fmt.Errorf("body limit %d: must not be negative", o.BodyLimit)
	case o.QueueBytes < 0:
		return fmt.Errorf("queue bytes %d: must not be negative", o.QueueBytes)
	}
	if err := o.Sampling.Validate(); err != nil {
		return err
	}
	return o.Budget.Validate()
}

// Counts is the completeness line of a recording. At any moment
//
//	Seen = Stored + SampledOut + Dropped + Active
//
// and Active is zero once the recorder is closed. Incomplete exchanges are
// among the stored ones.
type Counts struct {
	Seen       int64 `json:"seen" yaml:"seen"`
	Stored     int64 `json:"stored" yaml:"stored"`
	SampledOut int64 `json:"sampled_out" yaml:"sampled_out"`
	Incomplete int64 `json:"incomplete" yaml:"incomplete"`
	Dropped    int64 `json:"dropped" yaml:"dropped"`
	Active     int64 `json:"active" yaml:"active"`
}

// String is the completeness line, for people.
func (c Counts) String() string {
	return fmt.Sprintf("%d seen: %d stored (%d incomplete), %d sampled out, %d dropped", c.Seen, c.Stored, c.Incomplete, c.SampledOut, c.Dropped)
}

// Recorder joins what proxies see into lanes and hands it to a sink. It is
// safe for concurrent use. Stop the proxies first, then call Close.
type Recorder struct {
	sink   Sink
	opts   Options
	now    func() time.Time
	tracer *tracer
	sample sampler
	from   time.Time

	mu          sync.Mutex
	changed     *sync.Cond // the queue, or Active
	lanes       roster
	inbound     int // numbers given
	outbound    int
	connections int
	counts      Counts
	queue       []*traffic.Exchange
	queued      int64 // bytes
	closing     bool
	failed      error  // the first error of the sink
	refused     int64  // by the sink, among the dropped
	told        Counts // what the sink knows of SampledOut and Dropped
	kept        int64  // exchanges and bytes handed to the sink
	keptBytes   int64
	full        chan struct{} // closed when the budget is used up
	isFull      bool

	drained chan struct{}
}

// NewRecorder starts a recorder. The caller must Close it.
func NewRecorder(sink Sink, opts Options) (*Recorder, error) {
	if sink == nil {
		return nil, errors.New("record: there is no sink to keep exchanges in")
	}
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	opts.BodyLimit = cmp.Or(opts.BodyLimit, DefaultBodyLimit)
	opts.QueueBytes = cmp.Or(opts.QueueBytes, DefaultQueueBytes)
	tracer, err := newTracer()
	if err != nil {
		return nil, fmt.Errorf("record: draw a trace id: %w", err)
	}
	r := &Recorder{sink: sink, opts: opts, now: opts.Now, inbound: opts.Inbound, outbound: opts.Outbound, tracer: tracer, full: make(chan struct{}), drained: make(chan struct{})}
	if r.now == nil {
		r.now = time.Now
	}
	r.sample.Sampling = opts.Sampling
	r.from = r.now()
	r.changed = sync.NewCond(&r.mu)
	go r.drain()
	return r, nil
}

// Counts returns the completeness line so far.
func (r *Recorder) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// Full returns a channel that is closed once the budget is used up. Traffic
// passes on as before, but is no longer kept.
func (r *Recorder) Full() <-chan struct{} { return r.full }

// spent marks the budget as used up when it is; r.mu must be held.
func (r *Recorder) spent() bool {
	b := r.opts.Budget
	over := b.Exchanges > 0 && r.kept >= b.Exchanges || b.Bytes > 0 && r.keptBytes >= b.Bytes || b.Time > 0 && r.now().Sub(r.from) >= b.Time
	if over && !r.isFull {
		r.isFull = true
		close(r.full)
	}
	return r.isFull
}

// Close waits until every exchange under way has ended and is stored, or ctx
// ends. The proxies must have been stopped, so that none begins any more. It
// returns the first error of the sink; exchanges that the sink refused are
// counted as dropped.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closing = true
	r.changed.Broadcast()
	r.mu.Unlock()
	select {
	case <-r.drained:
	case <-ctx.Done():
		return fmt.Errorf("record: close with %d exchanges under way: %w", r.Counts().Active, ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return fmt.Errorf("record: store an exchange: %w", r.failed)
	}
	return nil
}

// drain hands the queue to the sink until the recorder closes and nothing is
// under way.
func (r *Recorder) drain() {
	defer close(r.drained)
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for len(r.queue) == 0 {
			if r.closing && r.counts.Active == 0 {
				r.tell()
				return
			}
			r.changed.Wait()
		}
		x := r.queue[0]
		r.queue = r.queue[1:]
		size := weight(x)
		incomplete := len(x.Incomplete) > 0
		r.tell()
		r.mu.Unlock()
		err := r.sink.Add(x)
		r.mu.Lock()
		r.queued -= size
		r.counts.Active--
		switch {
		case err != nil:
			r.counts.Dropped++
			r.refused++
			r.failed = cmp.Or(r.failed, err)
		default:
			r.counts.Stored++
			if incomplete {
				r.counts.Incomplete++
			}
		}
		r.changed.Broadcast()
	}
}

// tell brings the account of the sink up to date, so that it is right even if
// the recorder is killed. r.mu must be held; it is not while the sink works.
func (r *Recorder) tell() {
	sampledOut, dropped := r.counts.SampledOut-r.told.SampledOut, r.counts.Dropped-r.refused-r.told.Dropped
	if sampledOut == 0 && dropped == 0 {
		return
	}
	r.told.SampledOut += sampledOut
	r.told.Dropped += dropped
	r.mu.Unlock()
	defer r.mu.Lock()
	r.sink.SampledOut(int(sampledOut))
	r.sink.Dropped(int(dropped))
}

// since returns a clock that counts from the start of an exchange.
func (r *Recorder) since(start time.Time) func() time.Duration {
	return func() time.Duration { return r.now().Sub(start) }
}

// weight is about how many bytes an exchange holds in memory.
func weight(x *traffic.Exchange) int64 {
	n := int64(1024 + len(x.Request.Body.Raw))
	if x.Response != nil {
		n += int64(len(x.Response.Body.Raw))
	}
	return n
}

// unreadable counts a message that is not HTTP, of which no exchange can be
// made.
func (r *Recorder) unreadable() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Seen++
	r.counts.Dropped++
}

func (r *Recorder) connection() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connections++
	return fmt.Sprintf("c%d", r.connections)
}

// ticket is one exchange under way.
type ticket struct {
	r *Recorder
	x *traffic.Exchange
	// lane of an inbound exchange is its own, of an outbound one that which
	// its headers name.
	lane *lane
	// What else may own an outbound call, as of its start.
	boot       bool
	late       bool    // it began after the budget was used up
	candidates []*lane // share its trace id
	active     []*lane
	lingering  []*lane
	// traceparent is to be added to the inbound request; empty when the
	// caller sent one.
	traceparent string
}

// begin numbers an exchange, whose request head must be known, and finds what
// may be its lane. Every begin is followed by one end.
func (r *Recorder) begin(x *traffic.Exchange) *ticket {
	t := &ticket{r: r, x: x}
	keep := x.Direction == traffic.Outbound || r.sample.keeps(&x.Request)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Seen++
	r.counts.Active++
	if x.Direction == traffic.Inbound {
		r.inbound++
		x.ID = fmt.Sprintf("in-%06d", r.inbound)
		x.Lane = traffic.Lane(x.ID)
		t.lane = &lane{id: x.Lane, keys: lanes.Keys(x.Request.Header), traceparent: x.Request.Header.Get("Traceparent")}
		if t.lane.traceparent == "" {
			t.traceparent = r.tracer.traceparent()
			t.lane.traceparent = t.traceparent
			t.lane.keys = append(t.lane.keys, lanes.Keys(traffic.Header{{Name: "Traceparent", Value: t.traceparent}})...)
		}
		t.lane.sampledOut = !keep || r.spent()
		t.lane.read(x.Request)
		r.lanes.enter(t.lane)
		return t
	}
	t.late = r.spent()
	r.outbound++
	x.ID = fmt.Sprintf("out-%06d", r.outbound)
	t.boot = !r.lanes.seen
	if t.lane, t.candidates = r.lanes.byTrace(x.Request.Header); t.lane == nil {
		t.active = append(t.active, r.lanes.active...)
		t.lingering = r.lanes.lingering(r.now())
	}
	return t
}

// bodyRead makes the values in the body of an inbound request known to calls.
// It must happen before the service has all of the body: what the service calls
// then may be answered before anything else is done here.
func (t *ticket) bodyRead(keep *http1.Keep) {
	if t.x.Direction == traffic.Inbound && keep.Size > 0 {
		request := t.x.Request
		request.Body = keep.Body(request.Header)
		t.lane.read(request)
	}
}

// leaveOut counts an inbound exchange as sampled out, with all it causes.
func (t *ticket) leaveOut() {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.lane.sampledOut = true
}

// end settles the lane and hands the exchange on. Nothing may change it
// afterwards.
func (t *ticket) end() {
	x := t.x
	if x.Direction == traffic.Outbound {
		t.attribute()
		// A service that forwards its trace context does so for every call.
		if t.lane != nil && x.Response != nil && x.Origin.Certainty != traffic.ByTrace {
			if values := lanes.Answers(x.Response); len(values) > 0 {
				t.lane.learn(values)
			}
		}
	}
	r, size := t.r, weight(x)
	r.mu.Lock()
	defer r.mu.Unlock()
	if x.Direction == traffic.Inbound {
		r.lanes.leave(t.lane, r.now())
	}
	for r.opts.Lossless && r.queued > 0 && r.queued+size > r.opts.QueueBytes {
		r.changed.Wait()
	}
	switch {
	case t.lane != nil && t.lane.sampledOut, t.lane == nil && t.late:
		r.counts.SampledOut++
		r.counts.Active--
	case r.queued > 0 && r.queued+size > r.opts.QueueBytes:
		r.counts.Dropped++
		r.counts.Active--
		if t.lane != nil {
			t.lane.lost = true
		}
	default:
		if x.Direction == traffic.Inbound && t.lane.lost {
			x.Incomplete = append(x.Incomplete, "outbound call dropped")
		}
		r.queue = append(r.queue, x)
		r.queued += size
		r.kept++
		r.keptBytes += size
		r.spent()
	}
	r.changed.Broadcast()
}

// attribute finds the lane of an outbound exchange, by the surest way that
// gives an answer.
func (t *ticket) attribute() {
	x := t.x
	settle := func(l *lane, by traffic.Certainty) {
		t.lane, x.Lane, x.Origin.Certainty = l, l.id, by
	}
	if t.lane != nil {
		settle(t.lane, traffic.ByTrace)
		return
	}
	if t.boot {
		x.Lane = traffic.LaneBoot
		return
	}
	pool := t.active
	among := append(append([]*lane(nil), t.active...), t.lingering...)
	if len(t.candidates) > 0 {
		pool, among = t.candidates, t.candidates
	}
	if l := byValue(&x.Request, among); l != nil {
		settle(l, traffic.ByValue)
		return
	}
	switch len(pool) {
	case 0:
		x.Lane = traffic.LaneBackground
	case 1:
		settle(pool[0], traffic.ByOnlyActive)
	default:
		settle(pool[len(pool)-1], traffic.ByTime)
	}
}
