package analysis

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// growth describes one figure of a resource and how much more of it matters.
type growth struct {
	name  string
	value func(*Resource) float64
	// share and least are the smallest relative and absolute growth that
	// count; sigmas times the difference of base to itself must be exceeded
	// too.
	share, least float64
	show         func(float64) string
	// coarse figures have few digits, so that what base differs from itself is
	// taken as it is and not as a share.
	coarse bool
}

// sigmas is by how many times the difference between two instances of base head
// must exceed it. There is one observation of each arm only, so it is wide.
const sigmas = 3

const mebibyte = 1 << 20

// growths are what is judged. The arms start once, side by side on one machine,
// and a cluster tells when they did in whole seconds: hence the wide floor of
// startup. Image sizes have no noise, since control runs the image of base.
var growths = []growth{
	{name: "cpu", value: func(r *Resource) float64 { return r.CPUSeconds }, share: 0.30, least: 0.25, show: func(v float64) string { return fmt.Sprintf("%.2f s", v) }},
	{name: "memory", value: func(r *Resource) float64 { return float64(r.PeakBytes) }, share: 0.25, least: 16 * mebibyte, show: mebibytes},
	{name: "image", value: func(r *Resource) float64 { return float64(r.ImageBytes) }, share: 0.10, least: 10 * mebibyte, show: mebibytes},
	{name: "startup", value: func(r *Resource) float64 { return r.StartupMS }, share: 1, least: 3000, show: func(v float64) string { return fmt.Sprintf("%.1f s", v/1000) }, coarse: true},
	{name: "restarts", value: func(r *Resource) float64 { return float64(r.Restarts) }, share: 0, least: 1, show: whole},
	{name: "error-lines", value: func(r *Resource) float64 { return float64(r.ErrorLines) }, share: 1, least: 5, show: whole},
}

func mebibytes(v float64) string { return fmt.Sprintf("%.1f MiB", v/mebibyte) }
func whole(v float64) string     { return fmt.Sprintf("%.0f", v) }

// compared is what one figure of head is held against.
type compared struct {
	was, is float64
	noise   float64 // what base differs from itself, in the unit of the figure
	ratio   float64 // the same as a factor, 1 when it is not known
}

// compare takes the larger of both instances of base; control may be nil.
func (g growth) compare(base, control, head *Resource) compared {
	c := compared{was: g.value(base), is: g.value(head), ratio: 1}
	if control != nil {
		again := g.value(control)
		c.noise = math.Abs(again - c.was)
		if again > 0 && c.was > 0 {
			c.ratio = max(again/c.was, c.was/again)
		}
		c.was = max(c.was, again)
	}
	return c
}

// more reports whether head needs more beyond the floor and the noise.
func (g growth) more(c compared) bool {
	most := c.was * max(1+g.share, math.Pow(c.ratio, sigmas))
	if g.coarse {
		most = c.was + max(c.was*g.share, sigmas*c.noise)
	}
	return c.is-c.was >= g.least && c.is >= most
}

// detail says by how much head needs more, beside the noise; "" where base needs
// nothing.
func (g growth) detail(c compared) string {
	switch {
	case g.coarse:
		return fmt.Sprintf("%s more; two instances of base differ by %s", g.show(c.is-c.was), g.show(c.noise))
	case c.was > 0:
		return fmt.Sprintf("%+.0f %%; two instances of base differ by %.0f %%", 100*(c.is/c.was-1), 100*(c.ratio-1))
	}
	return ""
}

// resourceFindings reports what head uses far more of than either instance of
// base. Less is no finding.
func (r *run) resourceFindings() []Finding {
	arms := make(map[string]*Resource)
	for i := range r.in.Resources {
		if used := &r.in.Resources[i]; used.Unavailable == "" {
			arms[used.Arm] = used
		}
	}
	base, head := arms["base"], arms["head"]
	if base == nil || head == nil {
		return nil
	}
	var out []Finding
	for _, g := range growths {
		c := g.compare(base, arms["control"], head)
		// What was not measured is 0, and no work takes no time, no image no room.
		unknown := (g.name == "image" || g.name == "cpu") && g.value(base) == 0
		if unknown || !g.more(c) {
			continue
		}
		out = append(out, Finding{
			Kind: KindResource, Cause: CauseHead, Endpoint: "service", Address: "resource." + g.name, Change: ChangeMore,
			Base: g.show(c.was), Head: g.show(c.is), Count: 1, Of: 1, Detail: g.detail(c),
		})
	}
	return out
}

// foldErrorLines returns the growths that stand on their own. A head that answers
// with errors or dies logs more of them: those lines are a consequence of what is
// reported already.
func foldErrorLines(findings, used []Finding) []Finding {
	fails := func(f Finding) bool {
		return f.Cause == CauseHead && (f.Kind == KindCrash ||
			f.Kind == KindResponse && f.Change == ChangeStatus && strings.HasPrefix(f.Head, "5"))
	}
	var out []Finding
	for _, u := range used {
		i := slices.IndexFunc(findings, fails)
		if u.Address != "resource.error-lines" || i < 0 {
			out = append(out, u)
			continue
		}
		findings[i].Consequences = append(findings[i].Consequences, Consequence{
			Endpoint: u.Endpoint, Address: u.Address, Change: u.Change, Count: u.Count,
		})
	}
	return out
}
