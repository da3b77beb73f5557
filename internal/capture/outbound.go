package capture

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
)

var errLoop = errors.New("the request leads back to the recorder")

// OutboundOptions are the settings of an Outbound.
type OutboundOptions struct {
	// Resolve says where hosts really are: "host:port" or "host" (any port)
	// to "address:port" or "address" (the same port). Hosts that are not named
	// are looked up as usual.
	Resolve map[string]string
	// Roots verifies upstreams; nil means the system's. ExtraRoots are added
	// to either.
	Roots      *x509.CertPool
	ExtraRoots []*x509.Certificate
}

// Outbound is a forward proxy between the service and its dependencies. On one
// listener it serves explicit proxying (absolute-form requests and CONNECT)
// and transparent interception (plain HTTP by Host, TLS by SNI). TLS is opened
// with a leaf of the authority for the name that the service asks for, and
// closed again towards the real upstream, whose certificate is verified.
type Outbound struct {
	authority *authority.Authority
	recorder  *Recorder
	opts      OutboundOptions
	roots     *x509.CertPool
}

// NewOutbound makes a proxy whose certificates the authority signs; the
// service must trust it.
func NewOutbound(ca *authority.Authority, recorder *Recorder, opts OutboundOptions) (*Outbound, error) {
	if ca == nil {
		return nil, errors.New("record outbound: there is no certificate authority")
	}
	roots := opts.Roots
	if roots == nil {
		var err error
		if roots, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("record outbound: read the system's root certificates: %w", err)
		}
	}
	roots = roots.Clone()
	for _, c := range opts.ExtraRoots {
		roots.AddCert(c)
	}
	for from, to := range opts.Resolve {
		if from == "" || to == "" {
			return nil, fmt.Errorf("record outbound: resolve %q to %q: both must be named", from, to)
		}
	}
	return &Outbound{authority: ca, recorder: recorder, opts: opts, roots: roots}, nil
}

// Serve answers on l, which it closes, until ctx ends. It returns as
// [Inbound.Serve] does.
func (o *Outbound) Serve(ctx context.Context, l net.Listener) error {
	self := l.Addr().String()
	return serve(ctx, l, func(ctx context.Context, c net.Conn, drains *drains) {
		g := &gateway{Outbound: o, ctx: ctx, drains: drains, connection: o.recorder.connection(), self: self}
		g.accept(newPeeked(c))
	})
}

// dialer returns how to reach an authority.
func (o *Outbound) dial(ctx context.Context, authority, port, self string) (net.Conn, error) {
	host, p := traffic.SplitAuthority(authority)
	if p == "" {
		p = port
	}
	address := net.JoinHostPort(host, p)
	to, ok := o.opts.Resolve[address]
	if !ok {
		to, ok = o.opts.Resolve[host]
	}
	if ok {
		if h, q := traffic.SplitAuthority(to); q != "" {
			address = net.JoinHostPort(h, q)
		} else {
			address = net.JoinHostPort(h, p)
		}
	}
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if c.RemoteAddr().String() == self {
		c.Close()
		return nil, errLoop
	}
	return c, nil
}

// gateway is one connection of the service.
type gateway struct {
	*Outbound
	ctx        context.Context
	drains     *drains
	connection string
	self       string
}

// accept serves a new connection: a CONNECT first, or at once what is inside.
func (g *gateway) accept(c *peeked) {
	const connect = "CONNECT "
	first, err := c.peek(g.drains, len(connect))
	if err != nil || string(first) != connect {
		g.open(c, destination{})
		return
	}
	start := g.recorder.now()
	h, err := http1.ReadHead(c.r)
	if err != nil {
		return
	}
	_, target, _, err := h.RequestLine()
	if err != nil {
		return
	}
	to := destination{authority: strings.ToLower(target)}
	if to.conn, err = g.dial(g.ctx, to.authority, "443", g.self); err != nil {
		g.failed(start, to.authority, err)
		fmt.Fprintf(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	defer to.conn.Close()
	if _, err := fmt.Fprintf(c, "HTTP/1.1 200 Connection Established\r\n\r\n"); err == nil {
		g.open(c, to)
	}
}

// destination is what a CONNECT asked for; zero for none.
type destination struct {
	authority string
	conn      net.Conn
}

// open serves what the first byte announces: TLS or plain HTTP.
func (g *gateway) open(c *peeked, to destination) {
	first, err := c.peek(g.drains, len(http2Preface))
	switch {
	case err != nil:
	case first[0] == recordTypeHandshake:
		g.openTLS(c, to)
	case string(first) == http2Preface:
		g.streams("http", to.authority, func(ctx context.Context, authority string) (net.Conn, error) {
			if to.conn != nil {
				return to.conn, nil
			}
			return g.dial(ctx, authority, "80", g.self)
		}).run(g.ctx, c, g.drains)
	default:
		s := g.session(c)
		s.fixed = to.conn != nil
		s.direct = func(h *http1.Head, _, target string) (route, error) { return g.directPlain(h, target, to) }
		g.run(s)
	}
}

func (g *gateway) streams(scheme, authority string, dial func(context.Context, string) (net.Conn, error)) *streams {
	return &streams{recorder: g.recorder, direction: traffic.Outbound, connection: g.connection, scheme: scheme, authority: authority, dial: dial}
}

func (g *gateway) session(c net.Conn) *session {
	return &session{recorder: g.recorder, direction: traffic.Outbound, connection: g.connection, ctx: g.ctx, client: c}
}

func (g *gateway) run(s *session) {
	g.drains.add(s, s.drain)
	defer g.drains.remove(s)
	s.run()
}

// recordTypeHandshake is the first byte of a TLS connection.
const recordTypeHandshake = 22

// openTLS makes the connection to the real upstream first, so that the caller
// is offered the protocol which the upstream speaks, and nothing when the
// upstream cannot be reached or verified.
func (g *gateway) openTLS(c *peeked, to destination) {
	var name string
	var up *tls.Conn
	var failed error
	start := g.recorder.now()
	config := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if name = to.authority; name == "" {
			name = strings.ToLower(hello.ServerName)
		}
		if name == "" {
			return nil, errNoRoute
		}
		if up, failed = g.dialTLS(name, to.conn, hello.ServerName, hello.SupportedProtos); failed != nil {
			return nil, failed
		}
		host, _ := traffic.SplitAuthority(name)
		var protos []string
		if p := up.ConnectionState().NegotiatedProtocol; p != "" {
			protos = []string{p}
		}
		return g.authority.ServerConfig(host, protos...), nil
	}}
	client := tls.Server(c, config)
	ctx, cancel := context.WithTimeout(g.ctx, 2*dialTimeout)
	err := client.HandshakeContext(ctx)
	cancel()
	if err != nil {
		if up != nil {
			up.Close()
			failed = err // the service does not trust the authority, as a rule
		}
		if name != "" {
			g.failed(start, name, failed)
		}
		return
	}
	defer up.Close()
	authority := strings.TrimSuffix(strings.ToLower(name), ":443")
	if client.ConnectionState().NegotiatedProtocol == "h2" {
		used := false
		g.streams("https", authority, func(context.Context, string) (net.Conn, error) {
			if !used {
				used = true
				return up, nil
			}
			return g.dialTLS(name, nil, client.ConnectionState().ServerName, []string{"h2"})
		}).run(g.ctx, client, g.drains)
		return
	}
	s := g.session(client)
	s.fixed = true
	s.direct = func(h *http1.Head, _, t string) (route, error) {
		_, t = http1.OriginForm(t)
		return route{
			scheme: "https", authority: hostOr(h, authority), target: t, address: authority, dial: once(up),
			head: func(*ticket) []byte { return h.Wire },
		}, nil
	}
	g.run(s)
}

// once dials by handing out a connection that was made before. A session has
// no use for it twice: it ends with its only upstream.
func once(c net.Conn) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) { return c, nil }
}

func hostOr(h *http1.Head, fallback string) string {
	if host := strings.ToLower(h.Fields.Get("Host")); host != "" {
		return host
	}
	return fallback
}

// dialTLS connects to an upstream with the name and the protocols that the
// caller offers, as far as the recorder speaks them.
func (g *gateway) dialTLS(authority string, raw net.Conn, serverName string, offered []string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(g.ctx, dialTimeout)
	defer cancel()
	if raw == nil {
		var err error
		if raw, err = g.dial(ctx, authority, "443", g.self); err != nil {
			return nil, err
		}
	}
	host, _ := traffic.SplitAuthority(authority)
	if serverName != "" {
		host = serverName
	}
	var protos []string
	for _, p := range offered {
		if p == "h2" || p == "http/1.1" {
			protos = append(protos, p)
		}
	}
	up := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: g.roots, NextProtos: protos, MinVersion: tls.VersionTLS12})
	if err := up.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("tls: handshake with %s: %w", authority, err)
	}
	return up, nil
}

// failed records a connection that never came about as a CONNECT without an
// answer: what was to be asked is not known.
func (g *gateway) failed(start time.Time, authority string, err error) {
	t := g.recorder.begin(&traffic.Exchange{
		Direction: traffic.Outbound, Start: start,
		Request: traffic.Request{Method: "CONNECT", Scheme: "https", Authority: strings.TrimSuffix(authority, ":443"), Target: "/", Proto: "HTTP/1.1"},
		Origin:  traffic.Origin{Source: "proxy", Connection: g.connection},
		Failure: failureOf(err),
	})
	t.end()
}

// betweenProxies are the fields that a service sends to its proxy alone.
var betweenProxies = []string{"Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate"}

// directPlain routes plain HTTP: by the absolute form, else by the target of
// the CONNECT, else by Host.
func (g *gateway) directPlain(h *http1.Head, target string, to destination) (route, error) {
	base, origin := http1.OriginForm(target)
	authority := to.authority
	switch {
	case strings.HasPrefix(strings.ToLower(base), "http://"):
		authority = base[len("http://"):]
		if i := strings.LastIndexByte(authority, '@'); i >= 0 {
			authority = authority[i+1:]
		}
	case base != "":
		return route{}, fmt.Errorf("%w that can be reached in plain HTTP (%s)", errNoRoute, base)
	case authority == "":
		authority = h.Fields.Get("Host")
	}
	authority = strings.TrimSuffix(strings.ToLower(authority), ":80")
	if authority == "" {
		return route{}, errNoRoute
	}
	r := route{
		scheme: "http", authority: authority, target: origin, address: authority, drop: betweenProxies,
		dial: func(ctx context.Context) (net.Conn, error) { return g.dial(ctx, authority, "80", g.self) },
		head: func(*ticket) []byte { return rewriteHead(h, origin, base != "") },
	}
	if to.conn != nil {
		r.dial = once(to.conn)
	}
	return r, nil
}

// rewriteHead returns the head for the upstream: origin form, without the
// fields for the proxy. A head that needs no change stays as it came.
func rewriteHead(h *http1.Head, origin string, absolute bool) []byte {
	change := absolute
	for _, name := range betweenProxies {
		change = change || h.Fields.Has(name)
	}
	if !change {
		return h.Wire
	}
	method, _, proto, _ := h.RequestLine()
	out := make([]byte, 0, len(h.Wire))
	out = append(out, method+" "+origin+" "+proto+"\r\n"...)
	for _, f := range h.Fields {
		switch strings.ToLower(f.Name) {
		case "proxy-connection", "proxy-authorization", "proxy-authenticate":
			continue
		}
		out = append(out, f.Name+": "+f.Value+"\r\n"...)
	}
	return append(out, "\r\n"...)
}
