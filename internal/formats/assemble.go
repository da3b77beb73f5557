package formats

import (
	"container/list"
	"net/netip"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Bounds of the connections that are looked at at once.
const (
	maxConnections = 1 << 16
	idleConnection = 10 * time.Minute // in the time of the capture
	// patience is how long, in the time of the capture, a missing segment may
	// still come although the other end has acknowledged it.
	patience   = time.Second
	maxBacklog = 1 << 20
)

// assembler finds exchanges in TCP segments.
type assembler struct {
	opts  Options
	place func() place
	emit  func(*traffic.Exchange) error
	lose  func(at place, format string, args ...any) error
	note  func(at place, format string, args ...any) error

	open  map[connKey]*list.Element // of *conn
	order list.List                 // the longest idle first
	held  held64
	count int
	err   error
}

type connKey struct {
	a, b    netip.AddrPort // a is the smaller
	network uint32
}

func keyOf(s *segment) connKey {
	if s.from.Compare(s.to) < 0 {
		return connKey{s.from, s.to, s.network}
	}
	return connKey{s.to, s.from, s.network}
}

func newAssembler(opts Options) *assembler {
	return &assembler{opts: opts, open: map[connKey]*list.Element{}}
}

// segment takes one segment. The error is one of emit or of reporting.
func (as *assembler) segment(s *segment) error {
	key := keyOf(s)
	e, ok := as.open[key]
	if ok && s.syn && !s.ackd && e.Value.(*conn).over(s) {
		as.close(e) // the port is used again
		ok = false
	}
	if !ok {
		if s.rst || s.fin && len(s.data) == 0 {
			return as.err // the end of something that was not seen
		}
		e = as.order.PushBack(as.newConn(key))
		as.open[key] = e
	}
	as.order.MoveToBack(e)
	c := e.Value.(*conn)
	c.last = s.at
	c.take(s)
	if c.reset || c.sides[0].ended && c.sides[1].ended {
		as.close(e)
	}
	for as.order.Len() > maxConnections || as.order.Len() > 0 && s.at.Sub(as.order.Front().Value.(*conn).last) > idleConnection {
		as.close(as.order.Front())
	}
	return as.err
}

func (as *assembler) newConn(key connKey) *conn {
	as.count++
	c := &conn{as: as, key: key, number: as.count}
	for i, addr := range []netip.AddrPort{key.a, key.b} {
		side := &c.sides[i]
		side.addr, side.held = addr, &as.held
		side.piece = func(from int64, data []byte, at time.Time, heard int64) {
			c.piece(i, event{from: from, data: data, at: at, heard: heard})
		}
		side.hole = func(from, n int64) { c.hole(i, event{from: from, hole: n}) }
	}
	return c
}

// flush ends all connections, since the capture has.
func (as *assembler) flush() error {
	for as.order.Len() > 0 {
		as.close(as.order.Front())
	}
	return as.err
}

func (as *assembler) close(e *list.Element) {
	c := as.order.Remove(e).(*conn)
	delete(as.open, c.key)
	c.close()
}

func (as *assembler) failed(err error) {
	if as.err == nil {
		as.err = err
	}
}

// name looks up an address in the names that the user gave.
func (as *assembler) name(a netip.AddrPort) (string, bool) {
	if name, ok := as.opts.Names[a.String()]; ok {
		return name, true
	}
	name, ok := as.opts.Names[a.Addr().String()]
	return name, ok
}

func (as *assembler) direction(x *traffic.Exchange, server netip.AddrPort) traffic.Direction {
	d := as.opts.direction(&x.Request, traffic.Inbound)
	if d == traffic.Inbound || len(as.opts.Service) == 0 {
		return d
	}
	name, _ := as.name(server)
	for _, service := range as.opts.Service {
		if service == name || service == server.String() || service == server.Addr().String() {
			return traffic.Inbound
		}
	}
	return d
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
