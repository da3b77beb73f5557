package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/stats"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// bench is what a trial is measured on: three fresh processes and the engine.
type bench struct {
	arms   [3]*arm // base, control, head
	engine *replay.Engine
	rng    *rand.Rand
	pass   atomic.Uint32
}

const (
	armBase = iota
	armControl
	armHead
)

// newBench starts the three processes in random order and warms them up.
func newBench(ctx context.Context, rng *rand.Rand, s service) (*bench, error) {
	b := &bench{rng: rng}
	for _, i := range rng.Perm(len(b.arms)) {
		of := s
		if i != armHead {
			of.truth = truth{}
		}
		a, err := startArm(ctx, of)
		if err != nil {
			b.stop()
			return nil, err
		}
		b.arms[i] = a
	}
	var recorded []*traffic.Exchange
	for e := range trialEndpoints {
		method, path, _ := strings.Cut(endpointName(e), " ")
		id := fmt.Sprintf("in-%02d", e)
		recorded = append(recorded, &traffic.Exchange{
			ID: id, Direction: traffic.Inbound, Lane: traffic.Lane(id), Start: time.Unix(int64(e), 0),
			Request: traffic.Request{Method: method, Scheme: "http", Authority: "shop", Target: path, Proto: "HTTP/1.1"},
		})
	}
	var err error
	if b.engine, err = replay.New(recorded, replay.Options{}); err != nil {
		b.stop()
		return nil, err
	}
	for range 2 { // nothing of the warm-up is kept
		for _, i := range []int{armControl, armHead} {
			if _, err := b.round(ctx, armBase, i, 10, 50*time.Millisecond); err != nil {
				b.stop()
				return nil, err
			}
		}
	}
	return b, nil
}

func (b *bench) stop() {
	for _, a := range b.arms {
		if a != nil {
			a.stop()
		}
	}
}

// round measures one arm against another for at least a time.
func (b *bench) round(ctx context.Context, one, other, pairs int, least time.Duration) ([]analysis.Pair, error) {
	to := func(i int) replay.Target {
		return replay.Target{Arm: []string{"base", "control", "head"}[i], Addr: b.arms[i].addr}
	}
	r, err := b.engine.Round(ctx, to(one), to(other), asRecorded{}, asRecorded{}, b.pass.Add(1), int64(b.rng.Uint64()>>1), replay.RoundOptions{
		PairsPerEndpoint: pairs, MinDuration: least, MaxDuration: 20 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	out := make([]analysis.Pair, len(r.Pairs))
	for i, p := range r.Pairs {
		out[i] = analysis.Pair{Endpoint: p.Endpoint, A: p.A, B: p.B}
	}
	return out, nil
}

// asRecorded sends every request as it is.
type asRecorded struct{}

func (asRecorded) Request(x *traffic.Exchange) *traffic.Request               { return &x.Request }
func (asRecorded) Observe(recorded, live *traffic.Exchange) []traffic.Binding { return nil }
func (asRecorded) Needs(string) []string                                      { return nil }

// measureTrial measures the trial of a seed. Its truth, among the levels that
// are wanted beside those there are, its labels and the order of its processes
// are all drawn from the seed; nothing that measures knows them.
func measureTrial(ctx context.Context, seed uint64, of service, have map[string]int, place string, bursts bool) (trial, error) {
	rng := rand.New(rand.NewPCG(seed, 2))
	t := trial{Seed: seed, Started: time.Now().UTC(), Truth: draw(rng, have), Place: place, Bursts: rng.IntN(3) == 0 && bursts, Work: of.work}
	sequential := rng.IntN(trialPerOthers) == 0
	t.Endpoints = endpointNames()
	usage := startUsage()
	if t.Bursts {
		stop, err := startBursts(ctx, seed)
		if err != nil {
			return t, err
		}
		defer stop()
	}
	of.truth, of.waits = t.Truth, t.Truth.Add > 0
	b, err := newBench(ctx, rng, of)
	if err != nil {
		return t, err
	}
	began := time.Now()
	asRun := stopAsRun()
	err = t.rounds(ctx, b, func(rounds []analysis.Round) bool {
		return asRun(rounds) && len(rounds) >= trialRounds
	})
	t.Took = time.Since(began).Seconds()
	if err == nil && sequential {
		err = t.sequence(ctx, b)
	}
	b.stop()
	t.Load, t.Others = usage.end()
	return t, err
}

// calibrated finds out how much work takes the time that it should on this
// machine, and how long a request without work takes.
func calibrated(ctx context.Context) (service, error) {
	s := service{work: calibrate(trialWork)}
	b, err := newBench(ctx, rand.New(rand.NewPCG(1, 1)), service{})
	if err != nil {
		return s, err
	}
	defer b.stop()
	got, err := b.round(ctx, armBase, armControl, 100, 0)
	if err != nil {
		return s, err
	}
	var times []float64
	for _, p := range got {
		times = append(times, ms(p.A), ms(p.B))
	}
	s.overhead = int(float64(s.work) * stats.Median(times) / ms(trialWork))
	return s, nil
}

// measureRun measures the rounds that a run would, fresh ones included, of a
// program against itself or against one of the given truth.
func measureRun(ctx context.Context, seed uint64, of service, what truth) (trial, error) {
	t := trial{Seed: seed, Started: time.Now().UTC(), Truth: what, Work: of.work, Endpoints: endpointNames()}
	of.truth = what
	b, err := newBench(ctx, rand.New(rand.NewPCG(seed, 2)), of)
	if err != nil {
		return t, err
	}
	defer b.stop()
	return t, t.rounds(ctx, b, stopAsRun())
}

// stopAsRun says enough after the rounds that a run would measure, fresh ones
// included.
func stopAsRun() func([]analysis.Round) bool {
	last := 0
	return func(rounds []analysis.Round) bool {
		if last == 0 {
			if done, _ := analysis.Decided(rounds, options); done {
				last = len(rounds)
				if len(analysis.Suspects(rounds, options)) > 0 {
					last += confirmRounds
				}
			}
		}
		return len(rounds) >= last && last > 0
	}
}

// rounds measures until it is enough.
func (t *trial) rounds(ctx context.Context, b *bench, enough func([]analysis.Round) bool) error {
	var rounds []analysis.Round
	for !enough(rounds) {
		head, err := b.round(ctx, armBase, armHead, trialPairs, trialRound)
		if err != nil {
			return err
		}
		control, err := b.round(ctx, armBase, armControl, trialPairs/4, trialControl)
		if err != nil {
			return err
		}
		var times trialTimes
		times.Base, times.Head = byEndpoint(t.Endpoints, head)
		times.ControlBase, times.Control = byEndpoint(t.Endpoints, control)
		t.Rounds = append(t.Rounds, times)
		rounds = append(rounds, analysis.Round{Number: len(rounds) + 1, HeadVsBase: head, ControlVsBase: control})
	}
	return nil
}

// sequence measures all of base and then all of head, with as many requests as
// the first twelve rounds had.
func (t *trial) sequence(ctx context.Context, b *bench) error {
	for _, one := range []struct {
		arm int
		to  *[][]int32
	}{{armBase, &t.Before}, {armHead, &t.After}} {
		got, err := b.round(ctx, one.arm, one.arm, trialPairs*trialRounds/2, 0)
		if err != nil {
			return err
		}
		first, second := byEndpoint(t.Endpoints, got)
		for i := range first {
			first[i] = append(first[i], second[i]...)
		}
		*one.to = first
	}
	return nil
}
