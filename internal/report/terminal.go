package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
	"github.com/reprise-ci/reprise/internal/analysis"
)

// TerminalOptions shape [WriteTerminal].
type TerminalOptions struct {
	// Width is that of the terminal in columns; 0 means 100, and less than 60
	// is taken as 60.
	Width int
	// Color asks for ANSI colours; without it the output holds no escape
	// sequence.
	Color bool
	// Files lists where the report was written, "report.html" and so on.
	Files []string
}

// findingsShown is how many findings the terminal shows.
const findingsShown = 12

// WriteTerminal writes the report for a person at a terminal.
func WriteTerminal(w io.Writer, d *Document, opts TerminalOptions) error {
	if opts.Width == 0 {
		opts.Width = 100
	}
	t := &terminal{d: d, opts: opts, width: min(max(opts.Width, 60), 200)}
	t.head()
	if d.Verdict == analysis.Error {
		t.failure()
	} else {
		t.scorecard()
	}
	t.findings()
	t.thresholds()
	t.latency()
	t.load()
	t.rest()
	if t.err == nil {
		_, t.err = w.Write(t.b.Bytes())
	}
	if t.err != nil {
		return fmt.Errorf("write report: %w", t.err)
	}
	return nil
}

type terminal struct {
	d     *Document
	opts  TerminalOptions
	width int
	b     bytes.Buffer
	err   error
}

// The colours, as SGR parameters.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours text that is safe already.
func (t *terminal) paint(code, text string) string {
	if !t.opts.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (t *terminal) line(text string) { t.b.WriteString(text + "\n") }

// wrap writes untrusted text within the width, further lines indented.
func (t *terminal) wrap(indent, text, code string) {
	room := t.width - twwidth.Width(indent)
	for text = Line(text, 2000); text != ""; {
		head := cutWidth(text, room)
		if len(head) < len(text) {
			if i := strings.LastIndexByte(head, ' '); i > len(head)/2 {
				head = head[:i]
			}
		}
		t.line(indent + t.paint(code, strings.TrimSpace(head)))
		text = strings.TrimSpace(text[len(head):])
	}
}

// cutWidth returns the beginning of s that fits into width columns, at least
// one rune of it.
func cutWidth(s string, width int) string {
	used := 0
	for i, r := range s {
		n := twwidth.Width(string(r))
		if used+n > width && i > 0 {
			return s[:i]
		}
		used += n
	}
	return s
}

// fitCell is a table cell of at most width columns.
func fitCell(s string, width int) string {
	s = Line(s, 400)
	if twwidth.Width(s) <= width {
		return s
	}
	return cutWidth(s, width-1) + ellipsis
}

func (t *terminal) head() {
	d := t.d
	code := map[analysis.Verdict]string{analysis.Pass: green, analysis.Fail: red, analysis.Inconclusive: yellow, analysis.Error: yellow}[d.Verdict]
	t.line("")
	t.line(t.paint(bold+";"+code, strings.ToUpper(Line(string(d.Verdict), 20))) + "  " + t.paint(bold, fitCell(d.Service, 40)))
	t.wrap("  ", d.Headline(), bold)
	var about []string
	if d.Snapshot.Name != "" {
		s := "snapshot " + d.Snapshot.Name
		if a := d.age(); a != "" {
			s += ", " + a
		}
		about = append(about, s)
	}
	if d.Base.SHA != "" && d.Head.SHA != "" {
		about = append(about, "base "+short(d.Base.SHA)+", head "+short(d.Head.SHA))
	}
	if d.Run.Target != "" {
		about = append(about, "target "+d.Run.Target)
	}
	if len(about) > 0 {
		t.wrap("  ", strings.Join(about, "; "), dim)
	}
	if d.stale() && d.Verdict != analysis.Error {
		t.wrap("  ", d.staleSentence(), yellow)
	}
	if d.Verdict == analysis.Inconclusive && d.Reason != "" {
		t.wrap("  ", d.Reason, yellow)
	}
}

func (t *terminal) failure() {
	f := t.d.Failure
	if f == nil {
		return
	}
	t.line("")
	if f.Stage != "" {
		t.wrap("  ", "stage "+f.Stage+" ("+f.Class+")", "")
	}
	if f.Hint != "" {
		t.wrap("  ", f.Hint, "")
	}
	for _, l := range tail(f.Evidence, 20) {
		t.line("  | " + fitCell(l, t.width-4))
	}
}

// table renders rows with tablewriter. The first column takes what the others
// leave; align holds one of l, r a column.
func (t *terminal) table(align string, header []string, rows [][]string) {
	if len(rows) == 0 || t.err != nil {
		return
	}
	room := t.width - 2
	for c := 1; c < len(header); c++ {
		widest := twwidth.Width(header[c])
		for _, r := range rows {
			widest = max(widest, twwidth.Width(r[c]))
		}
		room -= widest + 2
	}
	columns := make(tw.Alignment, len(align))
	for i, a := range align {
		columns[i] = tw.AlignLeft
		if a == 'r' {
			columns[i] = tw.AlignRight
		}
	}
	var buf bytes.Buffer
	table := tablewriter.NewTable(&buf,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Symbols:  tw.NewSymbols(tw.StyleNone),
			Settings: tw.Settings{Lines: tw.LinesNone, Separators: tw.SeparatorsNone},
		})),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone), tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithHeaderAlignmentConfig(tw.CellAlignment{PerColumn: columns}),
		tablewriter.WithRowAlignmentConfig(tw.CellAlignment{PerColumn: columns}),
	)
	table.Header(header)
	for _, r := range rows {
		r[0] = fitCell(r[0], max(room, 16))
		if err := table.Append(r); err != nil {
			t.err = err
			return
		}
	}
	if err := table.Render(); err != nil {
		t.err = err
		return
	}
	for i, l := range strings.Split(strings.TrimRight(buf.String(), "\n"), "\n") {
		l = strings.TrimRight(l, " ")
		if i == 0 {
			l = t.paint(dim, l)
		}
		t.line(l)
	}
}

func (t *terminal) scorecard() {
	var rows [][]string
	for _, r := range t.d.score() {
		rows = append(rows, []string{r.Name, r.Base, r.Head, fitCell(r.Result, 40)})
	}
	t.line("")
	t.table("lrrl", []string{"", "base", "head", ""}, rows)
}

func (t *terminal) findings() {
	shown := 0
	var rest int
	for _, k := range kinds {
		for i, f := range t.d.pick(k) {
			if shown == findingsShown {
				rest++
				continue
			}
			shown++
			if i == 0 {
				t.line("")
				t.line(t.paint(bold, kindOf(k)))
			}
			t.finding(f)
		}
	}
	if rest > 0 {
		t.line("  and " + count(rest, "further finding"))
	}
	if n := len(t.d.accepted()); n > 0 {
		t.line("")
		t.wrap("  ", count(n, "accepted change")+" in the report", dim)
	}
	if n := len(t.d.others()); n > 0 {
		t.line("")
		t.wrap("  ", count(n, "difference")+" that this change did not cause (stale snapshot or noise) in the report", dim)
	}
}

func (t *terminal) finding(f analysis.Finding) {
	code := yellow
	if f.Gates {
		code = red
	} else if f.Change == analysis.ChangeFaster {
		code = green
	}
	t.line("  " + t.paint(code, fitCell(f.ID, 6)) + "  " + fitCell(orWhole(f.Endpoint), t.width-12-24) + "  " + t.paint(dim, seen(f)))
	var place []string
	for _, p := range []string{f.Call, f.Address} {
		if p != "" {
			place = append(place, p)
		}
	}
	t.wrap("      ", strings.Join(append(place, whatChanged(f)), " "), "")
	if f.Detail != "" {
		t.wrap("      ", f.Detail, dim)
	}
	if f.Recorded != "" && f.Recorded != f.Base {
		t.line("      recorded " + fitCell(f.Recorded, t.width-16))
	}
	if f.Base != "" {
		t.line("      " + t.paint(red, "- "+fitCell(f.Base, t.width-9)))
	}
	if f.Head != "" {
		t.line("      " + t.paint(green, "+ "+fitCell(f.Head, t.width-9)))
	}
}

func (t *terminal) thresholds() {
	broken := t.d.broken()
	if len(broken) > 0 {
		t.line("")
		t.line(t.paint(bold, "Thresholds"))
	}
	for _, b := range broken {
		t.wrap("  ", thresholdLine(b), red)
	}
	for i, w := range t.d.Warnings {
		if i == 0 {
			t.line("")
		}
		if i == 5 {
			t.line("  and " + count(len(t.d.Warnings)-i, "more warning"))
			break
		}
		t.wrap("  ", "warning: "+w, yellow)
	}
}

func (t *terminal) latency() {
	var rows [][]string
	for _, e := range t.d.Endpoints {
		verdict := speedWord(speedOf(e))
		rows = append(rows, []string{e.Endpoint, thousands(e.Requests), millis(e.P50.BaseMS), millis(e.P50.HeadMS), change(e.P50.Ratio), interval(e.P50.CI), verdict})
	}
	if len(rows) == 0 {
		return
	}
	t.line("")
	t.line(t.paint(bold, "Latency, p50"))
	t.table("lrrrrrl", []string{"endpoint", "pairs", "base", "head", "change", "95 % interval", ""}, rows)
	var notes []string
	if t.d.Latency.NoiseFloor > 0 {
		notes = append(notes, "base differed from itself by "+share(t.d.Latency.NoiseFloor))
	}
	largest := 0.0
	for _, e := range t.d.Endpoints {
		largest = max(largest, e.P50.Detectable)
	}
	if largest > 0 {
		notes = append(notes, "a change of "+share(largest)+" would have been seen on every endpoint")
	}
	if len(notes) > 0 {
		t.wrap("  ", strings.Join(notes, "; "), dim)
	}
}

func (t *terminal) rest() {
	if len(t.d.Run.Stages) > 0 {
		var stages []string
		for _, s := range t.d.Run.Stages {
			stages = append(stages, s.Name+" "+seconds(s.Seconds))
		}
		t.line("")
		t.wrap("  ", strings.Join(stages, ", "), dim)
	}
	if len(t.opts.Files) > 0 {
		t.line("")
		for _, f := range t.opts.Files {
			t.line("  " + Line(f, 300))
		}
	}
	t.line("")
}
