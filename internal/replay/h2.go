package replay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// overHTTP2 reports whether an exchange is sent over HTTP/2.
func (e *Engine) overHTTP2(x *traffic.Exchange) bool {
	return e.opts.HTTP2 || strings.HasPrefix(traffic.MediaType(x.Request.Header), "application/grpc")
}

// client2 sends requests over HTTP/2, with the library's own order of headers.
type client2 struct {
	engine    *Engine
	target    Target
	transport *http2.Transport
}

func (e *Engine) newClient2(t Target) *client2 {
	c := &client2{engine: e, target: t}
	c.transport = &http2.Transport{
		AllowHTTP: true, DisableCompression: true, MaxHeaderListSize: maxHead,
		DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
			return e.dialRaw(ctx, t, "h2")
		},
	}
	return c
}

func (c *client2) close() { c.transport.CloseIdleConnections() }

// paced sends a recorded request as send does, but for the messages of a
// stream, which go out in their turns and with what rw, which may be nil, makes
// of them by then.
func (c *client2) paced(ctx context.Context, recorded *traffic.Exchange, out *traffic.Request, rw Rewriter, pace float64, keep bool) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, c.engine.opts.Timeout)
	defer cancel()
	return c.exchange(ctx, out, c.engine.streamOf(ctx, recorded, out, rw, pace), keep)
}

// send sends an outgoing request and reads the whole answer.
func (c *client2) send(ctx context.Context, out *traffic.Request, keep bool) (outcome, error) {
	return c.exchange(ctx, out, nil, keep)
}

// exchange does both; s is nil where the body goes out at once.
func (c *client2) exchange(ctx context.Context, out *traffic.Request, s *grpcStream, keep bool) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.engine.opts.Timeout)
	defer cancel()
	trace := &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { o.sent = time.Now() },
		GotFirstResponseByte: func() { o.first = time.Now() },
	}
	o.sent = time.Now()
	req, err := c.request(httptrace.WithClientTrace(ctx, trace), out)
	if err != nil {
		return o, &requestError{err.Error()}
	}
	if s != nil {
		req.Body, req.GetBody, req.ContentLength = io.NopCloser(s), nil, -1
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return o, fmt.Errorf("%s at %s: %w", c.target.Arm, c.target.Addr, asProtocol(err))
	}
	defer resp.Body.Close()
	if o.first.IsZero() {
		o.first = time.Now()
	}
	limit := c.engine.opts.MaxBody
	body := io.LimitReader(resp.Body, limit+1)
	if s != nil {
		body = s.hear(body)
	}
	o.answer = answer{status: resp.StatusCode, proto: "HTTP/2.0", declared: resp.ContentLength}
	if keep {
		o.answer.header = traffic.HeaderFrom(resp.Header)
		o.answer.body, err = io.ReadAll(body)
		o.answer.size = int64(len(o.answer.body))
	} else {
		o.answer.size, err = io.Copy(io.Discard, body)
	}
	o.last = time.Now()
	if err != nil {
		return o, fmt.Errorf("%s at %s: read answer: %w", c.target.Arm, c.target.Addr, asProtocol(err))
	}
	if o.answer.size > limit {
		o.answer.size, o.answer.truncated = limit, true
		o.answer.body = o.answer.body[:min(int64(len(o.answer.body)), limit)]
	} else if keep {
		o.answer.trailer = traffic.HeaderFrom(resp.Trailer)
	}
	return o, nil
}

// asProtocol tells faults in the framing from closed connections.
func asProtocol(err error) error {
	var stream http2.StreamError
	var connection http2.ConnectionError
	switch {
	case errors.As(err, &stream) && stream.Code != http2.ErrCodeCancel && stream.Code != http2.ErrCodeRefusedStream && stream.Code != http2.ErrCodeInternal,
		errors.As(err, &connection):
		return &protocolError{err.Error()}
	}
	return err
}

func (c *client2) request(ctx context.Context, out *traffic.Request) (*http.Request, error) {
	var body io.Reader
	if len(out.Body.Raw) > 0 || len(out.Trailer) > 0 {
		body = bytes.NewReader(out.Body.Raw)
	}
	req, err := http.NewRequestWithContext(ctx, out.Method, out.Scheme+"://"+c.target.Addr+out.Target, body)
	if err != nil {
		return nil, err
	}
	req.URL.Opaque = "" // the path goes out as it was recorded:
	req.URL.RawPath = out.Path()
	req.Host = out.Authority
	req.Header = make(http.Header, len(out.Header))
	for _, f := range out.Header {
		switch {
		case strings.EqualFold(f.Name, "Host"), strings.EqualFold(f.Name, "Transfer-Encoding"), strings.EqualFold(f.Name, "Content-Length"):
		case strings.EqualFold(f.Name, "Trailer"):
			req.Trailer = out.Trailer.HTTP()
		default:
			req.Header.Add(f.Name, f.Value)
		}
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header["User-Agent"] = nil // none is added
	}
	if strings.HasPrefix(traffic.MediaType(out.Header), "application/grpc") {
		req.Header.Set("Te", "trailers") // a field of the connection, but gRPC insists
	}
	return req, nil
}
