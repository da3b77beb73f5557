package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// Sizes of the interval plot, in units of its view box.
const (
	forestWidth  = 300.0
	forestHeight = 40.0
	forestMargin = 8.0
)

// forest is the interval plot: one row for each endpoint, all on one
// logarithmic axis of head / base.
type forest struct {
	Width, Height float64
	Zero          float64 // x of the no-change line
	NoiseLeft     float64
	NoiseWidth    float64
	HasNoise      bool
	Ticks         []tick
	Rows          []forestRow
}

type tick struct {
	X     float64
	Label string
}

type forestRow struct {
	analysis.Endpoint
	Speed analysis.Speed
	Marks []mark
}

// mark is one interval with its estimate.
type mark struct {
	Name             string
	Y                float64
	Left, Right, Dot float64
	CutLeft          bool // the interval goes on beyond the axis
	CutRight         bool
	Verdict          analysis.Speed
	Title            string
}

func (d *Document) forest() forest {
	f := forest{Width: forestWidth, Height: forestHeight}
	reach := math.Log(1.05)
	consider := func(ratio float64) {
		if measured(ratio) {
			reach = max(reach, 1.12*math.Abs(math.Log(ratio)))
		}
	}
	consider(1 + d.Latency.NoiseFloor)
	for _, e := range d.Endpoints {
		for _, q := range (endpointView{e}).quantiles() {
			consider(q.CI[0])
			consider(q.CI[1])
		}
	}
	reach = min(reach, math.Log(4))
	x := func(ratio float64) float64 {
		v := math.Log(ratio) / reach
		return round1(forestMargin + (forestWidth-2*forestMargin)*(min(1, max(-1, v))+1)/2)
	}
	f.Zero = x(1)
	if n := d.Latency.NoiseFloor; n > 0 && measured(1+n) {
		f.HasNoise, f.NoiseLeft = true, x(1/(1+n))
		f.NoiseWidth = round1(x(1+n) - f.NoiseLeft)
	}
	f.Ticks = ticks(reach, x)
	shared := d.sharedNote()
	for _, e := range d.Endpoints {
		if e.Note == shared {
			e.Note = ""
		}
		row := forestRow{Endpoint: e, Speed: speedOf(e)}
		row.Endpoint.Endpoint, row.Note = visible(e.Endpoint, 120), visible(e.Note, 200)
		for i, q := range (endpointView{e}).quantiles() {
			if !measured(q.Ratio) || !measured(q.CI[0]) || !measured(q.CI[1]) {
				continue
			}
			row.Marks = append(row.Marks, mark{
				Name: q.Name, Y: 13 + 14*float64(i), Left: x(q.CI[0]), Right: x(q.CI[1]), Dot: x(q.Ratio), Verdict: q.Verdict,
				CutLeft: math.Log(q.CI[0]) < -reach, CutRight: math.Log(q.CI[1]) > reach,
				Title: fmt.Sprintf("%s %s, 95 %% interval %s, p = %.3g, could have seen ±%s", q.Name, change(q.Ratio), interval(q.CI), q.P, share(q.Detectable)),
			})
		}
		f.Rows = append(f.Rows, row)
	}
	return f
}

// ticks chooses at most two round changes on each side of the middle.
func ticks(reach float64, x func(float64) float64) []tick {
	out := []tick{{x(1), "0"}}
	steps := []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3}
	shown := 0
	for i := len(steps) - 1; i >= 0 && shown < 2; i-- {
		s := steps[i]
		// Labels need room at the ends and beside the middle.
		if v := math.Log(1+s) / reach; v > 0.9 || v < 0.3 {
			continue
		}
		shown++
		out = append(out, tick{x(1 + s), fmt.Sprintf("+%g %%", 100*s)})
		if s < 1 && -math.Log(1-s)/reach < 0.95 {
			out = append(out, tick{x(1 - s), fmt.Sprintf("−%g %%", 100*s)})
		}
	}
	return out
}

// Sizes of a plot of rounds.
const (
	roundWidth, roundHeight = 300.0, 120.0
	roundLeft, roundRight   = 62.0, 8.0
	roundTop, roundBottom   = 8.0, 20.0
)

// roundPlot shows the medians of the rounds of one endpoint.
type roundPlot struct {
	Endpoint   string
	Speed      analysis.Speed
	Base, Head string // points of polylines
	BaseDots   []dot
	HeadDots   []dot
	YTicks     []tick // X holds the y
	XTicks     []tick
	Width      float64
	Height     float64
	Left       float64
	PlotRight  float64
	Bottom     float64
	Count      int
}

type dot struct{ X, Y float64 }

// roundPlots returns a plot for each endpoint with at least two rounds.
func (d *Document) roundPlots() []roundPlot {
	var out []roundPlot
	for _, e := range d.Endpoints {
		n := min(len(e.RoundsBaseMS), len(e.RoundsHeadMS))
		if n < 2 {
			continue
		}
		low, high := math.Inf(1), 0.0
		for _, v := range append(append([]float64(nil), e.RoundsBaseMS[:n]...), e.RoundsHeadMS[:n]...) {
			if v > 0 && !math.IsInf(v, 0) {
				low, high = min(low, v), max(high, v)
			}
		}
		if high <= 0 {
			continue
		}
		// A narrow range would blow noise up to the size of a change: the axis
		// spans at least a fifth of the value.
		if span := high - low; span < 0.2*high {
			middle := (high + low) / 2
			low, high = middle-0.1*high, middle+0.1*high
		}
		pad := 0.08 * (high - low)
		low, high = max(0, low-pad), high+pad
		p := roundPlot{Endpoint: visible(e.Endpoint, 120), Speed: speedOf(e), Width: roundWidth, Height: roundHeight,
			Left: roundLeft, PlotRight: roundWidth - roundRight, Bottom: roundHeight - roundBottom, Count: n}
		x := func(i int) float64 {
			return round1(roundLeft + (roundWidth-roundLeft-roundRight)*float64(i)/float64(n-1))
		}
		y := func(v float64) float64 {
			return round1(roundHeight - roundBottom - (roundHeight-roundTop-roundBottom)*(v-low)/(high-low))
		}
		p.Base, p.BaseDots = points(e.RoundsBaseMS[:n], x, y)
		p.Head, p.HeadDots = points(e.RoundsHeadMS[:n], x, y)
		for _, v := range []float64{low + 0.1*(high-low), (low + high) / 2, high - 0.1*(high-low)} {
			p.YTicks = append(p.YTicks, tick{y(v), millis(v)})
		}
		p.XTicks = []tick{{x(0), "1"}, {x(n - 1), fmt.Sprint(n)}}
		out = append(out, p)
	}
	return out
}

func points(values []float64, x func(int) float64, y func(float64) float64) (string, []dot) {
	var b strings.Builder
	var dots []dot
	for i, v := range values {
		if !(v > 0) || math.IsInf(v, 0) {
			continue
		}
		d := dot{x(i), y(v)}
		dots = append(dots, d)
		fmt.Fprintf(&b, "%g,%g ", d.X, d.Y)
	}
	return strings.TrimSpace(b.String()), dots
}

func round1(v float64) float64 { return math.Round(v*10) / 10 }
