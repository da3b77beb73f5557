package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Run turns what was observed into a verdict. It is pure: the same input gives
// the same result, in the same order. Nothing in the input is changed.
func Run(in Input, opts Options) Result {
	r := newRun(in, opts)
	answers := newJudge(r.inboundUnits(), in.Redacted, r.opts)
	contract := r.outbound()
	calls := newJudge(contract.units, in.Redacted, r.opts)

	sightings := r.crashes()
	sightings = append(sightings, answers.sightings()...)
	sightings = append(sightings, contract.sightings...)
	sightings = append(sightings, calls.sightings()...)
	groups := groupUp(sightings)
	r.fold(groups)

	result := Result{
		Endpoints: []Endpoint{}, Outbound: r.accounts(), Resources: in.Resources,
		Mock:     map[string]Account{"base": in.Base.Account, "control": in.Control.Account, "head": in.Head.Account},
		Replayed: len(r.head), Changed: r.changed(groups), Noisy: answers.noisyPlaces() + calls.noisyPlaces(),
	}
	result.Equal = max(0, result.Replayed-result.Changed)
	result.Findings = r.findings(groups)
	if f, share := r.stale(answers); f != nil {
		result.Findings, result.Stale = append(result.Findings, *f), share
	}
	result.Endpoints, result.Latency = r.latency()
	waiting, sequence := r.waiting()
	result.Waiting = waiting
	result.Findings = append(result.Findings, waitingFindings(result.Findings, waiting, sequence)...)
	result.OpenLoop, result.Capacity = r.openLoop(), r.capacity()
	result.Findings = append(result.Findings, r.unexplained(result.Findings, r.speedFindings(result.Endpoints, result.Latency.Overall))...)
	result.Findings = append(result.Findings, foldErrorLines(result.Findings, r.resourceFindings())...)
	fragile, chaos := r.fragility()
	result.Findings, result.Chaos = append(result.Findings, fragile...), chaos
	r.gate(result.Findings)
	warnings, mistakes := r.ruleWarnings()
	result.Mistakes = mistakes
	lapsed, why := r.accept(result.Findings)
	result.Lapsed = lapsed
	result.Warnings = slices.Concat(why, mistakes, warnings, answers.unsteady())
	order(result.Findings)
	result.Thresholds = r.thresholds(&result)
	result.Verdict, result.Reason = r.verdict(&result)
	return result
}

// findings turns the groups without a root into findings, with their
// consequences.
func (r *run) findings(groups []*group) []Finding {
	out := []Finding{}
	at := make(map[*group]int)
	for _, g := range groups {
		if g.root == nil {
			at[g] = len(out)
			out = append(out, g.finding(r.of(g.endpoint)))
		}
	}
	for _, g := range groups {
		if g.root != nil {
			f := &out[at[g.final()]]
			address := g.address
			if g.call != "" {
				address = strings.TrimSpace(g.call + " " + address)
			}
			f.Consequences = append(f.Consequences, Consequence{Endpoint: g.endpoint, Address: address, Change: g.change, Count: len(g.lanes())})
		}
	}
	return out
}

// of returns how many exchanges of an endpoint were replayed.
func (r *run) of(endpoint string) int { return r.perPoint[endpoint] }

// changed counts the inbound exchanges of head that show any difference.
func (r *run) changed(groups []*group) int {
	lanes := make(map[string]bool)
	for _, g := range groups {
		for lane := range g.lanes() {
			if r.head[lane] != nil {
				lanes[lane] = true
			}
		}
	}
	return len(lanes)
}

// crashes returns a sighting for each crash of head that base does not have.
func (r *run) crashes() []sighting {
	spared := len(r.in.Base.Crashes)
	var out []sighting
	for _, c := range r.in.Head.Crashes {
		if spared > 0 {
			spared--
			continue
		}
		s := sighting{
			kind: KindCrash, change: ChangeCrash, address: "response", endpoint: "service", lane: c.Recorded, order: -1,
			head: c.Reason, detail: lastLine(c.Log), live: &traffic.Exchange{Start: c.At},
		}
		// Whoever watches the service may see that it is gone only later: the
		// first request that base answered and head could not was in flight.
		if first := r.firstUnanswered(); first != nil && c.At.IsZero() {
			s.lane, s.live = first.Recorded, &traffic.Exchange{Start: first.Start}
		}
		if e, ok := r.endpoints[s.lane]; ok {
			s.endpoint, s.order = e, r.position[s.lane]
		}
		out = append(out, s)
	}
	return out
}

// firstUnanswered returns the first exchange of head whose connection broke
// where base answered, or nil.
func (r *run) firstUnanswered() *traffic.Exchange {
	for _, x := range r.inbound {
		head, base := r.head[x.ID], r.base[x.ID]
		if head != nil && head.Response == nil && base != nil && base.Response != nil &&
			(head.Failure == traffic.FailureReset || head.Failure == traffic.FailureRefused) {
			return head
		}
	}
	return nil
}

func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// stale reports once that base no longer answers as recorded.
func (r *run) stale(answers *judge) (*Finding, float64) {
	units, where, of := answers.staleness()
	if len(units) == 0 {
		return nil, 0
	}
	var worst place
	for p, n := range where {
		if n > where[worst] || n == where[worst] && compareStrings(p.endpoint+p.address, worst.endpoint+worst.address) < 0 {
			worst = p
		}
	}
	share := float64(len(units)) / float64(of)
	f := &Finding{
		Kind: KindResponse, Cause: CauseSnapshot, Endpoint: worst.endpoint, Address: worst.address, Change: ChangeValue,
		Count: len(units), Of: of, Example: units[0].id,
		Detail: fmt.Sprintf("base answers otherwise than recorded in %d of %d exchanges (%.0f %%), most at this address; record the snapshot again", len(units), of, 100*share),
	}
	for _, u := range units {
		for _, d := range u.stale {
			if u.endpoint == worst.endpoint && d.Path.Pattern().String() == worst.address {
				f.Recorded, f.Base, f.Head, f.Example, f.Change = display(d.A), display(d.B), display(d.B), u.id, Change(d.Change)
				return f, share
			}
		}
	}
	return f, share
}

// gate marks the findings that make the verdict fail.
func (r *run) gate(findings []Finding) {
	for i := range findings {
		f := &findings[i]
		if f.Cause != CauseHead || !slices.Contains(r.opts.FailOn, string(f.Kind)) {
			f.Gates = false
			continue
		}
		if f.Kind != KindLatency { // latency decides itself, at its own level
			f.Gates = !strings.Contains(f.Detail, restoredDetail)
		}
	}
}

// order sorts findings and numbers them: gating first, then those of head, then
// by kind, count and place.
func order(findings []Finding) {
	rank := func(b bool) int {
		if b {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(rank(a.Gates), rank(b.Gates)),
			cmp.Compare(rank(a.Cause == CauseHead), rank(b.Cause == CauseHead)),
			cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)),
			cmp.Compare(b.Count, a.Count),
			compareStrings(a.Endpoint, b.Endpoint), compareStrings(a.Call, b.Call),
			compareStrings(a.Address, b.Address), compareStrings(string(a.Change), string(b.Change)),
		)
	})
	for i := range findings {
		findings[i].ID = fmt.Sprintf("F%d", i+1)
	}
}
