package capture

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

const (
	wireBuffer = 32 << 10
	// rstGrace is how long a closed connection still takes what its peer is
	// sending. Closing at once would make the kernel send a reset, which may
	// destroy an answer that the peer has not read yet.
	rstGrace = 500 * time.Millisecond
	// maxPipeline bounds the requests of one connection that wait for their
	// answers.
	maxPipeline = 128
)

// route says where a request goes and what is sent there.
type route struct {
	scheme    string
	authority string // as the caller wrote it, in lower case
	target    string // origin form
	address   string // names the upstream within a session
	dial      func(ctx context.Context) (net.Conn, error)
	head      func(t *ticket) []byte // the head to send, once the exchange is known
	drop      []string               // fields between the caller and the proxy alone
}

// session is one connection of a caller, with the upstream connections that
// its requests need (one, except for a forward proxy of plain HTTP). One
// goroutine moves requests; one per upstream moves answers.
type session struct {
	recorder   *Recorder
	direction  traffic.Direction
	connection string
	ctx        context.Context // ends when the session must stop at once
	client     net.Conn
	r          *bufio.Reader
	w          *bufio.Writer // whoever has the turn writes
	direct     func(h *http1.Head, method, target string) (route, error)
	fixed      bool // every request goes to the same upstream

	mu         sync.Mutex
	upstreams  map[string]*upstream
	waiting    int  // exchanges without a complete answer
	draining   bool // close when idle
	callerGone bool // the caller sends no more
	closed     bool
	answers    sync.WaitGroup
}

// pending is one request on its way through a session.
type pending struct {
	*ticket
	request  http1.Keep
	response http1.Keep
	upgrade  bool
	// webSocket says that the upgrade is to a WebSocket.
	webSocket bool
	turn      <-chan struct{} // closed when the answers before are written
	next      chan struct{}   // closed when this one is
	switched  chan struct{}   // closed when the answer is 101

	mu    sync.Mutex
	halfs int // request and response
}

// half ends one side of the exchange; the second call hands it on. change runs
// under the exchange's lock.
func (p *pending) half(change func(x *traffic.Exchange)) {
	p.mu.Lock()
	change(p.x)
	p.halfs++
	done := p.halfs == 2
	p.mu.Unlock()
	if done {
		p.end()
	}
}

// run serves the connection until either side is done with it.
func (s *session) run() {
	s.r = bufio.NewReaderSize(s.client, wireBuffer)
	s.w = bufio.NewWriterSize(s.client, wireBuffer)
	s.upstreams = map[string]*upstream{}
	stop := context.AfterFunc(s.ctx, func() { s.closeAll() })
	defer stop()
	turn := make(chan struct{})
	close(turn)
	for {
		if _, err := s.r.Peek(1); err != nil {
			s.callerDone(err)
			break
		}
		p, again := s.request(turn)
		if !again {
			_, _ = io.Copy(io.Discard, s.r) // until the answer is out and the connection closed
			break
		}
		turn = p.next
	}
	s.answers.Wait()
	s.closeAll()
}

// request moves one request. It reports whether another may follow.
func (s *session) request(turn <-chan struct{}) (p *pending, again bool) {
	start := s.recorder.now()
	h, err := http1.ReadHead(s.r)
	var method, target, proto string
	if err == nil {
		method, target, proto, err = h.RequestLine()
	}
	var body http1.Framing
	if err == nil {
		body, err = http1.RequestFraming(h.Fields)
	}
	var to route
	if err == nil {
		to, err = s.direct(h, method, target)
	}
	if err != nil {
		s.refuse(turn, err)
		return nil, false
	}
	if strings.EqualFold(strings.TrimSpace(h.Fields.Get("Upgrade")), "h2c") {
		h = withoutUpgrade(h)
		if to, err = s.direct(h, method, target); err != nil {
			s.refuse(turn, err)
			return nil, false
		}
	}
	fields := h.Fields.WithoutHopByHop()
	upgrade := http1.HasToken(h.Fields, "Connection", "upgrade")
	if upgrade {
		fields = h.Fields.Clone()
	}
	for _, name := range to.drop {
		fields.Del(name)
	}
	x := &traffic.Exchange{
		Direction: s.direction,
		Start:     start,
		Request:   traffic.Request{Method: method, Scheme: to.scheme, Authority: to.authority, Target: to.target, Proto: proto, Header: fields},
		Origin:    traffic.Origin{Source: "proxy", Connection: s.connection},
	}
	p = &pending{ticket: s.recorder.begin(x), upgrade: upgrade, turn: turn, next: make(chan struct{}), switched: make(chan struct{})}
	p.request.Limit, p.response.Limit = s.recorder.opts.BodyLimit, s.recorder.opts.BodyLimit
	p.request.At, p.response.At = s.recorder.since(start), s.recorder.since(start)
	p.request.Whole = func() { p.bodyRead(&p.request) }
	p.webSocket = upgrade && strings.EqualFold(fields.Get("Upgrade"), "websocket")
	s.started()
	up, err := s.send(p, to)
	if err != nil {
		s.unreachable(p, to, body, err)
		return p, false
	}
	return p, s.sendBody(p, up, body)
}

// tunnelled is how the bytes after a 101 consist of messages.
func (p *pending) tunnelled() messages.Kind {
	if p.webSocket {
		return messages.WebSocket
	}
	return messages.None
}

// withoutUpgrade takes the offer to change to HTTP/2 out of a head. It speaks of
// one connection only, and what follows a 101 could not be recorded as
// exchanges. (Java's client makes the offer with every first request.)
func withoutUpgrade(h *http1.Head) *http1.Head {
	var wire bytes.Buffer
	wire.WriteString(h.Start + "\r\n")
	out := &http1.Head{Start: h.Start}
	for _, f := range h.Fields {
		switch strings.ToLower(f.Name) {
		case "upgrade", "http2-settings":
			continue
		case "connection":
			var kept []string
			for token := range strings.SplitSeq(f.Value, ",") {
				if token = strings.TrimSpace(token); !strings.EqualFold(token, "upgrade") && !strings.EqualFold(token, "http2-settings") {
					kept = append(kept, token)
				}
			}
			if f.Value = strings.Join(kept, ", "); f.Value == "" {
				continue
			}
		}
		out.Fields = append(out.Fields, f)
		wire.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	wire.WriteString("\r\n")
	out.Wire = wire.Bytes()
	return out
}

// send writes the head of a request to its upstream, which it dials if need
// be. The answer is awaited from then on.
func (s *session) send(p *pending, to route) (*upstream, error) {
	for try := 0; ; try++ {
		up, err := s.upstream(to)
		if err != nil {
			return nil, err
		}
		if !up.push(p) {
			if try < 2 {
				continue // it closed while it was idle
			}
			return nil, io.ErrUnexpectedEOF
		}
		// An error shows in the answer: there will be none.
		_, _ = up.w.Write(to.head(p.ticket))
		return up, nil
	}
}

// sendBody moves the body of a request and ends its half of the exchange. It
// reports whether another request may follow.
func (s *session) sendBody(p *pending, up *upstream, f http1.Framing) bool {
	trailer, err := http1.Pour(up.w, s.r, f, &p.request)
	source := (*http1.SourceError)(nil)
	fromCaller := errors.As(err, &source)
	if p.upgrade && err == nil {
		select {
		case <-p.switched:
			s.pourTunnel(p, up)
			return false
		case <-p.next: // what follows is HTTP
		}
	}
	p.half(func(x *traffic.Exchange) {
		x.Request.Body = p.request.Body(x.Request.Header)
		x.Request.Trailer = trailer
		switch {
		case err != nil && fromCaller:
			x.Incomplete = append(x.Incomplete, "request body incomplete: the caller stopped sending")
		case err != nil:
			x.Incomplete = append(x.Incomplete, "request body incomplete: the answer came first")
		case x.Request.Body.Truncated:
			x.Incomplete = append(x.Incomplete, fmt.Sprintf("request body truncated after %d of %d bytes", len(x.Request.Body.Raw), x.Request.Body.Size))
		}
		if err != nil {
			x.Request.Body.Truncated = true
		}
	})
	switch {
	case fromCaller:
		s.callerDone(source.Err)
	case err != nil: // where the next request starts is not known any more
		go func() {
			<-p.next
			s.hangUp()
		}()
	}
	return err == nil
}

// pourTunnel moves what the caller sends after a 101, and keeps it as the body
// of the request.
func (s *session) pourTunnel(p *pending, up *upstream) {
	p.request.Times.Kind = p.tunnelled()
	err := http1.PourAll(up.w, s.r, &p.request)
	if err == nil {
		err = up.w.Flush()
	}
	p.half(func(x *traffic.Exchange) {
		x.Request.Body = p.request.Body(nil)
	})
	if err != nil {
		up.conn.Close()
		return
	}
	closeWrite(up.conn)
}

// callerDone passes on that the caller sends no more. A caller that only
// closed its sending side still gets its answers.
func (s *session) callerDone(err error) {
	s.mu.Lock()
	idle := s.waiting == 0
	s.draining, s.callerGone = true, true
	ups := s.live()
	s.mu.Unlock()
	half := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	for _, up := range ups {
		if half && !idle {
			closeWrite(up.conn)
		} else {
			up.conn.Close()
		}
	}
}

// live returns the upstreams; s.mu must be held.
func (s *session) live() []*upstream {
	ups := make([]*upstream, 0, len(s.upstreams))
	for _, up := range s.upstreams {
		ups = append(ups, up)
	}
	return ups
}

// started and finished count exchanges that wait for an answer.
func (s *session) started() {
	s.mu.Lock()
	s.waiting++
	s.mu.Unlock()
}

func (s *session) finished() {
	s.mu.Lock()
	s.waiting--
	stop := s.draining && s.waiting == 0
	s.mu.Unlock()
	if stop {
		s.hangUp()
	}
}

// drain lets the exchanges under way end and closes the connection after them.
func (s *session) drain() {
	s.mu.Lock()
	s.draining = true
	idle := s.waiting == 0
	s.mu.Unlock()
	if idle {
		s.closeAll()
	}
}

// hangUp closes the connection to the caller without destroying what it has
// not read yet, and the upstreams with it.
func (s *session) hangUp() {
	closeWrite(s.client)
	_ = s.client.SetReadDeadline(time.Now().Add(rstGrace))
	s.mu.Lock()
	ups := s.live()
	s.mu.Unlock()
	for _, up := range ups {
		up.conn.Close()
	}
}

// closeAll closes every connection at once.
func (s *session) closeAll() {
	s.mu.Lock()
	s.closed = true
	ups := s.live()
	s.mu.Unlock()
	s.client.Close()
	for _, up := range ups {
		up.conn.Close()
	}
}

// closeWrite ends the sending side of a connection, or all of it where the
// sides cannot be told apart.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	c.Close()
}

// refuse answers what is not a request that can be passed on. No exchange is
// made of it.
func (s *session) refuse(turn <-chan struct{}, err error) {
	status := "400 Bad Request"
	switch {
	case errors.Is(err, http1.ErrHeadTooLarge):
		status = "431 Request Header Fields Too Large"
	case errors.Is(err, errLoop):
		status = "508 Loop Detected"
	case !errors.Is(err, http1.ErrBadHead) && !errors.Is(err, http1.ErrBadFraming) && !errors.Is(err, errNoRoute):
		s.closeAll() // the connection broke
		return
	}
	s.recorder.unreadable()
	<-turn
	s.answer(status, err.Error())
	s.hangUp()
}

// answer writes an answer of the proxy's own.
func (s *session) answer(status, text string) {
	fmt.Fprintf(s.w, "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", status, len(text)+1, text)
	_ = s.w.Flush()
}

// unreachable answers for an upstream that cannot be reached. The request is
// read to its end first, so that the recording has it.
func (s *session) unreachable(p *pending, to route, body http1.Framing, err error) {
	status := "502 Bad Gateway"
	failure := failureOf(err)
	if failure == traffic.FailureTimeout {
		status = "504 Gateway Timeout"
	}
	if !p.x.Request.Header.Has("Expect") {
		p.upgrade = false
		s.sendBody(p, &upstream{w: bufio.NewWriter(io.Discard)}, body)
	} else {
		p.half(func(x *traffic.Exchange) { x.Incomplete = append(x.Incomplete, "request body not asked for") })
	}
	p.half(func(x *traffic.Exchange) { x.Failure = failure })
	<-p.turn
	s.answer(status, fmt.Sprintf("reprise: cannot reach %s: %s", to.authority, failure))
	close(p.next)
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.finished()
}

// failureOf names an error of dialling as a client would see it.
func failureOf(err error) traffic.Failure {
	var dns *net.DNSError
	var netErr net.Error
	switch text := err.Error(); {
	case errors.As(err, &dns):
		return traffic.FailureDNS
	case errors.Is(err, context.Canceled):
		return traffic.FailureCanceled
	case errors.As(err, &netErr) && netErr.Timeout():
		return traffic.FailureTimeout
	case strings.Contains(text, "tls: ") || strings.Contains(text, "x509: "):
		return traffic.FailureTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(text, "reset by peer"), strings.Contains(text, "broken pipe"):
		return traffic.FailureReset
	}
	return traffic.FailureRefused
}
