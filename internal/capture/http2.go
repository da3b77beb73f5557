package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// http2Preface starts what an HTTP/2 client sends; no HTTP/1 request starts so.
const http2Preface = "PRI"

// streams is one HTTP/2 connection of a caller. Its streams go to one upstream
// connection per authority, which is made again when the upstream ends it.
type streams struct {
	recorder   *Recorder
	direction  traffic.Direction
	connection string
	scheme     string
	authority  string // for requests that name none
	dial       func(ctx context.Context, authority string) (net.Conn, error)

	ctx       context.Context // ends with the connection
	mu        sync.Mutex
	upstreams map[string]*http2.ClientConn
	ended     bool
	open      sync.WaitGroup
}

// run serves the connection until either side ends it or ctx does.
func (s *streams) run(ctx context.Context, c net.Conn, drains *drains) {
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	base := &http.Server{Handler: s}
	server := &http2.Server{PermitProhibitedCipherSuites: true, MaxConcurrentStreams: 1000}
	if err := http2.ConfigureServer(base, server); err != nil {
		c.Close()
		return
	}
	drains.add(s, func() { go func() { _ = base.Shutdown(ctx) }() }) // sends GOAWAY and waits
	server.ServeConn(c, &http2.ServeConnOpts{Context: ctx, BaseConfig: base, Handler: s})
	drains.remove(s)
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.open.Wait()
	for _, cc := range s.upstreams {
		cc.Close()
	}
}

// begin reports whether a stream may still be served.
func (s *streams) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.open.Add(1)
	}
	return !s.ended
}

// conn returns the upstream connection, made anew if need be.
func (s *streams) conn(ctx context.Context, authority string) (*http2.ClientConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cc := s.upstreams[authority]; cc != nil {
		if cc.CanTakeNewRequest() {
			return cc, nil
		}
		go func() { _ = cc.Shutdown(s.ctx) }() // its open streams end first
	}
	raw, err := s.dial(ctx, authority)
	if err != nil {
		return nil, err
	}
	transport := &http2.Transport{DisableCompression: true, AllowHTTP: true, StrictMaxConcurrentStreams: true, MaxHeaderListSize: http1.MaxHeadBytes}
	cc, err := transport.NewClientConn(raw)
	if err != nil {
		raw.Close()
		return nil, err
	}
	if s.upstreams == nil {
		s.upstreams = map[string]*http2.ClientConn{}
	}
	s.upstreams[authority] = cc
	return cc, nil
}

// ServeHTTP passes one stream on. It aborts the stream (by the panic that
// net/http documents for it) when the upstream's answer breaks off.
func (s *streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		return
	}
	defer s.open.Done()
	authority := strings.ToLower(r.Host)
	if authority == "" {
		authority = s.authority
	}
	x := &traffic.Exchange{
		Direction: s.direction,
		Start:     s.recorder.now(),
		Request: traffic.Request{
			Method: r.Method, Scheme: s.scheme, Authority: authority, Target: r.RequestURI, Proto: "HTTP/2.0",
			Header: wireHeader(r.Header),
		},
		Origin: traffic.Origin{Source: "proxy", Connection: s.connection},
	}
	t := s.recorder.begin(x)
	body := &sentBody{ReadCloser: r.Body, ticket: t, keep: s.keep(x, x.Request.Header), done: r.ContentLength == 0}
	aborted := s.pass(w, r, t, body)
	switch {
	case aborted:
	case r.ContentLength > 0:
		body.finish(http.NewResponseController(w), lateBody)
	case r.ContentLength < 0:
		body.finish(http.NewResponseController(w), lateMessage)
	}
	body.seal(r.Trailer)
	t.end()
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

// keep is for the body of a message with this header, in an exchange.
func (s *streams) keep(x *traffic.Exchange, header traffic.Header) http1.Keep {
	return http1.Keep{Limit: s.recorder.opts.BodyLimit, Times: messages.Times{Kind: messages.KindOf(header)}, At: s.recorder.since(x.Start)}
}

// pass sends the request on and the answer back, and records the answer.
func (s *streams) pass(w http.ResponseWriter, r *http.Request, t *ticket, body *sentBody) (aborted bool) {
	x := t.x
	cc, err := s.conn(r.Context(), x.Request.Authority)
	if err != nil {
		x.Failure = failureOf(err)
		http.Error(w, fmt.Sprintf("reprise: cannot reach %s: %s", x.Request.Authority, x.Failure), http.StatusBadGateway)
		return false
	}
	response, err := cc.RoundTrip(s.request(w, r, t, body))
	if err != nil {
		x.Failure = streamFailure(r, err)
		return true
	}
	defer response.Body.Close()
	x.FirstByte = s.recorder.now().Sub(x.Start)
	header := w.Header()
	for name, values := range response.Header {
		header[name] = values
	}
	for _, name := range []string{"Date", "Content-Type", "Content-Length"} {
		if _, ok := header[name]; !ok {
			header[name] = nil // else net/http adds one
		}
	}
	announced := slices.Sorted(maps.Keys(response.Trailer))
	for _, name := range announced {
		header.Add("Trailer", name)
	}
	w.WriteHeader(response.StatusCode)
	answered := wireHeader(response.Header)
	keep := s.keep(x, answered)
	if response.ContentLength != 0 { // an answer that is all head must stay so: gRPC tells by it
		err = pourStream(w, response.Body, &keep)
	}
	for name, values := range response.Trailer {
		header[http.TrailerPrefix+name] = values
	}
	x.Duration = s.recorder.now().Sub(x.Start)
	answer := &traffic.Response{Status: response.StatusCode, Proto: "HTTP/2.0", Header: answered, Trailer: wireHeader(response.Trailer)}
	for _, name := range announced { // net/http has taken them off
		answer.Header.Add("trailer", name)
	}
	answer.Body = keep.Body(answer.Header)
	x.Response = answer
	switch {
	case err != nil:
		answer.Body.Truncated = true
		x.Incomplete = append(x.Incomplete, "response body incomplete: the stream ended within it")
	case answer.Body.Truncated:
		x.Incomplete = append(x.Incomplete, fmt.Sprintf("response body truncated after %d of %d bytes", len(answer.Body.Raw), answer.Body.Size))
	}
	return err != nil
}

// request is what goes to the upstream: the same method, target, fields and
// body, with nothing added but a traceparent where one is due.
func (s *streams) request(w http.ResponseWriter, r *http.Request, t *ticket, body *sentBody) *http.Request {
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(code)
		clear(w.Header())
		return nil
	}}
	out := (&http.Request{
		Method: r.Method, Host: r.Host, Proto: "HTTP/2.0", ProtoMajor: 2,
		// Opaque keeps the target exactly as it came.
		URL:           &url.URL{Scheme: s.scheme, Host: r.Host, Opaque: "//" + r.Host + r.RequestURI},
		Header:        r.Header.Clone(),
		Trailer:       r.Trailer, // shared: its values come with the end of the body
		ContentLength: r.ContentLength,
		Body:          body,
	}).WithContext(httptrace.WithClientTrace(r.Context(), trace))
	if r.ContentLength == 0 {
		out.Body = http.NoBody
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // else net/http adds one
	}
	if t.traceparent != "" {
		out.Header.Set("Traceparent", t.traceparent)
	}
	return out
}

func streamFailure(r *http.Request, err error) traffic.Failure {
	var reset http2.StreamError
	switch {
	case r.Context().Err() != nil:
		return traffic.FailureTimeout // the caller did not wait
	case errors.As(err, &reset) && reset.Code == http2.ErrCodeProtocol:
		return traffic.FailureProtocol
	}
	return traffic.FailureReset
}

// pourStream copies a body and flushes each piece at once.
func pourStream(w http.ResponseWriter, body io.Reader, keep *http1.Keep) error {
	flush := http.NewResponseController(w).Flush
	if err := flush(); err != nil {
		return err
	}
	buffer := make([]byte, wireBuffer)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			keep.Add(buffer[:n])
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
			if err := flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sentBody is the body of a request on its way; what is read is kept.
type sentBody struct {
	io.ReadCloser
	ticket  *ticket
	reading sync.Mutex // held while a read waits, so that pieces are kept in order

	mu     sync.Mutex
	keep   http1.Keep
	done   bool
	sealed bool
}

// lateBody is how long the rest of a body is waited for once the answer is
// there.
const lateBody = time.Second

// lateMessage is the same for a body of unknown length, which may never end: a
// message of gRPC follows its head at once.
const lateMessage = 20 * time.Millisecond

// finish reads what the upstream did not wait for. An upstream that answers
// without reading the body ends the stream early, and the caller has sent, or
// is sending, all of it nevertheless.
func (b *sentBody) finish(caller *http.ResponseController, wait time.Duration) {
	if caller.SetReadDeadline(time.Now().Add(wait)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, b) // what is missing then is marked
}

// Close leaves the caller's stream open: the transport closes what it sends
// as soon as it has an answer, and finish may still want the rest.
func (b *sentBody) Close() error { return nil }

// Read implements io.Reader.
func (b *sentBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.sealed {
		b.keep.Add(p[:n])
		if b.done = b.done || err == io.EOF; err == io.EOF {
			b.keep.End()
			b.ticket.bodyRead(&b.keep)
		}
	}
	return n, err
}

// seal writes what was read into the exchange. The transport may go on
// reading; that changes nothing any more.
func (b *sentBody) seal(trailer http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealed = true
	x := b.ticket.x
	x.Request.Body = b.keep.Body(x.Request.Header)
	switch {
	case !b.done:
		x.Request.Body.Truncated = true
		x.Incomplete = append(x.Incomplete, "request body incomplete: the answer came first")
	case x.Request.Body.Truncated:
		x.Incomplete = append(x.Incomplete, fmt.Sprintf("request body truncated after %d of %d bytes", len(x.Request.Body.Raw), x.Request.Body.Size))
	}
	if b.done {
		x.Request.Trailer = wireHeader(trailer)
	}
}

// wireHeader converts to the spelling of HTTP/2, which is lower case.
func wireHeader(h http.Header) traffic.Header {
	fields := traffic.HeaderFrom(h)
	for i := range fields {
		fields[i].Name = strings.ToLower(fields[i].Name)
	}
	return fields
}
