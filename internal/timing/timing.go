// Package timing waits for points in time more exactly than the timers of the
// Go runtime, which are up to a millisecond late on Linux: enough to hide a
// regression of some per cent in a service that answers within milliseconds.
package timing

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// Waiter waits for points in time. The zero Waiter is ready for use and does
// not spin. It is safe for concurrent use; each wait costs a kernel timer, not
// a thread. Close it to give kept kernel timers back.
type Waiter struct {
	// Spin is how long before the point the wait turns into a busy loop, which
	// trades a core for microseconds. [DefaultSpin] is a fair choice for the
	// one sender of a load; leave it zero where many wait at once.
	Spin time.Duration
	// Learn makes the busy loop as long as nearly all wakings were late of late,
	// at most [MaxLearned], for waits that are long beside it. One wait at a time
	// loops so; those that are due together with it wait for the kernel alone.
	Learn bool

	kernel kernel
	late   Lateness
	busy   atomic.Bool // some wait is in its learned loop
}

// DefaultSpin returns 20 µs on machines with four cores or more, and nothing on
// smaller ones, where spinning would take the core of the service under test.
func DefaultSpin() time.Duration {
	if runtime.NumCPU() >= 4 {
		return 20 * time.Microsecond
	}
	return 0
}

// Until returns nil at t or as soon after it as the machine allows, never
// before, and at once when t has passed. It returns the cause of ctx when ctx
// ends first; a context that has ended already wins over a point in the past.
func (w *Waiter) Until(ctx context.Context, t time.Time) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.Learn && time.Until(t) > minLearned {
		return w.learned(ctx, t)
	}
	if err := w.sleep(ctx, t, w.Spin); err != nil {
		return err
	}
	return spin(ctx, t)
}

// spin looks at the clock until t.
func spin(ctx context.Context, t time.Time) error {
	for time.Now().Before(t) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// Sleep waits for a duration, as [Waiter.Until] does for a point in time.
func (w *Waiter) Sleep(ctx context.Context, d time.Duration) error {
	return w.Until(ctx, time.Now().Add(d))
}

// sleep covers the part of the wait before the busy loop, which is to begin
// that much before t.
func (w *Waiter) sleep(ctx context.Context, t time.Time, before time.Duration) error {
	d := time.Until(t) - before
	if d <= 0 {
		return nil
	}
	if done, err := w.kernel.sleep(ctx, d); done {
		return err
	}
	return sleepRuntime(ctx, d)
}

// Close frees the kernel timers that the Waiter kept for reuse. Waits that are
// under way are not disturbed, and the Waiter may be used again.
func (w *Waiter) Close() error { return w.kernel.close() }

// sleepRuntime waits with a timer of the Go runtime.
func sleepRuntime(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
