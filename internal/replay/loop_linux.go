package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/reprise-ci/reprise/internal/timing"
)

// loop is the fast transport of a load: plain HTTP/1.1 on one locked thread
// that waits in the kernel for answers and for the next moment at once. It
// costs no goroutine switch, no lock and no allocation per request, and it is
// as exact as the kernel's timers.
type loop struct {
	ctx      context.Context
	d        *driver
	spin     time.Duration
	epoll    int
	address  unix.Sockaddr
	family   int
	conns    []*loopConn // by file descriptor
	idle     []*loopConn
	sessions map[sessionKey]*loopConn // idle ones, when each session has its own
	queued   []*job                   // due, but all connections are busy
	flying   int                      // jobs on a connection
	opening  int                      // connections that are being opened for no job
	open     int
	expiry   []expiry // in order of time; entries of requests that ended are skipped
	buffer   []byte
	events   [128]unix.EpollEvent
	coarse   bool // the kernel has no epoll_pwait2
	begun    bool // the clock of the load runs
	released []*job
}

type sessionKey struct{ instance, session int32 }

// expiry is when a request, told by its number on the connection, has waited
// long enough.
type expiry struct {
	at     time.Duration
	conn   *loopConn
	number uint32
}

// runLoop sends a load with a loop. It reports false, having sent nothing,
// when the target needs more than plain HTTP/1.1 over TCP.
func (e *Engine) runLoop(ctx context.Context, d *driver) (bool, error) {
	if d.target.TLS || e.customDial {
		return false, nil
	}
	addr, err := net.ResolveTCPAddr("tcp", d.target.Addr)
	if err != nil {
		return false, nil // the other transport reports it for each request
	}
	l := &loop{ctx: ctx, d: d, spin: timing.DefaultSpin(), buffer: make([]byte, 64<<10), sessions: make(map[sessionKey]*loopConn)}
	if ip := addr.IP.To4(); ip != nil || addr.IP == nil {
		sa := &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}}
		copy(sa.Addr[:], ip)
		l.family, l.address = unix.AF_INET, sa
	} else {
		sa := &unix.SockaddrInet6{Port: addr.Port}
		copy(sa.Addr[:], addr.IP.To16())
		l.family, l.address = unix.AF_INET6, sa
	}
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return false, fmt.Errorf("make an event loop: %w", err)
	}
	done := make(chan struct{})
	go func() { // locked and never unlocked: the thread, with its timer slack, ends with it
		defer close(done)
		runtime.LockOSThread()
		unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		l.run()
	}()
	<-done
	return true, nil
}

func (l *loop) now() time.Duration { return time.Since(l.d.start) }

func (l *loop) run() {
	defer unix.Close(l.epoll)
	l.d.start = time.Now()
	l.warm()
	l.d.begin()
	l.begun = true
	for {
		l.fire()
		if l.ended() {
			break
		}
		l.wait(l.next())
		l.expire()
		if l.ctx.Err() != nil {
			break
		}
	}
	l.abandon()
}

// warm opens connections before the load starts, so that its first requests do
// not pay for them. What cannot be opened shows when requests need it.
func (l *loop) warm() {
	if l.d.load.Churn {
		return
	}
	for range min(l.d.load.Connections, 16) {
		if l.dial(nil) != nil {
			return
		}
	}
	for l.opening > 0 && l.now() < time.Second && l.ctx.Err() == nil {
		l.wait(10 * time.Millisecond)
	}
}

// fire sends all that is due.
func (l *loop) fire() {
	for {
		at, ok := l.d.peek()
		now := l.now()
		if !ok || at > now || l.d.over(now) {
			return
		}
		if l.d.load.Max && (l.flying+len(l.queued) >= l.d.load.Connections || l.d.blocked > 1<<12) {
			return
		}
		if j := l.d.take(now); j != nil {
			l.start(j)
		}
	}
}

func (l *loop) ended() bool {
	if l.flying > 0 || len(l.queued) > 0 {
		return false
	}
	_, more := l.d.peek()
	return !more && !l.d.starved || l.d.over(l.now())
}

// next returns how long the loop may wait: to the next moment, to the next
// expiry, and not so long that the end of ctx goes unseen.
func (l *loop) next() time.Duration {
	const look = 20 * time.Millisecond
	now := l.now()
	wait := look
	if at, ok := l.d.peek(); ok && !l.d.load.Max {
		wait = min(wait, at-now-l.spin)
	}
	if l.d.starved {
		wait = min(wait, hunger)
	}
	if len(l.expiry) > 0 {
		wait = min(wait, l.expiry[0].at-now)
	}
	return max(wait, 0)
}

// wait handles what happens on connections for as long as d.
func (l *loop) wait(d time.Duration) {
	n, err := l.poll(d)
	if err != nil { // EINTR
		return
	}
	for _, event := range l.events[:n] {
		fd := int(event.Fd)
		if fd >= len(l.conns) || l.conns[fd] == nil || l.conns[fd].generation != event.Pad {
			continue
		}
		l.handle(l.conns[fd], event.Events)
		if n > 1 && l.begun {
			l.fire() // a burst of answers must not delay what is due
		}
	}
}

func (l *loop) poll(d time.Duration) (int, error) {
	if !l.coarse {
		ts := unix.NsecToTimespec(int64(d))
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])),
			uintptr(len(l.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.ENOSYS, unix.EPERM:
			l.coarse = true
		default:
			return 0, errno
		}
	}
	return unix.EpollWait(l.epoll, l.events[:], int(d/time.Millisecond)) // rounded down: the rest is spun
}

func (l *loop) handle(c *loopConn, events uint32) {
	if !c.connected {
		l.connected(c)
		return
	}
	if events&unix.EPOLLOUT != 0 && c.job != nil {
		if !l.write(c) {
			return
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0 {
		l.read(c)
	}
}

// start puts a job on a connection.
func (l *loop) start(j *job) {
	if j.err != nil {
		now := l.now()
		l.finish(j, sampleTimes{sent: now, last: now}, nil, j.err)
		return
	}
	if c := l.free(j); c != nil {
		l.send(c, j)
		return
	}
	if l.open >= l.d.load.Connections {
		l.queued = append(l.queued, j)
		return
	}
	l.flying++
	if err := l.dial(j); err != nil {
		l.flying--
		now := l.now()
		l.finish(j, sampleTimes{sent: now, last: now}, nil, err)
	}
}

// free takes an idle connection for a job.
func (l *loop) free(j *job) *loopConn {
	if l.d.load.Churn {
		key := j.session()
		c := l.sessions[key]
		delete(l.sessions, key)
		return c
	}
	if n := len(l.idle); n > 0 {
		c := l.idle[n-1] // the warmest
		l.idle = l.idle[:n-1]
		return c
	}
	return nil
}

func (l *loop) send(c *loopConn, j *job) {
	l.d.launch(j)
	c.job, c.number = j, c.number+1
	c.written, c.received, c.rest = 0, false, c.rest[:0]
	c.parser.begin(j.method, j.keep, l.d.engine.opts.MaxBody, j.stream())
	c.times = sampleTimes{sent: l.now()}
	l.flying++
	l.expireLater(c)
	l.write(c)
}

// complete ends a request whose answer is whole. exact says that nothing came
// after it.
func (l *loop) complete(c *loopConn, exact bool) {
	j := c.job
	c.times.last = l.now()
	c.job, c.used = nil, true
	l.flying--
	reusable := exact && c.parser.answer.reusable && c.written == len(j.request)
	if l.d.load.Churn {
		if reusable && !l.d.lastOfSession(j) {
			l.sessions[j.session()] = c
		} else {
			l.close(c)
		}
	} else if !reusable {
		l.close(c)
	} else if len(l.queued) == 0 {
		l.idle = append(l.idle, c)
	} else {
		defer l.release(c) // after the answer is recorded
	}
	l.finish(j, c.times, &c.parser.answer, nil)
	if !reusable || l.d.load.Churn {
		l.pump()
	}
}

// release gives a free connection to the job that has waited longest.
func (l *loop) release(c *loopConn) {
	if len(l.queued) == 0 {
		l.idle = append(l.idle, c)
		return
	}
	j := l.queued[0]
	l.queued = l.queued[1:]
	l.send(c, j)
}

// pump starts queued jobs for which there is room again.
func (l *loop) pump() {
	for len(l.queued) > 0 && l.open < l.d.load.Connections {
		j := l.queued[0]
		l.queued = l.queued[1:]
		l.start(j)
	}
}

// fail ends a request without an answer, or tries it again once when the server
// had closed a kept connection.
func (l *loop) fail(c *loopConn, err error) {
	j, used := c.job, c.used
	c.job = nil
	l.flying--
	l.close(c)
	if used && !j.retried && !c.received && closed(err) && (c.written == 0 || idempotent(j.method)) {
		j.retried = true
		if l.d.target.Mock != nil {
			l.d.target.Mock.Leave(j.instance.pass, laneOf(j.recorded()))
		}
		l.flying++
		if err = l.dial(j); err == nil {
			return
		}
		l.flying--
	}
	c.times.last = l.now()
	l.finish(j, c.times, &c.parser.answer, err)
	l.pump()
}

func (l *loop) finish(j *job, times sampleTimes, ans *answer, err error) {
	spare := l.released // starting a job may finish others
	l.released = nil
	released := l.d.finish(l.ctx, j, times, ans, err, spare[:0])
	for _, next := range released {
		l.start(next)
	}
	clear(released)
	l.released = released[:0]
}

func (l *loop) expireLater(c *loopConn) {
	l.expiry = append(l.expiry, expiry{l.now() + l.d.engine.opts.Timeout, c, c.number})
}

// expire ends the requests that have waited too long.
func (l *loop) expire() {
	for len(l.expiry) > 0 {
		e := l.expiry[0]
		current := e.conn.job != nil && e.conn.number == e.number && l.conns[e.conn.fd] == e.conn
		if current && l.now() < e.at {
			return
		}
		l.expiry = l.expiry[1:]
		if !current {
			continue
		}
		if e.conn.parser.enough() {
			e.conn.parser.complete(false)
			l.complete(e.conn, false)
			continue
		}
		e.conn.received = true // what hung once is not tried again
		l.fail(e.conn, fmt.Errorf("no whole answer within %v: %w", l.d.engine.opts.Timeout, os.ErrDeadlineExceeded))
	}
}

// abandon ends what is still under way when the load ends early.
func (l *loop) abandon() {
	l.d.result.Unsent += int64(len(l.queued))
	for _, c := range l.conns {
		if c == nil {
			continue
		}
		if j := c.job; j != nil {
			c.times.last = l.now()
			c.job = nil
			l.d.finish(l.ctx, j, c.times, nil, errors.Join(io.ErrUnexpectedEOF, context.Cause(l.ctx)), nil)
		}
		unix.Close(c.fd)
	}
}
