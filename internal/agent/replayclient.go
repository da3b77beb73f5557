package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Replayer replays from somewhere else: the client of [ServeReplay].
type Replayer struct{ client }

// NewReplayer returns a client. Nothing is sent yet.
func NewReplayer(at Endpoint) *Replayer { return &Replayer{newClient(at)} }

// Load hands the recorded inbound exchanges over and returns how many requests
// a pass sends. An error of the sequence ends the load with that error.
func (r *Replayer) Load(ctx context.Context, settings ReplaySettings, inbound iter.Seq2[*traffic.Exchange, error]) (requests int, err error) {
	var answer loaded
	err = r.load(ctx, settings.withKeys(), inbound, &answer)
	return answer.Requests, err
}

// Pass runs a correctness pass, as [replay.Engine.Pass] does, with a rewriter
// whose state is fresh. emit gets the live exchanges one at a time while the
// pass goes on. When ctx ends, so does the pass.
func (r *Replayer) Pass(ctx context.Context, t Target, pass uint32, emit func(*traffic.Exchange)) error {
	return r.PassWith(ctx, t, pass, 0, emit)
}

// PassWith is Pass with another bound on the requests in flight; 0 means that of
// the settings.
func (r *Replayer) PassWith(ctx context.Context, t Target, pass uint32, concurrency int, emit func(*traffic.Exchange)) error {
	body, err := r.post(ctx, "/v1/pass", passRequest{Target: t, Pass: pass, Concurrency: concurrency})
	if err != nil {
		return fmt.Errorf("pass %d on %s: %w", pass, t.Arm, err)
	}
	defer body.Close()
	for stream := NewStreamReader(body); ; {
		x, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("pass %d on %s: %w", pass, t.Arm, err)
		}
		emit(x)
	}
}

// Round runs one paired round, as [replay.Engine.Round] does, with rewriters
// whose state is fresh.
func (r *Replayer) Round(ctx context.Context, a, b Target, pass uint32, seed int64, opts RoundOptions) (replay.Round, error) {
	var round replay.Round
	err := r.call(ctx, http.MethodPost, "/v1/round", roundRequest{A: a, B: b, Pass: pass, Seed: seed, Options: opts}, &round)
	return round, err
}

// Clock is what is known of the clock of another machine.
type Clock struct {
	Ahead  time.Duration // of this one
	Within time.Duration // how far from that the truth may be
}

// clock compares the agent's clock with this one: of five questions, the one
// that was answered fastest tells best. The answer was given somewhere within
// that time, so half of it is the error.
func (r *Replayer) clock(ctx context.Context) (Clock, error) {
	var found Clock
	best := time.Duration(math.MaxInt64)
	for range 5 {
		var there time.Time
		asked := time.Now()
		if err := r.call(ctx, http.MethodGet, "/v1/clock", nil, &there); err != nil {
			return found, err
		}
		if took := time.Since(asked); took < best {
			best, found = took, Clock{Ahead: there.Sub(asked.Add(took / 2)), Within: took / 2}
		}
	}
	return found, nil
}
