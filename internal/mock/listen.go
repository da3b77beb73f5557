package mock

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Times and sizes that keep a slow or hostile caller from holding resources.
const (
	helloTimeout   = 10 * time.Second // to the first byte and through a TLS handshake
	headerTimeout  = 30 * time.Second // for a head, once it begins
	maxHeaderBytes = 256 << 10
)

// Serve answers calls on l until ctx ends, and returns nil then. It closes l.
// Each connection may be TLS (with HTTP/2 or HTTP/1.1 by ALPN), HTTP/1.1, or
// HTTP/2 without TLS; HTTP/1.1 callers may take the mock for the server itself
// or for a forward proxy. Serve may be called for any number of listeners.
func (m *Mock) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	return m.accept(ctx, l)
}

// accept takes connections and serves each one in a goroutine. It returns when
// all of them have ended.
func (m *Mock) accept(ctx context.Context, l net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		raw, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				raw.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("serve the mock on %s: %w", l.Addr(), err)
		case err != nil: // out of descriptors, or the caller was gone at once
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		c := &conn{Conn: raw, in: bufio.NewReader(raw), id: strconv.FormatUint(m.connections.Add(1), 10)}
		open.Go(func() { m.sniff(ctx, c) })
	}
}

// conn is a client connection that was looked into.
type conn struct {
	net.Conn
	in *bufio.Reader
	id string
	// through is the authority that the client asked a tunnel to, "" without.
	through string
	secure  bool
}

func (c *conn) Read(b []byte) (int, error) { return c.in.Read(b) }

// reset closes the connection so that its peer sees a reset, where TCP allows.
func (c *conn) reset() {
	inner := c.Conn
	for {
		wrapped, ok := inner.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		inner = wrapped.NetConn()
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		tcp.SetLinger(0) // the close below matters more
	}
	inner.Close()
}

// NetConn returns the connection below.
func (c *conn) NetConn() net.Conn { return c.Conn }

// http2Preface begins what an HTTP/2 client sends without TLS; no request of
// HTTP/1 begins so.
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// sniff finds out what a connection speaks and serves it to its end.
func (m *Mock) sniff(ctx context.Context, c *conn) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(helloTimeout))
	first, err := c.in.Peek(1)
	if err != nil {
		return
	}
	const handshakeRecord = 0x16
	var stream net.Conn = c
	if first[0] == handshakeRecord {
		t, err := m.handshake(ctx, c)
		if err != nil {
			return
		}
		stream = t
		if t.ConnectionState().NegotiatedProtocol == "h2" {
			m.serveHTTP2(ctx, c, stream)
			return
		}
	} else if first[0] == http2Preface[0] && c.begins(http2Preface) {
		m.serveHTTP2(ctx, c, stream)
		return
	}
	c.SetReadDeadline(time.Time{})
	m.serveHTTP1(ctx, c, stream)
}

// begins reports whether the client's first bytes are s, waiting for no more
// of them than it takes to tell.
func (c *conn) begins(s string) bool {
	for n := 1; n <= len(s); n++ {
		b, err := c.in.Peek(n)
		if err != nil || b[n-1] != s[n-1] {
			return false
		}
	}
	return true
}

func (m *Mock) handshake(ctx context.Context, c *conn) (*tls.Conn, error) {
	c.secure = true
	fallback, _ := traffic.SplitAuthority(c.through)
	name := fallback
	config := m.ca.ServerConfig(fallback, "h2", "http/1.1")
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name = strings.ToLower(cmp.Or(hello.ServerName, fallback))
		if m.faultName(FaultTLS, name) {
			return nil, errors.New("fault: handshake refused")
		}
		return nil, nil // go on with this one
	}
	t := tls.Server(c, config)
	shaking, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if err := t.HandshakeContext(shaking); err != nil {
		if ctx.Err() == nil {
			m.evidence.handshake(name, err)
		}
		return nil, fmt.Errorf("shake hands: %w", err)
	}
	return t, nil
}
