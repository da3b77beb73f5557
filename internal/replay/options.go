package replay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Options says how an [Engine] sends. The zero value is valid: each field that
// is zero takes the default named beside it.
type Options struct {
	// Concurrency is how many requests of one pass may be in flight. Requests
	// of one session are never in flight together, and a request that needs an
	// earlier answer waits for it. Default 1: recorded order exactly.
	Concurrency int
	// Timeout is the longest time for one request, from dialling to the last
	// byte of the answer. Default 30 s.
	Timeout time.Duration
	// MaxBody is how many bytes of an answer's body are kept; of longer ones
	// the rest is not read and the connection is closed. Default 64 MiB.
	MaxBody int64
	// KeepHost sends the recorded authority as Host. Default: the target's.
	KeepHost bool
	// HTTP2 sends everything over HTTP/2, without TLS by prior knowledge. gRPC
	// always goes over HTTP/2. Default: HTTP/1.1.
	HTTP2 bool
	// Router names endpoints; nil has no templates of its own.
	Router *traffic.Router
	// TLS is used for targets with TLS set; nil trusts the system's roots. It
	// is cloned, not changed.
	TLS *tls.Config
	// Dial opens connections to targets. Default: a [net.Dialer].
	Dial DialFunc
	// Pause waits between two messages of a conversation. Default: it sleeps.
	Pause func(ctx context.Context, d time.Duration) error
}

// Validate names the first field that cannot be used.
func (o Options) Validate() error {
	switch {
	case o.Concurrency < 0:
		return fmt.Errorf("replay concurrency %d: must be 1 or more", o.Concurrency)
	case o.Timeout < 0:
		return fmt.Errorf("replay timeout %v: must be positive", o.Timeout)
	case o.MaxBody < 0:
		return fmt.Errorf("replay body limit %d: must be positive", o.MaxBody)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Concurrency == 0 {
		o.Concurrency = 1
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxBody == 0 {
		o.MaxBody = 64 << 20
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	return o
}

// Target is one deployed arm.
type Target struct {
	// Arm names it: "base", "control" or "head".
	Arm string
	// Addr is host:port.
	Addr string
	// Host is the authority for Host and TLS; empty means Addr.
	Host string
	TLS  bool
	// Mock is told which lanes are active; nil when there is none.
	Mock Lanes
}

func (t Target) validate() error {
	if t.Arm == "" {
		return errors.New("replay target has no arm")
	}
	if _, _, err := net.SplitHostPort(t.Addr); err != nil {
		return fmt.Errorf("address of arm %s: %w", t.Arm, err)
	}
	return nil
}

func (t Target) host() string {
	if t.Host != "" {
		return t.Host
	}
	return t.Addr
}

func (t Target) scheme() string {
	if t.TLS {
		return "https"
	}
	return "http"
}

// Lanes is the part of a mock that a replay informs. Its methods are called
// outside the measured time, and never for one lane at the same time.
type Lanes interface {
	BeginPass(pass uint32)
	Enter(pass uint32, lane traffic.Lane)
	Leave(pass uint32, lane traffic.Lane)
	Bind(pass uint32, lane traffic.Lane, recorded, live string)
}

// Rewriter makes a recorded request fit the arm that it is sent to, and learns
// from the answers of that arm. Its methods must be safe for concurrent use.
type Rewriter interface {
	// Request returns what to send now; it never changes its argument.
	Request(recorded *traffic.Exchange) *traffic.Request
	// Observe learns from a live answer and returns the pairs of values that
	// the mock of the arm should know.
	Observe(recorded, live *traffic.Exchange) []traffic.Binding
	// Needs returns the IDs of the recorded exchanges whose live answers the
	// exchange with this ID uses.
	Needs(id string) []string
}

// wantsAll reports whether a rewriter wants to see every answer, and not just
// those that some exchange needs.
func wantsAll(rw Rewriter) bool {
	w, ok := rw.(interface{ WantsAll() bool })
	return ok && w.WantsAll()
}

// asRecorded is the rewriter that changes nothing.
type asRecorded struct{}

func (asRecorded) Request(x *traffic.Exchange) *traffic.Request     { return &x.Request }
func (asRecorded) Observe(_, _ *traffic.Exchange) []traffic.Binding { return nil }
func (asRecorded) Needs(string) []string                            { return nil }
