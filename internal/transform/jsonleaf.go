package transform

import (
	"encoding/json"
	"strconv"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// leaf is a string or number in a JSON text.
type leaf struct {
	path       traffic.Path
	key        string // the nearest name above, list indices skipped
	parent     string // the name above that one
	start, end int    // the bytes of the literal, quotes included
	number     bool
}

// maxJSONDepth bounds nesting; what is deeper is not looked at.
const maxJSONDepth = 128

// jsonLeaves visits the strings and numbers of a JSON text in order. It reports
// false, perhaps after some visits, when data is not JSON.
func jsonLeaves(data []byte, base traffic.Path, visit func(leaf)) bool {
	if !json.Valid(data) {
		return false
	}
	s := jsonScanner{data: data, visit: visit}
	s.value(leaf{path: base}, 0)
	return true
}

// jsonScanner walks valid JSON and knows where each literal lies, which the
// decoder of the standard library does not tell.
type jsonScanner struct {
	data  []byte
	at    int
	visit func(leaf)
}

func (s *jsonScanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n', ',', ':':
			s.at++
		default:
			return
		}
	}
}

func (s *jsonScanner) value(l leaf, depth int) {
	s.space()
	if s.at >= len(s.data) {
		return
	}
	switch c := s.data[s.at]; {
	case c == '{':
		s.object(l, depth+1)
	case c == '[':
		s.at++
		for i := 0; ; i++ {
			if s.space(); s.closes(']') {
				return
			}
			elem := l
			if depth < maxJSONDepth {
				elem.path = l.path.Elem(i)
			}
			s.value(elem, depth+1)
		}
	case c == '"':
		l.start = s.at
		l.end = s.skipString()
		s.emit(l, depth)
	case c == '-' || c >= '0' && c <= '9':
		l.start, l.number = s.at, true
		for s.at < len(s.data) && isNumberByte(s.data[s.at]) {
			s.at++
		}
		l.end = s.at
		s.emit(l, depth)
	default: // true, false, null
		for s.at < len(s.data) && s.data[s.at] >= 'a' && s.data[s.at] <= 'z' {
			s.at++
		}
	}
}

func (s *jsonScanner) object(l leaf, depth int) {
	s.at++
	for {
		if s.space(); s.closes('}') {
			return
		}
		start := s.at
		name := unquote(s.data[start:s.skipString()])
		member := leaf{path: l.path, key: name, parent: l.key}
		if depth <= maxJSONDepth {
			member.path = l.path.Child(name)
		}
		s.value(member, depth)
	}
}

func (s *jsonScanner) emit(l leaf, depth int) {
	if depth <= maxJSONDepth {
		s.visit(l)
	}
}

// closes steps over the end of a list or object, or the end of the data.
func (s *jsonScanner) closes(c byte) bool {
	if s.at >= len(s.data) {
		return true
	}
	if s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

// skipString steps over a string literal and returns where it ends.
func (s *jsonScanner) skipString() int {
	for s.at++; s.at < len(s.data) && s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			s.at++
		}
	}
	s.at = min(s.at+1, len(s.data))
	return s.at
}

func isNumberByte(c byte) bool {
	return c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

// text returns what a leaf says: a string without quotes, a number as written.
func (l leaf) text(data []byte) string {
	if l.number {
		return string(data[l.start:l.end])
	}
	return unquote(data[l.start:l.end])
}

func unquote(literal []byte) string {
	var s string
	if json.Unmarshal(literal, &s) != nil {
		return ""
	}
	return s
}

// literal writes text as the JSON literal of a leaf: as a number where the leaf
// was one and text can be one.
func (l leaf) literal(text string) string {
	if _, err := strconv.ParseFloat(text, 64); l.number && err == nil && json.Valid([]byte(text)) {
		return text
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return strconv.Quote(text)
	}
	return string(quoted)
}

// edit replaces the bytes from start to end.
type edit struct {
	start, end int
	text       string
}

// applyEdits returns data with edits, which are in order and do not overlap.
func applyEdits(data []byte, edits []edit) []byte {
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, data[at:e.start]...), e.text...)
		at = e.end
	}
	return append(out, data[at:]...)
}
