package pipeline

import (
	"cmp"
	"fmt"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// bootPass numbers what a service does before the first request.
const bootPass = 0

// ledger is the part of a mock, here or in a pod, that a journal is drawn
// from.
type ledger interface {
	Calls(pass uint32) []*traffic.Exchange
	Account(pass uint32) mock.Account
}

// journalOf joins what a mock saw while the service started and in one pass.
func journalOf(m ledger, pass uint32, router *traffic.Router) (journal, error) {
	j := journal{account: analysis.Account{Attributed: map[traffic.Certainty]int{}, Tiers: map[traffic.Tier]int{}}}
	for _, number := range []uint32{bootPass, pass} {
		calls, account := m.Calls(number), m.Account(number)
		if account.Err != nil {
			return j, fmt.Errorf("the mock's account of pass %d does not balance: %w", number, account.Err)
		}
		j.calls = append(j.calls, calls...)
		j.account.Recorded += account.Recorded
		j.account.Matched += account.Matched
		j.account.Unused += account.Unused
		j.account.Extra += account.Extra
		j.account.Missed += account.Missed
		j.idleRules = account.UnusedRules
		for tier, n := range account.Tiers {
			j.account.Tiers[tier] += n
		}
		if number != bootPass { // no request causes what the start does
			j.account.Unsure += account.Unsure
			for by, n := range account.Attributed {
				j.account.Attributed[cmp.Or(by, analysis.ByNone)] += n
			}
		}
		for _, call := range calls {
			if call.Match != nil && call.Match.Tier == traffic.TierMiss {
				j.account.Misses = append(j.account.Misses, missOf(call, router))
			}
		}
	}
	return j, nil
}

// missOf is a miss as the report shows it.
func missOf(call *traffic.Exchange, router *traffic.Router) analysis.Miss {
	miss := analysis.Miss{
		ID: call.ID, Lane: string(call.Lane),
		Call:   call.Request.Method + " " + call.Request.Authority + router.Template(call.Request.Path()),
		Reason: call.Match.Reason,
	}
	if len(call.Match.Nearest) == 0 {
		return miss
	}
	near := call.Match.Nearest[0]
	miss.Nearest = &analysis.NearestCall{Record: near.Record, Score: near.Score, Differences: []string{}}
	for _, d := range near.Differences {
		miss.Nearest.Differences = append(miss.Nearest.Differences, fmt.Sprintf("%s: recorded %s, live %s", d.Path, d.Recorded, d.Live))
	}
	return miss
}

// inboundOf picks what is replayed.
func inboundOf(recorded []*traffic.Exchange) []*traffic.Exchange {
	var inbound []*traffic.Exchange
	for _, x := range recorded {
		if x.Direction == traffic.Inbound {
			inbound = append(inbound, x)
		}
	}
	return inbound
}
