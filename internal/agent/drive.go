package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// The frames of a load, on its way there and back.
const (
	frameSlots   frame = 'p' // the slots of a part, after its settings
	frameBeat    frame = 'b' // empty: the load goes on
	frameResult  frame = 'r' // JSON, the result on the next target
	frameSamples frame = 's' // some samples of that result
)

const (
	beatEvery = 2 * time.Second
	// maxSilence is after how long without a sign a worker counts as lost.
	maxSilence = 30 * time.Second
	// sampleFrame is how many samples a frame has at most.
	sampleFrame = 1 << 16
)

// driveRequest starts the part that was handed over before.
type driveRequest struct {
	Targets []Target  `json:"targets"`
	Start   time.Time `json:"start"` // on the agent's clock
}

// driveResult is what a load came to on one target, without the samples.
type driveResult struct {
	Start       time.Time                  `json:"start"`
	Elapsed     time.Duration              `json:"elapsed"`
	Unsent      int64                      `json:"unsent,omitempty"`
	Skipped     int64                      `json:"skipped,omitempty"`
	Connections int                        `json:"connections"`
	Errors      map[traffic.Failure]string `json:"errors,omitempty"`
}

// takePart keeps the part of a load that the next drive sends.
func (s *replayer) takePart(w http.ResponseWriter, r *http.Request) error {
	stream := NewStreamReader(r.Body)
	var part replay.Part
	if err := stream.settings(&part); err != nil {
		return err
	}
	kind, packed, err := stream.frame()
	if err != nil {
		return err
	}
	if kind != frameSlots {
		return fmt.Errorf("%w: a part without slots", errDamaged)
	}
	if part.Slots, err = replay.ReadSlots(packed); err != nil {
		return err
	}
	engine, _, err := s.current()
	if err != nil {
		return err
	}
	plan, err := engine.PlanPart(part)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.part = &part
	s.mu.Unlock()
	return writeJSON(w, loaded{Requests: int(plan.Requests)})
}

// drive sends the part to all targets at once and answers with the results,
// and with a beat now and then until there are some.
func (s *replayer) drive(w http.ResponseWriter, r *http.Request) error {
	var req driveRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	engine, rewriter, err := s.current()
	if err != nil {
		return err
	}
	s.mu.Lock()
	part := s.part
	s.mu.Unlock()
	if part == nil {
		return errNotLoaded
	}
	plan, err := engine.PlanPart(*part)
	if err != nil {
		return err
	}
	plan.StartAt(req.Start)
	targets, mocks := make([]replay.Target, len(req.Targets)), make([]*Mock, len(req.Targets))
	rewriters := make([]func(copy, loop int) replay.Rewriter, len(req.Targets))
	for i, t := range req.Targets {
		targets[i], mocks[i] = t.local(r.Context())
		rewriters[i] = func(int, int) replay.Rewriter { return rewriter() }
	}
	out := NewStreamWriter(w)
	var results []*replay.Result
	done := make(chan error, 1)
	go func() {
		var err error
		results, err = engine.DriveAll(r.Context(), targets, rewriters, plan)
		for _, mock := range mocks {
			if err == nil && mock != nil {
				err = mock.Err()
			}
		}
		done <- err
	}()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for waiting := true; waiting; {
		select {
		case err = <-done:
			waiting = false
		case <-beat.C:
			_ = errors.Join(out.frame(frameBeat, nil), out.Flush()) // the caller that left ends the load by its context
			_ = http.NewResponseController(w).Flush()
		}
	}
	if r.Context().Err() != nil {
		return nil // the stream ends without its end
	}
	if err == nil {
		err = sendResults(out, results)
	}
	_ = out.Close(err) // the caller that went away misses it
	return nil
}

func sendResults(out *StreamWriter, results []*replay.Result) error {
	for _, r := range results {
		head, err := json.Marshal(driveResult{Start: r.Start, Elapsed: r.Elapsed, Unsent: r.Unsent, Skipped: r.Skipped, Connections: r.Connections, Errors: r.Errors})
		if err != nil {
			return err
		}
		if err := out.frame(frameResult, head); err != nil {
			return err
		}
		var buf []byte
		for samples := r.Samples; len(samples) > 0; {
			n := min(len(samples), sampleFrame)
			buf = replay.AppendSamples(buf[:0], samples[:n])
			if err := out.frame(frameSamples, buf); err != nil {
				return err
			}
			samples = samples[n:]
		}
	}
	return nil
}

// give hands a part of a load over, for the next drive.
func (r *Replayer) give(ctx context.Context, part replay.Part) error {
	var body bytes.Buffer
	s := NewStreamWriter(&body)
	if err := errors.Join(s.settings(part), s.frame(frameSlots, replay.AppendSlots(nil, part.Slots)), s.Flush()); err != nil {
		return err
	}
	answer, err := r.do(ctx, http.MethodPost, "/v1/part", &body)
	if err != nil {
		return fmt.Errorf("hand over a part of the load: %w", err)
	}
	defer answer.Close()
	_, err = io.Copy(io.Discard, answer)
	return err
}

var errSilent = errors.New("no sign of life for " + maxSilence.String())

// drive has the part sent from a moment on, which is one of the agent's clock,
// and returns the results by target. The plans of the results are nil.
func (r *Replayer) drive(ctx context.Context, targets []Target, start time.Time) ([]*replay.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(lead+maxSilence, func() { cancel(errSilent) })
	defer alarm.Stop()
	body, err := r.post(ctx, "/v1/drive", driveRequest{Targets: targets, Start: start})
	if err != nil {
		return nil, fmt.Errorf("drive a load: %w", err)
	}
	defer body.Close()
	var results []*replay.Result
	for stream := NewStreamReader(body); ; {
		kind, payload, err := stream.frame()
		if err != nil {
			if context.Cause(ctx) != nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("drive a load: %w", err)
		}
		alarm.Reset(maxSilence)
		switch kind {
		case frameBeat:
		case frameError:
			return nil, &RemoteError{string(payload)}
		case frameEnd:
			if len(results) != len(targets) {
				return nil, fmt.Errorf("drive a load: %w: %d results of %d", errDamaged, len(results), len(targets))
			}
			return results, nil
		case frameResult:
			var head driveResult
			if err := json.Unmarshal(payload, &head); err != nil {
				return nil, fmt.Errorf("drive a load: %w", err)
			}
			results = append(results, &replay.Result{
				Start: head.Start, Elapsed: head.Elapsed, Unsent: head.Unsent, Skipped: head.Skipped, Connections: head.Connections, Errors: head.Errors,
			})
		case frameSamples:
			samples, err := replay.ReadSamples(payload)
			if err == nil && len(results) == 0 {
				err = errDamaged
			}
			if err != nil {
				return nil, fmt.Errorf("drive a load: %w", err)
			}
			last := results[len(results)-1]
			last.Samples = append(last.Samples, samples...)
		default:
			return nil, fmt.Errorf("drive a load: %w: a frame of kind %q", errDamaged, byte(kind))
		}
	}
}
