package replay

import (
	"context"
	"fmt"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Against says where and how a recording is replayed without a second arm.
type Against struct {
	// URL is scheme, host and port. Hosts that are neither loopback nor private
	// must be in AllowHosts.
	URL        string
	AllowHosts []string
	Load       Load
	// Limits are the conditions on which the replay fails.
	Limits  []Limit
	Options Options
	// Announce is called with the plan before anything is sent; nil is fine.
	Announce func(*Plan)
}

// Breach is a limit that was broken.
type Breach struct {
	Limit    Limit
	Measured string // "231ms", "0.4 % (5 of 1200)"
}

func (b Breach) String() string { return b.Limit.String() + ": " + b.Measured }

// Outcome is what a replay against one address came to. Breaches are empty when
// all limits held. When Summary.Reliable is false, breaches of times say more of
// this sender than of the service, and the outcome is inconclusive.
type Outcome struct {
	Result   *Result
	Summary  Summary
	Breaches []Breach
}

// Replay sends the inbound exchanges of a recording to one address and judges
// the answers by limits. Errors are those of the address, the load and the
// recording. When ctx ends first, the outcome so far comes back with its cause,
// unjudged.
func Replay(ctx context.Context, recorded []*traffic.Exchange, a Against) (*Outcome, error) {
	target, err := TargetOf(ctx, "target", a.URL, a.AllowHosts)
	if err != nil {
		return nil, err
	}
	e, err := New(recorded, a.Options)
	if err != nil {
		return nil, err
	}
	if e.Len() == 0 {
		return nil, fmt.Errorf("replay against %s: the recording holds no inbound exchange", a.URL)
	}
	plan, err := e.Plan(a.Load)
	if err != nil {
		return nil, err
	}
	if a.Announce != nil {
		a.Announce(plan)
	}
	result, err := e.Drive(ctx, target, plan)
	if result == nil {
		return nil, err
	}
	o := &Outcome{Result: result, Summary: result.Summary(nil)}
	if err != nil {
		return o, err
	}
	for _, limit := range a.Limits {
		if measured, failed := limit.Check(o.Summary); failed {
			o.Breaches = append(o.Breaches, Breach{limit, measured})
		}
	}
	return o, nil
}
