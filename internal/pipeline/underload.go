package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/reprise-ci/reprise/internal/agent"
	"github.com/reprise-ci/reprise/internal/analysis"
)

// The lengths of what is sent under load.
const (
	openRoundTime    = 2 * time.Second
	openControlTime  = time.Second
	capacityProbe    = time.Second
	capacityTooQuick = time.Millisecond // a limit of p90 below it says nothing of a service
)

func (r *run) measuresUnderLoad() bool {
	l := r.options.Latency
	return r.headRuns() && (l.OpenRate > 0 || l.Capacity > 0)
}

// underLoad takes the open-loop rounds and searches the capacity. What is sent
// is said before.
func (r *run) underLoad(ctx context.Context) error {
	l := r.options.Latency
	if l.OpenRate > 0 {
		r.progress.Note("%d open-loop rounds of %v at %g requests a second on base and head, %v on base and control, %.0f requests in all",
			l.OpenRounds, openRoundTime, l.OpenRate, openControlTime, 2*float64(l.OpenRounds)*l.OpenRate*(openRoundTime+openControlTime).Seconds())
	}
	for n := range l.OpenRounds {
		if l.OpenRate == 0 {
			break
		}
		main, err := r.target.openRound(ctx, Base, Head, agent.OpenRound{Pass: r.nextPass(), Rate: l.OpenRate, For: openRoundTime})
		if err != nil {
			return err
		}
		control, err := r.target.openRound(ctx, Base, Control, agent.OpenRound{Pass: r.nextPass(), Rate: l.OpenRate, For: openControlTime})
		if err != nil {
			return err
		}
		r.open = append(r.open, analysis.Round{
			Number: n + 1, HeadVsBase: analysisPairs(main), ControlVsBase: analysisPairs(control), SendLag: main.SendLag,
		})
	}
	if l.Capacity == 0 {
		return nil
	}
	return r.searchCapacity(ctx)
}

// searchCapacity finds the highest rate at which each arm keeps p90 under the
// limit. Control shows how far two searches on base differ.
func (r *run) searchCapacity(ctx context.Context) error {
	limit := max(r.options.Latency.Capacity, capacityTooQuick)
	searched := []Arm{Base, Head, Control}
	found, err := r.target.capacity(ctx, searched, agent.Capacity{
		Pass: r.nextPass(), Seed: r.options.Seed, Limit: fmt.Sprintf("p90>%s", limit), Probe: capacityProbe,
	})
	if err != nil {
		return err
	}
	if len(found) != len(searched) {
		return fmt.Errorf("the search found %d capacities of %d arms", len(found), len(searched))
	}
	r.capacity = &analysis.CapacityFound{
		LimitMS: float64(limit) / float64(time.Millisecond),
		Base:    found[0].Rate, Head: found[1].Rate, Control: found[2].Rate,
		Bounded: found[0].Bounded && found[1].Bounded && found[2].Bounded,
	}
	for i, c := range found {
		why := ""
		for _, probe := range c.Probes {
			if !probe.Holds {
				r.capacity.Late = r.capacity.Late || probe.Late
				why = fmt.Sprintf("; at %.0f not: %s", probe.Rate, probe.Why)
			}
		}
		r.progress.Note("%s keeps p90 under %v at %.0f requests a second, after %d probes%s", searched[i], limit, c.Rate, len(c.Probes), why)
	}
	return nil
}
