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

	"golang.org/x/sys/unix"

	"github.com/reprise-ci/reprise/internal/timing"
)

// loop is the fast transport of a load: plain HTTP/1.1 on one locked thread
// that waits in the kernel for answers and for the next moment at once. A
// request costs it one write, one read and a share of a wait, no goroutine
// switch, no lock and no allocation. It looks at the clock for the last stretch
// before a moment, as long as the kernel was late of late.
type loop struct {
	ctx      context.Context
	d        *driver
	aim      aim
	poller   poller
	address  unix.Sockaddr
	family   int
	conns    []*loopConn // by file descriptor
	idle     []*loopConn
	sessions map[sessionKey]*loopConn // idle ones, when each session has its own
	queued   []*job                   // due, but all connections are busy
	flying   int                      // jobs on a connection
	opening  int                      // connections that are being opened for no job
	open     int
	waiting  patience
	buffer   []byte
	begun    bool          // the clock of the load runs
	seen     time.Duration // on that clock when it was last looked at
	released []*job
}

type sessionKey struct{ instance, session int32 }

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
	l := &loop{ctx: ctx, d: d, aim: aim{least: timing.DefaultSpin()}, buffer: make([]byte, 64<<10), sessions: make(map[sessionKey]*loopConn)}
	if ip := addr.IP.To4(); ip != nil || addr.IP == nil {
		sa := &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}}
		copy(sa.Addr[:], ip)
		l.family, l.address = unix.AF_INET, sa
	} else {
		sa := &unix.SockaddrInet6{Port: addr.Port}
		copy(sa.Addr[:], addr.IP.To16())
		l.family, l.address = unix.AF_INET6, sa
	}
	if err = l.poller.open(); err != nil {
		return false, fmt.Errorf("make an event loop: %w", err)
	}
	if runtime.GOMAXPROCS(0) == 1 {
		// A thread that waits in the kernel while it holds all that the runtime may
		// run on is robbed of it in every wait, and wakes the thief after each.
		runtime.GOMAXPROCS(2)
		defer runtime.GOMAXPROCS(1)
	}
	done := make(chan struct{})
	go func() { // locked and never unlocked: the thread, with its hints to the kernel, ends with it
		defer close(done)
		runtime.LockOSThread()
		punctual(d.load.Max)
		l.run()
	}()
	<-done
	return true, nil
}

// now looks at the clock of the load.
func (l *loop) now() time.Duration {
	l.seen = time.Since(l.d.start)
	return l.seen
}

func (l *loop) run() {
	defer l.poller.close()
	l.d.start = time.Now()
	l.warm()
	l.d.begin()
	l.begun = true
	for {
		l.fire()
		if l.ended() {
			break
		}
		if wait, ok := l.next(); ok {
			l.wait(wait)
			l.expire()
		}
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
		if !ok || l.d.load.Max && (l.flying+len(l.queued) >= l.d.load.Connections || l.d.blocked > 1<<12) {
			return
		}
		now := l.now()
		if at > now || l.d.over(now) {
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

// next returns how long the loop may wait: to shortly before the next moment, to
// the next expiry, and not so long that the end of ctx goes unseen. It reports
// false at the next moment itself, when it was so near that looking for answers
// would have missed it.
func (l *loop) next() (wait time.Duration, ok bool) {
	const look = 20 * time.Millisecond
	now := l.now()
	wait = look
	l.aim.timed = false
	if at, ok := l.d.peek(); ok && !l.d.load.Max {
		if l.aim.near(at, now) {
			for l.now() < at {
			}
			return 0, false
		}
		if until := l.aim.until(at, now) - now; until < wait {
			wait, l.aim.timed = until, true
		}
	}
	if l.d.starved {
		wait = min(wait, hunger)
	}
	if c := l.waiting.first; c != nil {
		wait = min(wait, c.until-now)
	}
	return max(wait, 0), true
}

// wait handles what happens on connections for as long as d.
func (l *loop) wait(d time.Duration) {
	events, err := l.poller.wait(d)
	if err != nil { // EINTR
		return
	}
	if len(events) == 0 && d > 0 && l.aim.timed {
		l.aim.woke(l.now())
	}
	for _, event := range events {
		fd := int(event.Fd)
		if fd >= len(l.conns) || l.conns[fd] == nil || l.conns[fd].generation != event.Pad {
			continue
		}
		l.handle(l.conns[fd], event.Events)
		if len(events) > 1 && l.begun {
			l.fire() // a burst of answers must not delay what is due
		}
	}
}

// handle deals with what happened on a connection. It is told of each change
// once.
func (l *loop) handle(c *loopConn, events uint32) {
	if !c.connected {
		if l.connected(c); c.closed {
			return
		}
	}
	c.ending = events&(unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0
	if events&unix.EPOLLOUT != 0 && c.job != nil && c.written < len(c.job.request) {
		if !l.write(c) {
			return
		}
	}
	if c.ending || events&unix.EPOLLIN != 0 {
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
	c.job = j
	c.written, c.received, c.rest = 0, false, c.rest[:0]
	c.parser.begin(j.method, j.keep, l.d.engine.opts.MaxBody, j.stream())
	c.times = sampleTimes{sent: l.now()}
	l.flying++
	l.waiting.add(c, c.times.sent+l.d.engine.opts.Timeout)
	l.write(c)
}

// complete ends a request whose answer was whole at a moment. exact says that
// nothing came after it.
func (l *loop) complete(c *loopConn, at time.Duration, exact bool) {
	j := c.job
	c.times.last = at
	c.job, c.used = nil, true
	l.flying--
	l.waiting.remove(c)
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

// expire ends the requests that have waited too long.
func (l *loop) expire() {
	for c := l.waiting.first; c != nil && c.until <= l.seen; c = l.waiting.first {
		if c.parser.enough() {
			c.parser.complete(false)
			l.complete(c, l.now(), false)
			continue
		}
		c.received = true // what hung once is not tried again
		l.fail(c, fmt.Errorf("no whole answer within %v: %w", l.d.engine.opts.Timeout, os.ErrDeadlineExceeded))
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
