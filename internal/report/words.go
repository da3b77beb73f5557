package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Headline is the verdict in plain words, one line without markup, the name of
// the service left out: "3 of 1,204 replayed responses changed, 1 endpoint is
// slower".
func (d *Document) Headline() string {
	switch d.Verdict {
	case analysis.Error:
		if d.Failure != nil && d.Failure.Class == FailureCancelled {
			return "not measured: the run was cancelled"
		}
		return "not measured: " + strings.TrimSuffix(d.failureMessage(), ".")
	case analysis.Inconclusive:
		if parts := d.changes(); len(parts) > 0 {
			return strings.Join(parts, ", ") + "; the rest could not be judged"
		}
		return "the run could not tell whether anything changed"
	}
	if parts := d.changes(); len(parts) > 0 {
		return strings.Join(parts, ", ")
	}
	if n := len(d.accepted()); n > 0 {
		return "nothing changed but what was accepted (" + count(n, "finding") + ")"
	}
	latency := "latency within noise"
	if d.Latency.Rounds == 0 || len(d.Endpoints) == 0 {
		latency = "latency was not measured"
	} else if d.undecided() > 0 {
		latency = fmt.Sprintf("latency of %s could not be judged", count(d.undecided(), "endpoint"))
	}
	if d.Replayed == 1 {
		return "the one replayed response matches, " + latency
	}
	return fmt.Sprintf("all %s replayed responses match, %s", thousands(d.Replayed), latency)
}

// changes says what is worth a reader's attention, most important first.
func (d *Document) changes() []string {
	var parts []string
	if n := len(d.pick(analysis.KindCrash)); n > 0 {
		parts = append(parts, "the service crashed "+times(n))
	}
	if found := d.pick(analysis.KindResponse); len(found) > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s replayed %s changed", thousands(d.Changed), thousands(d.Replayed), plural(d.Replayed, "response")))
	}
	if n := len(d.pick(analysis.KindOutbound)); n > 0 {
		parts = append(parts, count(n, "change")+" in calls to dependencies")
	}
	if n := len(d.pick(analysis.KindFragility)); n > 0 {
		parts = append(parts, count(n, "new failure")+" when a dependency fails")
	}
	var slower, faster, waiting []string
	for _, f := range d.pick(analysis.KindLatency) {
		switch f.Change {
		case analysis.ChangeWaitsLonger, analysis.ChangeWaitsShorter:
			waiting = append(waiting, f.Endpoint)
		case analysis.ChangeFaster:
			faster = append(faster, f.Endpoint)
		default:
			slower = append(slower, f.Endpoint)
		}
	}
	for _, e := range []struct {
		names []string
		word  string
	}{{slower, "slower"}, {faster, "faster"}} {
		slices.Sort(e.names)
		if n := len(slices.Compact(e.names)); n == 1 {
			parts = append(parts, "1 endpoint is "+e.word)
		} else if n > 1 {
			parts = append(parts, fmt.Sprintf("%d endpoints are %s", n, e.word))
		}
	}
	if n := len(waiting); n > 0 {
		parts = append(parts, count(n, "endpoint")+" with another share of waiting")
	}
	if n := len(d.pick(analysis.KindResource)); n > 0 {
		parts = append(parts, count(n, "change")+" in resource use")
	}
	if n := len(d.broken()); n == 1 {
		parts = append(parts, "1 threshold does not hold")
	} else if n > 1 {
		parts = append(parts, fmt.Sprintf("%d thresholds do not hold", n))
	}
	return parts
}

// pick returns the findings of a kind that this pull request caused and nobody
// has accepted.
func (d *Document) pick(kind analysis.Kind) []analysis.Finding {
	var out []analysis.Finding
	for _, f := range d.Findings {
		if f.Kind == kind && f.Cause == analysis.CauseHead && f.Accepted == nil {
			out = append(out, f)
		}
	}
	return out
}

// accepted returns the findings that people agreed to.
func (d *Document) accepted() []analysis.Finding {
	var out []analysis.Finding
	for _, f := range d.Findings {
		if f.Cause == analysis.CauseHead && f.Accepted != nil {
			out = append(out, f)
		}
	}
	return out
}

// because says who accepted a change and why, without markup.
func because(a *analysis.AcceptedBy) string {
	s := a.Reason
	if a.Author != "" {
		s += ", " + a.Author
	}
	if !a.Expires.IsZero() {
		s += ", until " + a.Expires.UTC().Format(time.DateOnly)
	}
	return s
}

// broken returns the thresholds that do not hold.
func (d *Document) broken() []analysis.ThresholdResult {
	var out []analysis.ThresholdResult
	for _, t := range d.Thresholds {
		if !t.Holds {
			out = append(out, t)
		}
	}
	return out
}

// thresholdWord says how a threshold came out.
func thresholdWord(t analysis.ThresholdResult) string {
	switch {
	case !t.Holds:
		return "does not hold"
	case t.Unknown != "":
		return "unknown: " + visible(t.Unknown, 120)
	}
	return "holds"
}

// missView is a call without an answer, and how many there are of it.
type missView struct {
	analysis.Miss
	Count int
}

// misses groups the calls of head without an answer: the same call for the same
// reason is shown once, with its first example.
func (d *Document) misses() []missView {
	var out []missView
	at := map[[2]string]int{}
	for _, m := range d.Mock["head"].Misses {
		key := [2]string{m.Call, m.Reason}
		if i, ok := at[key]; ok {
			out[i].Count++
			continue
		}
		at[key] = len(out)
		out = append(out, missView{m, 1})
	}
	return out
}

// sharedNote is a note that more than half of the endpoints have; it is said
// once instead of in each row.
func (d *Document) sharedNote() string {
	counts := map[string]int{}
	for _, e := range d.Endpoints {
		counts[e.Note]++
	}
	for note, n := range counts {
		if note != "" && n > 1 && 2*n > len(d.Endpoints) {
			return note
		}
	}
	return ""
}

// attribution says by what the calls of head were attributed to the requests that
// caused them, or "" without calls.
func (d *Document) attribution() string {
	a := d.Mock["head"]
	total := 0
	for _, n := range a.Attributed {
		total += n
	}
	if total == 0 {
		return ""
	}
	var parts []string
	for _, by := range []struct {
		certainty traffic.Certainty
		words     string
	}{
		{traffic.ByTrace, "a trace"}, {traffic.ByValue, "a value that one request owned"}, {traffic.ByConnection, "the connection"},
		{traffic.ByOnlyActive, "being the only request under way"}, {traffic.ByTime, "time"}, {analysis.ByNone, "nothing"},
	} {
		if n := a.Attributed[by.certainty]; n > 0 {
			parts = append(parts, share(float64(n)/float64(total))+" by "+by.words)
		}
	}
	text := fmt.Sprintf("%s of head to dependencies %s attributed to requests: %s.", count(total, "call"), wasWere(total), strings.Join(parts, ", "))
	if a.Unsure > 0 {
		text += fmt.Sprintf(" %s could belong to any of several requests.", thousands(a.Unsure))
	}
	return text
}

// answered says how the mock answered the calls of head, or "" without calls.
func (d *Document) answered() string {
	a := d.Mock["head"]
	var parts []string
	assisted := 0
	for _, t := range tiers {
		n := a.Tiers[t]
		if n == 0 {
			continue
		}
		parts = append(parts, thousands(n)+" "+string(t))
		if t.Assisted() {
			assisted += n
		}
	}
	if len(parts) == 0 {
		return ""
	}
	text := "The mock answered head: " + strings.Join(parts, ", ") + "."
	if assisted > 0 {
		text += fmt.Sprintf(" %s %s a guess; what depends on it is not proved.", thousands(assisted), wasWere(assisted))
	}
	return text
}

// tiers are those of matching, the surest first.
var tiers = []traffic.Tier{
	traffic.TierExact, traffic.TierBound, traffic.TierClassed, traffic.TierOtherLane, traffic.TierRepeat, traffic.TierFuzzy, traffic.TierRule, traffic.TierMiss,
}

func wasWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// others returns the findings that this pull request did not cause.
func (d *Document) others() []analysis.Finding {
	var out []analysis.Finding
	for _, f := range d.Findings {
		if f.Cause != analysis.CauseHead {
			out = append(out, f)
		}
	}
	return out
}

func (d *Document) gating() int {
	n := 0
	for _, f := range d.Findings {
		if f.Gates {
			n++
		}
	}
	return n
}

func (d *Document) undecided() int {
	n := 0
	for _, e := range d.Endpoints {
		if speedOf(e) == analysis.SpeedInconclusive {
			n++
		}
	}
	return n
}

func (d *Document) failureMessage() string {
	switch {
	case d.Failure != nil && d.Failure.Message != "":
		return d.Failure.Message
	case d.Reason != "":
		return d.Reason
	}
	return "the run broke"
}

// speedOf sums up the judged quantiles of an endpoint.
func speedOf(e analysis.Endpoint) analysis.Speed {
	for _, s := range []analysis.Speed{analysis.Slower, analysis.Faster, analysis.SpeedInconclusive} {
		if e.P50.Verdict == s || e.P90.Verdict == s {
			return s
		}
	}
	return analysis.Same
}

// staleWorthSaying is the share of exchanges above which a stale snapshot is
// the first thing a reader must know.
const staleWorthSaying = 0.05

func (d *Document) stale() bool { return d.Stale >= staleWorthSaying }

func (d *Document) staleSentence() string {
	return fmt.Sprintf("The snapshot is stale: base itself no longer gives the recorded answer for %s of the exchanges. Base and head are still compared with each other; record a new snapshot to compare with production as it is now.", share(d.Stale))
}

// whatChanged is a change in words, to follow the address.
func whatChanged(f analysis.Finding) string {
	switch f.Change {
	case analysis.ChangeStatus:
		return "changed"
	case analysis.ChangeMissing:
		return "went missing"
	case analysis.ChangeExtra:
		return "is new"
	case analysis.ChangeType:
		return "changed its type"
	case analysis.ChangeLength:
		return "changed its length"
	case analysis.ChangeValue:
		return "changed its value"
	case analysis.ChangeOrder:
		return "changed its order"
	case analysis.ChangeClass:
		return "is no longer a value of its kind"
	case analysis.ChangeNewCall:
		return "new call"
	case analysis.ChangeMissingCall:
		return "call no longer made"
	case analysis.ChangeRepeatedCall:
		return "call repeated"
	case analysis.ChangeChangedCall:
		return "call changed"
	case analysis.ChangeReordered:
		return "calls in another order"
	case analysis.ChangeSlower:
		return "slower"
	case analysis.ChangeFaster:
		return "faster"
	case analysis.ChangeWaitsLonger:
		return "waits longer"
	case analysis.ChangeWaitsShorter:
		return "waits shorter"
	case analysis.ChangeNoResponse:
		return "no response"
	case analysis.ChangeFragile:
		return "fails when a dependency does"
	case analysis.ChangeCrash:
		return "the service crashed"
	}
	return visible(string(f.Change), 40)
}

// causeOf is a cause in words.
func causeOf(c analysis.Cause) string {
	switch c {
	case analysis.CauseHead:
		return "this change"
	case analysis.CauseSnapshot:
		return "stale snapshot"
	case analysis.CauseNoise:
		return "noise"
	}
	return visible(string(c), 40)
}

// kindOf is a kind of finding in words.
func kindOf(k analysis.Kind) string {
	switch k {
	case analysis.KindResponse:
		return "Responses"
	case analysis.KindOutbound:
		return "Calls to dependencies"
	case analysis.KindLatency:
		return "Latency"
	case analysis.KindCrash:
		return "Crashes"
	case analysis.KindFragility:
		return "Failing dependencies"
	case analysis.KindResource:
		return "Resources"
	}
	return visible(string(k), 40)
}

// short is the part of a commit id that people read.
func short(sha string) string {
	sha = visible(sha, 64)
	if len(sha) > 7 && strings.Trim(sha, "0123456789abcdef") == "" {
		return sha[:7]
	}
	return sha
}

// refName is the branch of a commit as people write it, or "" when the commit
// has no other name.
func refName(c Commit) string {
	if c.Ref == c.SHA {
		return ""
	}
	return visible(strings.TrimPrefix(c.Ref, "refs/heads/"), 60)
}

// shortDigest keeps the algorithm and twelve digits.
func shortDigest(digest string) string {
	digest = visible(digest, 100)
	if name, hex, found := strings.Cut(digest, ":"); found && len(hex) > 12 {
		return name + ":" + hex[:12]
	}
	if len(digest) > 12 && strings.Trim(digest, "0123456789abcdef") == "" {
		return digest[:12]
	}
	return digest
}

// age is the time between recording and run in days.
func (d *Document) age() string {
	if d.Snapshot.RecordedAt.IsZero() || d.Run.StartedAt.Before(d.Snapshot.RecordedAt) {
		return ""
	}
	days := int(d.Run.StartedAt.Sub(d.Snapshot.RecordedAt) / (24 * time.Hour))
	switch days {
	case 0:
		return "less than a day old"
	case 1:
		return "1 day old"
	}
	return thousands(days) + " days old"
}

func speedWord(s analysis.Speed) string {
	if s == "" {
		return "–"
	}
	return visible(string(s), 20)
}
