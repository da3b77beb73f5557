package config

import (
	"reflect"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
)

// load is the schedule of the open load that a run sends, nil when no key asks
// for one. Errors are *Mistake.
func (c *Config) load() (*replay.Load, error) {
	r := c.Replay
	l := replay.Load{
		Speed: r.Speed, Rate: r.Rate, Max: r.Max, Copies: r.Copies, Loops: r.Loops,
		Budget: time.Duration(r.Budget), MaxIdle: time.Duration(r.MaxIdle), Connections: r.Connections, Churn: r.Churn,
		MaxWaiting: r.MaxWaiting, MaxWait: time.Duration(r.MaxWait),
	}
	if text := c.Latency.Load; text != "" {
		stages, err := replay.ParseStages(text)
		if err != nil {
			return nil, c.Mistake("latency.load", "%v", err)
		}
		l.Stages = stages
	}
	var ways []string
	for _, way := range []struct {
		key   string
		given bool
	}{{"replay.speed", r.Speed != 0}, {"replay.rate", r.Rate != 0}, {"replay.max", r.Max}, {"latency.load", len(l.Stages) > 0}} {
		if way.given {
			ways = append(ways, way.key)
		}
	}
	if len(ways) > 1 {
		return nil, c.Mistake(ways[0], "a load has one pace; remove it, or %s", ways[1])
	}
	if reflect.ValueOf(l).IsZero() {
		return nil, nil
	}
	if err := l.Validate(); err != nil {
		return nil, c.Mistake("replay", "%v", err)
	}
	return &l, nil
}
