package replay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// conn is one client connection that speaks HTTP/1.1. It serves one request at
// a time.
type conn struct {
	net.Conn
	name    string // for Origin.Connection
	answers *answerReader
	used    bool // it has carried an answer
}

// dial connects to t for HTTP/1.1.
func (e *Engine) dial(ctx context.Context, t Target) (*conn, error) {
	nc, err := e.dialRaw(ctx, t, "http/1.1")
	if err != nil {
		return nil, err
	}
	return &conn{
		Conn:    nc,
		name:    fmt.Sprintf("%s-%d", t.Arm, e.connections.Add(1)),
		answers: newAnswerReader(nc),
	}, nil
}

// dialRaw connects to t and, with TLS, agrees on the protocol. Errors say which
// step failed and unwrap to its cause.
func (e *Engine) dialRaw(ctx context.Context, t Target, protocol string) (net.Conn, error) {
	nc, err := e.opts.Dial(ctx, "tcp", t.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s at %s: %w", t.Arm, t.Addr, err)
	}
	if !t.TLS {
		return nc, nil
	}
	config := e.opts.TLS.Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if config.ServerName == "" {
		config.ServerName, _ = traffic.SplitAuthority(t.host())
	}
	config.NextProtos = []string{protocol}
	secure := tls.Client(nc, config)
	err = secure.HandshakeContext(ctx)
	if err == nil && protocol == "h2" && secure.ConnectionState().NegotiatedProtocol != "h2" {
		err = errors.New("the server does not offer HTTP/2")
	}
	if err != nil {
		nc.Close()
		if ctx.Err() == nil {
			err = &handshakeError{err}
		}
		return nil, fmt.Errorf("connect to %s at %s: %w", t.Arm, t.Addr, err)
	}
	return secure, nil
}

// alive reports whether an idle connection can take a request: the server has
// neither closed it nor sent anything. It costs one system call.
func (c *conn) alive() bool {
	nc := c.Conn
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		quiet = quietSocket(fd)
		return true
	})
	return err == nil && quiet
}

// moments is when the steps of one request happened.
type moments struct {
	sent  time.Time // just before the first byte was written
	first time.Time // the first byte of the answer was read
	last  time.Time // the last byte of the answer was read
}

// outcome is what one sending came to.
type outcome struct {
	moments
	answer answer
	// unanswered says that the connection ended before any byte of the answer,
	// and unsent that no byte of the request was written either.
	unanswered, unsent bool
	connection         string
}

// aside is the size from which a request is written while the answer is
// already read: a server that answers before it has read everything would
// otherwise block on its own full buffers, and so would we.
const aside = 64 << 10

// exchange sends the bytes of one request and reads the answer. The caller has
// set the deadline.
func (c *conn) exchange(request []byte, method string, keep bool, limit int64, s stream) (o outcome, err error) {
	o.sent = time.Now()
	var n int
	var wrote chan int
	if len(request) < aside {
		if n, err = c.Write(request); err != nil && n == 0 {
			o.unanswered, o.unsent = true, true
			return o, fmt.Errorf("send request: %w", err)
		}
		// A server may answer and close before it has read the whole request
		// (413): a failed write is judged by what can still be read.
	} else {
		wrote = make(chan int, 1)
		go func() { n, _ := c.Write(request); wrote <- n }()
	}
	o.answer, err = c.answers.read(method, keep, limit, s)
	o.last = time.Now()
	o.first = c.answers.first
	c.used = true
	if wrote != nil {
		select {
		case n = <-wrote:
		default: // the answer came first; what is left of the request is not wanted
			c.SetWriteDeadline(time.Unix(1, 0))
			n = min(<-wrote, len(request)-1)
		}
	}
	if err != nil {
		o.unanswered = !c.answers.got && closed(err)
		o.unsent = n == 0
		return o, fmt.Errorf("read answer: %w", err)
	}
	if n < len(request) {
		o.answer.reusable = false
	}
	return o, nil
}

// closed reports that the peer ended the connection.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}
