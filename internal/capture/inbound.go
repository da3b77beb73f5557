package capture

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
)

const dialTimeout = 10 * time.Second

var errNoRoute = errors.New("the request names no host")

// Inbound is a reverse proxy in front of the service, for HTTP/1.1 and for
// HTTP/2 without TLS. It passes on everything as it came (HTTP/1.1 in the same
// spelling and order), and adds one thing: a
// traceparent to requests without one, so that the calls that the service
// makes can be told apart. The recording shows the request without it.
type Inbound struct {
	upstream string
	recorder *Recorder
}

// NewInbound makes a proxy to the service at upstream, "host:port" or
// "http://host:port".
func NewInbound(upstream string, recorder *Recorder) (*Inbound, error) {
	address := strings.TrimSuffix(strings.TrimPrefix(upstream, "http://"), "/")
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return nil, fmt.Errorf("record inbound: %q is not host:port or http://host:port", upstream)
	}
	return &Inbound{upstream: net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port), recorder: recorder}, nil
}

// Serve answers on l, which it closes, until ctx ends. It returns when every
// exchange that had begun has ended and was handed to the recorder: nil after
// ctx, else why the listener failed.
func (in *Inbound) Serve(ctx context.Context, l net.Listener) error {
	return serve(ctx, l, in.handle)
}

func (in *Inbound) handle(ctx context.Context, raw net.Conn, drains *drains) {
	c := newPeeked(raw)
	first, err := c.peek(drains, len(http2Preface))
	if err != nil {
		return
	}
	connection := in.recorder.connection()
	if string(first) == http2Preface {
		h2 := &streams{recorder: in.recorder, direction: traffic.Inbound, connection: connection, scheme: "http", authority: in.upstream,
			dial: func(ctx context.Context, _ string) (net.Conn, error) { return in.dial(ctx) }}
		h2.run(ctx, c, drains)
		return
	}
	s := &session{
		recorder: in.recorder, direction: traffic.Inbound, connection: connection,
		ctx: ctx, client: c, direct: in.direct, fixed: true,
	}
	drains.add(s, s.drain)
	defer drains.remove(s)
	s.run()
}

func (in *Inbound) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, "tcp", in.upstream)
}

func (in *Inbound) direct(h *http1.Head, _, target string) (route, error) {
	_, target = http1.OriginForm(target)
	return route{
		scheme: "http", authority: strings.ToLower(h.Fields.Get("Host")), target: target, address: in.upstream,
		dial: in.dial,
		head: func(t *ticket) []byte { return withField(h.Wire, "traceparent", t.traceparent) },
	}, nil
}

// withField returns a head with one more field at its end, or as it is when
// there is no value.
func withField(wire []byte, name, value string) []byte {
	if value == "" {
		return wire
	}
	end := len(wire) - len("\n")
	if bytes.HasSuffix(wire, []byte("\r\n")) {
		end--
	}
	out := make([]byte, 0, len(wire)+len(name)+len(value)+4)
	out = append(out, wire[:end]...)
	out = append(out, name+": "+value+"\r\n"...)
	return append(out, wire[end:]...)
}
