package mock

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Times and sizes that keep a slow or hostile caller from holding resources.
const (
	helloTimeout   = 10 * time.Second // to the first byte and through a TLS handshake
	headerTimeout  = 30 * time.Second
	maxHeaderBytes = 256 << 10
	closeGrace     = time.Second
)

// Serve answers calls on l until ctx ends, and returns nil then. It closes l.
// Each connection may be TLS (with HTTP/2 or HTTP/1.1 by ALPN), HTTP/1.1, or
// HTTP/2 without TLS; HTTP/1.1 callers may take the mock for the server itself
// or for a forward proxy. Serve may be called for any number of listeners.
func (m *Mock) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := &queue{Listener: l, conns: make(chan net.Conn), done: ctx.Done()}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:           &handler{m, ctx, ready},
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(io.Discard, "", 0), // callers that break off are the caller's news
		ConnContext:       withConn,
	}
	stopped := context.AfterFunc(ctx, func() { l.Close() })
	defer stopped()
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(ready) // ends with the queue
	}()
	err := m.accept(ctx, l, ready)
	cancel()
	grace, end := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer end()
	if server.Shutdown(grace) != nil {
		server.Close()
	}
	<-served
	return err
}

// accept takes connections and hands each one to the server once its protocol
// is known. It returns when no sniffing is under way any more.
func (m *Mock) accept(ctx context.Context, l net.Listener, ready *queue) error {
	var sniffing sync.WaitGroup
	defer sniffing.Wait()
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
		sniffing.Go(func() { m.sniff(ctx, c, ready) })
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

// sniff finds out whether a connection speaks TLS, shakes hands if so, and
// passes it on. It closes connections that say nothing or fail.
func (m *Mock) sniff(ctx context.Context, c *conn, ready *queue) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	c.SetReadDeadline(time.Now().Add(helloTimeout))
	first, err := c.in.Peek(1)
	if err != nil {
		c.Close()
		return
	}
	c.SetReadDeadline(time.Time{})
	const handshakeRecord = 0x16
	if first[0] != handshakeRecord {
		ready.put(c)
		return
	}
	c.secure = true
	fallback, _ := traffic.SplitAuthority(c.through)
	t := tls.Server(c, m.ca.ServerConfig(fallback, "h2", "http/1.1"))
	shaking, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if err := t.HandshakeContext(shaking); err != nil {
		if ctx.Err() == nil {
			m.evidence.handshake(t.ConnectionState().ServerName, fallback, err)
		}
		c.Close()
		return
	}
	ready.put(t)
}

// queue is a listener of connections whose protocol is known.
type queue struct {
	net.Listener
	conns chan net.Conn
	done  <-chan struct{}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error { return nil } // the caller of Serve's listener is closed elsewhere

func (q *queue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		c.Close()
	}
}

type connKey struct{}

// withConn puts the sniffed connection into the context of its requests.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// handler turns HTTP requests into calls and answers them.
type handler struct {
	mock  *Mock
	ctx   context.Context // of Serve
	ready *queue
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.mock.opts.Now()
	began := time.Now()
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		http.Error(w, "the mock lost track of this connection", http.StatusInternalServerError)
		return
	}
	if r.Method == http.MethodConnect {
		h.tunnel(w, r, c)
		return
	}
	req, err := h.request(w, r, c)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			http.Error(w, "the mock reads no request bodies over "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes", http.StatusRequestEntityTooLarge)
			return
		}
		panic(http.ErrAbortHandler) // the caller broke off; there is nobody to answer
	}
	record, o := h.mock.decide(req, arrival{connection: c.id, start: start})
	h.mock.respond(w, r, record, o, began)
}

// tunnel answers a CONNECT: what the client sends through it is served here,
// as if this were the host it asked for. Nothing is dialled.
func (h *handler) tunnel(w http.ResponseWriter, r *http.Request, c *conn) {
	inner, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil { // CONNECT over HTTP/2
		http.Error(w, "the mock offers tunnels over HTTP/1.1 only", http.StatusNotImplemented)
		return
	}
	inner.SetDeadline(time.Time{})
	if _, err := io.WriteString(inner, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		inner.Close()
		return
	}
	go h.mock.sniff(h.ctx, &conn{Conn: inner, in: buffered.Reader, id: c.id, through: strings.ToLower(r.Host)}, h.ready)
}

// request reads a request to its end.
func (h *handler) request(w http.ResponseWriter, r *http.Request, c *conn) (*traffic.Request, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.mock.opts.MaxBody))
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	req := &traffic.Request{
		Method: r.Method, Scheme: "http", Authority: strings.ToLower(r.Host), Target: r.RequestURI, Proto: r.Proto,
		Header: traffic.HeaderFrom(r.Header), Trailer: traffic.HeaderFrom(r.Trailer),
	}
	if c.secure {
		req.Scheme = "https"
	}
	if r.URL.IsAbs() { // asked as a forward proxy
		req.Scheme, req.Authority = strings.ToLower(r.URL.Scheme), strings.ToLower(r.URL.Host)
		req.Target = r.URL.RequestURI()
	}
	if req.Authority == "" {
		req.Authority = c.through
	}
	req.Body = traffic.NewBody(raw, req.Header)
	return req, nil
}
