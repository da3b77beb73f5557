package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// upstream is one connection to a callee within a session.
type upstream struct {
	s       *session
	address string
	conn    net.Conn
	r       *bufio.Reader
	w       *bufio.Writer

	mu     sync.Mutex
	queue  []*pending // sent, not yet answered
	room   *sync.Cond
	closed bool
}

// upstream returns the connection for a route, and dials it when there is none.
func (s *session) upstream(to route) (*upstream, error) {
	s.mu.Lock()
	up := s.upstreams[to.address]
	s.mu.Unlock()
	if up != nil {
		return up, nil
	}
	conn, err := to.dial(s.ctx)
	if err != nil {
		return nil, err
	}
	up = &upstream{s: s, address: to.address, conn: conn, r: bufio.NewReaderSize(conn, wireBuffer), w: bufio.NewWriterSize(conn, wireBuffer)}
	up.room = sync.NewCond(&up.mu)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return nil, io.ErrUnexpectedEOF
	}
	s.upstreams[to.address] = up
	s.answers.Add(1)
	go up.run()
	return up, nil
}

// push queues a request for its answer. It reports false when the connection
// is gone.
func (up *upstream) push(p *pending) bool {
	up.mu.Lock()
	defer up.mu.Unlock()
	for !up.closed && len(up.queue) >= maxPipeline {
		up.room.Wait()
	}
	if up.closed {
		return false
	}
	up.queue = append(up.queue, p)
	return true
}

func (up *upstream) front() *pending {
	up.mu.Lock()
	defer up.mu.Unlock()
	if len(up.queue) == 0 {
		return nil
	}
	return up.queue[0]
}

func (up *upstream) pop() {
	up.mu.Lock()
	defer up.mu.Unlock()
	up.queue = up.queue[1:]
	up.room.Signal()
}

// run moves answers until the connection ends.
func (up *upstream) run() {
	defer up.s.answers.Done()
	for {
		_, err := up.r.Peek(1)
		at := up.s.recorder.now()
		p := up.front()
		if err != nil || p == nil { // bytes that nobody asked for end the connection too
			up.end(err)
			return
		}
		<-p.turn
		keep := up.answer(p, at)
		up.pop()
		close(p.next)
		up.s.finished()
		if !keep {
			up.end(io.EOF)
			return
		}
	}
}

// end closes the connection and fails what waits for an answer.
func (up *upstream) end(err error) {
	s := up.s
	up.conn.Close()
	s.mu.Lock()
	if s.upstreams[up.address] == up {
		delete(s.upstreams, up.address)
	}
	idle := s.waiting == 0
	s.mu.Unlock()
	up.mu.Lock()
	up.closed = true
	left := up.queue
	up.queue = nil
	up.room.Broadcast()
	up.mu.Unlock()
	for _, p := range left {
		p.half(func(x *traffic.Exchange) { x.Failure = s.failure(err) })
	}
	if len(left) > 0 || (idle && s.fixed) {
		// The caller sees what it would have seen without the proxy.
		if len(left) > 0 {
			<-left[0].turn
		}
		s.hangUp()
	}
	for _, p := range left {
		close(p.next)
		s.finished()
	}
}

// failure tells why an answer did not come.
func (s *session) failure(err error) traffic.Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return traffic.FailureCanceled
	case s.callerGone && errors.Is(err, net.ErrClosed): // it did not wait for the answer
		return traffic.FailureTimeout
	}
	return traffic.FailureReset
}

// answer moves one answer, the interim ones (1xx) before it included, and ends
// its half of the exchange. It reports whether both connections stay open.
func (up *upstream) answer(p *pending, at time.Time) (keep bool) {
	s := up.s
	for {
		h, err := http1.ReadHead(up.r)
		var proto string
		var status int
		if err == nil {
			proto, status, err = h.StatusLine()
		}
		var body http1.Framing
		if err == nil {
			body, err = http1.ResponseFraming(p.x.Request.Method, status, h.Fields)
		}
		if err != nil {
			failure := traffic.FailureProtocol
			if !errors.Is(err, http1.ErrBadHead) && !errors.Is(err, http1.ErrBadFraming) && !errors.Is(err, http1.ErrHeadTooLarge) {
				failure = s.failure(err)
			}
			p.half(func(x *traffic.Exchange) { x.Failure = failure })
			s.hangUp()
			return false
		}
		if status >= 100 && status < 200 && status != 101 {
			_, _ = s.w.Write(h.Wire)
			if s.w.Flush() != nil {
				p.half(func(x *traffic.Exchange) { x.Failure = traffic.FailureTimeout })
				return false
			}
			if _, err = up.r.Peek(1); err != nil {
				p.half(func(x *traffic.Exchange) { x.Failure = s.failure(err) })
				s.hangUp()
				return false
			}
			at = s.recorder.now()
			continue
		}
		response := &traffic.Response{Status: status, Proto: proto, Header: h.Fields.WithoutHopByHop()}
		if status == 101 {
			response.Header = h.Fields
			return up.switchProtocols(p, at, response, h)
		}
		return up.answerBody(p, at, response, h, body) && http1.Persistent(proto, h.Fields)
	}
}

func (up *upstream) answerBody(p *pending, at time.Time, response *traffic.Response, h *http1.Head, f http1.Framing) (keep bool) {
	s := up.s
	_, err := s.w.Write(h.Wire)
	p.response.Times.Kind = messages.KindOf(h.Fields)
	if err == nil {
		response.Trailer, err = http1.Pour(s.w, up.r, f, &p.response)
	}
	source := (*http1.SourceError)(nil)
	fromCallee := errors.As(err, &source)
	end := s.recorder.now()
	p.half(func(x *traffic.Exchange) {
		x.FirstByte, x.Duration = at.Sub(x.Start), end.Sub(x.Start)
		response.Body = p.response.Body(h.Fields)
		x.Response = response
		if p.upgrade { // the offer was not taken
			x.Request.Header = x.Request.Header.WithoutHopByHop()
		}
		switch {
		case err != nil && fromCallee:
			x.Incomplete = append(x.Incomplete, "response body incomplete: the connection ended within it")
		case err != nil:
			x.Incomplete = append(x.Incomplete, "response body incomplete: the caller went away")
		case response.Body.Truncated:
			x.Incomplete = append(x.Incomplete, fmt.Sprintf("response body truncated after %d of %d bytes", len(response.Body.Raw), response.Body.Size))
		}
		if err != nil {
			response.Body.Truncated = true
		}
	})
	if err != nil {
		// A body that is cut short must not look complete to the caller.
		s.hangUp()
		return false
	}
	if f.Kind == http1.ByClose || !http1.Persistent(response.Proto, h.Fields) {
		s.hangUp()
		return false
	}
	return true
}

// switchProtocols passes on a 101 and then bytes both ways until either side
// closes. What each side sent is kept as the body of its half.
func (up *upstream) switchProtocols(p *pending, at time.Time, response *traffic.Response, h *http1.Head) bool {
	s := up.s
	_, err := s.w.Write(h.Wire)
	close(p.switched)
	p.response.Times.Kind = p.tunnelled()
	if err == nil {
		err = http1.PourAll(s.w, up.r, &p.response)
	}
	if err == nil {
		err = s.w.Flush()
	}
	end := s.recorder.now()
	p.half(func(x *traffic.Exchange) {
		x.FirstByte, x.Duration = at.Sub(x.Start), end.Sub(x.Start)
		response.Body = p.response.Body(nil)
		x.Response = response
		if err != nil {
			x.Incomplete = append(x.Incomplete, "response body incomplete: the connection was cut")
		}
	})
	s.hangUp()
	return false
}
