package analysis

import (
	"slices"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/sql"
)

// aligned is the calls of one lane on two arms, paired one to one.
type aligned struct {
	pairs []callPair
	// lost and gained are the calls without a partner, by route.
	lost, gained map[string][]*traffic.Exchange
	// counts of calls by route, on the left and on the right.
	left, right map[string]int
}

type callPair struct {
	route string // of the left call
	a, b  *traffic.Exchange
	moved bool // the right call has another route
}

// maxCompared bounds the work of one alignment: routes with more candidates
// than this are paired in order.
const maxCompared = 4096

// align pairs the calls of a lane. Calls of one dependency, method and route
// are paired by likeness, equal ones first; what is left is paired across
// routes of the same dependency and method when the paths resemble each other.
func (r *run) align(a, b []*traffic.Exchange) aligned {
	out := aligned{
		lost: map[string][]*traffic.Exchange{}, gained: map[string][]*traffic.Exchange{},
		left: map[string]int{}, right: map[string]int{},
	}
	byRoute := func(calls []*traffic.Exchange, count map[string]int) (map[string][]*traffic.Exchange, []string) {
		groups := make(map[string][]*traffic.Exchange)
		var routes []string
		for _, x := range calls {
			route := r.callRoute(x)
			if len(groups[route]) == 0 {
				routes = append(routes, route)
			}
			groups[route] = append(groups[route], x)
			count[route]++
		}
		return groups, routes
	}
	ga, routesA := byRoute(a, out.left)
	gb, routesB := byRoute(b, out.right)
	for _, route := range routesA {
		pairs, la, lb := r.pairUp(ga[route], gb[route])
		for _, p := range pairs {
			out.pairs = append(out.pairs, callPair{route: route, a: p[0], b: p[1]})
		}
		out.lost[route], out.gained[route] = la, lb
	}
	for _, route := range routesB {
		if len(ga[route]) == 0 {
			out.gained[route] = gb[route]
		}
	}
	r.pairMoved(&out, routesA, routesB)
	return out
}

// pairUp pairs two lists of calls of one route: equal ones first, then those
// with the fewest differences.
func (r *run) pairUp(a, b []*traffic.Exchange) (pairs [][2]*traffic.Exchange, restA, restB []*traffic.Exchange) {
	usedA, usedB := make([]bool, len(a)), make([]bool, len(b))
	take := func(i, k int) {
		usedA[i], usedB[k] = true, true
		pairs = append(pairs, [2]*traffic.Exchange{a[i], b[k]})
	}
	if len(a)*len(b) > maxCompared {
		for i := range min(len(a), len(b)) {
			take(i, i)
		}
		return pairs, a[min(len(a), len(b)):], b[min(len(a), len(b)):]
	}
	type candidate struct{ i, k, cost int }
	var candidates []candidate
	opts := r.opts.Compare
	opts.Limit, opts.Tally = 50, nil
	for i := range a {
		for k := range b {
			cost := 0
			for _, d := range compare.Requests(a[i], b[k], opts) {
				cost++
				if d.Change.Structural() {
					cost++
				}
			}
			candidates = append(candidates, candidate{i, k, cost})
		}
	}
	slices.SortStableFunc(candidates, func(x, y candidate) int {
		if x.cost != y.cost {
			return x.cost - y.cost
		}
		return abs(x.i-x.k) - abs(y.i-y.k) // the same place in the sequence
	})
	for _, c := range candidates {
		if !usedA[c.i] && !usedB[c.k] {
			take(c.i, c.k)
		}
	}
	for i, x := range a {
		if !usedA[i] {
			restA = append(restA, x)
		}
	}
	for k, x := range b {
		if !usedB[k] {
			restB = append(restB, x)
		}
	}
	return pairs, restA, restB
}

func abs(i int) int {
	if i < 0 {
		return -i
	}
	return i
}

// pairMoved pairs lost calls with gained ones of the same dependency and method
// that resemble them, the most alike first: the call moved to another route. A
// route that the left calls as well is none to move to: there, one more call is a
// repetition.
func (r *run) pairMoved(out *aligned, routesA, routesB []string) {
	for _, from := range routesA {
		if len(out.lost[from]) == 0 {
			continue
		}
		var candidates []string
		for _, to := range routesB {
			if len(out.gained[to]) > 0 && out.left[to] == 0 && r.resemble(from, to) {
				candidates = append(candidates, to)
			}
		}
		slices.SortStableFunc(candidates, func(a, b string) int { return r.inCommon(from, b) - r.inCommon(from, a) })
		for _, to := range candidates {
			for len(out.lost[from]) > 0 && len(out.gained[to]) > 0 {
				out.pairs = append(out.pairs, callPair{route: from, a: out.lost[from][0], b: out.gained[to][0], moved: true})
				out.lost[from], out.gained[to] = out.lost[from][1:], out.gained[to][1:]
			}
		}
	}
}

// movedWrites returns the routes whose writes come before one that they followed,
// each with the route of that one, and nothing when all writes keep their order.
func (r *run) movedWrites(al *aligned, a, b []*traffic.Exchange) map[string]string {
	partner := make(map[*traffic.Exchange]callPair, len(al.pairs))
	for _, p := range al.pairs {
		partner[p.a] = p
	}
	at := make(map[*traffic.Exchange]int, len(b))
	for i, x := range b {
		at[x] = i
	}
	last, before := -1, ""
	var moved map[string]string
	for _, x := range a {
		p, ok := partner[x]
		if !ok || !r.writes(x, p.route) {
			continue
		}
		if at[p.b] > last {
			last, before = at[p.b], p.route
		} else if moved[p.route] == "" {
			if moved == nil {
				moved = make(map[string]string)
			}
			moved[p.route] = before
		}
	}
	return moved
}

// writes reports whether a call may change anything: its method is not safe (RFC
// 9110 §9.2.1), and it does more than ask in SQL.
func (r *run) writes(x *traffic.Exchange, route string) bool {
	switch x.Request.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return false
	}
	asked := r.asked[route]
	return len(asked) == 0 || slices.ContainsFunc(asked, (*sql.Statement).Writes)
}
