package analysis

import (
	"fmt"
	"slices"
	"strings"
)

// verdict sums up the result in a word and a sentence.
func (r *run) verdict(result *Result) (Verdict, string) {
	var gating []Finding
	for _, f := range result.Findings {
		if f.Gates {
			gating = append(gating, f)
		}
	}
	// A head that did not even start says enough about the change.
	crashed := slices.ContainsFunc(gating, func(f Finding) bool { return f.Kind == KindCrash })
	if (len(r.base) == 0 || len(r.inbound) == 0) && !crashed {
		return Error, "No exchange was replayed against base, so nothing is known of this change."
	}
	if len(gating) > 0 {
		return Fail, failReason(gating)
	}
	for _, t := range result.Thresholds {
		if !t.Holds {
			return Fail, t.sentence()
		}
	}
	if len(result.Mistakes) > 0 {
		return Error, result.Mistakes[0]
	}
	if n := r.guessed(); n > 0 && slices.Contains(r.opts.FailOn, GateAssisted) {
		return Fail, fmt.Sprintf("%s of head %s answered by a guess.", plural(n, "call"), was(n))
	}
	if why := r.doubt(result); why != "" {
		if slices.Contains(r.opts.FailOn, GateInconclusive) {
			return Fail, why
		}
		return Inconclusive, why
	}
	reason := fmt.Sprintf("%d of %d exchanges are answered alike", result.Equal, result.Replayed)
	if n := ofHead(result.Findings); n > 0 {
		reason += fmt.Sprintf("; %s, but nothing that fails the check", plural(n, "finding"))
	}
	return Pass, reason + "."
}

// doubt says why the run could not tell, or "".
func (r *run) doubt(result *Result) string {
	switch {
	case len(r.head) == 0:
		return "No exchange was replayed against head."
	case !r.in.Base.Complete:
		return "The replay against base did not finish."
	case !r.in.Head.Complete:
		return fmt.Sprintf("The replay against head did not finish: %d of %d exchanges were compared.", len(r.head), len(r.inbound))
	case len(r.in.Base.Crashes) > 0:
		return "Base itself crashed, so head cannot be judged by it."
	case slices.Contains(r.opts.FailOn, string(KindLatency)) && result.Latency.Note != "":
		return "Latency could not be judged: " + result.Latency.Note + "."
	}
	return ""
}

// sentence quotes a threshold that does not hold.
func (t ThresholdResult) sentence() string {
	where := ""
	if t.Endpoint != "" && !strings.HasPrefix(t.Threshold, t.Endpoint) {
		where = " for " + t.Endpoint
	}
	return fmt.Sprintf("The threshold %q does not hold%s: it is %s.", t.Threshold, where, t.Value)
}

// guessed counts the calls of head that were answered by a guess.
func (r *run) guessed() int {
	n := 0
	for _, x := range r.in.Head.Outbound {
		if x != nil && x.Match != nil && x.Match.Tier.Assisted() {
			n++
		}
	}
	return n
}

func was(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func failReason(gating []Finding) string {
	count := make(map[Kind]int)
	for _, f := range gating {
		count[f.Kind]++
	}
	var parts []string
	for _, k := range []Kind{KindCrash, KindResponse, KindOutbound, KindFragility, KindLatency, KindResource} {
		if count[k] > 0 {
			parts = append(parts, plural(count[k], string(k)+" finding"))
		}
	}
	first := gating[0]
	where := first.Endpoint
	if first.Call != "" {
		where += " to " + first.Call
	}
	if first.Address != "" {
		where += " at " + first.Address
	}
	return fmt.Sprintf("%s; the first is %s on %s.", capital(strings.Join(parts, ", ")), first.Change, where)
}

func ofHead(findings []Finding) int {
	n := 0
	for _, f := range findings {
		if f.Cause == CauseHead {
			n++
		}
	}
	return n
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
