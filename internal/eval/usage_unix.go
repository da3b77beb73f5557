//go:build unix

package main

import (
	"syscall"
	"time"
)

// ownSeconds is the processor time of this process and of its children that
// have ended.
func ownSeconds() float64 {
	sum := time.Duration(0)
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if syscall.Getrusage(who, &r) == nil {
			sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return sum.Seconds()
}
