//go:build unix

package replay

import (
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// directConn is a TCP connection whose reads and writes block in the kernel
// instead of in the runtime's poller. A thread waits for the answer itself and
// is woken by it: between two adjacent requests that takes a third off the
// spread of measured times, at the price of one thread.
type directConn struct {
	net.Conn // closed; for the addresses only
	file     *os.File
	fd       int
	deadline atomic.Int64 // unix nanoseconds; 0 for none
}

// directPatience is how long a read waits before it looks at the deadline.
const directPatience = 100 * time.Millisecond

// direct makes c a directConn if it is plain TCP. Otherwise, or if the system
// refuses, it returns c.
func direct(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	file, err := tcp.File()
	if err != nil {
		return c
	}
	d := &directConn{Conn: c, file: file, fd: int(file.Fd())} // Fd makes it blocking
	patience := syscall.NsecToTimeval(directPatience.Nanoseconds())
	for _, option := range []int{syscall.SO_RCVTIMEO, syscall.SO_SNDTIMEO} {
		if err := syscall.SetsockoptTimeval(d.fd, syscall.SOL_SOCKET, option, &patience); err != nil {
			syscall.SetNonblock(d.fd, true)
			file.Close()
			return c
		}
	}
	c.Close() // the file holds the socket
	return d
}

func (d *directConn) expired() bool {
	at := d.deadline.Load()
	return at != 0 && time.Now().UnixNano() >= at
}

func (d *directConn) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(d.fd, p)
		switch {
		case n > 0:
			return n, nil
		case err == nil && len(p) > 0:
			return 0, io.EOF
		case err != syscall.EAGAIN && err != syscall.EINTR:
			return 0, os.NewSyscallError("read", err)
		case d.expired():
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (d *directConn) Write(p []byte) (int, error) {
	for at := 0; ; {
		n, err := syscall.Write(d.fd, p[at:])
		if n > 0 {
			at += n
		}
		switch {
		case at == len(p):
			return at, nil
		case err != nil && err != syscall.EAGAIN && err != syscall.EINTR:
			return at, os.NewSyscallError("write", err)
		case d.expired():
			return at, os.ErrDeadlineExceeded
		}
	}
}

// SetDeadline is noticed by waiting calls within directPatience.
func (d *directConn) SetDeadline(t time.Time) error {
	d.deadline.Store(t.UnixNano())
	return nil
}

func (d *directConn) SetReadDeadline(t time.Time) error  { return d.SetDeadline(t) }
func (d *directConn) SetWriteDeadline(t time.Time) error { return d.SetDeadline(t) }

func (d *directConn) SyscallConn() (syscall.RawConn, error) { return d.file.SyscallConn() }

func (d *directConn) Close() error { return d.file.Close() }
