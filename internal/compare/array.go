package compare

import (
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
	for _, p := range pairs {
		w.elem(p.a, func() { w.nodes(ea[p.a], eb[p.b]) })
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

func (w *walk) sameLength(ea, eb []int32) {
	ha, hb := w.hashes(ea, eb)
	if slices.Equal(ha, hb) {
		return
	}
	if sameMultiset(ha, hb) {
		w.emit(Order, elementList(w.a, ea), elementList(w.b, eb))
		return
	}
	if pairs, ok := w.byKey(ea, eb); ok && len(pairs) == len(ea) && !inOrder(pairs) {
		w.emit(Order, elementList(w.a, ea), elementList(w.b, eb))
		for _, p := range pairs {
			w.elem(p.a, func() { w.nodes(ea[p.a], eb[p.b]) })
		}
		return
	}
	for k := range ea {
		if ha[k] != hb[k] {
			w.elem(k, func() { w.nodes(ea[k], eb[k]) })
		}
	}
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

// align pairs the elements of two lists of different length.
func (w *walk) align(ea, eb []int32) []match {
	if pairs, ok := w.byKey(ea, eb); ok {
		return pairs
	}
	ha, hb := w.hashes(ea, eb)
	return fillGaps(commonSubsequence(ha, hb), len(ea), len(eb))
}

// byKey pairs objects by the member that identifies them. A member does when it
// is a string or number, present in every element, unique within both lists,
// and shared by at least half of the shorter list. It is found by evidence;
// names only break ties.
func (w *walk) byKey(ea, eb []int32) ([]match, bool) {
	if len(ea) == 0 || len(eb) == 0 || w.a.nodes[ea[0]].kind != kindObject || w.b.nodes[eb[0]].kind != kindObject {
		return nil, false
	}
	var best []match
	bestRank := 0
	tried := 0
	for k := ea[0] + 1; k < w.a.nodes[ea[0]].next && tried < 12; k = w.a.nodes[k].next {
		if kd := w.a.nodes[k].kind; kd != kindString && kd != kindNumber {
			continue
		}
		tried++
		name := w.a.key(k)
		va, ok := keyValues(w.a, ea, name)
		if !ok {
			continue
		}
		vb, ok := keyValues(w.b, eb, name)
		if !ok {
			continue
		}
		pairs := make([]match, 0, min(len(ea), len(eb)))
		for x, e := range ea {
			if y, ok := vb[memberText(w.a, e, name)]; ok {
				pairs = append(pairs, match{x, y})
			}
		}
		rank := len(pairs)*8 + keyRank(name)
		if len(va) > 0 && len(pairs)*2 >= min(len(ea), len(eb)) && rank > bestRank {
			best, bestRank = pairs, rank
		}
	}
	return best, best != nil
}

func keyRank(name string) int {
	switch strings.ToLower(name) {
	case "id", "_id", "uuid", "key":
		return 2
	case "name", "sku", "code", "slug":
		return 1
	}
	return 0
}

// keyValues returns the position of each value of a member, or false when it is
// absent somewhere or not unique.
func keyValues(t *tree, elements []int32, name string) (map[string]int, bool) {
	out := make(map[string]int, len(elements))
	for i, e := range elements {
		v := memberText(t, e, name)
		if _, dup := out[v]; dup || v == "" {
			return nil, false
		}
		out[v] = i
	}
	return out, true
}

// memberText returns a string or number member as JSON writes it, or "".
func memberText(t *tree, object int32, name string) string {
	n := &t.nodes[object]
	if n.kind != kindObject {
		return ""
	}
	for k := object + 1; k < n.next; k = t.nodes[k].next {
		m := &t.nodes[k]
		if (m.kind == kindString || m.kind == kindNumber) && t.key(k) == name {
			return t.literal(k)
		}
	}
	return ""
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
	if w.hashA == nil {
		w.hashA, w.hashB = structuralHashes(w.a), structuralHashes(w.b)
	}
	ha, hb = make([]uint64, len(ea)), make([]uint64, len(eb))
	for i, e := range ea {
		ha[i] = w.hashA[e]
	}
	for i, e := range eb {
		hb[i] = w.hashB[e]
	}
	return ha, hb
}

// structuralHashes gives subtrees that compare equal the same hash, whatever
// the order of members and the spelling of numbers and strings.
func structuralHashes(t *tree) []uint64 {
	out := make([]uint64, len(t.nodes))
	for i := len(t.nodes) - 1; i >= 0; i-- {
		n := &t.nodes[i]
		h := mix(uint64(n.kind) + 1)
		switch n.kind {
		case kindObject:
			for k := int32(i) + 1; k < n.next; k = t.nodes[k].next {
				key := maphash.Bytes(seed, t.data[t.nodes[k].keyAt:t.nodes[k].keyEnd])
				if t.nodes[k].keyEscaped {
					key = maphash.String(seed, t.key(k))
				}
				h += mix(key ^ mix(out[k]))
			}
		case kindArray:
			for k := int32(i) + 1; k < n.next; k = t.nodes[k].next {
				h = mix(h*31 + out[k])
			}
		case kindNumber:
			raw := t.raw(int32(i))
			if d, ok := parseDecimal(raw); ok {
				h ^= maphash.Comparable(seed, d)
			} else {
				h ^= maphash.Bytes(seed, raw)
			}
		case kindString:
			if n.escaped {
				h ^= maphash.String(seed, t.text(int32(i)))
			} else {
				h ^= maphash.Bytes(seed, t.raw(int32(i)))
			}
		default:
			h ^= maphash.Bytes(seed, t.raw(int32(i)))
		}
		out[i] = h
	}
	return out
}

// mix spreads the bits of x (the finaliser of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
