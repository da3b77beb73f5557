package mock

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Limits of the search for the nearest recorded calls of a miss.
const (
	maxNearest     = 3
	maxCandidates  = 256 // recorded calls that are compared with a miss
	maxExplained   = 2048
	maxDifferences = 20 // listed per recorded call
	maxShown       = 120
)

// nearIndex finds candidates for the nearest calls of a miss. It is built at
// the first miss that somebody asks about, never while a call waits.
type nearIndex struct {
	once    sync.Once
	byRoute map[string][]int32 // method, dependency and route template
	byDep   map[string][]int32
	byPath  map[string][]int32 // method and route template, for a dependency under another name

	mu    sync.Mutex
	known map[uint64][]traffic.Near // by signature and lane of the miss
}

func (m *Mock) buildNear() {
	n := &m.near
	n.byRoute, n.byDep, n.byPath = map[string][]int32{}, map[string][]int32{}, map[string][]int32{}
	n.known = map[uint64][]traffic.Near{}
	for i := range m.index.entries {
		req := m.index.request(int32(i))
		dep, endpoint := normalAuthority(req.Scheme, req.Authority), m.opts.Routes.Endpoint(req)
		for _, list := range []struct {
			of  map[string][]int32
			key string
		}{{n.byRoute, dep + " " + endpoint}, {n.byDep, dep}, {n.byPath, endpoint}} {
			list.of[list.key] = append(list.of[list.key], int32(i))
		}
	}
}

// explainMiss adds to a journalled miss what is only worth working out when
// somebody looks.
func (m *Mock) explainMiss(r *record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.x.Match.Tier != traffic.TierMiss || r.nearest {
		return
	}
	r.nearest = true
	r.x.Match.Nearest = m.nearest(r.call, r.x.Lane)
	if cause := likelyCause(r.x.Match.Reason, r.x.Match.Nearest); cause != "" {
		r.x.Match.Reason = cause
	}
	r.call = nil
}

// likelyCause puts what the nearest recorded call tells into a sentence.
func likelyCause(reason string, nearest []traffic.Near) string {
	if !strings.HasPrefix(reason, "no recorded call") || len(nearest) == 0 || len(nearest[0].Differences) == 0 {
		return ""
	}
	d := nearest[0].Differences
	first := fmt.Sprintf("%s is %s, recorded was %s", d[0].Path, quoted(d[0].Live), quoted(d[0].Recorded))
	switch {
	case d[0].Recorded == "":
		first = fmt.Sprintf("%s is %s, recorded was none", d[0].Path, quoted(d[0].Live))
	case d[0].Live == "":
		first = fmt.Sprintf("%s is missing, recorded was %s", d[0].Path, quoted(d[0].Recorded))
	}
	switch len(d) {
	case 1:
		return "the nearest recorded call differs in one place: " + first
	default:
		return fmt.Sprintf("the nearest recorded call differs in %d places: %s", len(d), first)
	}
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

// nearest returns the recorded calls closest to c, best first.
func (m *Mock) nearest(c *call, lane traffic.Lane) []traffic.Near {
	m.near.once.Do(m.buildNear)
	key := c.sig ^ laneSalt(lane)
	m.near.mu.Lock()
	defer m.near.mu.Unlock()
	if known, ok := m.near.known[key]; ok {
		return slices.Clone(known)
	}
	if len(m.near.known) >= maxExplained {
		return nil
	}
	live := leavesOf(c.form)
	var found []traffic.Near
	for _, i := range m.candidates(c, lane) {
		near := compareLeaves(leavesOf(m.index.form(nil, m.index.request(i))), live)
		near.Record = m.index.id(i)
		if m.index.laneName(i) == lane {
			near.Score = min(1, near.Score+0.001) // of two equals, the one of the same lane
		}
		found = append(found, near)
	}
	slices.SortStableFunc(found, func(a, b traffic.Near) int { return cmp.Compare(b.Score, a.Score) })
	found = slices.Clone(found[:min(maxNearest, len(found))])
	m.near.known[key] = found
	return slices.Clone(found)
}

// candidates returns recorded calls worth comparing: those of the same route,
// then of the same route elsewhere, then of the same dependency; of each kind
// those of the same lane first.
func (m *Mock) candidates(c *call, lane traffic.Lane) []int32 {
	endpoint := m.opts.Routes.Endpoint(c.req)
	var out []int32
	seen := map[int32]bool{}
	for _, list := range [][]int32{m.near.byRoute[c.dep+" "+endpoint], m.near.byPath[endpoint], m.near.byDep[c.dep]} {
		for _, sameLane := range []bool{true, false} {
			for _, i := range list {
				if len(out) >= maxCandidates {
					return out
				}
				if (m.index.laneName(i) == lane) == sameLane && !seen[i] {
					seen[i] = true
					out = append(out, i)
				}
			}
		}
	}
	return out
}

// located is a value of a request with its address.
type located struct {
	path   traffic.Path
	value  string
	weight float64
}

// weights say how much a part of a request tells about what is meant.
var weights = map[string]float64{"authority": 3, "method": 2, "path": 2}

// leavesOf walks a form and addresses its leaves.
func leavesOf(f form) []located {
	var out []located
	var segments []string
	w := walker{}
	for _, t := range f {
		if t.kind == part {
			w = walker{part: t.text}
			continue
		}
		if w.part == "path" {
			segments = append(segments, t.text)
			out = append(out, located{traffic.At("request", "path").Elem(len(segments) - 1), t.text, weights["path"]})
			continue
		}
		if path, ok := w.step(t); ok {
			weight := max(1, weights[w.part])
			out = append(out, located{path, t.text, weight})
		}
	}
	return out
}

// eachSource yields the SQL of a request as it was written, with its address.
func eachSource(f form, yield func(traffic.Path, string)) {
	w, written := walker{}, ""
	for _, t := range f {
		if t.kind == part {
			w = walker{part: t.text}
			continue
		}
		w.step(t)
		if n := len(w.stack); written != "" && t.kind == open && n > 0 {
			yield(w.stack[n-1].path, written)
		}
		if written = ""; t.kind == source {
			written = t.text
		}
	}
}

// walker follows the tokens of one part and knows where it is.
type walker struct {
	part  string
	stack []frame
	name  string // of the member whose value comes next
}

type frame struct {
	path  traffic.Path
	array bool
	next  int
}

// step takes the next token; for a leaf it returns the address.
func (w *walker) step(t token) (traffic.Path, bool) {
	switch t.kind {
	case source:
	case member:
		w.name = t.text
	case open, list:
		w.stack = append(w.stack, frame{path: w.here(), array: t.kind == list})
	case shut, listEnd:
		if n := len(w.stack); n > 0 {
			w.stack = w.stack[:n-1]
		}
	default:
		return w.here(), true
	}
	return traffic.Path{}, false
}

// here returns the address of the value that comes next.
func (w *walker) here() traffic.Path {
	if n := len(w.stack); n > 0 {
		top := &w.stack[n-1]
		if top.array {
			top.next++
			return top.path.Elem(top.next - 1)
		}
		return top.path.Child(w.name)
	}
	switch w.part {
	case "authority":
		return traffic.At("request", "header", "Host")
	case "query", "header":
		return traffic.At("request", w.part, w.name)
	case "body":
		if w.name != "" { // a form
			return traffic.At("request", "body", w.name)
		}
	}
	return traffic.At("request", w.part)
}

// compareLeaves scores how close two requests are, and lists where they differ:
// values that are drawn anew each time come last, for they say nothing.
func compareLeaves(recorded, live []located) traffic.Near {
	byPath := make(map[string][]string, len(live))
	for _, l := range live {
		key := l.path.String()
		byPath[key] = append(byPath[key], l.value)
	}
	var near, drawn traffic.Near
	var agreed, total float64
	for _, r := range recorded {
		key := r.path.String()
		total += r.weight
		values, ok := byPath[key]
		switch {
		case !ok:
			differ(&near, r.path, r.value, "")
			continue
		case values[0] == r.value:
			agreed += r.weight
		default:
			if textClass(values[0]) != "" && textClass(values[0]) == textClass(r.value) {
				agreed += r.weight * 0.9
				differ(&drawn, r.path, r.value, values[0])
			} else {
				agreed += r.weight * 0.4 // the same place is worth something
				differ(&near, r.path, r.value, values[0])
			}
		}
		if byPath[key] = values[1:]; len(values) == 1 {
			delete(byPath, key)
		}
	}
	for _, l := range live {
		key := l.path.String()
		if values, ok := byPath[key]; ok {
			total += l.weight
			differ(&near, l.path, "", values[0])
			if byPath[key] = values[1:]; len(values) == 1 {
				delete(byPath, key)
			}
		}
	}
	near.Differences = append(near.Differences, drawn.Differences[:min(len(drawn.Differences), maxDifferences-len(near.Differences))]...)
	if total > 0 {
		near.Score = agreed / total
	}
	return near
}

// differ adds a place where a recorded and a live request are not the same.
func differ(n *traffic.Near, path traffic.Path, recorded, live string) {
	if len(n.Differences) < maxDifferences {
		n.Differences = append(n.Differences, traffic.Disagreement{Path: path, Recorded: shorten(recorded), Live: shorten(live)})
	}
}

// shorten cuts a value for display, between characters.
func shorten(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
