package replay

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// DialFunc opens a connection, as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Engine replays the inbound exchanges of one snapshot. Several passes and
// rounds may use one engine, at the same time too.
type Engine struct {
	opts        Options
	inbound     []*traffic.Exchange
	sessions    []int // index into inbound -> number of its session
	connections atomic.Int64
	customDial  bool
	streams     map[string]stream // by id, of recorded streams of events
}

// New takes the recorded exchanges in any order and keeps the inbound ones,
// sorted by Start. It changes none of them.
func New(inbound []*traffic.Exchange, opts Options) (*Engine, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{opts: opts.withDefaults(), customDial: opts.Dial != nil, streams: make(map[string]stream)}
	seen := make(map[string]bool, len(inbound))
	for _, x := range inbound {
		if x.Direction == traffic.Outbound {
			continue
		}
		if x.ID == "" {
			return nil, fmt.Errorf("replay: %s %s has no id", x.Request.Method, x.Request.Target)
		}
		if seen[x.ID] {
			return nil, fmt.Errorf("replay: two exchanges have the id %s", x.ID)
		}
		seen[x.ID] = true
		e.inbound = append(e.inbound, x)
		if s := streamOf(x); s.events > 0 {
			e.streams[x.ID] = s
		}
	}
	slices.SortStableFunc(e.inbound, func(a, b *traffic.Exchange) int { return a.Start.Compare(b.Start) })
	e.sessions = traffic.Sessions(e.inbound)
	return e, nil
}

// Recorded returns the exchanges in the order of the recording. The caller does
// not change them.
func (e *Engine) Recorded() []*traffic.Exchange { return e.inbound }

// Len returns how many requests one pass sends.
func (e *Engine) Len() int { return len(e.inbound) }

// laneOf returns the lane that a recorded inbound exchange opens.
func laneOf(x *traffic.Exchange) traffic.Lane {
	if x.Lane != "" {
		return x.Lane
	}
	return traffic.Lane(x.ID)
}
