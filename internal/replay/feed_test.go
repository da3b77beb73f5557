package replay

import (
	"context"
	"testing"
)

// A load that is over has no more requests, even where the reader has not said
// so yet: a window that was there before must not be taken for the end of a loop.
func TestFeedEndsWithTheLoad(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, next := range map[string]func(*feed) bool{
		"asked for a request": func(f *feed) bool { _, _, more := f.shot(0); return more },
		"asked to wait":       (*feed).waits,
	} {
		t.Run(name, func(t *testing.T) {
			f := &feed{ctx: ctx, plan: &Plan{}, ready: make(chan *stretch), more: true}
			if next(f) || f.loop != 0 {
				t.Errorf("it goes on, in loop %d", f.loop)
			}
		})
	}
}
