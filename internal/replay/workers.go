package replay

import (
	"context"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/timing"
)

// workers is the transport of a load for TLS, HTTP/2 and systems without an
// event loop: one goroutine for each connection, and one that keeps the time.
type workers struct {
	ctx    context.Context
	engine *Engine
	h2     *client2

	mu      sync.Mutex
	changed sync.Cond
	d       *driver
	queued  []*job
	waiting int // workers without a job
	running int // workers
	flying  int // jobs with a worker
	ended   bool
	conns   map[sessionKey]*conn // between requests, when each session has its own
	group   sync.WaitGroup
}

func (e *Engine) runWorkers(ctx context.Context, d *driver) {
	w := &workers{ctx: ctx, engine: e, d: d, h2: e.newClient2(d.target), conns: make(map[sessionKey]*conn)}
	w.changed.L = &w.mu
	stop := context.AfterFunc(ctx, w.changed.Broadcast)
	defer stop()
	d.begin()
	w.keepTime()
	w.drain()
	w.group.Wait()
	for _, c := range w.conns {
		c.Close()
	}
	w.h2.close()
}

// keepTime hands jobs to workers at their moments.
func (w *workers) keepTime() {
	waiter := timing.Waiter{Spin: timing.DefaultSpin()}
	defer waiter.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.ctx.Err() == nil {
		at, ok := w.d.peek()
		if !ok && w.d.starved && !w.d.over(time.Since(w.d.start)) {
			w.mu.Unlock()
			err := waiter.Until(w.ctx, time.Now().Add(hunger))
			w.mu.Lock()
			if err != nil {
				return
			}
			continue
		}
		if !ok || w.d.over(time.Since(w.d.start)) {
			return
		}
		if w.d.load.Max {
			for w.ctx.Err() == nil && w.flying+len(w.queued) > 0 && (w.flying+len(w.queued) >= w.d.load.Connections || w.d.blocked > 1<<12) {
				w.changed.Wait()
			}
		} else {
			w.mu.Unlock()
			err := waiter.Until(w.ctx, w.d.start.Add(at))
			w.mu.Lock()
			if err != nil {
				return
			}
		}
		if w.ctx.Err() != nil {
			return
		}
		if j := w.d.take(time.Since(w.d.start)); j != nil {
			w.give(j)
		}
	}
}

// give queues a job for a worker; the caller holds the lock.
func (w *workers) give(j *job) {
	w.queued = append(w.queued, j)
	if w.waiting < len(w.queued) && w.running < w.d.load.Connections {
		w.running++
		w.group.Go(w.work)
	}
	w.changed.Broadcast()
}

// drain waits until nothing is under way and ends the workers.
func (w *workers) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for (w.flying > 0 || len(w.queued) > 0) && w.ctx.Err() == nil {
		w.changed.Wait()
	}
	if w.ctx.Err() != nil {
		w.d.result.Unsent += int64(len(w.queued))
		w.queued = nil
	}
	w.ended = true
	w.changed.Broadcast()
}

// work serves jobs on one connection until the load ends.
func (w *workers) work() {
	var c *conn
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.queued) == 0 && !w.ended {
			w.waiting++
			w.changed.Wait()
			w.waiting--
		}
		if len(w.queued) == 0 {
			return
		}
		j := w.queued[0]
		w.queued = w.queued[1:]
		w.flying++
		key := j.session()
		if w.d.load.Churn {
			c = w.conns[key]
			delete(w.conns, key)
		}
		w.mu.Unlock()
		var o outcome
		err := j.err
		if err == nil {
			c, o, err = w.send(c, j)
		}
		times := w.times(o)
		w.mu.Lock()
		if w.d.load.Churn && c != nil {
			if w.d.lastOfSession(j) {
				c.Close()
			} else {
				w.conns[key] = c
			}
			c = nil
		}
		w.flying--
		for _, next := range w.d.finish(w.ctx, j, times, &o.answer, err, nil) {
			w.give(next)
		}
		w.changed.Broadcast()
	}
}

func (w *workers) send(c *conn, j *job) (*conn, outcome, error) {
	w.mu.Lock()
	w.d.launch(j)
	w.mu.Unlock()
	x := j.recorded()
	if overWebSocket(x) {
		o, err := w.engine.webSocket(w.ctx, w.d.target, x, j.sent, j.instance.rewriter, w.d.load.pace())
		return c, o, err
	}
	if w.engine.overHTTP2(x) {
		o, err := w.h2.paced(w.ctx, x, j.sent, j.instance.rewriter, w.d.load.pace(), j.keep)
		return c, o, err
	}
	if c != nil && !c.alive() {
		c.Close()
		c = nil
	}
	fresh := c == nil
	c, o, retried, err := w.engine.send(w.ctx, c, sending{target: w.d.target, request: j.request, method: j.method, keep: j.keep, stream: j.stream()})
	j.retried = retried
	if fresh || retried {
		w.mu.Lock()
		w.d.result.Connections++
		w.mu.Unlock()
	}
	return c, o, err
}

// times counts the moments of an outcome from the start of the load.
func (w *workers) times(o outcome) sampleTimes {
	since := func(t time.Time) time.Duration {
		if t.IsZero() {
			return 0
		}
		return t.Sub(w.d.start)
	}
	t := sampleTimes{since(o.sent), since(o.first), since(o.last)}
	if o.sent.IsZero() {
		t.sent = time.Since(w.d.start)
	}
	if o.last.IsZero() {
		t.last = time.Since(w.d.start)
	}
	return t
}
