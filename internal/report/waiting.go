package report

import (
	"fmt"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// waits returns the findings about waiting for dependencies.
func (d *Document) waits() []analysis.Finding {
	var out []analysis.Finding
	for _, f := range d.pick(analysis.KindLatency) {
		if f.Change == analysis.ChangeWaitsLonger || f.Change == analysis.ChangeWaitsShorter {
			out = append(out, f)
		}
	}
	return out
}

// waitingSection is the folded table of how much of the service time endpoints
// wait for dependencies.
func (d *Document) waitingSection() *section {
	if len(d.Waiting) == 0 {
		return nil
	}
	open, foot := details("Waiting for dependencies: " + count(len(d.Waiting), "endpoint"))
	s := &section{name: "endpoints that wait for dependencies", value: 28, foot: foot,
		head: open + table("lrrrrl", "Endpoint", "Requests", "Share of the service time", "Time", "Calls", "")}
	for _, w := range d.Waiting {
		s.items = append(s.items, row(Code(w.Endpoint, 100), thousands(w.Exchanges), waitedShares(w),
			millis(w.Base.MS)+" → "+millis(w.Head.MS), fmt.Sprintf("%.1f → %.1f", w.Base.Calls, w.Head.Calls), waitedWord(w)))
	}
	return s
}

// waitedShares shows the share of base, as far as its two passes differ in it, and
// that of head.
func waitedShares(w analysis.Waiting) string {
	base := share(w.Base.Share)
	if w.Control != nil && share(w.Control.Share) != base {
		base = share(min(w.Base.Share, w.Control.Share)) + " to " + share(max(w.Base.Share, w.Control.Share))
	}
	return base + " → " + share(w.Head.Share)
}

// waitedWord says whether head waits otherwise.
func waitedWord(w analysis.Waiting) string {
	if w.Changed == "" {
		return "within noise"
	}
	return whatChanged(analysis.Finding{Change: w.Changed})
}
