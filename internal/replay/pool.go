package replay

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// maxIdle bounds the idle connections that a pass keeps, so that thousands of
// interleaved sessions do not use up file descriptors.
const maxIdle = 128

// pool keeps one idle connection for each session of a pass, because a
// recorded session used its connections in order too.
type pool struct {
	mu   sync.Mutex
	idle map[int]*conn
	age  []int // sessions, the one idle longest first
}

// take returns the connection of a session if it can still be used, else nil.
func (p *pool) take(session int) *conn {
	p.mu.Lock()
	c := p.idle[session]
	if c != nil {
		delete(p.idle, session)
		p.age = slices.Delete(p.age, slices.Index(p.age, session), slices.Index(p.age, session)+1)
	}
	p.mu.Unlock()
	if c != nil && !c.alive() {
		c.Close()
		return nil
	}
	return c
}

// give keeps c, which may be nil, for the next request of the session.
func (p *pool) give(session int, c *conn) {
	if c == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.age) == maxIdle {
		p.idle[p.age[0]].Close()
		delete(p.idle, p.age[0])
		p.age = slices.Delete(p.age, 0, 1)
	}
	p.idle[session] = c
	p.age = append(p.age, session)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.Close()
	}
	p.idle, p.age = nil, nil
}

// sending is one request on its way: what goes out, and what is wanted back.
type sending struct {
	target  Target
	request []byte
	method  string
	keep    bool // the answer's headers and body are wanted
	stream  stream
}

// send writes a request on c, or on a new connection when c is nil, and reads
// the answer. When c was used before and closed without any byte of an answer,
// as servers do with idle connections, it tries once more on a new one,
// provided that the request is idempotent or was never written; retried
// reports that. The connection comes back open if it can take another request
// and nil otherwise.
func (e *Engine) send(ctx context.Context, c *conn, s sending) (next *conn, o outcome, retried bool, err error) {
	for {
		deadline := time.Now().Add(e.opts.Timeout)
		if c == nil {
			o.sent = time.Now() // the moment that is known if dialling fails
			if c, err = e.dialBefore(ctx, s.target, deadline); err != nil {
				return nil, o, retried, err
			}
		}
		used := c.used
		c.SetDeadline(deadline)
		stop := context.AfterFunc(ctx, func() { c.Conn.SetDeadline(time.Unix(1, 0)) })
		o, err = c.exchange(s.request, s.method, s.keep, e.opts.MaxBody, s.stream)
		uncut := stop()
		o.connection = c.name
		if err == nil && o.answer.reusable && uncut {
			return c, o, retried, nil
		}
		c.Close()
		if err != nil && used && !retried && o.unanswered && (o.unsent || idempotent(s.method)) && ctx.Err() == nil {
			c, retried = nil, true
			continue
		}
		if err != nil {
			err = fmt.Errorf("%s at %s: %w", s.target.Arm, s.target.Addr, err)
		}
		return nil, o, retried, err
	}
}

func (e *Engine) dialBefore(ctx context.Context, t Target, deadline time.Time) (*conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return e.dial(ctx, t)
}
