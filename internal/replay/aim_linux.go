package replay

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprise-ci/reprise/internal/timing"
)

const (
	// brink is how long before a moment the loop does nothing but look at the
	// clock: less than reading an answer takes.
	brink = 4 * time.Microsecond
	// share bounds the busy waits: this part of all time.
	share = 4
	// purse bounds what busy waits may take at once of the time that earlier ones
	// left: enough for a burst of moments, each closer than a waking is late.
	purse = 4 * timing.MaxLearned
)

// aim decides how long before a moment the wait for it in the kernel ends and a
// busy one begins, in which answers are still read: as long as nearly all
// wakings were late of late, but over all waits no more than a part of the time,
// because the service under test may need the core. The part is not one of each
// wait: random arrivals come in bursts, whose short waits need all of what a
// long one before them had no use for.
type aim struct {
	least  time.Duration // of the busy wait
	late   timing.Lateness
	credit time.Duration // that busy waits may take
	target time.Duration // the moment
	wake   time.Duration // when to be awake for it
	timed  bool          // the wait under way ends at wake, if nothing happens before
	passed bool          // the last moment was met without looking for answers
}

// until returns when the kernel is to end the wait for a moment.
func (a *aim) until(at, now time.Duration) time.Duration {
	if at != a.target || a.wake == 0 {
		a.credit = min(a.credit+max(at-a.target, 0)/share, purse)
		a.target = at
		busy := min(a.late.Margin(), a.credit)
		a.credit -= max(min(busy, at-now), 0)
		a.wake = at - max(busy, a.least, brink)
	}
	return a.wake
}

// near reports that a moment is so near that the loop must only look at the
// clock; not twice in a row, so that answers are read under any load.
func (a *aim) near(at, now time.Duration) bool {
	a.passed = !a.passed && at-now <= brink
	return a.passed
}

// woke learns from a wait that ended because it was time.
func (a *aim) woke(now time.Duration) { a.late.Saw(now - a.wake) }

// punctual asks the kernel to wake this thread without delay: by its timers,
// and, unless the load is a closed loop, before others that want the same core.
// Kernels before 6.12 know no slices and ignore the second.
func punctual(closed bool) {
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	if closed {
		return
	}
	if attr, err := unix.SchedGetAttr(0, 0); err == nil && attr.Policy == unix.SCHED_NORMAL {
		attr.Runtime = uint64(100 * time.Microsecond) // the shortest slice there is
		_ = unix.SchedSetAttr(0, attr, 0)             // a hint
	}
}
