package mock

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Latency says how long answers take. The zero value answers at once.
type Latency struct {
	// Scale multiplies the recorded times to the first and last byte: 1 keeps
	// them, 0 answers at once. Answers that are not the recorded one of a call,
	// by repeat, fuzzy or a rule without a delay of its own, take a time drawn
	// from those recorded of the dependency.
	Scale float64
	// EveryPass applies the scale to the boot and correctness passes (0 and 1)
	// too; without it they answer at once, and only latency rounds wait.
	EveryPass bool
	// Of says it otherwise for single dependencies (host as recorded, with or
	// without port).
	Of map[string]DependencyLatency
}

// DependencyLatency says how long the answers of one dependency take.
type DependencyLatency struct {
	// Scale multiplies the recorded times.
	Scale float64
	// Median, if not zero, stands in for them: the times are drawn from the
	// log-normal distribution with this median, and Sigma as the standard
	// deviation of the logarithm; 0 is always the median.
	Median time.Duration
	Sigma  float64
}

// maxScale bounds factors, beyond which a slip of the pen is likely.
const maxScale = 1000

// Validate reports the first value that cannot be meant.
func (l *Latency) Validate() error {
	if !(l.Scale >= 0 && l.Scale <= maxScale) {
		return fmt.Errorf("mock.latency.scale: %v must be between 0 and %d", l.Scale, maxScale)
	}
	for name, d := range l.Of {
		if err := d.Validate(); err != nil {
			return fmt.Errorf("mock.latency-of.%s: %w", name, err)
		}
	}
	return nil
}

// Validate reports the first value that cannot be meant.
func (d DependencyLatency) Validate() error {
	switch {
	case !(d.Scale >= 0 && d.Scale <= maxScale):
		return fmt.Errorf("scale %v must be between 0 and %d", d.Scale, maxScale)
	case d.Median < 0 || d.Median > time.Hour:
		return fmt.Errorf("median %v must be between 0s and 1h", d.Median)
	case !(d.Sigma >= 0 && d.Sigma <= 5):
		return fmt.Errorf("sigma %v must be between 0 and 5", d.Sigma)
	case d.Median > 0 && d.Scale != 0:
		return fmt.Errorf("give scale, for the recorded times, or median, in place of them")
	case d.Sigma > 0 && d.Median == 0:
		return fmt.Errorf("sigma needs a median")
	}
	return nil
}

// of returns what holds for a dependency.
func (l *Latency) of(dependency string) DependencyLatency {
	host, _ := traffic.SplitAuthority(dependency)
	for _, name := range []string{dependency, host} {
		if d, ok := l.Of[name]; ok {
			return d
		}
	}
	return DependencyLatency{Scale: l.Scale}
}

// tempo is how long the answer to one call takes.
type tempo struct {
	scale float64 // of what is recorded; 0 is at once
	// drawn, if not zero, is the time to the last byte; that to the first is
	// in proportion.
	drawn time.Duration
}

// tempo works out how long the answer to a call takes. What is drawn follows
// from the lane, the call and how often it was made there, so that all arms wait
// as long.
func (m *Mock) tempo(p *pass, ls *laneState, c *call, o *outcome) tempo {
	l := &m.opts.Latency
	if o.tier == traffic.TierMiss || p.number < 2 && !l.EveryPass || l.Scale == 0 && l.Of == nil {
		return tempo{}
	}
	d := l.of(c.dep)
	median, sigma := d.Median, d.Sigma
	if median == 0 {
		if d.Scale == 0 || o.entry != none && o.tier != traffic.TierRepeat && o.tier != traffic.TierFuzzy {
			return tempo{scale: d.Scale}
		}
		spread, ok := m.index.spreads[c.dep]
		if !ok {
			return tempo{scale: d.Scale} // nothing to draw from
		}
		if median, sigma = spread.logNormal(); median == 0 {
			return tempo{scale: d.Scale}
		}
		median = time.Duration(d.Scale * float64(median))
	}
	what := steadyHash(c)
	dice := Faults{}
	lane, try := traffic.LaneNumber(ls.name), uint64(ls.again(what))
	drawn := logNormal(median, sigma, dice.roll(0, lane, what, try), dice.roll(1, lane, what, try))
	return tempo{scale: 1, drawn: max(drawn, 1)}
}

// times applies a tempo to what was recorded.
func (t tempo) times(recorded times) times {
	if t.drawn == 0 {
		return times{time.Duration(t.scale * float64(recorded.first)), time.Duration(t.scale * float64(recorded.last))}
	}
	if recorded.last <= 0 {
		return times{t.drawn, t.drawn}
	}
	share := min(1, float64(recorded.first)/float64(recorded.last))
	return times{time.Duration(share * float64(t.drawn)), t.drawn}
}

// scaled applies a tempo to a part of what was recorded.
func (t tempo) scaled(part time.Duration, recorded times) time.Duration {
	if recorded.last <= 0 || t.drawn == 0 {
		return time.Duration(t.scale * float64(part))
	}
	return time.Duration(float64(part) / float64(recorded.last) * float64(t.drawn))
}

// spread sums up how long a dependency took, by logarithms.
type spread struct {
	n            int
	sum, squares float64
}

func (s *spread) add(d time.Duration) {
	if d <= 0 {
		return // not recorded
	}
	log := math.Log(float64(d))
	s.n++
	s.sum += log
	s.squares += log * log
}

// logNormal returns the log-normal distribution that fits best: its median,
// zero if nothing was recorded, and the standard deviation of the logarithm.
func (s *spread) logNormal() (median time.Duration, sigma float64) {
	if s.n == 0 {
		return 0, 0
	}
	mean := s.sum / float64(s.n)
	return time.Duration(math.Exp(mean)), math.Sqrt(max(0, s.squares/float64(s.n)-mean*mean))
}

// since is how long ago a call began.
func (m *Mock) since(began time.Time) time.Duration {
	if m.wallClock {
		return time.Since(began) // reads one clock, where time.Now reads two
	}
	return m.opts.Now().Sub(began)
}

// wait returns at a point in time, counted from when a call began.
func (m *Mock) wait(ctx context.Context, began time.Time, after time.Duration) error {
	if after <= 0 {
		return nil
	}
	return m.opts.Wait(ctx, began.Add(after))
}
