package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Load is what an open load came to, sent to base and head at the same time.
// Response times count from the planned moment of each request.
type Load struct {
	Plan string `json:"plan"` // in words
	// Workers is how many senders shared the load, Lost how many of them were
	// lost on the way; the load was sent again by all then.
	Workers int `json:"workers"`
	Lost    int `json:"lost,omitempty"`
	// ClocksAheadMS is how far each worker's clock was ahead of that of the
	// command, ClockErrorMS how far from that the truth may be, and LateMS how
	// long after the agreed moment the last one began.
	ClocksAheadMS []float64 `json:"clocks_ahead_ms,omitempty"`
	ClockErrorMS  float64   `json:"clock_error_ms,omitempty"`
	LateMS        float64   `json:"late_ms,omitempty"`
	Arms          []LoadArm `json:"arms"`
}

// LoadArm is one arm under load.
type LoadArm struct {
	Arm      string  `json:"arm"`
	Requests int64   `json:"requests"`
	Unsent   int64   `json:"unsent,omitempty"`
	Skipped  int64   `json:"skipped,omitempty"` // left out, because too many others waited
	Rate     float64 `json:"rate"`              // requests sent a second
	P50MS    float64 `json:"p50_ms"`
	P90MS    float64 `json:"p90_ms"`
	P99MS    float64 `json:"p99_ms"`
	MaxMS    float64 `json:"max_ms"`
	LagP99MS float64 `json:"lag_p99_ms"`
	// Answers counts by status, and by kind of failure what had none.
	Answers map[string]int64 `json:"answers"`
	// Reliable is false when the load was not sent as planned, so that its times
	// are no result: the sender was late, left requests out, or had no file or port
	// for some.
	Reliable bool `json:"reliable"`
}

// Came lists what came back, the smallest status first.
func (a LoadArm) Came() string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(a.Answers)) {
		parts = append(parts, fmt.Sprintf("%s %s", thousands(int(a.Answers[what])), what))
	}
	if a.Unsent > 0 {
		parts = append(parts, thousands(int(a.Unsent))+" not sent")
	}
	if a.Skipped > 0 {
		parts = append(parts, thousands(int(a.Skipped))+" not sent: too many waiting")
	}
	return strings.Join(parts, ", ")
}

// Cells are the figures of an arm, in the order of loadColumns.
func (a LoadArm) Cells() []string {
	return []string{thousands(int(a.Requests)), fmt.Sprintf("%.0f/s", a.Rate), millis(a.P50MS), millis(a.P90MS), millis(a.P99MS), millis(a.MaxMS)}
}

var loadColumns = []string{"Requests", "Rate", "p50", "p90", "p99", "Max"}

// How says who sent the load and how well it was sent.
func (l *Load) How() string {
	text := "Response times from the planned moment; both arms were busy at once. Shown, not judged. Sent by " + count(l.Workers, "worker")
	if l.Lost > 0 {
		text += ", " + thousands(l.Lost) + " more lost and replaced"
	}
	if len(l.ClocksAheadMS) > 1 {
		text += fmt.Sprintf(", clocks %s to %s ms ahead (within %s ms), the last one began %s ms late",
			offset(slices.Min(l.ClocksAheadMS)), offset(slices.Max(l.ClocksAheadMS)), offset(l.ClockErrorMS), offset(l.LateMS))
	}
	text += "."
	for _, a := range l.Arms {
		switch {
		case a.Reliable:
		case a.Skipped > 0:
			text += " Requests to " + a.Arm + " were left out because too many waited: this is no result at the planned rate."
		case a.Answers["limit"] > 0:
			text += " The sender had no file or local port left for requests to " + a.Arm + ": this is no result at the planned rate."
		default:
			text += " The sender was late by " + millis(a.LagP99MS) + " (p99) on " + a.Arm + ", too much for its times to say much of the service."
		}
	}
	return text
}

func offset(ms float64) string { return fmt.Sprintf("%.2f", ms) }

func (d *Document) loadSection() *section {
	if d.Load == nil {
		return nil
	}
	s := &section{
		name: "arms under load", value: 80,
		head: "#### Under load\n\n" + Text(d.Load.Plan, 200) + "\n\n" + table("lrrrrrrl", slices.Concat([]string{"Arm"}, loadColumns, []string{"Answers"})...),
		foot: "\n" + Text(d.Load.How(), 600) + "\n\n",
	}
	for _, a := range d.Load.Arms {
		s.items = append(s.items, row(slices.Concat([]string{Code(a.Arm, 20)}, a.Cells(), []string{Text(a.Came(), 200)})...))
	}
	return s
}

func (t *terminal) load() {
	l := t.d.Load
	if l == nil {
		return
	}
	var rows [][]string
	for _, a := range l.Arms {
		rows = append(rows, slices.Concat([]string{a.Arm}, a.Cells(), []string{a.Came()}))
	}
	t.line("")
	t.line(t.paint(bold, "Under load"))
	t.wrap("  ", l.Plan, dim)
	header := []string{"arm"}
	for _, c := range loadColumns {
		header = append(header, strings.ToLower(c))
	}
	t.table("lrrrrrrl", append(header, "answers"), rows)
	t.wrap("  ", l.How(), dim)
}
