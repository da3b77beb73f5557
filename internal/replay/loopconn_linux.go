package replay

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// loopConn is one connection of a loop.
type loopConn struct {
	fd         int
	generation int32 // tells events of an earlier connection with this fd
	connected  bool
	closed     bool
	job        *job
	written    int    // bytes of the request
	received   bool   // a byte of the answer came
	ending     bool   // the server has ended its side, or broken the connection
	rest       []byte // received but not understood yet
	parser     answerParser
	times      sampleTimes
	used       bool

	// While a request is under way: when it has waited long enough, and its
	// neighbours in that order.
	until         time.Duration
	before, after *loopConn
}

// patience holds the connections with a request, in the order in which those
// have waited long enough, which is the one in which they began.
type patience struct{ first, last *loopConn }

// add puts a connection last, or moves it there.
func (p *patience) add(c *loopConn, until time.Duration) {
	p.remove(c)
	c.until, c.before = until, p.last
	if p.last == nil {
		p.first = c
	} else {
		p.last.after = c
	}
	p.last = c
}

// remove takes a connection out, if it is there.
func (p *patience) remove(c *loopConn) {
	if c.before != nil {
		c.before.after = c.after
	} else if p.first == c {
		p.first = c.after
	}
	if c.after != nil {
		c.after.before = c.before
	} else if p.last == c {
		p.last = c.before
	}
	c.before, c.after = nil, nil
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
	if err := l.poller.watch(unix.EPOLL_CTL_ADD, c); err != nil {
		unix.Close(fd)
		return fmt.Errorf("watch a connection: %w", err)
	}
	l.conns[fd] = c
	l.open++
	if j == nil {
		l.opening++
	} else {
		c.times.sent = l.now()
		l.waiting.add(c, c.times.sent+l.d.engine.opts.Timeout)
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
	if c.job = nil; j == nil {
		l.release(c)
		return
	}
	l.flying--
	l.send(c, j)
}

// write writes what the socket takes. It reports false when the connection is
// gone.
func (l *loop) write(c *loopConn) bool {
	for c.written < len(c.job.request) {
		n, err := transmit(c.fd, c.job.request[c.written:])
		switch {
		case err == nil:
			c.written += n
		case err == unix.EINTR:
		case err == unix.EAGAIN: // handle is told when there is room
			return true
		case c.written == 0:
			l.fail(c, fmt.Errorf("send request: %w", err))
			return false
		default: // an answer may be there already
			return true
		}
	}
	return true
}

// read takes what has come on a connection, all of it unless that is very much.
func (l *loop) read(c *loopConn) {
	for range 4 {
		n, err := receive(c.fd, l.buffer)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case c.job == nil: // an idle connection that was closed, or that speaks unasked
			l.drop(c)
			return
		case err != nil:
			l.fail(c, fmt.Errorf("read answer: %w", err))
			return
		}
		if !l.take(c, l.buffer[:n]) {
			return
		}
		if n < len(l.buffer) && !c.ending { // the socket is empty, and more will be told of
			return
		}
	}
	l.poller.watch(unix.EPOLL_CTL_MOD, c) // tells again what is there; fails only for a closed fd
}

// take understands bytes of an answer; none are the end of the connection. It
// reports whether more are wanted.
func (l *loop) take(c *loopConn, data []byte) bool {
	now := l.now()
	if len(data) == 0 {
		if err := c.parser.ended(); err != nil {
			l.fail(c, fmt.Errorf("read answer: %w", err))
		} else {
			l.complete(c, now, false)
		}
		return false
	}
	if !c.received {
		c.received, c.times.first = true, now
	}
	if len(c.rest) > 0 {
		c.rest = append(c.rest, data...)
		data = c.rest
	}
	used, done, err := c.parser.parse(data)
	switch {
	case err != nil:
		l.fail(c, err)
	case done:
		l.complete(c, now, used == len(data) && !c.ending)
	default:
		c.rest = append(c.rest[:0], data[used:]...)
		return true
	}
	return false
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
	l.waiting.remove(c)
	l.conns[c.fd] = nil
	c.closed = true
	l.open--
	unix.Close(c.fd)
}
