package compare

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
)

// arrays aligns the elements of two lists and compares the pairs.
//
// Lists of one length are compared by index, unless they hold the same elements
// in another order. Lists of different length differ by [Length]; their
// elements are paired by key where one is evident, else by the longest common
// subsequence, so that a lost element is one difference and not one for each
// element after it.
func (w *walk) arrays(i, j int32) {
	ea, eb := children(w.a, i), children(w.b, j)
	if len(w.opts.Unordered) > 0 && w.opts.unordered(w.path()) {
		w.sets(ea, eb)
		return
	}
	if len(ea) == len(eb) {
		w.sameLength(ea, eb)
		return
	}
	if len(ea) == 0 || len(eb) == 0 {
		w.emit(Length, strconv.Itoa(len(ea)), strconv.Itoa(len(eb)))
		return
	}
	pairs := w.align(ea, eb)
	w.emitNote(Length, strconv.Itoa(len(ea)), strconv.Itoa(len(eb)), w.note(ea, eb, pairs))
	w.compareAll(ea, eb, pairs)
}

// compareAll compares pairs of elements, at the index of the first.
func (w *walk) compareAll(ea, eb []int32, pairs []match) {
	for _, p := range pairs {
		if !w.sameBytes(ea[p.a], eb[p.b]) {
			w.elem(p.a, func() { w.nodes(ea[p.a], eb[p.b]) })
		}
	}
}

// match is a pair of element positions.
type match struct{ a, b int }

func children(t *tree, i int32) []int32 {
	n := &t.nodes[i]
	out := make([]int32, 0, n.size)
	for k := i + 1; k < n.next; k = t.nodes[k].next {
		out = append(out, k)
	}
	return out
}

// sameLength looks only at the elements whose bytes differ. If these are the same
// elements in another order, or have the same keys in another order, the order
// changed; else they are compared where they are.
func (w *walk) sameLength(ea, eb []int32) {
	var da, db []int32
	var at []int
	for k := range ea {
		if !w.sameBytes(ea[k], eb[k]) {
			da, db, at = append(da, ea[k]), append(db, eb[k]), append(at, k)
		}
	}
	if len(at) > 1 && !w.inPlace(da, db) {
		ha, hb := w.hashes(da, db)
		if slices.Equal(ha, hb) {
			return
		}
		if sameMultiset(ha, hb) {
			w.emit(Order, elementList(w.a, ea), elementList(w.b, eb))
			return
		}
		if pairs, ok := w.byKey(da, db); ok && len(pairs) == len(da) && !inOrder(pairs) {
			w.emit(Order, elementList(w.a, ea), elementList(w.b, eb))
			for _, p := range pairs {
				w.elem(at[p.a], func() { w.nodes(da[p.a], db[p.b]) })
			}
			return
		}
	}
	for k := range at {
		w.elem(at[k], func() { w.nodes(da[k], db[k]) })
	}
}

// inPlace reports whether each pair of elements begins with the same scalar
// member, so that they are surely the same elements, changed. It spares the
// search for another order in the common case.
func (w *walk) inPlace(da, db []int32) bool {
	seen := make(map[string]bool, len(da))
	for k := range da {
		na, nb := &w.a.nodes[da[k]], &w.b.nodes[db[k]]
		if na.kind != kindObject || nb.kind != kindObject || na.size == 0 || nb.size == 0 {
			return false
		}
		fa, fb := da[k]+1, db[k]+1
		if kd := w.a.nodes[fa].kind; kd != kindString && kd != kindNumber || !w.sameKey(fa, fb) || !w.sameBytes(fa, fb) {
			return false
		}
		v := string(w.a.raw(fa))
		if seen[v] {
			return false
		}
		seen[v] = true
	}
	return true
}

func (w *walk) sameBytes(i, j int32) bool {
	return w.a.nodes[i].kind == w.b.nodes[j].kind && bytes.Equal(w.a.raw(i), w.b.raw(j))
}

// sets compares two lists without regard to order: equal elements cancel out,
// the rest is paired by key or position.
func (w *walk) sets(ea, eb []int32) {
	ha, hb := w.hashes(ea, eb)
	left := make(map[uint64]int, len(hb))
	for _, h := range hb {
		left[h]++
	}
	var restA, restB []int32
	var atA []int
	for k, h := range ha {
		if left[h] > 0 {
			left[h]--
		} else {
			restA, atA = append(restA, ea[k]), append(atA, k)
		}
	}
	for k := len(hb) - 1; k >= 0; k-- {
		if left[hb[k]] > 0 {
			left[hb[k]]--
			restB = append(restB, eb[k])
		}
	}
	slices.Reverse(restB)
	if len(ea) != len(eb) {
		w.emit(Length, strconv.Itoa(len(ea)), strconv.Itoa(len(eb)))
	}
	pairs, ok := w.byKey(restA, restB)
	if !ok {
		pairs = nil
		for k := range min(len(restA), len(restB)) {
			pairs = append(pairs, match{k, k})
		}
	}
	for _, p := range pairs {
		w.elem(atA[p.a], func() { w.nodes(restA[p.a], restB[p.b]) })
	}
}

// align pairs the elements of two lists of different length: the common
// beginning and end by their bytes, what is between by key or by the longest
// common subsequence.
func (w *walk) align(ea, eb []int32) []match {
	start, end := 0, 0
	for start < min(len(ea), len(eb)) && w.sameBytes(ea[start], eb[start]) {
		start++
	}
	for end < min(len(ea), len(eb))-start && w.sameBytes(ea[len(ea)-1-end], eb[len(eb)-1-end]) {
		end++
	}
	pairs := make([]match, 0, max(len(ea), len(eb)))
	for k := range start {
		pairs = append(pairs, match{k, k})
	}
	ma, mb := ea[start:len(ea)-end], eb[start:len(eb)-end]
	middle, ok := w.byKey(ma, mb)
	if !ok {
		ha, hb := w.hashes(ma, mb)
		middle = fillGaps(commonSubsequence(ha, hb), len(ma), len(mb))
	}
	for _, p := range middle {
		pairs = append(pairs, match{p.a + start, p.b + start})
	}
	for k := end; k > 0; k-- {
		pairs = append(pairs, match{len(ea) - k, len(eb) - k})
	}
	return pairs
}

// byKey pairs objects by the member that identifies them. A member does when it
// is a string or number, present in every element, unique within both lists,
// and shared by at least half of the shorter list. It is found by evidence;
// names only break ties.
func (w *walk) byKey(ea, eb []int32) ([]match, bool) {
	if len(ea) == 0 || len(eb) == 0 || w.a.nodes[ea[0]].kind != kindObject || w.b.nodes[eb[0]].kind != kindObject {
		return nil, false
	}
	shorter := min(len(ea), len(eb))
	var best []match
	bestRank, tried := 0, 0
	for k := ea[0] + 1; k < w.a.nodes[ea[0]].next && tried < 12; k = w.a.nodes[k].next {
		if kd := w.a.nodes[k].kind; kd != kindString && kd != kindNumber {
			continue
		}
		tried++
		name := w.a.key(k)
		pairs, ok := w.pairBy(ea, eb, name)
		rank := len(pairs)*8 + keyRank(name)
		if ok && len(pairs)*2 >= shorter && rank > bestRank {
			best, bestRank = pairs, rank
		}
		if bestRank == shorter*8+bestKeyRank {
			break // no other member can do better
		}
	}
	return best, best != nil
}

// bestKeyRank is the most that keyRank returns.
const bestKeyRank = 2

func keyRank(name string) int {
	switch strings.ToLower(name) {
	case "id", "_id", "uuid", "key":
		return 2
	case "name", "sku", "code", "slug":
		return 1
	}
	return 0
}

// pairBy pairs elements by one member, or reports false when it is absent
// somewhere or not unique.
func (w *walk) pairBy(ea, eb []int32, name string) ([]match, bool) {
	const used = -1 // seen in the first list
	index := make(map[uint64]int32, len(eb))
	for y, e := range eb {
		k := scalarMember(w.b, e, name)
		if k < 0 {
			return nil, false
		}
		h := w.b.scalarHash(k)
		if _, dup := index[h]; dup {
			return nil, false
		}
		index[h] = int32(y)
	}
	pairs := make([]match, 0, min(len(ea), len(eb)))
	for x, e := range ea {
		k := scalarMember(w.a, e, name)
		if k < 0 {
			return nil, false
		}
		h := w.a.scalarHash(k)
		y, known := index[h]
		if known && y == used {
			return nil, false
		}
		index[h] = used
		if known {
			if !w.sameBytes(k, scalarMember(w.b, eb[y], name)) {
				return nil, false // two values with one hash
			}
			pairs = append(pairs, match{x, int(y)})
		}
	}
	return pairs, true
}

// scalarMember returns the node of a string or number member that is not
// empty, or -1.
func scalarMember(t *tree, object int32, name string) int32 {
	n := &t.nodes[object]
	if n.kind != kindObject {
		return -1
	}
	for k := object + 1; k < n.next; k = t.nodes[k].next {
		m := &t.nodes[k]
		if m.kind != kindString && m.kind != kindNumber || m.textAt == m.textEnd {
			continue
		}
		if m.keyEscaped && t.key(k) == name || !m.keyEscaped && string(t.data[m.keyAt:m.keyEnd]) == name {
			return k
		}
	}
	return -1
}

// scalarHash tells scalars apart as they are written.
func (t *tree) scalarHash(i int32) uint64 {
	return maphash.Bytes(seed, t.raw(i)) ^ mix(uint64(t.nodes[i].kind)+1)
}

func inOrder(pairs []match) bool {
	return slices.IsSortedFunc(pairs, func(x, y match) int { return x.b - y.b })
}

func sameMultiset(a, b []uint64) bool {
	sa, sb := slices.Clone(a), slices.Clone(b)
	slices.Sort(sa)
	slices.Sort(sb)
	return slices.Equal(sa, sb)
}

// note names the elements that have no partner, at most three of each kind.
func (w *walk) note(ea, eb []int32, pairs []match) string {
	inA, inB := make([]bool, len(ea)), make([]bool, len(eb))
	for _, p := range pairs {
		inA[p.a], inB[p.b] = true, true
	}
	var parts []string
	list := func(word string, t *tree, elements []int32, paired []bool) {
		shown, more := 0, 0
		for i, e := range elements {
			if paired[i] {
				continue
			}
			if shown < 3 {
				parts = append(parts, fmt.Sprintf("%s [%d] %s", word, i, shorten(t.text(e), 80)))
				shown++
			} else {
				more++
			}
		}
		if more > 0 {
			parts = append(parts, fmt.Sprintf("%d more %s", more, word))
		}
	}
	list("missing", w.a, ea, inA)
	list("extra", w.b, eb, inB)
	return strings.Join(parts, "; ")
}

func elementList(t *tree, elements []int32) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, e := range elements {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(t.literal(e))
	}
	b.WriteByte(']')
	return b.String()
}

// shorten cuts text for display, at a rune.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && s[limit]&0xc0 == 0x80 {
		limit--
	}
	return s[:limit] + "..."
}

// seed makes hashes differ between processes, so that nobody can prepare
// collisions; within a process they are stable.
var seed = maphash.MakeSeed()

func (w *walk) hashes(ea, eb []int32) (ha, hb []uint64) {
	ha, hb = make([]uint64, len(ea)), make([]uint64, len(eb))
	for i, e := range ea {
		ha[i] = w.a.hash(e)
	}
	for i, e := range eb {
		hb[i] = w.b.hash(e)
	}
	return ha, hb
}

// hash gives subtrees that compare equal the same hash, whatever the order of
// members and the spelling of numbers and strings.
func (t *tree) hash(i int32) uint64 {
	n := &t.nodes[i]
	h := mix(uint64(n.kind) + 1)
	switch n.kind {
	case kindObject:
		for k := i + 1; k < n.next; k = t.nodes[k].next {
			m := &t.nodes[k]
			key := maphash.Bytes(seed, t.data[m.keyAt:m.keyEnd])
			if m.keyEscaped {
				key = maphash.String(seed, t.key(k))
			}
			h += mix(key ^ mix(t.hash(k)))
		}
		return h
	case kindArray:
		for k := i + 1; k < n.next; k = t.nodes[k].next {
			h = mix(h*31 + t.hash(k))
		}
		return h
	case kindNumber:
		return h ^ hashNumber(t.raw(i))
	case kindString:
		if n.escaped {
			return h ^ maphash.String(seed, t.text(i))
		}
	}
	return h ^ maphash.Bytes(seed, t.raw(i))
}

// hashNumber gives equal numbers one hash. Integers without sign, exponent and
// trailing zeros, which most numbers are, need no decimal.
func hashNumber(raw []byte) uint64 {
	if plainInteger(raw) && raw[0] != '0' && raw[len(raw)-1] != '0' {
		return maphash.Bytes(seed, raw) ^ mix(uint64(len(raw)))
	}
	d, ok := parseDecimal(raw)
	if !ok {
		return maphash.Bytes(seed, raw)
	}
	h := maphash.String(seed, d.digits) ^ mix(uint64(d.exp))
	if d.negative {
		h = ^h
	}
	return h
}

// mix spreads the bits of x (the finaliser of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
