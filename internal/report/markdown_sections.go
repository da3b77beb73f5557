package report

import (
	"fmt"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// shownInFull is how many findings of a kind get a fence of their own; the
// others are rows of a folded table.
const shownInFull = 5

// markdownSections returns the parts that may be shortened, in the order in
// which they are shown.
func (d *Document) markdownSections() []*section {
	var out []*section
	add := func(s *section) {
		if s != nil && len(s.items) > 0 {
			out = append(out, s)
		}
	}
	add(d.findingsSection("crashes", "#### Crashes", 100, d.pick(analysis.KindCrash)))
	responses := d.pick(analysis.KindResponse)
	add(d.findingsSection("changed responses", "#### Changed responses", 95, responses))
	add(d.moreSection("further changed responses", 60, responses))
	calls := d.pick(analysis.KindOutbound)
	add(d.findingsSection("changed calls", "#### Changed calls to dependencies", 90, calls))
	add(d.moreSection("further changed calls", 58, calls))
	add(d.findingsSection("new failures when a dependency fails", "#### When a dependency fails", 89, d.pick(analysis.KindFragility)))
	add(d.moreSection("further failures when a dependency fails", 56, d.pick(analysis.KindFragility)))
	add(d.thresholdSection())
	add(d.latencySection())
	add(d.findingsSection("changes of waiting", "#### Waiting for dependencies", 83, d.waits()))
	add(d.loadSection())
	add(d.findingsSection("resource findings", "#### Resources", 70, d.pick(analysis.KindResource)))
	add(d.endpointsSection())
	add(d.waitingSection())
	add(d.missesSection())
	add(d.outboundSection())
	add(d.acceptedSection())
	add(d.othersSection())
	add(d.warningsSection())
	add(d.bindingsSection())
	add(d.methodSection())
	return out
}

func (d *Document) findingsSection(name, heading string, value int, found []analysis.Finding) *section {
	s := &section{name: name, value: value, head: heading + "\n"}
	for _, f := range found[:min(len(found), shownInFull)] {
		s.items = append(s.items, findingBlock(f))
	}
	return s
}

// moreSection lists the findings that have no block of their own.
func (d *Document) moreSection(name string, value int, found []analysis.Finding) *section {
	if len(found) <= shownInFull {
		return nil
	}
	found = found[shownInFull:]
	head, foot := details(fmt.Sprintf("%s %s", thousands(len(found)), name))
	return &section{name: name, value: value, head: head + findingsTable, foot: foot, items: findingRows(found)}
}

var findingsTable = table("llllr", "", "Endpoint", "Where", "base → head", "Seen")

func findingRows(found []analysis.Finding) []string {
	var rows []string
	for _, f := range found {
		rows = append(rows, row(Text(f.ID, 12), orWhole(Code(f.Endpoint, 80)), where(f), valuePair(f), seen(f)))
	}
	return rows
}

// findingBlock is one finding in full: what, where, how often, the values.
func findingBlock(f analysis.Finding) string {
	var b strings.Builder
	b.WriteString("\n**" + orWhole(Code(f.Endpoint, 120)) + "** · " + where(f) + " · " + seen(f))
	if f.Example != "" {
		b.WriteString(" · first in " + Code(f.Example, 60))
	}
	if f.ID != "" {
		b.WriteString(" · " + Text(f.ID, 12))
	}
	if !f.Gates {
		b.WriteString(" · does not fail the check")
	}
	b.WriteByte('\n')
	if f.Detail != "" {
		b.WriteString("\n" + Text(f.Detail, 300) + "\n")
	}
	if lines := diffLines(f); len(lines) > 0 {
		b.WriteString("\n" + Fence("diff", lines))
	}
	if f.Assisted {
		b.WriteString("\nAn answer of the mock that this rests on was a guess.\n")
	}
	for i, c := range f.Consequences {
		if i == 3 {
			b.WriteString(fmt.Sprintf("- and %s\n", count(len(f.Consequences)-i, "more consequence")))
			break
		}
		if i == 0 {
			b.WriteString("\nFollows from it:\n\n")
		}
		b.WriteString("- " + orDash(Code(c.Endpoint, 80)) + " " + where(analysis.Finding{Address: c.Address, Change: c.Change}) + ", " + times(c.Count) + "\n")
	}
	return b.String()
}

// where names the place of a finding and what happened there.
func where(f analysis.Finding) string {
	var parts []string
	if f.Call != "" {
		parts = append(parts, Code(f.Call, 120))
	}
	if f.Address != "" {
		parts = append(parts, Code(f.Address, 160))
	}
	return strings.Join(append(parts, whatChanged(f)), " ")
}

func seen(f analysis.Finding) string {
	if f.Of > 0 {
		return fmt.Sprintf("%s of %s", thousands(f.Count), count(f.Of, "request"))
	}
	return times(f.Count)
}

// valuePair shows both values on one line, for tables.
func valuePair(f analysis.Finding) string {
	return orDash(Code(f.Base, 60)) + " → " + orDash(Code(f.Head, 60))
}

// orWhole names findings that belong to no endpoint.
func orWhole(endpoint string) string {
	if endpoint == "" {
		return "Whole service"
	}
	return endpoint
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// diffLines shows the values of a finding as the lines of a diff. Values that
// are empty because there is nothing on that side get no line.
func diffLines(f analysis.Finding) []string {
	if f.Base == "" && f.Head == "" {
		return nil
	}
	var lines []string
	if f.Recorded != "" && f.Recorded != f.Base {
		lines = append(lines, "  recorded: "+visible(f.Recorded, 300))
	}
	if f.Base != "" || f.Change == analysis.ChangeValue {
		lines = append(lines, "- "+visible(f.Base, 300))
	}
	if f.Head != "" || f.Change == analysis.ChangeValue {
		lines = append(lines, "+ "+visible(f.Head, 300))
	}
	return lines
}

// missesSection lists the calls of head that nothing recorded answers.
func (d *Document) missesSection() *section {
	head := d.Mock["head"]
	if len(head.Misses) == 0 {
		return nil
	}
	open, foot := details(count(len(head.Misses), "call") + " of head without a recorded answer")
	if id := head.Misses[0].ID; id != "" {
		open += Code("reprise explain "+id, 100) + " says more.\n\n"
	}
	s := &section{name: "calls without a recorded answer", value: 50, foot: foot,
		head: open + table("lrll", "Call", "Times", "Why", "Nearest recorded call")}
	for _, m := range d.misses() {
		nearest := "none"
		if m.Nearest != nil {
			nearest = Code(m.Nearest.Record, 60)
			for i, diff := range m.Nearest.Differences {
				if i == 3 {
					nearest += ", " + ellipsis
					break
				}
				nearest += ", " + Code(diff, 120)
			}
		}
		s.items = append(s.items, row(orDash(Code(m.Call, 120)), thousands(m.Count), orDash(Text(m.Reason, 160)), nearest))
	}
	return s
}

// thresholdSection shows all thresholds when one of them does not hold.
func (d *Document) thresholdSection() *section {
	if len(d.broken()) == 0 {
		return nil
	}
	s := &section{name: "thresholds", value: 88, head: "#### Thresholds\n\n" + table("lllr", "Threshold", "", "Where it holds least", "Measured")}
	for _, t := range d.Thresholds {
		word := Text(thresholdWord(t), 160)
		if !t.Holds {
			word = "**" + word + "**"
		}
		s.items = append(s.items, row(Code(t.Threshold, 100), word, orDash(Code(t.Endpoint, 80)), orDash(Text(t.Value, 40))))
	}
	return s
}

// acceptedSection folds what people agreed to.
func (d *Document) acceptedSection() *section {
	found := d.accepted()
	if len(found) == 0 {
		return nil
	}
	open, foot := details(count(len(found), "accepted change"))
	s := &section{name: "accepted changes", value: 25, foot: foot,
		head: open + table("lllll", "", "Endpoint", "Where", "base → head", "Because")}
	for _, f := range found {
		s.items = append(s.items, row(Text(f.ID, 12), orWhole(Code(f.Endpoint, 80)), where(f), valuePair(f), Text(because(f.Accepted), 200)))
	}
	return s
}

// warningsSection lists rules that do nothing or too much.
func (d *Document) warningsSection() *section {
	if len(d.Warnings) == 0 {
		return nil
	}
	open, foot := details(count(len(d.Warnings), "warning") + " about rules")
	s := &section{name: "warnings", value: 35, head: open, foot: foot}
	for _, w := range d.Warnings {
		s.items = append(s.items, "- "+Text(w, 400)+"\n")
	}
	return s
}

// bindingsSection folds what was learned of the traffic, in the words of the
// rules that pin it.
func (d *Document) bindingsSection() *section {
	if len(d.Run.Bindings) == 0 {
		return nil
	}
	open, foot := details(count(len(d.Run.Bindings), "value") + " of requests taken from live answers")
	s := &section{name: "learned values", value: 8, foot: foot, head: open + table("llllr", "request", "to", "answer", "from", "Seen")}
	for _, b := range d.Run.Bindings {
		times := thousands(b.Times)
		if b.Pinned {
			times += " (by rule)"
		}
		from := orDash(Code(b.From, 80))
		if b.Answer == "" {
			from = "the client's clock"
		}
		s.items = append(s.items, row(Code(b.Request, 80), Code(b.To, 80), orDash(Code(b.Answer, 80)), from, times))
	}
	return s
}

// outboundSection is the account of calls to each dependency.
func (d *Document) outboundSection() *section {
	if len(d.Outbound) == 0 {
		return nil
	}
	open, foot := details("Calls to dependencies: " + count(len(d.Outbound), "route"))
	s := &section{name: "routes of dependencies", value: 30, foot: foot,
		head: open + table("lrrr", "Call", "Recorded", "base", "head")}
	for _, o := range d.Outbound {
		n := thousands(o.Head)
		if o.Head != o.Base {
			n = "**" + n + "**"
		}
		s.items = append(s.items, row(orDash(Code(o.Call, 120)), thousands(o.Recorded), thousands(o.Base), n))
	}
	return s
}

// othersSection folds what this change did not cause.
func (d *Document) othersSection() *section {
	found := d.others()
	if len(found) == 0 {
		return nil
	}
	open, foot := details(count(len(found), "difference") + " that this change did not cause")
	s := &section{name: "differences of other causes", value: 20, foot: foot,
		head: open + table("lllllr", "Cause", "Endpoint", "Where", "Recorded", "base → head", "Seen")}
	for _, f := range found {
		s.items = append(s.items, row(Text(causeOf(f.Cause), 40), orWhole(Code(f.Endpoint, 80)), where(f),
			orDash(Code(f.Recorded, 60)), valuePair(f), seen(f)))
	}
	return s
}

// methodSection says how it was measured and what the run could have seen.
func (d *Document) methodSection() *section {
	open, foot := details("How this was measured")
	s := &section{name: "notes on the method", value: 10, head: open, foot: foot}
	for _, l := range d.method() {
		s.items = append(s.items, "- "+Text(l, 400)+"\n")
	}
	return s
}

// method returns the facts behind the figures, one sentence each.
func (d *Document) method() []string {
	var out []string
	l := d.Latency
	if d.Noisy > 0 {
		out = append(out, fmt.Sprintf("%s differed between two passes of base and %s only tested to stay in their class.", count(d.Noisy, "address"), isAre(d.Noisy)))
	}
	switch {
	case l.Note != "":
		out = append(out, "Latency: "+withStop(strings.TrimPrefix(l.Note, "latency was ")))
	case l.Rounds > 0:
		out = append(out, fmt.Sprintf("Latency: %s in %s, base and head in random order within a pair, on the same machine.", count(l.Pairs, "pair"), count(l.Rounds, "round")))
		if l.NoiseFloor > 0 {
			if l.NoiseRuns > 0 && l.NoiseOfRun < l.NoiseFloor {
				out = append(out, fmt.Sprintf("Base differed from itself by %s in the control pass, and by up to %s in earlier runs; nothing smaller is called a change.", share(l.NoiseOfRun), share(l.NoiseFloor)))
			} else {
				out = append(out, fmt.Sprintf("Base differed from itself by %s in the control pass; nothing smaller is called a change.", share(l.NoiseFloor)))
			}
		}
		if l.SendLagP99MS > 0 {
			out = append(out, fmt.Sprintf("Requests were sent %s late at the median, %s at p99.", millis(l.SendLagP50MS), millis(l.SendLagP99MS)))
		}
		if l.Stopped != "" {
			out = append(out, "Measuring ended: "+l.Stopped+".")
		}
		out = append(out, "p99 is shown with its interval and never judged at these sample sizes.")
	}
	out = append(out, d.underLoad()...)
	if note := d.sharedNote(); note != "" {
		out = append(out, "Most endpoints: "+withStop(note))
	}
	if n := len(d.Thresholds); n > 0 && len(d.broken()) == 0 {
		out = append(out, fmt.Sprintf("%s %s.", count(n, "threshold"), map[bool]string{true: "holds", false: "hold"}[n == 1]))
	}
	if c := d.Chaos; c != nil {
		out = append(out, fmt.Sprintf("Dependencies went wrong for %s: base failed at %s, head at %s; %s of these are new.",
			count(c.Requests, "request"), thousands(c.Base), thousands(c.Head), thousands(c.New)))
	}
	for _, s := range []string{d.attribution(), d.answered()} {
		if s != "" {
			out = append(out, s)
		}
	}
	for _, r := range d.Resources {
		if r.Unavailable != "" {
			out = append(out, fmt.Sprintf("Resources of %s: %s.", r.Arm, r.Unavailable))
			continue
		}
		out = append(out, fmt.Sprintf("Resources of %s: %s, %s at most%s, %s, ready after %s, %s in its log.", r.Arm, processorTime(r.CPUSeconds), size(r.PeakBytes),
			imageSize(r), count(r.Restarts, "restart"), startup(r.StartupMS), count(r.ErrorLines, "error")))
	}
	if len(d.Run.Stages) > 0 {
		var stages []string
		for _, s := range d.Run.Stages {
			stages = append(stages, s.Name+" "+seconds(s.Seconds))
		}
		out = append(out, "Stages: "+strings.Join(stages, ", ")+".")
	}
	return append(out, d.Run.Notes...)
}

// underLoad says what open-loop rounds and the search of the capacity found.
func (d *Document) underLoad() []string {
	var out []string
	why := func(v analysis.Speed, note string) string {
		if note != "" {
			return string(v) + ": " + withStop(note)
		}
		return string(v) + "."
	}
	if o := d.OpenLoop; o != nil {
		out = append(out, fmt.Sprintf("Open loop, %g requests a second on both arms at once, %s in %s, response times from the planned moment: p50 %s → %s, p90 %s → %s; requests were sent %s late at the median, %s at p99; %s",
			o.Rate, count(o.Pairs, "pair"), count(o.Rounds, "round"), millis(o.P50.BaseMS), millis(o.P50.HeadMS), millis(o.P90.BaseMS), millis(o.P90.HeadMS),
			millis(o.SendLagP50MS), millis(o.SendLagP99MS), why(o.Verdict, o.Note)))
	}
	if c := d.Capacity; c != nil {
		out = append(out, fmt.Sprintf("Capacity, the highest rate that keeps p90 under %s: base %.0f requests a second (%.0f in control), head %.0f; %s",
			millis(c.LimitMS), c.BaseRPS, c.ControlRPS, c.HeadRPS, why(c.Verdict, c.Note)))
	}
	return out
}

// withStop ends a sentence.
func withStop(s string) string {
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func imageSize(r analysis.Resource) string {
	if r.ImageBytes == 0 {
		return ""
	}
	return ", an image of " + size(r.ImageBytes)
}
