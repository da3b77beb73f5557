package mock

import (
	"time"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// renewal is what a recorded answer holds that expires, and since when it ages.
type renewal struct {
	kind  fresh.Kind
	start time.Time
}

// renewed returns a recorded answer as it would be given now: key sets are those
// of the run, times move by the age of the recorded call, and tokens are signed
// anew, with the values that this lane has learned in their claims.
func (m *Mock) renewed(rec *record, o outcome, response *traffic.Response) *traffic.Response {
	what, ok := m.index.renewals[o.entry] // most hold nothing
	if !ok {
		return response
	}
	live := m.toLive(rec.x.Match.Pass, rec.x.Lane)
	return m.ring.Answer(what.kind, response, m.opts.Now().Sub(what.start), live)
}

// toLive returns what stands in a lane for a recorded value.
func (m *Mock) toLive(number uint32, lane traffic.Lane) func(string) string {
	ls := m.pass(number).lane(m.index, lane)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	pairs := make(map[string]string, len(ls.recorded))
	for live, recorded := range ls.recorded {
		pairs[recorded] = live
	}
	return func(recorded string) string {
		if live, ok := pairs[recorded]; ok {
			return live
		}
		return recorded
	}
}

// byIssuer answers a call to an issuer of tokens for what it publishes of
// itself.
func (m *Mock) byIssuer(ls *laneState, c *call) (outcome, bool) {
	response := m.ring.Publishes(c.req)
	if response == nil {
		return outcome{}, false
	}
	ls.count(&ls.extra)
	return outcome{tier: traffic.TierRule, entry: none, reason: "answered as the issuer of tokens, with the keys of this run", response: response}, true
}
