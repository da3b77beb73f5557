package timing

import (
	"context"
	"sync/atomic"
	"time"
)

// MaxLearned bounds what a [Lateness] learns, and with it the busy loops of a
// [Waiter] that learns: how much of a core one wait may cost.
const MaxLearned = 250 * time.Microsecond

// minLearned is from where on a wait is worth a busy loop. Shorter ones would
// mostly be that.
const minLearned = 4 * MaxLearned

// Lateness follows the 99th percentile of how late a thread wakes: the way from
// the kernel's timer over the poller and the scheduler to the goroutine, tens
// of microseconds where a sleeping core must be woken first. It steps up by
// step*99/100 when a waking was later and down by step/100 when it was not, and
// rests where one in a hundred is later. The zero Lateness has seen nothing. It
// is safe for concurrent use.
type Lateness struct {
	p99 atomic.Int64 // in nanoseconds
}

const step = 8 * time.Microsecond

// Margin is how long before its end a wait should be woken, at most [MaxLearned].
func (l *Lateness) Margin() time.Duration { return time.Duration(l.p99.Load()) }

// Saw learns from one waking.
func (l *Lateness) Saw(late time.Duration) {
	p99 := l.Margin()
	if late > p99 {
		p99 += step * 99 / 100
	} else {
		p99 -= step / 100
	}
	// Two that learn at once may lose one of the two, which is no matter.
	l.p99.Store(int64(min(max(p99, 0), MaxLearned)))
}

// learned waits as [Waiter.Until] does, with a loop of the learned length.
func (w *Waiter) learned(ctx context.Context, t time.Time) error {
	before := max(w.late.Margin(), w.Spin)
	if err := w.sleep(ctx, t, before); err != nil {
		return err
	}
	w.late.Saw(time.Since(t.Add(-before)))
	if !w.busy.CompareAndSwap(false, true) {
		if err := w.sleep(ctx, t, 0); err != nil {
			return err
		}
		return spin(ctx, t) // the runtime's timers may end a moment early
	}
	defer w.busy.Store(false)
	return spin(ctx, t)
}
