package agent

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
)

// OpenRound says how an open-loop round is sent.
type OpenRound struct {
	Pass uint32        `json:"pass"`
	Rate float64       `json:"rate"` // requests a second, on each arm
	For  time.Duration `json:"for"`
}

// Capacity says how the highest rate is searched.
type Capacity struct {
	Pass  uint32        `json:"pass"`
	Seed  int64         `json:"seed"`
	Limit string        `json:"limit"` // as [replay.ParseLimit] reads it
	Probe time.Duration `json:"probe"`
}

type openRoundRequest struct {
	A Target `json:"a"`
	B Target `json:"b"`
	OpenRound
}

type capacityRequest struct {
	Targets []Target `json:"targets"`
	Capacity
}

// Load returns the load of an open-loop round.
func (o OpenRound) Load() replay.Load {
	return replay.Load{Rate: o.Rate, Budget: o.For, Pass: o.Pass}
}

// Options returns those of the engine, with fresh rewriters.
func (c Capacity) Options(rewriter func() replay.Rewriter) (replay.CapacityOptions, error) {
	limit, err := replay.ParseLimit(c.Limit)
	if err != nil {
		return replay.CapacityOptions{}, err
	}
	return replay.CapacityOptions{
		Limits: []replay.Limit{limit}, Probe: c.Probe, Precision: 0.1,
		Load: replay.Load{Pass: c.Pass, Rewriter: func(int, int) replay.Rewriter { return rewriter() }},
	}, nil
}

// OpenRound sends to both arms at the same planned moments, as
// [replay.Engine.OpenRound] does, with rewriters whose state is fresh.
func (r *Replayer) OpenRound(ctx context.Context, a, b Target, o OpenRound) (replay.Round, error) {
	var round replay.Round
	err := r.call(ctx, http.MethodPost, "/v1/open-round", openRoundRequest{a, b, o}, &round)
	return round, err
}

// Capacity searches the highest rate of each target, as
// [replay.Engine.Capacity] does. The probes come without their times.
func (r *Replayer) Capacity(ctx context.Context, targets []Target, c Capacity) ([]replay.Capacity, error) {
	var found []replay.Capacity
	err := r.call(ctx, http.MethodPost, "/v1/capacity", capacityRequest{targets, c}, &found)
	return found, err
}

func (s *replayer) openRound(w http.ResponseWriter, r *http.Request) error {
	engine, rewriter, err := s.current()
	if err != nil {
		return err
	}
	var req openRoundRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	plan, err := engine.Plan(req.Load())
	if err != nil {
		return err
	}
	a, lanesA := req.A.local(r.Context())
	b, lanesB := req.B.local(r.Context())
	fresh := func(int, int) replay.Rewriter { return rewriter() }
	round, err := engine.OpenRound(r.Context(), a, b, fresh, fresh, plan)
	for _, lanes := range []*Mock{lanesA, lanesB} {
		if err == nil {
			err = lanes.Err()
		}
	}
	if err != nil {
		return fmt.Errorf("open-loop round %d: %w", req.Pass, err)
	}
	return writeJSON(w, round)
}

func (s *replayer) capacity(w http.ResponseWriter, r *http.Request) error {
	engine, rewriter, err := s.current()
	if err != nil {
		return err
	}
	var req capacityRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	opts, err := req.Options(rewriter)
	if err != nil {
		return err
	}
	targets := make([]replay.Target, len(req.Targets))
	for i, t := range req.Targets {
		targets[i], _ = t.local(r.Context()) // a lost hint to the mock costs a probe nothing
	}
	found, err := engine.Capacity(r.Context(), targets, req.Seed, opts)
	if err != nil {
		return fmt.Errorf("search the capacity: %w", err)
	}
	for _, c := range found {
		for i := range c.Probes {
			c.Probes[i].Summary = replay.Summary{}
		}
	}
	return writeJSON(w, found)
}
