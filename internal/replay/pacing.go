package replay

import (
	"context"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// turnsOf returns the turns of the said messages of a recorded client, whose
// server said heard messages, and that of its end. Where the recording does not
// hold the moments, a message goes out when the server has sent as large a share
// of its messages as the client has, and at once.
func turnsOf(said, heard int, x *traffic.Exchange) []messages.Turn {
	turns := messages.Turns(said, heard, x.Request.Body.Times, x.Response.Body.Times, x.FirstByte)
	for k := len(turns); k <= said; k++ {
		turns = append(turns, messages.Turn{After: k * heard / max(said, 1)})
	}
	return turns
}

// shorten scales the pauses by pace, and further where they would take more
// than limit in all.
func shorten(turns []messages.Turn, pace float64, limit time.Duration) {
	sum := 0.0
	for _, t := range turns {
		sum += float64(t.Pause) * pace
	}
	if sum > float64(limit) {
		pace *= float64(limit) / sum
	}
	for k := range turns {
		turns[k].Pause = time.Duration(float64(turns[k].Pause) * pace)
	}
}

// turns are those of a conversation that this engine holds at a pace: 1 keeps
// the recorded distances of messages, 0 their order alone. They take at most
// half the time that there is.
func (e *Engine) turns(said, heard int, recorded *traffic.Exchange, pace float64) []messages.Turn {
	turns := turnsOf(said, heard, recorded)
	shorten(turns, pace, e.opts.Timeout/2)
	return turns
}

// pause waits between two messages of a conversation.
func (e *Engine) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	if e.opts.Pause != nil {
		return e.opts.Pause(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
