package traffic

import "strings"

// Sessions numbers the sessions of exchanges that are sorted by time. Two
// exchanges belong to one session when they shared a client connection, sent
// the same credentials, sent the same cookie value, or one sent a cookie that
// the other was given. Short cookie values, such as a language, tell nothing.
// An exchange that shares nothing is a session of its own. The number of a
// session is the index of its first exchange.
func Sessions(exchanges []*Exchange) []int {
	sets := newDisjoint(len(exchanges))
	first := make(map[string]int)
	join := func(i int, mark string) {
		if j, ok := first[mark]; ok {
			sets.join(i, j)
			return
		}
		first[mark] = i
	}
	for i, x := range exchanges {
		SessionMarks(x, func(mark string) { join(i, mark) })
	}
	return sets.numbers()
}

// SessionMarks visits what tells the session of an exchange: two with a mark in
// common belong to one.
func SessionMarks(x *Exchange, visit func(mark string)) {
	if c := x.Origin.Connection; c != "" {
		visit("connection " + c)
	}
	if a := x.Request.Header.Get("Authorization"); a != "" {
		visit("authorization " + a)
	}
	for _, line := range x.Request.Header.Values("Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			cookieMark(pair, visit)
		}
	}
	if x.Response == nil {
		return
	}
	for _, line := range x.Response.Header.Values("Set-Cookie") {
		pair, _, _ := strings.Cut(line, ";")
		cookieMark(pair, visit)
	}
}

// disjoint holds disjoint sets of the numbers below its length; each set is
// known by its smallest member.
type disjoint []int

func newDisjoint(n int) disjoint {
	d := make(disjoint, n)
	for i := range d {
		d[i] = i
	}
	return d
}

func (d disjoint) find(i int) int {
	for d[i] != i {
		d[i] = d[d[i]]
		i = d[i]
	}
	return i
}

func (d disjoint) join(i, j int) {
	a, b := d.find(i), d.find(j)
	d[max(a, b)] = min(a, b)
}

func (d disjoint) numbers() []int {
	numbers := make([]int, len(d))
	for i := range d {
		numbers[i] = d.find(i)
	}
	return numbers
}

func cookieMark(pair string, visit func(mark string)) {
	name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
	if ok && len(value) >= 12 {
		visit("cookie " + name + "=" + value)
	}
}
