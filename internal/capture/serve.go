package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// drainTime is how long exchanges under way may take to end after a proxy was
// told to stop.
const drainTime = 5 * time.Second

// serve accepts connections until ctx ends or the listener fails, and hands
// each to handle. It then asks what is open to drain, cuts it after drainTime,
// and returns once every handle has.
func serve(ctx context.Context, l net.Listener, handle func(ctx context.Context, c net.Conn, drains *drains)) error {
	cut, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var open sync.WaitGroup
	drains := &drains{open: map[any]func(){}}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var failed error
	for delay := time.Duration(0); ; {
		c, err := l.Accept()
		if err != nil {
			var temporary interface{ Temporary() bool }
			if ctx.Err() == nil && errors.As(err, &temporary) && temporary.Temporary() && delay < time.Second {
				delay += 10 * time.Millisecond // out of file descriptors, as a rule
				time.Sleep(delay)
				continue
			}
			if ctx.Err() == nil {
				failed = fmt.Errorf("accept connections on %s: %w", l.Addr(), err)
			}
			break
		}
		delay = 0
		open.Go(func() {
			defer c.Close()
			handle(cut, c, drains)
		})
	}
	l.Close()
	drains.all()
	timer := time.AfterFunc(drainTime, cancel)
	defer timer.Stop()
	open.Wait()
	return failed
}

// drains are the ways to ask open connections to end when they are idle.
type drains struct {
	mu      sync.Mutex
	started bool
	open    map[any]func()
}

// add registers one; it is called at once when draining has begun.
func (d *drains) add(key any, drain func()) {
	d.mu.Lock()
	started := d.started
	if !started {
		d.open[key] = drain
	}
	d.mu.Unlock()
	if started {
		drain()
	}
}

func (d *drains) remove(key any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, key)
}

func (d *drains) all() {
	d.mu.Lock()
	d.started = true
	open := d.open
	d.open = nil
	d.mu.Unlock()
	for _, drain := range open {
		drain()
	}
}
