package mock

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Limits of one HTTP/2 connection.
const (
	maxStreams   = 1000
	http2Idle    = 10 * time.Minute
	http2MaxRead = 1 << 20
)

// serveHTTP2 serves a connection until either side ends it. The caller closes
// it, also when ctx ends.
func (m *Mock) serveHTTP2(ctx context.Context, c *conn, stream net.Conn) {
	c.SetReadDeadline(time.Time{})
	server := &http2.Server{MaxConcurrentStreams: maxStreams, MaxReadFrameSize: http2MaxRead, IdleTimeout: http2Idle, PermitProhibitedCipherSuites: true}
	base := &http.Server{MaxHeaderBytes: maxHeaderBytes}
	server.ServeConn(stream, &http2.ServeConnOpts{
		Context: ctx, BaseConfig: base,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			(&http2Call{mock: m, conn: c, w: w, r: r}).serve()
		}),
	})
}

// http2Call is one stream: a responder.
type http2Call struct {
	mock *Mock
	conn *conn
	w    http.ResponseWriter
	r    *http.Request
}

func (h *http2Call) serve() {
	start := h.mock.opts.Now()
	if h.r.Method == http.MethodConnect {
		http.Error(h.w, "reprise: tunnels are offered over HTTP/1.1 only", http.StatusNotImplemented)
		return
	}
	if isGRPC(mediaType(h.r.Header.Get("Content-Type"))) {
		if h.serveGRPC(start) != nil {
			h.abort()
		}
		return
	}
	req, err := h.request()
	if err != nil {
		var tooMuch *http.MaxBytesError
		if errors.As(err, &tooMuch) {
			http.Error(h.w, "reprise: "+tooLarge(tooMuch.Limit).Error(), http.StatusRequestEntityTooLarge)
			return
		}
		h.abort() // the caller broke off; there is nobody to answer
	}
	rec, o := h.mock.decide(req, arrival{connection: h.conn.id, start: start})
	if h.mock.respond(h, rec, o, start) != nil {
		h.abort()
	}
}

// request reads a request to its end.
func (h *http2Call) request() (*traffic.Request, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(h.w, h.r.Body, h.mock.opts.MaxBody))
	if err != nil {
		return nil, err
	}
	req := h.head()
	req.Trailer = traffic.HeaderFrom(h.r.Trailer)
	req.Body = traffic.NewBody(raw, req.Header)
	return req, nil
}

// head returns the request without its body.
func (h *http2Call) head() *traffic.Request {
	req := &traffic.Request{
		Method: h.r.Method, Scheme: "http", Authority: strings.ToLower(h.r.Host), Target: h.r.RequestURI, Proto: "HTTP/2.0",
		Header: traffic.HeaderFrom(h.r.Header),
	}
	if h.conn.secure {
		req.Scheme = "https"
	}
	if req.Authority == "" {
		req.Authority = h.conn.through
	}
	return req
}

func (h *http2Call) context() context.Context { return h.r.Context() }

// begin sets status and fields. Date and Content-Type are as recorded or
// absent, which net/http has to be told.
func (h *http2Call) begin(_ *traffic.Request, response *traffic.Response) error {
	header := h.w.Header()
	for _, f := range response.Header.WithoutHopByHop() {
		if isToken(f.Name) {
			header.Add(f.Name, f.Value)
		}
	}
	for _, name := range response.Header.Values("Trailer") {
		header.Add("Trailer", name)
	}
	for _, name := range []string{"Date", "Content-Type"} {
		if len(header.Values(name)) == 0 {
			header[name] = nil
		}
	}
	bodiless := h.r.Method == http.MethodHead || response.Status == http.StatusNotModified
	length := header.Get("Content-Length") != ""
	if length && !bodiless && !brokeOff(response) { // redaction may have changed it
		header.Set("Content-Length", strconv.Itoa(len(response.Body.Raw)))
	}
	h.w.WriteHeader(response.Status)
	if !length && !bodiless && len(response.Body.Raw) > 0 {
		return h.flush() // keeps the server from adding a length
	}
	return nil
}

func (h *http2Call) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := h.w.Write(p)
	if errors.Is(err, http.ErrBodyNotAllowed) {
		return nil
	}
	return err
}

func (h *http2Call) flush() error { return http.NewResponseController(h.w).Flush() }

func (h *http2Call) end(response *traffic.Response) error {
	for _, f := range response.Trailer {
		h.w.Header().Add(http.TrailerPrefix+f.Name, f.Value)
	}
	return nil
}

// abort resets the stream, by the panic that net/http documents for it. It
// does not return.
func (h *http2Call) abort() { panic(http.ErrAbortHandler) }
