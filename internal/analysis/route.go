package analysis

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// maxAsked is how much of its SQL names a call; what is cut off is told apart by
// a number.
const maxAsked = 160

// callRoute names an outbound call: method, dependency and route template, and
// for one that carries SQL, what it asks: calls to a database share one path.
func (r *run) callRoute(x *traffic.Exchange) string {
	if name, ok := r.routes[x]; ok {
		return name
	}
	q := &x.Request
	name := q.Method + " " + dependency(q) + r.opts.Router.Template(q.Path())
	if found := r.opts.Compare.Reading.Statements(x); len(found) > 0 {
		name += " " + shortened(compare.Asks(found))
		r.asked[name] = found
	}
	r.routes[x] = name
	return name
}

// shortened cuts SQL at a rune, and keeps what differs apart.
func shortened(sql string) string {
	if len(sql) <= maxAsked {
		return sql
	}
	h := fnv.New32a()
	h.Write([]byte(sql))
	cut := maxAsked
	for sql[cut]&0xc0 == 0x80 {
		cut--
	}
	return fmt.Sprintf("%s… #%08x", sql[:cut], h.Sum32())
}

// resemble reports whether two routes are of one dependency and method and may be
// the same call, changed: their paths have a name in common that is no version,
// or they carry SQL that does the same to one table.
func (r *run) resemble(a, b string) bool {
	if a == b {
		return false
	}
	sa, sb := r.asked[a], r.asked[b]
	if len(sa) == 0 && len(sb) == 0 {
		pa, pb := strings.Split(a, "/"), strings.Split(b, "/")
		return pa[0] == pb[0] && slices.ContainsFunc(pa[1:], func(s string) bool {
			return len(s) > 3 && !strings.HasPrefix(s, "{") && slices.Contains(pb[1:], s)
		})
	}
	if len(sa) == 0 || len(sb) == 0 || !slices.Equal(strings.SplitN(a, " ", 3)[:2], strings.SplitN(b, " ", 3)[:2]) {
		return false
	}
	return sa[0].Command == sb[0].Command && slices.ContainsFunc(sa[0].Tables, func(t string) bool { return slices.Contains(sb[0].Tables, t) })
}

// inCommon counts the words that the SQL of two routes has in common.
func (r *run) inCommon(a, b string) int {
	words := strings.Fields(compare.Asks(r.asked[a]))
	n := 0
	for w := range strings.FieldsSeq(compare.Asks(r.asked[b])) {
		if slices.Contains(words, w) {
			n++
		}
	}
	return n
}
