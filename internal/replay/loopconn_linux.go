package replay

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// loopConn is one connection of a loop.
type loopConn struct {
	fd         int
	generation int32 // tells events of an earlier connection with this fd
	connected  bool
	job        *job
	number     uint32 // of the request on this connection
	written    int    // bytes of the request
	polling    bool   // for writability
	received   bool   // a byte of the answer came
	rest       []byte // received but not understood yet
	parser     answerParser
	times      sampleTimes
	used       bool
}

// dial opens a connection for a job, or for later when j is nil.
func (l *loop) dial(j *job) error {
	fd, err := unix.Socket(l.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a connection to %s: %w", l.d.target.Addr, os.NewSyscallError("socket", err))
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.Connect(fd, l.address); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return fmt.Errorf("open a connection to %s: %w", l.d.target.Addr, os.NewSyscallError("connect", err))
	}
	for fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.d.result.Connections++
	c := &loopConn{fd: fd, generation: int32(l.d.result.Connections), job: j}
	event := unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd), Pad: c.generation}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		unix.Close(fd)
		return fmt.Errorf("watch a connection: %w", err)
	}
	l.conns[fd] = c
	l.open++
	if j == nil {
		l.opening++
	} else {
		c.times.sent = l.now()
		l.expireLater(c)
	}
	return nil
}

// connected ends the opening of a connection.
func (l *loop) connected(c *loopConn) {
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	j := c.job
	if j == nil {
		l.opening--
	}
	if err != nil {
		c.job = nil
		l.close(c)
		if j != nil {
			l.flying--
			l.finish(j, sampleTimes{sent: c.times.sent, last: l.now()}, nil,
				fmt.Errorf("open a connection to %s: %w", l.d.target.Addr, os.NewSyscallError("connect", err)))
		}
		return
	}
	c.connected = true
	l.watch(c, false)
	if c.job = nil; j == nil {
		l.release(c)
		return
	}
	l.flying--
	l.send(c, j)
}

func (l *loop) watch(c *loopConn, writable bool) {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd), Pad: c.generation}
	if writable {
		event.Events |= unix.EPOLLOUT
	}
	c.polling = writable
	unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, c.fd, &event) // fails only for a closed fd, whose read tells
}

// write writes what the socket takes. It reports false when the connection is
// gone.
func (l *loop) write(c *loopConn) bool {
	for c.written < len(c.job.request) {
		n, err := syscall.Write(c.fd, c.job.request[c.written:])
		switch {
		case n > 0:
			c.written += n
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if !c.polling {
				l.watch(c, true)
			}
			return true
		case c.written == 0:
			l.fail(c, fmt.Errorf("send request: %w", err))
			return false
		default: // an answer may be there already
			return true
		}
	}
	if c.polling {
		l.watch(c, false)
	}
	return true
}

func (l *loop) read(c *loopConn) {
	n, err := syscall.Read(c.fd, l.buffer)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if c.job == nil { // an idle connection that was closed, or that speaks unasked
		l.drop(c)
		return
	}
	switch {
	case err != nil:
		l.fail(c, fmt.Errorf("read answer: %w", err))
		return
	case n == 0:
		if err := c.parser.ended(); err != nil {
			l.fail(c, fmt.Errorf("read answer: %w", err))
		} else {
			l.complete(c, false)
		}
		return
	}
	if !c.received {
		c.received, c.times.first = true, l.now()
	}
	data := l.buffer[:n]
	if len(c.rest) > 0 {
		c.rest = append(c.rest, data...)
		data = c.rest
	}
	used, done, err := c.parser.parse(data)
	switch {
	case err != nil:
		l.fail(c, err)
	case done:
		l.complete(c, used == len(data))
	default:
		c.rest = append(c.rest[:0], data[used:]...)
	}
}

// drop removes an idle connection.
func (l *loop) drop(c *loopConn) {
	for i, other := range l.idle {
		if other == c {
			l.idle = append(l.idle[:i], l.idle[i+1:]...)
			break
		}
	}
	for key, other := range l.sessions {
		if other == c {
			delete(l.sessions, key)
			break
		}
	}
	l.close(c)
}

func (l *loop) close(c *loopConn) {
	l.conns[c.fd] = nil
	l.open--
	unix.Close(c.fd)
}
