package main

import (
	"fmt"
	"math"
	"strings"
)

// chart is a plot with a linear vertical axis in per cent, drawn as SVG that can
// be read on light and on dark pages.
type chart struct {
	title, xLabel, yLabel string
	xTicks                []mark // in the order of the axis
	lines                 []line
}

// mark is a labelled place on the axis, 0 to 1.
type mark struct {
	at    float64
	label string
}

// line is a series of points. The first line of a chart stands out.
type line struct {
	name  string
	dots  []spot // drawn as points
	trace []spot // drawn as a line
}

// spot is a point with an interval in y, both as shares; none if low is high.
type spot struct{ x, y, low, high float64 }

// The measures of a chart.
const (
	chartWidth, chartHeight         = 720.0, 400.0
	chartLeft, chartTop, chartFloor = 58.0, 46.0, 340.0
)

// colours tell the lines apart together with the dashes, for those who see
// colours differently and for both backgrounds.
var colours = []string{"#2f7de1", "#d9622b", "#8b8f96", "#2aa198", "#b04fc4", "#c2a000", "#d33f6a", "#6b8e23"}

var dashes = []string{"", "6 3", "2 3", "8 3 2 3", "", "6 3", "2 3", "8 3 2 3"}

// svg draws the chart. The same chart gives the same bytes.
func (c chart) svg() string {
	var b strings.Builder
	right := chartWidth - 24.0
	if c.legend() {
		right = chartWidth - 270
	}
	x := func(v float64) float64 { return chartLeft + v*(right-chartLeft) }
	y := func(v float64) float64 { return chartFloor - v*(chartFloor-chartTop) }
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" font-family="system-ui, sans-serif" font-size="13">`+"\n", chartWidth, chartHeight, chartWidth, chartHeight)
	fmt.Fprintf(&b, "<title>%s</title>\n", xml(c.title))
	b.WriteString(`<style>.page{fill:#fff}.ink{fill:#24292f}.dim{fill:#57606a}.rule{stroke:#d0d7de}@media (prefers-color-scheme:dark){.page{fill:#0d1117}.ink{fill:#e6edf3}.dim{fill:#9198a1}.rule{stroke:#3d444d}}</style>` + "\n")
	fmt.Fprintf(&b, `<rect class="page" width="%g" height="%g" rx="6"/>`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<text class="ink" x="16" y="26" font-size="15" font-weight="600">%s</text>`+"\n", xml(c.title))
	for v := 0.0; v <= 1; v += 0.25 {
		fmt.Fprintf(&b, `<line class="rule" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><text class="dim" x="%.1f" y="%.1f" text-anchor="end">%.0f %%</text>`+"\n", chartLeft, right, y(v), y(v), chartLeft-8, y(v)+4, 100*v)
	}
	for _, t := range c.xTicks {
		for i, part := range strings.SplitN(t.label, "\n", 2) {
			fmt.Fprintf(&b, `<text class="dim" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x(t.at), chartFloor+18+15*float64(i), xml(part))
		}
	}
	fmt.Fprintf(&b, `<text class="dim" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", (chartLeft+right)/2, chartFloor+52, xml(c.xLabel))
	fmt.Fprintf(&b, `<text class="dim" transform="translate(16 %.1f) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (chartTop+chartFloor)/2, xml(c.yLabel))
	for i := len(c.lines) - 1; i >= 0; i-- { // the first on top
		c.lines[i].draw(&b, i, x, y)
	}
	if c.legend() {
		for i, l := range c.lines {
			top := chartTop + 10 + 22*float64(i)
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s" stroke-width="%d" stroke-dasharray="%s"/>`, right+14, right+38, top, top, colours[i%len(colours)], width(i), dashes[i%len(dashes)])
			fmt.Fprintf(&b, `<text class="ink" x="%.1f" y="%.1f" font-size="12">%s</text>`+"\n", right+44, top+4, xml(l.name))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (c chart) legend() bool { return len(c.lines) > 1 }

func width(i int) int {
	if i == 0 {
		return 3
	}
	return 2
}

func (l line) draw(b *strings.Builder, i int, x, y func(float64) float64) {
	colour := colours[i%len(colours)]
	if len(l.trace) > 0 {
		var points []string
		for _, p := range l.trace {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(p.x), y(p.y)))
		}
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="%d" stroke-dasharray="%s" stroke-linejoin="round" points="%s"/>`+"\n", colour, width(i), dashes[i%len(dashes)], strings.Join(points, " "))
	}
	for _, p := range l.dots {
		if p.high > p.low {
			fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s" stroke-width="2" opacity="0.6"/>`+"\n", x(p.x), x(p.x), y(p.low), y(p.high), colour)
		}
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="%d" fill="%s"/>`+"\n", x(p.x), y(p.y), 2+width(i), colour)
	}
}

func xml(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// root places shares on an axis that spreads small ones: its square root.
func root(v float64) float64 { return math.Sqrt(max(0, v)) }

// powerChart shows how often slowdowns are found.
func powerChart(tallies []tally) chart {
	c := chart{title: "Sessions in which the slower endpoint is named", xLabel: "what was slower (one of 12 endpoints, or all)", yLabel: "found"}
	l := line{name: "reprise"}
	shown := pick(tallies, func(t tally) bool { return t.Level != levelSame && t.Found.N > 0 })
	for i, t := range shown {
		at := (float64(i) + 0.5) / float64(len(shown))
		c.xTicks = append(c.xTicks, mark{at, strings.NewReplacer(" on ", "\non ", " everywhere", "\neverywhere").Replace(t.Level)})
		low, high := t.Found.interval()
		l.dots = append(l.dots, spot{at, t.Found.value(), low, high})
	}
	c.lines = []line{l}
	return c
}

// rocChart shows the rules side by side: the higher and the more to the left,
// the better.
func rocChart(curves []curve, slowdown string) chart {
	c := chart{
		title:  "Found at " + slowdown + ", against sessions with a false alarm",
		xLabel: "alarms in sessions of the same program (dot: as commonly used)", yLabel: "found",
	}
	for _, v := range []float64{0, 0.01, 0.05, 0.15, 0.3, 0.5, 1} {
		c.xTicks = append(c.xTicks, mark{root(v), fmt.Sprintf("%.0f %%", 100*v)})
	}
	for _, r := range curves {
		l := line{name: r.Name, dots: []spot{{x: root(r.Usual.Alarm.value()), y: r.Usual.Found.value()}}}
		for _, p := range r.Trace {
			l.trace = append(l.trace, spot{x: root(p.Alarm.value()), y: p.Found.value()})
		}
		c.lines = append(c.lines, l)
	}
	return c
}
