package compare

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/sql"
)

// Values iterates over all single values of an exchange with their addresses,
// as [Requests] and [Responses] name them: first those of the request, then
// those of the response. Containers are not values; what is inside them is.
func (r Reading) Values(x *traffic.Exchange) iter.Seq2[traffic.Path, string] {
	return func(yield func(traffic.Path, string) bool) {
		for p, v := range r.RequestValues(x) {
			if !yield(p, v) {
				return
			}
		}
		for p, v := range r.ResponseValues(x) {
			if !yield(p, v) {
				return
			}
		}
	}
}

// ResponseValues iterates over the values of the response; there are none
// without a response.
func (r Reading) ResponseValues(x *traffic.Exchange) iter.Seq2[traffic.Path, string] {
	return func(yield func(traffic.Path, string) bool) {
		answer := response(x)
		if answer == nil {
			return
		}
		root := traffic.At("response")
		if !yield(root.Child("status"), strconv.Itoa(answer.Status)) {
			return
		}
		m := r.answer(x)
		v := valuer{yield: yield, root: root}
		_ = v.fields("header", fields(m, "Set-Cookie", responseHeaderIgnored)) &&
			v.members("cookie", setCookies(answer.Header)) &&
			v.body(m) &&
			v.fields("trailer", fields(message{Header: answer.Trailer}, "", nil))
	}
}

// RequestValues iterates over the values of the request.
func (r Reading) RequestValues(x *traffic.Exchange) iter.Seq2[traffic.Path, string] {
	return func(yield func(traffic.Path, string) bool) {
		if x == nil {
			return
		}
		q := &x.Request
		root := traffic.At("request")
		if !yield(root.Child("method"), q.Method) {
			return
		}
		for i, s := range segments(q.Path()) {
			if !yield(root.Child("path").Elem(i), s) {
				return
			}
		}
		m := r.call(x)
		v := valuer{yield: yield, root: root, reading: &r}
		_ = v.members("query", formMembers(q.RawQuery())) &&
			v.fields("header", fields(m, "Cookie", requestHeaderIgnored)) &&
			v.members("cookie", cookies(q.Header)) &&
			v.body(m) &&
			v.fields("trailer", fields(message{Header: q.Trailer}, "", nil))
	}
}

type valuer struct {
	yield func(traffic.Path, string) bool
	root  traffic.Path
	// reading is set for requests, whose texts may be SQL; found, which may be
	// nil, gets each statement.
	reading *Reading
	found   func(*sql.Statement)
}

func (v valuer) fields(part string, values map[string][]string) bool {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		p := v.root.Child(part).Child(name)
		list := values[name]
		for i, value := range list {
			at := p
			if len(list) > 1 {
				at = p.Elem(i)
			}
			if !v.yield(at, value) {
				return false
			}
		}
	}
	return true
}

func (v valuer) members(part string, ms []member) bool {
	for _, m := range ms {
		p := v.root.Child(part)
		for _, s := range m.steps {
			if s.IsIndex {
				p = p.Elem(s.Index)
			} else {
				p = p.Child(s.Name)
			}
		}
		if !v.text(p, m.value) {
			return false
		}
	}
	return true
}

func (v valuer) body(m message) bool {
	plain, broken := decoded(m.Body)
	p := read(plain, broken, m)
	at := v.root.Child("body")
	switch {
	case p.format == formatEmpty:
		return true
	case p.tree == nil:
		return v.yield(at, digest(plain))
	}
	if v.reading != nil {
		if s, ok := v.reading.whole(p, m.Header, func() traffic.Path { return at }); ok {
			return v.statement(s, at)
		}
	}
	return v.node(p.tree, 0, at)
}

func (v valuer) node(t *tree, i int32, p traffic.Path) bool {
	n := &t.nodes[i]
	switch n.kind {
	case kindObject:
		for k := i + 1; k < n.next; k = t.nodes[k].next {
			if !v.node(t, k, p.Child(t.key(k))) {
				return false
			}
		}
		return true
	case kindArray:
		index := 0
		for k := i + 1; k < n.next; k = t.nodes[k].next {
			if !v.node(t, k, p.Elem(index)) {
				return false
			}
			index++
		}
		return true
	case kindString:
		return v.text(p, t.text(i))
	}
	return v.yield(p, t.text(i))
}

// ValueAt returns the value at a path, as [Values] would give it.
func (r Reading) ValueAt(x *traffic.Exchange, path traffic.Path) (string, bool) {
	steps := path.Steps()
	if len(steps) == 0 {
		return "", false
	}
	values := r.ResponseValues
	if steps[0].Name == "request" {
		values = r.RequestValues
	}
	want := path.String()
	for p, v := range values(x) {
		if p.Len() == len(steps) && (p.String() == want || strings.EqualFold(p.String(), want) && path.Within(traffic.At(steps[0].Name, "header"))) {
			return v, true
		}
	}
	return "", false
}
