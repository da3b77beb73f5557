package redact

import "github.com/reprise-ci/reprise/internal/traffic"

// place is where a value stands. Most values are not redacted, so its address
// is only built when it is needed; appendKey writes something short that is
// the same for all places of one pattern.
type place interface {
	path() traffic.Path
	appendKey(dst []byte) []byte
}

// spot is a place outside a JSON text: a part of a message, a name or index
// in it.
type spot struct {
	part, kind, name string
	index            int // used where name is empty and kind is a list; -1 for none
}

func (s spot) path() traffic.Path {
	switch {
	case s.kind == "":
		return traffic.At(s.part)
	case s.name != "":
		return traffic.At(s.part, s.kind, s.name)
	case s.index >= 0:
		return traffic.At(s.part, s.kind).Elem(s.index)
	}
	return traffic.At(s.part, s.kind)
}

func (s spot) appendKey(dst []byte) []byte {
	dst = append(append(append(append(dst, s.part...), 0), s.kind...), 0)
	return append(dst, s.name...)
}

// at is a place whose address is known.
type at struct{ traffic.Path }

func (a at) path() traffic.Path          { return a.Path }
func (a at) appendKey(dst []byte) []byte { return append(dst, a.Path.Pattern().String()...) }

// count notes one changed value.
func (w *walk) count(rule string, where place) {
	w.scratch = where.appendKey(append(append(w.scratch[:0], rule...), 0))
	if i, ok := w.counted[string(w.scratch)]; ok {
		w.counts[i].Count++
		return
	}
	pattern := where.path().Pattern()
	text := pattern.String()
	index := -1
	for i, c := range w.counts { // two keys may be spellings of one pattern
		if c.Rule == rule && c.Path.String() == text {
			index = i
		}
	}
	if index < 0 {
		index = len(w.counts)
		w.counts = append(w.counts, traffic.Redaction{Rule: rule, Path: pattern})
	}
	w.counts[index].Count++
	if w.counted == nil {
		w.counted = map[string]int{}
	}
	w.counted[string(w.scratch)] = index
}

// rule returns the rule that decides about a place, or nil.
func (w *walk) rule(where place) *Rule {
	if len(w.rules) == 0 {
		return nil
	}
	p := where.path()
	for i := range w.rules {
		if w.rules[i].Path.Covers(p) {
			return &w.rules[i]
		}
	}
	return nil
}
