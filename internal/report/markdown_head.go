package report

import (
	"fmt"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// markdownHead is what is never dropped: heading, context, one alert, the
// scorecard.
func (d *Document) markdownHead() string {
	var b strings.Builder
	b.WriteString("### " + d.serviceCode() + ": " + Text(d.Headline(), 300) + "\n\n")
	b.WriteString(d.markdownContext() + "\n")
	if a := d.markdownAlert(); a != "" {
		b.WriteString("\n" + a)
	}
	if d.Verdict == analysis.Error {
		b.WriteString(d.markdownEvidence())
	} else if d.Verdict != analysis.Pass || len(d.changes()) > 0 || d.stale() {
		b.WriteString("\n" + d.markdownScore())
	}
	return b.String()
}

func (d *Document) serviceCode() string {
	if c := Code(d.Service, 80); c != "" {
		return c
	}
	return "reprise"
}

// markdownContext is one line: what was compared with what.
func (d *Document) markdownContext() string {
	var b strings.Builder
	if d.Snapshot.Name != "" {
		verb := "Replayed"
		if d.Verdict == analysis.Error && d.Replayed == 0 {
			verb = "Was to replay"
		}
		fmt.Fprintf(&b, "%s snapshot %s", verb, Code(d.Snapshot.Name, 80))
		var about []string
		if d.Replayed > 0 {
			about = append(about, count(d.Replayed, "request"))
		} else if d.Snapshot.Exchanges > 0 {
			about = append(about, count(d.Snapshot.Exchanges, "exchange"))
		}
		if a := d.age(); a != "" {
			about = append(about, a)
		}
		if d.Snapshot.Digest != "" {
			about = append(about, Code(shortDigest(d.Snapshot.Digest), 0))
		}
		if len(about) > 0 {
			b.WriteString(" (" + strings.Join(about, ", ") + ")")
		}
	} else {
		b.WriteString("Compared")
	}
	if d.Base.SHA != "" || d.Head.SHA != "" {
		b.WriteString(" against " + d.markdownCommit("base", d.Base) + " and " + d.markdownCommit("head", d.Head))
	}
	if d.Latency.Rounds > 0 {
		fmt.Fprintf(&b, ", %s of pairs", count(d.Latency.Rounds, "round"))
	}
	if d.Run.Target != "" {
		b.WriteString(", target " + Code(d.Run.Target, 30))
	}
	return b.String() + "."
}

func (d *Document) markdownCommit(arm string, c Commit) string {
	s := arm
	if c.SHA != "" {
		s += " " + Code(short(c.SHA), 0)
	}
	if ref := Code(refName(c), 60); ref != "" {
		s += " (" + ref + ")"
	}
	return s
}

// markdownAlert is the one box that says what follows from the verdict.
func (d *Document) markdownAlert() string {
	switch {
	case d.Verdict == analysis.Error:
		text := "Nothing was compared, so this says nothing about the change."
		if len(d.Findings) > 0 {
			text = "The run ended early. What follows is all that was known by then."
		}
		if d.Failure != nil && d.Failure.Hint != "" {
			text += " " + Text(d.Failure.Hint, 400)
		}
		return "> [!WARNING]\n> " + text + "\n"
	case d.Verdict == analysis.Fail:
		var why []string
		if n := d.gating(); n > 0 {
			text := count(n, "finding")
			if names := d.failOn(); names != "" {
				text += " (`fail-on` is " + names + ")"
			}
			why = append(why, text)
		}
		for i, t := range d.broken() {
			if i == 3 {
				why = append(why, "more thresholds")
				break
			}
			why = append(why, "threshold "+Code(t.Threshold, 80))
		}
		text := "The check fails because of " + strings.Join(why, " and ") + "."
		if len(why) == 0 {
			text = "The check fails: " + Text(d.Reason, 300)
		}
		if d.stale() {
			text += " " + Text(d.staleSentence(), 400)
		}
		return "> [!CAUTION]\n> " + text + "\n"
	case d.Verdict == analysis.Inconclusive:
		return "> [!WARNING]\n> The run could not tell: " + Text(strings.TrimSuffix(d.Reason, "."), 300) + ". The check does not fail for this.\n"
	case d.stale():
		return "> [!NOTE]\n> " + Text(d.staleSentence(), 400) + "\n"
	}
	return ""
}

func (d *Document) failOn() string {
	var names []string
	for i, n := range d.Run.FailOn {
		if i == 8 {
			break
		}
		names = append(names, Code(n, 30))
	}
	return strings.Join(names, ", ")
}

// markdownEvidence shows why there is no result.
func (d *Document) markdownEvidence() string {
	if d.Failure == nil {
		return ""
	}
	var b strings.Builder
	if d.Failure.Stage != "" {
		b.WriteString("\nStage " + Code(d.Failure.Stage, 40) + " failed")
		if d.Failure.Class != "" {
			b.WriteString(" (" + Text(d.Failure.Class, 30) + ")")
		}
		b.WriteString(".\n")
	}
	if lines := tail(d.Failure.Evidence, 20); len(lines) > 0 {
		for i := range lines {
			lines[i] = visible(lines[i], 160)
		}
		head, foot := details("What was seen last")
		b.WriteString("\n" + head + Fence("text", lines) + foot)
	}
	return b.String()
}

// tail returns a copy of the last n lines.
func tail(lines []string, n int) []string {
	return append([]string(nil), lines[max(0, len(lines)-n):]...)
}

// scoreRow is one line of the scorecard, without markup.
type scoreRow struct {
	Name, Base, Head, Result string
	Notable                  bool
}

// score is the result in a handful of figures.
func (d *Document) score() []scoreRow {
	var rows []scoreRow
	result := func(n int, changed, same string) (string, bool) {
		if n > 0 {
			return thousands(n) + " " + changed, true
		}
		return same, false
	}
	word, bad := result(d.Changed, "changed", "all equal")
	rows = append(rows, scoreRow{"Responses", thousands(d.Replayed), thousands(d.Equal) + " equal to base", word, bad})
	base, head := d.Mock["base"], d.Mock["head"]
	if len(d.Mock) > 0 {
		n := len(d.pick(analysis.KindOutbound))
		word, bad = result(n, plural(n, "change"), "as on base")
		rows = append(rows, scoreRow{"Calls to dependencies", thousands(live(base)), thousands(live(head)), word, bad})
		word, bad = "as on base", false
		if head.Missed > base.Missed {
			word, bad = fmt.Sprintf("%d more", head.Missed-base.Missed), true
		}
		rows = append(rows, scoreRow{"Calls without a recorded answer", thousands(base.Missed), thousands(head.Missed), word, bad})
	}
	if o := d.Latency.Overall; d.Latency.Rounds == 0 && len(d.Mock) > 0 {
		rows = append(rows, scoreRow{"p50, all endpoints", "–", "–", "not measured", false})
	} else if measured(o.Ratio) {
		word := speedWord(o.Verdict)
		if o.Verdict == analysis.Slower || o.Verdict == analysis.Faster {
			word = change(o.Ratio) + " (" + interval(o.CI) + ")"
		}
		if d.Latency.NoiseFloor > 0 {
			word += ", noise ±" + share(d.Latency.NoiseFloor)
		}
		rows = append(rows, scoreRow{"p50, all endpoints", millis(o.BaseMS), millis(o.HeadMS), word, o.Verdict == analysis.Slower})
	}
	if n := len(d.pick(analysis.KindCrash)); n > 0 {
		rows = append(rows, scoreRow{"Crashes", "–", thousands(n), "new", true})
	}
	return rows
}

func live(a analysis.Account) int { return a.Matched + a.Extra + a.Missed }

func (d *Document) markdownScore() string {
	var b strings.Builder
	b.WriteString(table("lrrl", "", "base", "head", ""))
	for _, r := range d.score() {
		word := Text(r.Result, 80)
		if r.Notable {
			word = "**" + word + "**"
		}
		b.WriteString(row(r.Name, r.Base, r.Head, word))
	}
	return b.String()
}

// markdownFoot holds notes, the way to do it again, and links.
func (d *Document) markdownFoot(opts MarkdownOptions) string {
	var b strings.Builder
	for i, n := range opts.Notes {
		if i == 5 {
			break
		}
		b.WriteString("\n" + Text(n, 400) + "\n")
	}
	if lines := d.reproduce(); len(lines) > 0 {
		head, foot := details("Run it on your machine")
		b.WriteString("\n" + head + Fence("sh", lines) + foot)
	}
	var parts []string
	if l := link("Log of this run", opts.RunURL); opts.RunURL != "" {
		parts = append(parts, l)
	}
	if opts.Artifacts != "" {
		parts = append(parts, "full report in "+Code(opts.Artifacts, 120))
	}
	if n := d.Snapshot.Redacted; n > 0 {
		parts = append(parts, count(n, "value")+" redacted in the snapshot")
	}
	if d.Run.Seed != 0 {
		parts = append(parts, fmt.Sprintf("seed %d", d.Run.Seed))
	}
	if d.Run.Version != "" {
		parts = append(parts, "reprise "+Code(d.Run.Version, 40))
	}
	if len(parts) > 0 {
		b.WriteString("\n<sub>" + strings.Join(parts, " · ") + "</sub>\n")
	}
	return b.String()
}

// reproduce returns the commands that repeat the run, as far as they can be
// told from the document.
func (d *Document) reproduce() []string {
	if d.Snapshot.Name == "" || d.Base.SHA == "" || d.Head.SHA == "" {
		return nil
	}
	run := "reprise run --base-ref " + shellQuote(d.Base.SHA) + " --snapshot " + shellQuote(d.Snapshot.Name)
	if d.Run.Target != "" {
		run += " --target " + shellQuote(d.Run.Target)
	}
	if d.Run.Seed != 0 {
		run += fmt.Sprintf(" --seed %d", d.Run.Seed)
	}
	return []string{"git fetch origin " + shellQuote(d.Head.SHA) + " && git checkout --detach " + shellQuote(d.Head.SHA), run}
}
