package mock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// http1 serves one HTTP/1 connection. It is its own engine rather than that of
// net/http for what a stand-in needs and a server does not: fields in their
// recorded order and spelling, answers that break off as recorded, and half
// the cost of a call.
type http1 struct {
	mock   *Mock
	ctx    context.Context // of Serve
	conn   *conn
	stream net.Conn // what is read and written: conn itself, or TLS over it
	in     *bufio.Reader
	out    *bufio.Writer
	minor  int  // version of the request that is being answered
	closes bool // the connection ends after this answer
	timed  bool // a read deadline is set

	// The request that is being answered. Its memory is used again for the next
	// one, but for what the journal keeps.
	head head
	req  traffic.Request

	chunked, bodiless bool // how the answer is framed
}

const writeBuffer = 8 << 10

// serveHTTP1 serves a connection until either side ends it. The caller closes
// it, also when ctx ends.
func (m *Mock) serveHTTP1(ctx context.Context, c *conn, stream net.Conn) {
	h := &http1{mock: m, ctx: ctx, conn: c, stream: stream, in: c.in, out: bufio.NewWriterSize(stream, writeBuffer)}
	if stream != net.Conn(c) {
		h.in = bufio.NewReader(stream)
	}
	for {
		switch h.next() {
		case goesOn:
			// Others first: by the time that it is the turn of this connection again,
			// its next request may be there. One read takes it then, in place of one in
			// vain, a wait, and another one.
			runtime.Gosched()
		case ended:
			if stream != net.Conn(c) {
				stream.Close() // tells the peer that the end is meant
			}
			return
		case tunnelled:
			m.sniff(ctx, &conn{Conn: stream, in: h.in, id: c.id, through: c.through})
			return
		}
	}
}

// after says what becomes of a connection after a request.
type after int

const (
	goesOn after = iota
	ended
	tunnelled
)

// next reads one request and answers it.
func (h *http1) next() after {
	if h.in.Buffered() == 0 {
		if _, err := h.in.Peek(1); err != nil { // idle until then, as long as the client likes
			return ended
		}
	}
	start := h.mock.opts.Now()
	text, whole, err := bufferedHead(h.in)
	if !whole && err == nil { // deadlines cost, and most heads come in one piece
		h.stream.SetReadDeadline(time.Now().Add(headerTimeout))
		h.timed = true
		text, err = readHead(h.in)
	}
	if err == nil {
		err = h.head.parse(text)
	}
	if err != nil {
		return h.refuse(err)
	}
	h.minor, h.closes = h.head.minor, h.head.close
	if h.head.method == http.MethodConnect {
		return h.tunnel()
	}
	if err := h.request(); err != nil {
		return h.refuse(err)
	}
	if h.timed {
		h.stream.SetReadDeadline(time.Time{})
		h.timed = false
	}
	rec, o := h.mock.decide(&h.req, arrival{connection: h.conn.id, start: start})
	if o.entry != none && upgrades(&h.req) {
		if recorded := h.mock.index.response(o.entry); recorded != nil && recorded.Status == http.StatusSwitchingProtocols {
			h.upgrade(rec, h.mock.index.request(o.entry), recorded, o, start)
			return ended
		}
	}
	if err := h.mock.respond(h, rec, o, start); err != nil || h.closes {
		return ended
	}
	if !h.mock.drop(rec) {
		h.head.fields = nil // they are the journal's now
	}
	return goesOn
}

// refuse answers a request that cannot be served, if there is somebody to
// answer, and ends the connection.
func (h *http1) refuse(err error) after {
	var refused *badRequest
	if errors.As(err, &refused) {
		h.minor, h.closes = 1, true
		response := plainResponse(refused.status, "reprise: "+refused.why+"\n")
		if h.begin(&traffic.Request{}, response) == nil && h.write(response.Body.Raw) == nil && h.end(response) == nil {
			h.linger()
		}
	}
	return ended
}

// linger reads on for a moment, so that the refusal is not lost to a reset
// while the client is still sending.
func (h *http1) linger() {
	h.stream.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	io.CopyN(io.Discard, h.in, 1<<20) // whatever comes is not answered
}

// tunnel answers a CONNECT: what the client sends through it is served here,
// as if this were the host it asked for. Nothing is dialled.
func (h *http1) tunnel() after {
	if h.head.length != 0 {
		return h.refuse(bad("CONNECT has no body"))
	}
	h.stream.SetReadDeadline(time.Time{})
	h.conn.through = strings.ToLower(h.head.target)
	if _, err := io.WriteString(h.stream, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return ended
	}
	return tunnelled
}

// request puts the request together, reading its body.
func (h *http1) request() error {
	parsed, req := &h.head, &h.req
	*req = traffic.Request{
		Method: parsed.method, Scheme: "http", Target: parsed.target, Proto: "HTTP/1.1", Header: parsed.fields,
		Authority: strings.ToLower(parsed.fields.Get("Host")),
	}
	if parsed.minor == 0 {
		req.Proto = "HTTP/1.0"
	}
	if h.conn.secure {
		req.Scheme = "https"
	}
	if req.Target[0] != '/' && req.Target != "*" { // asked as a forward proxy
		u, err := url.Parse(req.Target)
		if err != nil || u.Host == "" {
			return bad("the target is neither a path nor a URL")
		}
		req.Scheme, req.Authority, req.Target = strings.ToLower(u.Scheme), strings.ToLower(u.Host), u.RequestURI()
	}
	if req.Authority == "" {
		req.Authority = h.conn.through
	}
	if parsed.length == 0 {
		return nil
	}
	if parsed.length > h.mock.opts.MaxBody {
		return tooLarge(h.mock.opts.MaxBody)
	}
	if parsed.expects && h.in.Buffered() == 0 {
		if _, err := io.WriteString(h.stream, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return fmt.Errorf("ask for the body: %w", err)
		}
	}
	raw, err := h.body(parsed.length, req)
	req.Body = traffic.NewBody(raw, req.Header)
	return err
}

func tooLarge(limit int64) error {
	return &badRequest{http.StatusRequestEntityTooLarge, fmt.Sprintf("no request bodies over %d bytes are read", limit)}
}
