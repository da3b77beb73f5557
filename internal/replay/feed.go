package replay

import (
	"context"
	"time"
)

// feed reads a recording ahead of the load that sends it. One goroutine reads
// and prepares the next window while the present one is sent.
type feed struct {
	ctx    context.Context
	cancel context.CancelFunc
	plan   *Plan
	ready  chan *stretch // the end of a loop is a nil

	next  *stretch // received, and not begun
	got   bool     // next is set, or there are no more
	more  bool
	part  *stretch
	at    int // within part
	copy  int
	loop  int32
	clock recordedClock

	// Of the reading goroutine; the others may look once done is closed.
	done  chan struct{}
	err   error
	names []string // endpoints by number
}

func newFeed(ctx context.Context, s *Streamed, p *Plan) *feed {
	f := &feed{plan: p, ready: make(chan *stretch), done: make(chan struct{}), clock: recordedClock{load: p.load}}
	f.ctx, f.cancel = context.WithCancel(ctx)
	go func() {
		defer close(f.done)
		defer close(f.ready)
		f.err = f.read(s)
	}()
	f.receive() // the load does not begin before its first window is there
	return f
}

// receive waits for the next window; once the load is over there are no more.
func (f *feed) receive() {
	f.got = true
	select {
	case f.next, f.more = <-f.ready:
	case <-f.ctx.Done():
		f.next, f.more = nil, false
	}
}

// waits implements [shots].
func (f *feed) waits() bool {
	for f.part == nil || f.at == len(f.part.exchanges) {
		if !f.look() {
			return true
		}
		if !f.more {
			return false
		}
		f.advance()
	}
	return false
}

// look receives the next window if it is there, and reports false if not.
func (f *feed) look() bool {
	if f.got {
		return true
	}
	select {
	case f.next, f.more = <-f.ready:
	case <-f.ctx.Done():
		f.next, f.more = nil, false
	default:
		return false
	}
	f.got = true
	return true
}

// take hands out the next window, nil for the end of a loop. It is for an owner
// that does without shot; more is false after the last one, and ok when
// the next one is still being read.
func (f *feed) take(wait bool) (part *stretch, more, ok bool) {
	if !wait && !f.look() {
		return nil, false, false
	}
	if !f.got {
		f.receive()
	}
	if part, more = f.next, f.more; more {
		f.next, f.got = nil, false
	}
	return part, more, true
}

// loops returns how often the recording is read, 0 for as often as asked.
func (f *feed) loops() int {
	l := f.plan.load
	if l.Loops == 0 && !l.recordedTiming() && (l.Budget > 0 || len(l.Stages) > 0) {
		return 0
	}
	return max(l.Loops, 1)
}

func (f *feed) read(s *Streamed) error {
	numbers := make(map[string]int32)
	for loop := 0; f.loops() == 0 || loop < f.loops(); loop++ {
		j := newJoiner()
		for w, err := range s.recording.Windows() {
			if err != nil {
				return err
			}
			part := j.stretch(w)
			part.endpoints = make([]int32, len(w.Exchanges))
			for i, x := range w.Exchanges {
				name := s.engine.opts.Router.Endpoint(&x.Request)
				number, ok := numbers[name]
				if !ok && len(numbers) < maxEndpoints {
					number = int32(len(numbers))
					numbers[name] = number
					f.names = append(f.names, name)
				} else if !ok {
					number = maxEndpoints
				}
				part.endpoints[i] = number
				if wanted := streamOf(x); wanted.events > 0 {
					if part.streams == nil {
						part.streams = make(map[string]stream)
					}
					part.streams[x.ID] = wanted
				}
			}
			if !f.hand(part) {
				return nil
			}
		}
		if !f.hand(nil) {
			return nil
		}
	}
	return nil
}

func (f *feed) hand(part *stretch) bool {
	select {
	case f.ready <- part:
		return true
	case <-f.ctx.Done():
		return false
	}
}

// shot implements [shots].
func (f *feed) shot(k int64) (shot, *stretch, bool) {
	for f.part == nil || f.at == len(f.part.exchanges) {
		if !f.got {
			f.receive()
		}
		if !f.more {
			return shot{}, nil, false
		}
		f.advance()
	}
	copies := f.plan.load.Copies
	s := shot{exchange: int32(f.at), instance: f.loop*int32(copies) + int32(f.copy)}
	switch {
	case f.plan.load.recordedTiming():
		s.at = time.Duration(f.loop)*f.plan.period + f.clock.next(f.part.exchanges[f.at].Start)
		if b := f.plan.load.Budget; b > 0 && s.at >= b {
			return shot{}, nil, false
		}
	case !f.plan.load.Max:
		s.at = f.plan.moment(k)
	}
	part := f.part
	if f.copy++; f.copy == copies {
		f.copy = 0
		f.at++
	}
	return s, part, true
}

// advance begins the window that was received.
func (f *feed) advance() {
	if f.part != nil {
		f.part.leave() // the feed is done with it; those under way hold it
	}
	if f.at = 0; f.next == nil {
		f.loop++
		f.clock = recordedClock{load: f.plan.load}
	}
	f.part, f.next, f.got = f.next, nil, false
}

func (f *feed) close() error {
	f.cancel()
	<-f.done
	return f.err
}
