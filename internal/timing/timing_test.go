package timing_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/timing"
)

func TestUntilIsNeverEarly(t *testing.T) {
	tests := []struct {
		ahead  time.Duration
		spin   time.Duration
		reason string
	}{
		{-time.Second, 0, "a point in the past"},
		{0, 0, "now"},
		{time.Nanosecond, 0, "a timer of the shortest kind, which must not mean 'disarm'"},
		{200 * time.Microsecond, 0, "below the runtime's resolution"},
		{3 * time.Millisecond, 100 * time.Microsecond, "a kernel wait and a busy loop"},
		{50 * time.Microsecond, time.Millisecond, "a busy loop alone"},
		{3 * time.Millisecond, 0, "a loop of learned length"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			w := &timing.Waiter{Spin: tt.spin, Learn: tt.reason == "a loop of learned length"}
			defer w.Close()
			for range 5 { // the second round reuses the kernel's timer
				at := time.Now().Add(tt.ahead)
				if err := w.Until(t.Context(), at); err != nil {
					t.Fatal(err)
				}
				if early := time.Until(at); early > 0 {
					t.Errorf("woke %v early", early)
				}
			}
		})
	}
}

func TestUntilEndsWithItsContext(t *testing.T) {
	w := &timing.Waiter{}
	defer w.Close()
	reason := errors.New("the run was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	waiting := make(chan error)
	go func() { waiting <- w.Sleep(ctx, time.Hour) }()
	time.AfterFunc(5*time.Millisecond, func() { cancel(reason) })
	if err := <-waiting; !errors.Is(err, reason) {
		t.Errorf("Sleep returned %v, want the cause of the context", err)
	}
	if err := w.Until(ctx, time.Now().Add(-time.Hour)); !errors.Is(err, reason) {
		t.Errorf("an ended context must win over a point in the past, got %v", err)
	}
	if err := w.Sleep(t.Context(), time.Millisecond); err != nil {
		t.Errorf("the waiter must stay usable after a cancelled wait: %v", err)
	}
}

// Many goroutines cancel and wait on one Waiter: a timer that a cancelled wait
// leaves behind must never wake another wait early.
func TestConcurrentWaits(t *testing.T) {
	for _, learn := range []bool{false, true} {
		t.Run(fmt.Sprintf("learn=%v", learn), func(t *testing.T) { concurrentWaits(t, learn) })
	}
}

func concurrentWaits(t *testing.T, learn bool) {
	w := &timing.Waiter{Learn: learn}
	defer w.Close()
	var wg sync.WaitGroup
	for g := range 100 {
		wg.Go(func() {
			for i := range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration((g+i)%5+1)*300*time.Microsecond)
				at := time.Now().Add(1200 * time.Microsecond)
				if err := w.Until(ctx, at); err == nil && time.Now().Before(at) {
					t.Error("woke early without an error")
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

// BenchmarkLateness reports how late waits of 1 ms and 5 ms return.
func BenchmarkLateness(b *testing.B) {
	for _, d := range []time.Duration{time.Millisecond, 5 * time.Millisecond} {
		b.Run(d.String(), func(b *testing.B) {
			w := &timing.Waiter{Spin: timing.DefaultSpin()}
			defer w.Close()
			var late time.Duration
			for b.Loop() {
				at := time.Now().Add(d)
				if err := w.Until(b.Context(), at); err != nil {
					b.Fatal(err)
				}
				late += time.Since(at)
			}
			b.ReportMetric(float64(late.Microseconds())/float64(b.N), "µs-late/op")
		})
	}
}
