package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Window is some inbound exchanges of a recording that follow each other.
type Window struct {
	// Exchanges are in order of Start. Their answers may lack what no one needs
	// any more.
	Exchanges []*traffic.Exchange
	// Needs returns the IDs of the exchanges, of this window or of those before,
	// whose live answers the exchange with this ID uses; nil for none.
	Needs func(id string) []string
	// Watch reports whether exchanges of later windows use the live answer to
	// the exchange with this ID; nil for none.
	Watch func(id string) bool
	// Rewriter returns what rewrites these exchanges, for one copy in one loop,
	// both from 0. It is called once for each, from the sending goroutine; nil
	// sends as recorded.
	Rewriter func(copy, loop int) Rewriter
}

// Recording is a recording that is read as it is sent, because it may not fit
// into memory. Both methods read it from its beginning, and yield an error last.
type Recording interface {
	// Scan yields the inbound exchanges in order of Start.
	Scan() iter.Seq2[*traffic.Exchange, error]
	// Windows yields the same exchanges, in windows. No window is changed or
	// read any more once it was yielded.
	Windows() iter.Seq2[*Window, error]
}

// Streamed replays a [Recording] as a load. What it keeps in memory does not
// grow with the recording: some windows of exchanges, the requests under way,
// and times in histograms.
type Streamed struct {
	engine    *Engine
	recording Recording
}

// NewStreamed takes a recording. Nothing of it is read yet.
func NewStreamed(r Recording, opts Options) (*Streamed, error) {
	e, err := New(nil, opts)
	if err != nil {
		return nil, err
	}
	return &Streamed{e, r}, nil
}

// CanStream reports whether a load can be sent from a [Recording]: not when
// sessions have connections of their own, since that takes knowing when one ends.
// Copies with recorded timing then follow each other at a distance, instead of
// being spread over all of the recording.
func (l Load) CanStream() bool { return !l.Churn }

// Plan reads the recording once, from end to end, and works out a load for it.
// It sends nothing.
func (s *Streamed) Plan(ctx context.Context, l Load) (*Plan, error) { return s.planWith(ctx, l, nil) }

// planWith plans with what an earlier reading told, and reads when that is nil.
// It must have been for a load with the same timing, or for none with the
// recorded one.
func (s *Streamed) planWith(ctx context.Context, l Load, known *scan) (*Plan, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	if !l.CanStream() {
		return nil, errors.New("replay: this load needs the whole recording in memory")
	}
	l = l.withDefaults()
	p := &Plan{load: l, streamed: known}
	if known == nil {
		p.streamed = &scan{}
		if err := p.streamed.read(ctx, s, l); err != nil {
			return nil, err
		}
	}
	if p.n = p.streamed.n; p.n == 0 {
		return nil, errors.New("replay: the recording holds no inbound exchange that is to be sent")
	}
	switch {
	case l.recordedTiming():
		p.planStreamed()
	case l.Max:
		p.planMax()
	default:
		p.planRate()
	}
	return p, p.tooLong(p.streamed.first, p.streamed.last)
}

// scan is what one reading of a recording tells.
type scan struct {
	n           int
	first, last time.Time
	elaborate   bool          // needs more than plain HTTP/1.1
	length      time.Duration // with recorded timing, scaled and capped
	within      int64         // requests with recorded timing before the budget ends
	lastWithin  time.Duration // the moment of the last of them
	idle        time.Duration
	apart       spread
}

func (c *scan) read(ctx context.Context, s *Streamed, l Load) error {
	clock := recordedClock{load: l}
	for x, err := range s.recording.Scan() {
		if err != nil {
			return err
		}
		if c.n%1024 == 0 && ctx.Err() != nil {
			return fmt.Errorf("read the recording: %w", context.Cause(ctx))
		}
		if c.n == 0 {
			c.first = x.Start
		}
		if x.Start.Before(c.last) && c.n > 0 {
			return fmt.Errorf("replay: exchange %s starts before the one that it follows", x.ID)
		}
		c.last = x.Start
		c.n++
		c.elaborate = c.elaborate || s.engine.needsWorkers(x)
		c.length = clock.next(x.Start)
		if l.Copies > 1 && l.recordedTiming() {
			c.apart.add(c.length, bodies(x))
		}
		if l.Budget == 0 || c.length < l.Budget {
			c.within++
			c.lastWithin = c.length
		}
	}
	c.idle = clock.idle
	return nil
}

// recordedClock turns the recorded moments of exchanges, in their order, to
// planned ones.
type recordedClock struct {
	load   Load
	at     time.Duration
	before time.Time
	begun  bool
	idle   time.Duration // what capping gaps saved
}

func (c *recordedClock) next(start time.Time) time.Duration {
	if c.begun {
		gap := start.Sub(c.before)
		if c.load.MaxIdle > 0 && gap > c.load.MaxIdle {
			c.idle += gap - c.load.MaxIdle
			gap = c.load.MaxIdle
		}
		// Impossible times must not overflow; a century is refused anyway.
		c.at = min(c.at+time.Duration(min(float64(gap)/c.load.Speed, float64(century))), century)
	}
	c.begun, c.before = true, start
	return c.at
}

func (p *Plan) planStreamed() {
	c := p.streamed
	p.Requests, p.idle = p.whole(), c.idle
	p.period = c.length + c.length/time.Duration(c.n) // a mean gap between loops
	if p.load.Copies > 1 {
		p.shift = c.apart.shift(p.load.Copies, c.length)
	}
	p.Length = time.Duration(max(p.load.Loops, 1)-1)*p.period + c.length + time.Duration(p.load.Copies-1)*p.shift
	switch b := p.load.Budget; {
	case b == 0 || b > p.Length:
	case b <= p.period && p.load.Copies == 1:
		p.Requests, p.Length = c.within, c.lastWithin
	default: // it ends within a later loop or between copies
		p.Requests, p.Length = -1, b
	}
}

// While windows come and go, the heap may grow by streamedGC percent between
// collections, and they come more often rather than let the process have more
// than streamedLimit bytes beside its program.
const (
	streamedGC    = 50
	streamedLimit = 112 << 20
)

// Drive sends a load to t and returns what it came to, as [Engine.Drive] does,
// with times in histograms in the place of samples. Samples, if not nil, is
// given all of them.
func (s *Streamed) Drive(ctx context.Context, t Target, p *Plan, samples *SampleWriter) (*Result, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	if p.streamed == nil {
		return nil, errors.New("replay: the plan was made for another recording")
	}
	if err := enoughFiles(p.load.Connections); err != nil {
		return nil, err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(streamedGC))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(min(streamedLimit, debug.SetMemoryLimit(-1))))
	from := newFeed(ctx, s, p)
	var ordered shots = from
	if p.load.Copies > 1 && p.load.recordedTiming() {
		ordered = newPhases(from)
	}
	d := s.engine.newDriver(t, p, ordered)
	d.result.tally = newTally(samples)
	r, err := d.run(ctx, p.streamed.elaborate)
	if r == nil {
		return nil, errors.Join(err, from.close())
	}
	r.tally.names = from.names
	return r, err
}
