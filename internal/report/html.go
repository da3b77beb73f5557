package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
)

//go:embed report.html.tmpl
var htmlSource string

// HTMLOptions shape [Document.WriteHTML].
type HTMLOptions struct {
	// RunURL links to the run; left out when it is not an http(s) URL.
	RunURL string
}

// WriteHTML writes the report as one self-contained page: no request leaves it,
// it needs no script, and it follows the reader's light or dark setting.
func (d *Document) WriteHTML(w io.Writer, opts HTMLOptions) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"millis": millis, "startup": startup, "seconds": seconds, "share": share, "change": change, "interval": interval,
		"thousands": thousands, "count": count, "size": size, "waitedShares": waitedShares, "waitedWord": waitedWord, "line": visible, "what": whatChanged,
		"cause": causeOf, "times": times, "because": because, "holds": thresholdWord, "ref": refName, "changed": func(c analysis.Change) string { return whatChanged(analysis.Finding{Change: c}) }, "kind": kindOf, "seen": seen, "short": short,
	}).Parse(htmlSource)
	if err != nil {
		return fmt.Errorf("write HTML report: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d.page(opts)); err != nil {
		return fmt.Errorf("write HTML report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write HTML report: %w", err)
	}
	return nil
}

// page is what the template shows.
type page struct {
	*Document
	Service     string
	Headline    string
	Consequence string // what follows from the verdict, one sentence
	RunURL      string
	Digest      string
	Recorded    string
	Started     string
	Age         string
	Score       []scoreRow
	Groups      []findingGroup
	Others      []findingView
	Accepted    []findingView
	Misses      []missView
	Forest      forest
	Rounds      []roundPlot
	Timeline    []bar
	Total       string
	Method      []string
	Reproduce   []string
	Speeds      string
	Evidence    string
}

type findingGroup struct {
	Title    string
	Findings []findingView
}

// findingView is a finding with its values cut into what is common and what is
// not.
type findingView struct {
	analysis.Finding
	BaseText, HeadText *parts
	RecordedText       string // empty when it says nothing new
	Percent            float64
}

// parts is a value whose middle differs from the other side's.
type parts struct{ Before, Middle, After string }

func (d *Document) page(opts HTMLOptions) *page {
	p := &page{
		Document: d, Service: visible(d.Service, 80), Headline: visible(d.Headline(), 300),
		Digest: shortDigest(d.Snapshot.Digest), Age: d.age(), Score: d.score(), Misses: d.misses(),
		Forest: d.forest(), Rounds: d.roundPlots(), Method: d.method(), Reproduce: d.reproduce(), Speeds: d.speeds(),
	}
	if p.Service == "" {
		p.Service = "reprise"
	}
	if link("", opts.RunURL) != "" {
		p.RunURL = opts.RunURL
	}
	for t, s := range map[*time.Time]*string{&d.Snapshot.RecordedAt: &p.Recorded, &d.Run.StartedAt: &p.Started} {
		if !t.IsZero() {
			*s = t.UTC().Format("2006-01-02 15:04 UTC")
		}
	}
	p.Consequence = d.consequence()
	for _, k := range kinds {
		if found := d.pick(k); len(found) > 0 {
			p.Groups = append(p.Groups, findingGroup{kindOf(k), findingViews(found)})
		}
	}
	p.Others = findingViews(d.others())
	p.Accepted = findingViews(d.accepted())
	p.Timeline, p.Total = d.timeline()
	if d.Failure != nil {
		p.Evidence = printable(strings.Join(tail(d.Failure.Evidence, 60), "\n"), 20_000)
	}
	return p
}

// consequence says in one sentence what follows from the verdict.
func (d *Document) consequence() string {
	switch d.Verdict {
	case analysis.Error:
		return "Nothing is known of the change: what broke is the run, not the pull request."
	case analysis.Fail:
		if n := d.gating(); n > 0 {
			return "The check fails because of " + count(n, "finding") + "."
		}
		if n := len(d.broken()); n > 0 {
			return "The check fails because of " + count(n, "threshold") + "."
		}
		return "The check fails: " + visible(d.Reason, 300)
	case analysis.Inconclusive:
		return "The check does not fail. " + visible(d.Reason, 300)
	}
	if d.stale() {
		return d.staleSentence()
	}
	return "The check passes."
}

func findingViews(found []analysis.Finding) []findingView {
	var out []findingView
	for _, f := range found {
		v := findingView{Finding: f}
		base, head := printable(f.Base, 2000), printable(f.Head, 2000)
		if base != "" || head != "" {
			v.BaseText, v.HeadText = split(base, head)
		}
		if f.Recorded != "" && f.Recorded != f.Base {
			v.RecordedText = printable(f.Recorded, 2000)
		}
		if f.Of > 0 {
			v.Percent = min(100, 100*float64(f.Count)/float64(f.Of))
		}
		out = append(out, v)
	}
	return out
}

// split cuts two values into common beginning, differing middle and common end.
func split(a, b string) (*parts, *parts) {
	x, y := []rune(a), []rune(b)
	start := 0
	for start < len(x) && start < len(y) && x[start] == y[start] {
		start++
	}
	end := 0
	for end < len(x)-start && end < len(y)-start && x[len(x)-1-end] == y[len(y)-1-end] {
		end++
	}
	cut := func(r []rune) *parts {
		return &parts{string(r[:start]), string(r[start : len(r)-end]), string(r[len(r)-end:])}
	}
	return cut(x), cut(y)
}

// printable is visible for text of many lines.
func printable(s string, limit int) string {
	var lines []string
	for l := range strings.SplitSeq(s, "\n") {
		if limit <= 0 {
			lines = append(lines, ellipsis)
			break
		}
		l = visible(l, limit)
		limit -= len([]rune(l)) + 1
		lines = append(lines, l)
	}
	return strings.Join(lines, "\n")
}

// bar is one stage on the timeline; Left and Width are per cent of the whole.
type bar struct {
	Stage
	Left, Width float64
}

// timeline lays the stages out. Documents without start times show one stage
// after the other.
func (d *Document) timeline() ([]bar, string) {
	stages := slices.Clone(d.Run.Stages)
	if !slices.ContainsFunc(stages, func(s Stage) bool { return s.Start > 0 }) {
		at := 0.0
		for i := range stages {
			stages[i].Start = at
			at += max(0, stages[i].Seconds)
		}
	}
	end := 0.0
	for _, s := range stages {
		end = max(end, s.Start+s.Seconds)
	}
	if end <= 0 {
		return nil, ""
	}
	var bars []bar
	for _, s := range stages {
		s.Name, s.Error = visible(s.Name, 40), visible(s.Error, 200)
		left := min(100, max(0, 100*s.Start/end))
		bars = append(bars, bar{s, left, min(100-left, max(0.3, 100*s.Seconds/end))})
	}
	return bars, seconds(end)
}
