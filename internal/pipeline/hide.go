package pipeline

import (
	"fmt"
	"slices"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// hide replaces personal data in all that was seen of an arm. The service
// under test may hold real data of its own, and reports are read by more people
// than the service is. An exchange that cannot be made safe is an error, and
// nothing of the arm is kept then.
func (o *observation) hide(by Redactor) error {
	inbound, err := hidden(o.inbound, by)
	if err != nil {
		o.inbound, o.journal = nil, journal{}
		return err
	}
	calls, err := hidden(o.journal.calls, by)
	if err != nil {
		o.inbound, o.journal = nil, journal{}
		return err
	}
	o.inbound, o.journal.calls = inbound, calls
	for n := range o.journal.account.Misses {
		miss := &o.journal.account.Misses[n]
		miss.Call, miss.Reason = by.Text(miss.Call), by.Text(miss.Reason)
		if miss.Nearest == nil {
			continue
		}
		for i, text := range miss.Nearest.Differences {
			miss.Nearest.Differences[i] = by.Text(text)
		}
	}
	for i, c := range o.crashes {
		o.crashes[i].Reason, o.crashes[i].Log = by.Text(c.Reason), by.Text(c.Log)
	}
	return nil
}

// hidden returns redacted copies: the originals belong to the replayer and the
// mock.
func hidden(live []*traffic.Exchange, by Redactor) ([]*traffic.Exchange, error) {
	out := make([]*traffic.Exchange, len(live))
	for i, x := range live {
		out[i] = x.Clone()
		if _, err := by.Redact(out[i]); err != nil {
			return nil, fmt.Errorf("hide personal data of %s: %w", x.ID, err)
		}
		if out[i].Match == nil {
			continue
		}
		out[i].Match.Reason = by.Text(out[i].Match.Reason)
		for n, near := range out[i].Match.Nearest {
			differences := slices.Clone(near.Differences)
			for d := range differences {
				differences[d].Live = by.Text(differences[d].Live)
			}
			out[i].Match.Nearest[n].Differences = differences
		}
	}
	return out, nil
}
