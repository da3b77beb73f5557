package replay

import (
	"context"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// turn is when a message of a recorded client went out: when so many messages
// of the server had come, and how long after the last of them or after the
// client's own message before.
type turn struct {
	after int
	pause time.Duration
}

// turnsOf returns the turns of the said messages of a client, whose server said
// heard messages, and that of its end. Where the recording does not hold the
// moments, a message goes out when the server has sent as large a share of its
// messages as the client has, and at once.
func turnsOf(said, heard int, x *traffic.Exchange) []turn {
	client, server := x.Request.Body, x.Response.Body
	turns := make([]turn, said+1)
	if len(client.Times) < said || len(server.Times) < heard {
		for k := range turns {
			turns[k].after = k * heard / max(said, 1)
		}
		return turns
	}
	last := time.Duration(0)
	if len(client.Times) > 0 && x.FirstByte <= client.Times[0] { // the first message waited for the head of the answer
		last = x.FirstByte
	}
	for k := range min(len(client.Times), said+1) {
		at, t := client.Times[k], &turns[k]
		for t.after < heard && server.Times[t.after] < at {
			t.after++
		}
		if t.after > 0 {
			last = max(last, server.Times[t.after-1])
		}
		t.pause = max(at-last, 0)
		last = max(last, at)
	}
	if len(client.Times) <= said { // its end was not recorded
		turns[said].after = heard
	}
	return turns
}

// shorten scales the pauses by pace, and further where they would take more
// than limit in all.
func shorten(turns []turn, pace float64, limit time.Duration) {
	sum := 0.0
	for _, t := range turns {
		sum += float64(t.pause) * pace
	}
	if sum > float64(limit) {
		pace *= float64(limit) / sum
	}
	for k := range turns {
		turns[k].pause = time.Duration(float64(turns[k].pause) * pace)
	}
}

// turns are those of a conversation that this engine holds at a pace: 1 keeps
// the recorded distances of messages, 0 their order alone. They take at most
// half the time that there is.
func (e *Engine) turns(said, heard int, recorded *traffic.Exchange, pace float64) []turn {
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
