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
}

// sigmas is by how many times the difference between two instances of base head
// must exceed it. There is one observation of each arm only, so it is wide.
const sigmas = 3

const mebibyte = 1 << 20

// growths are what is judged. The time to start is shown and not judged: the
// arms start once, side by side, and the scheduler decides who is first.
var growths = []growth{
	{"cpu", func(r *Resource) float64 { return r.CPUSeconds }, 0.30, 0.25, func(v float64) string { return fmt.Sprintf("%.2f s", v) }},
	{"memory", func(r *Resource) float64 { return float64(r.PeakBytes) }, 0.25, 16 * mebibyte, mebibytes},
	{"image", func(r *Resource) float64 { return float64(r.ImageBytes) }, 0.10, 10 * mebibyte, mebibytes},
	{"restarts", func(r *Resource) float64 { return float64(r.Restarts) }, 0, 1, func(v float64) string { return fmt.Sprintf("%.0f", v) }},
	{"error-lines", func(r *Resource) float64 { return float64(r.ErrorLines) }, 1, 5, func(v float64) string { return fmt.Sprintf("%.0f", v) }},
}

func mebibytes(v float64) string { return fmt.Sprintf("%.1f MiB", v/mebibyte) }

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
		was, is, noise := g.value(base), g.value(head), 0.0
		if control := arms["control"]; control != nil {
			if c := g.value(control); c > 0 && was > 0 {
				noise = math.Abs(math.Log(c / was))
			}
			was = max(was, g.value(control))
		}
		if is-was < g.least || is < was*max(1+g.share, math.Exp(sigmas*noise)) {
			continue
		}
		f := Finding{
			Kind: KindResource, Cause: CauseHead, Endpoint: "service", Address: "resource." + g.name, Change: ChangeMore,
			Base: g.show(was), Head: g.show(is), Count: 1, Of: 1,
		}
		if was > 0 {
			f.Detail = fmt.Sprintf("%+.0f %%; two instances of base differ by %.0f %%", 100*(is/was-1), 100*math.Expm1(noise))
		}
		out = append(out, f)
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
