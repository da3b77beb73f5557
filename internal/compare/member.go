package compare

import (
	"net/url"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// member is a flat named value: a query parameter, a cookie, a cookie's
// attribute.
type member struct {
	steps []traffic.Step
	value string
}

type pair struct{ name, value string }

// multimap addresses repeated names by index and single ones by name alone.
func multimap(pairs []pair) []member {
	count := make(map[string]int)
	for _, p := range pairs {
		count[p.name]++
	}
	at := make(map[string]int)
	out := make([]member, 0, len(pairs))
	for _, p := range pairs {
		steps := []traffic.Step{{Name: p.name}}
		if count[p.name] > 1 {
			steps = append(steps, traffic.Step{Index: at[p.name], IsIndex: true})
			at[p.name]++
		}
		out = append(out, member{steps, p.value})
	}
	return out
}

// formPairs reads application/x-www-form-urlencoded text. What cannot be
// unescaped stands as it is.
func formPairs(s string) []pair {
	var pairs []pair
	for part := range strings.SplitSeq(s, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		pairs = append(pairs, pair{unescape(name), unescape(value)})
	}
	return pairs
}

func formMembers(s string) []member { return multimap(formPairs(s)) }

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// members compares flat named values without regard to the order of names.
func (c *comparer) members(a, b []member) {
	if len(a) == 0 && len(b) == 0 {
		return
	}
	ma, mb := index(a), index(b)
	for _, key := range unionNames(ma, mb) {
		va, inA := ma[key]
		vb, inB := mb[key]
		if inA && inB && va.value == vb.value {
			continue
		}
		steps := va.steps
		if !inA {
			steps = vb.steps
		}
		depth := len(c.steps)
		c.steps = append(c.steps, steps...)
		switch {
		case !inB:
			c.emit(Missing, va.value, "")
		case !inA:
			c.emit(Extra, "", vb.value)
		default:
			c.texts(va.value, vb.value)
		}
		c.steps = c.steps[:depth]
	}
}

func index(ms []member) map[string]member {
	out := make(map[string]member, len(ms))
	for _, m := range ms {
		p := traffic.Path{}
		for _, s := range m.steps {
			if s.IsIndex {
				p = p.Elem(s.Index)
			} else {
				p = p.Child(s.Name)
			}
		}
		out[p.String()] = m
	}
	return out
}

// paths compares two URL paths by segment, so that an identifier inside a path
// has an address of its own.
func (c *comparer) paths(a, b string) {
	if a == b {
		return
	}
	sa, sb := segments(a), segments(b)
	if len(sa) != len(sb) {
		c.emit(Value, a, b)
		return
	}
	for i := range sa {
		if sa[i] != sb[i] {
			c.elem(i, func() { c.emit(Value, sa[i], sb[i]) })
		}
	}
}

func segments(path string) []string {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, p := range parts {
		if u, err := url.PathUnescape(p); err == nil {
			parts[i] = u
		}
	}
	return parts
}
