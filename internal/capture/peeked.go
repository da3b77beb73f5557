package capture

import (
	"bufio"
	"net"
)

// peeked is a connection whose first bytes can be looked at before they are
// read.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func newPeeked(c net.Conn) *peeked { return &peeked{c, bufio.NewReaderSize(c, 4<<10)} }

// peek waits for the first n bytes of a connection that has asked for nothing
// yet: a recorder that stops closes it.
func (p *peeked) peek(drains *drains, n int) ([]byte, error) {
	drains.add(p, func() { p.Close() })
	defer drains.remove(p)
	return p.r.Peek(n)
}

// Read reads what was looked at first.
func (p *peeked) Read(b []byte) (int, error) {
	if p.r.Buffered() == 0 {
		return p.Conn.Read(b)
	}
	return p.r.Read(b)
}

// CloseWrite ends the sending side.
func (p *peeked) CloseWrite() error {
	closeWrite(p.Conn)
	return nil
}
