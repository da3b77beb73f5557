package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
)

// MirrorOptions are the settings of a Mirror.
type MirrorOptions struct {
	// Mark, when it is set, names the field that marks mirrored requests, as
	// "Name" or "Name: value". Requests without it are answered and counted
	// as sampled out.
	Mark string
	// KeepShadow leaves "-shadow" in host names, for services that are really
	// called so.
	KeepShadow bool
}

// Mirror is a place to point traffic mirrors at: Istio's mirror, Envoy's
// request_mirror_policies, Emissary's shadow, nginx' mirror, GoReplay's
// --output-http. It answers every request with 200 as soon as it has read it
// and calls nothing. A mirror carries no responses, so the exchanges have
// none, and no failure either.
//
// Proxies retry and mirror from several places; requests that repeat a request
// id with the same content within a few seconds are kept once.
type Mirror struct {
	recorder *Recorder
	opts     MirrorOptions
	seen     repeats
}

// NewMirror makes a mirror target.
func NewMirror(recorder *Recorder, opts MirrorOptions) (*Mirror, error) {
	if name, _, _ := strings.Cut(opts.Mark, ":"); opts.Mark != "" && strings.TrimSpace(name) == "" {
		return nil, fmt.Errorf("record a mirror: the mark %q names no header", opts.Mark)
	}
	return &Mirror{recorder: recorder, opts: opts, seen: repeats{last: map[uint64]time.Time{}}}, nil
}

// Serve answers HTTP/1.1 and HTTP/2 without TLS on l, which it closes, until
// ctx ends. It returns as [Inbound.Serve] does.
func (m *Mirror) Serve(ctx context.Context, l net.Listener) error { return serve(ctx, l, m.handle) }

func (m *Mirror) handle(ctx context.Context, raw net.Conn, drains *drains) {
	c := newPeeked(raw)
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	connection := m.recorder.connection()
	first, err := c.peek(drains, len(http2Preface))
	if err != nil {
		return
	}
	if string(first) == http2Preface {
		base := &http.Server{}
		h2 := &http2.Server{MaxConcurrentStreams: 1000}
		if http2.ConfigureServer(base, h2) != nil {
			return
		}
		drains.add(c, func() { go func() { _ = base.Shutdown(ctx) }() })
		defer drains.remove(c)
		h2.ServeConn(c, &http2.ServeConnOpts{Context: ctx, BaseConfig: base, Handler: m.handler(connection)})
		return
	}
	for r := bufio.NewReaderSize(c, wireBuffer); ; {
		drains.add(c, func() { c.Close() }) // between requests
		_, err := r.Peek(1)
		drains.remove(c)
		if err != nil || !m.answer(c, r, connection) {
			return
		}
	}
}

// answer reads one HTTP/1 request and answers it. It reports whether another
// may follow.
func (m *Mirror) answer(c io.Writer, r *bufio.Reader, connection string) bool {
	start := m.recorder.now()
	h, err := http1.ReadHead(r)
	var method, target, proto string
	if err == nil {
		method, target, proto, err = h.RequestLine()
	}
	var f http1.Framing
	if err == nil {
		f, err = http1.RequestFraming(h.Fields)
	}
	if err != nil {
		if errors.Is(err, http1.ErrBadHead) || errors.Is(err, http1.ErrBadFraming) || errors.Is(err, http1.ErrHeadTooLarge) {
			m.recorder.unreadable()
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
		return false
	}
	_, origin := http1.OriginForm(target)
	x := m.exchange(traffic.Request{
		Method: method, Authority: h.Fields.Get("Host"), Target: origin, Proto: proto, Header: h.Fields.WithoutHopByHop(),
	}, start, connection)
	if http1.HasToken(h.Fields, "Expect", "100-continue") {
		if _, err := io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return false
		}
	}
	keep := http1.Keep{Limit: m.recorder.opts.BodyLimit}
	trailer, err := http1.Pour(bufio.NewWriterSize(io.Discard, 16), r, f, &keep)
	x.Request.Trailer = trailer
	m.record(x, &keep, err)
	if err != nil {
		return false
	}
	_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	return err == nil && http1.Persistent(proto, h.Fields)
}

// handler answers the streams of one HTTP/2 connection.
func (m *Mirror) handler(connection string) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		x := m.exchange(traffic.Request{
			Method: r.Method, Authority: r.Host, Target: r.RequestURI, Proto: "HTTP/2.0", Header: wireHeader(r.Header),
		}, m.recorder.now(), connection)
		keep := http1.Keep{Limit: m.recorder.opts.BodyLimit}
		buffer := make([]byte, wireBuffer)
		var err error
		for err == nil {
			var n int
			n, err = r.Body.Read(buffer)
			keep.Add(buffer[:n])
		}
		x.Request.Trailer = wireHeader(r.Trailer)
		if err == io.EOF {
			err = nil
		}
		m.record(x, &keep, err)
	})
}

func (m *Mirror) exchange(r traffic.Request, start time.Time, connection string) *traffic.Exchange {
	r.Scheme = "http"
	r.Authority = strings.ToLower(r.Authority)
	if !m.opts.KeepShadow {
		r.Authority = WithoutShadow(r.Authority)
		for i, f := range r.Header {
			if strings.EqualFold(f.Name, "Host") {
				r.Header[i].Value = WithoutShadow(f.Value)
			}
		}
	}
	return &traffic.Exchange{
		Direction: traffic.Inbound, Start: start, Request: r,
		Origin: traffic.Origin{Source: "mirror", Connection: connection},
	}
}

// record hands on one request, unless it is no mirrored one or a repetition.
func (m *Mirror) record(x *traffic.Exchange, keep *http1.Keep, err error) {
	x.Request.Body = keep.Body(x.Request.Header)
	switch {
	case err != nil:
		x.Request.Body.Truncated = true
		x.Incomplete = append(x.Incomplete, "request body incomplete: the caller stopped sending")
	case x.Request.Body.Truncated:
		x.Incomplete = append(x.Incomplete, fmt.Sprintf("request body truncated after %d of %d bytes", len(x.Request.Body.Raw), x.Request.Body.Size))
	}
	t := m.recorder.begin(x)
	if !m.marked(x.Request.Header) || m.seen.repeated(x) {
		t.leaveOut()
	}
	t.end()
}

func (m *Mirror) marked(h traffic.Header) bool {
	name, value, valued := strings.Cut(m.opts.Mark, ":")
	if name == "" {
		return true
	}
	if valued {
		return h.Get(strings.TrimSpace(name)) == strings.TrimSpace(value)
	}
	return h.Has(strings.TrimSpace(name))
}

// WithoutShadow takes the "-shadow" off a host that a mirroring proxy has
// marked, in the spellings that are known: before the port, behind it, and
// with no port.
func WithoutShadow(authority string) string {
	const mark = "-shadow"
	if n := len(authority) - len(mark); n > 0 && strings.EqualFold(authority[n:], mark) {
		return authority[:n]
	}
	host, port, ok := strings.Cut(authority, ":")
	if strings.HasPrefix(authority, "[") { // an IPv6 address
		i := strings.LastIndexByte(authority, ':')
		host, port, ok = authority[:i+1], authority[i+1:], i > strings.LastIndexByte(authority, ']')
		host = strings.TrimSuffix(host, ":")
	}
	if n := len(host) - len(mark); ok && n > 0 && strings.EqualFold(host[n:], mark) {
		return host[:n] + ":" + port
	}
	return authority
}

// repeats remembers the requests of the last seconds that carry a request id.
type repeats struct {
	mu   sync.Mutex
	last map[uint64]time.Time
}

const (
	repeatWindow = 10 * time.Second
	maxRepeats   = 1 << 16
)

// repeated reports whether an equal request with the same id came a moment
// ago. A request id alone is not enough: a mesh passes one on through a whole
// chain of calls, which may reach the service more than once.
func (r *repeats) repeated(x *traffic.Exchange) bool {
	id := x.Request.Header.Get("X-Request-Id")
	if id == "" {
		return false
	}
	h := fnv.New64a()
	for _, s := range []string{id, x.Request.Method, x.Request.Authority, x.Request.Target} {
		_, _ = io.WriteString(h, s)
		_, _ = h.Write([]byte{0})
	}
	_, _ = h.Write(x.Request.Body.Raw)
	key := h.Sum64()
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.last[key]
	r.last[key] = x.Start
	if len(r.last) > maxRepeats {
		for k, at := range r.last {
			if x.Start.Sub(at) > repeatWindow {
				delete(r.last, k)
			}
		}
		if len(r.last) > maxRepeats {
			clear(r.last) // better a repetition than no bound
		}
	}
	return known && x.Start.Sub(before) <= repeatWindow
}
