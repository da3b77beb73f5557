package compare

import (
	"bytes"
	"strconv"
)

// walk compares two trees in step.
type walk struct {
	*comparer
	a, b *tree
}

// trees compares two structured bodies from their roots.
func (c *comparer) trees(a, b *tree) {
	w := &walk{comparer: c, a: a, b: b}
	w.nodes(0, 0)
}

// nodes compares two subtrees by the three rules of the package.
func (w *walk) nodes(i, j int32) {
	if w.full() {
		return
	}
	na, nb := &w.a.nodes[i], &w.b.nodes[j]
	if na.kind == nb.kind && bytes.Equal(w.a.raw(i), w.b.raw(j)) { // rule 1
		return
	}
	if na.kind != nb.kind { // rule 2
		w.emit(Type, w.a.literal(i), w.b.literal(j))
		return
	}
	switch na.kind { // rule 3
	case kindObject:
		w.objects(i, j)
	case kindArray:
		w.arrays(i, j)
	case kindNumber:
		if sameNumber(w.a.raw(i), w.b.raw(j)) || w.near(w.a.raw(i), w.b.raw(j)) {
			return
		}
		w.emit(Value, w.a.text(i), w.b.text(j))
	case kindString:
		if (na.escaped || nb.escaped) && w.a.text(i) == w.b.text(j) {
			return
		}
		w.texts(w.a.text(i), w.b.text(j))
	default:
		w.emit(Value, w.a.text(i), w.b.text(j))
	}
}

// near reports whether a rule tolerates the difference of two numbers here.
func (w *walk) near(a, b []byte) bool {
	if len(w.opts.Tolerances) == 0 {
		return false
	}
	fa, errA := strconv.ParseFloat(string(a), 64)
	fb, errB := strconv.ParseFloat(string(b), 64)
	return errA == nil && errB == nil && w.opts.tolerates(w.path(), fa, fb)
}

// objects compares members by name. Services write the members of a type in one
// order, so the two are walked in step as long as the names agree; only where
// they do not is a map made of the rest.
func (w *walk) objects(i, j int32) {
	na, nb := &w.a.nodes[i], &w.b.nodes[j]
	ci, cj := i+1, j+1
	for ci < na.next && cj < nb.next && w.sameKey(ci, cj) {
		w.member(ci, cj)
		ci, cj = w.a.nodes[ci].next, w.b.nodes[cj].next
	}
	if ci == na.next && cj == nb.next {
		return
	}
	rest := make(map[string]int32)
	for k := cj; k < nb.next; k = w.b.nodes[k].next {
		rest[w.b.key(k)] = k
	}
	seen := make(map[string]bool, len(rest))
	for k := ci; k < na.next; k = w.a.nodes[k].next {
		key := w.a.key(k)
		if seen[key] {
			continue
		}
		seen[key] = true
		if other, ok := rest[key]; ok {
			w.member(k, other)
		} else if !w.full() {
			w.at(key, func() { w.emit(Missing, w.a.text(k), "") })
		}
	}
	for k := cj; k < nb.next; k = w.b.nodes[k].next {
		key := w.b.key(k)
		if !seen[key] && !w.full() {
			seen[key] = true
			w.at(key, func() { w.emit(Extra, "", w.b.text(k)) })
		}
	}
}

func (w *walk) sameKey(i, j int32) bool {
	na, nb := &w.a.nodes[i], &w.b.nodes[j]
	if !na.keyEscaped && !nb.keyEscaped {
		return bytes.Equal(w.a.data[na.keyAt:na.keyEnd], w.b.data[nb.keyAt:nb.keyEnd])
	}
	return w.a.key(i) == w.b.key(j)
}

// member compares two members of one name. The address is only made below it,
// so equal members cost no allocation.
func (w *walk) member(i, j int32) {
	if w.a.nodes[i].kind == w.b.nodes[j].kind && bytes.Equal(w.a.raw(i), w.b.raw(j)) {
		return
	}
	w.at(w.a.key(i), func() { w.nodes(i, j) })
}
