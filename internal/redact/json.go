package redact

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// maxDepth is how deep JSON is followed; what lies deeper is read as text.
const maxDepth = 500

// jsonEdit replaces values of a JSON text where they stand: every byte that
// is not part of a redacted value stays, number lexemes, order, spaces and
// double keys included.
type jsonEdit struct {
	w      *walk
	in     []byte
	pos    int
	out    []byte
	copied int // how much of in is in out
	base   traffic.Path
	steps  []jsonStep
}

type jsonStep struct {
	key   []byte // as it stands between the quotes
	index int
	array bool
}

// json redacts a JSON text. What follows the first thing that is not JSON (a
// truncated body) is treated as free text.
func (w *walk) json(in []byte, base traffic.Path) ([]byte, bool) {
	e := &jsonEdit{w: w, in: in, base: base}
	for e.space(); e.pos < len(in); e.space() { // more than one value: JSON lines
		if !e.value(keyPlain, false) {
			break
		}
	}
	if e.pos < len(in) {
		rest, changed := w.text(string(in[e.pos:]), func() traffic.Path { return base })
		if changed {
			e.replace(e.pos, len(in), []byte(rest))
		}
	}
	if e.out == nil {
		return in, false
	}
	return append(e.out, in[e.copied:]...), true
}

func (e *jsonEdit) replace(start, end int, with []byte) {
	e.out = append(append(e.out, e.in[e.copied:start]...), with...)
	e.copied = end
}

func (e *jsonEdit) path() traffic.Path {
	p := e.base
	for _, s := range e.steps {
		if s.array {
			p = p.Elem(s.index)
		} else {
			p = p.Child(unquote(s.key))
		}
	}
	return p
}

func (e *jsonEdit) space() {
	for e.pos < len(e.in) {
		switch e.in[e.pos] {
		case ' ', '\t', '\r', '\n':
			e.pos++
		default:
			return
		}
	}
}

// value handles one value; kind is what its key says, person whether the
// object around it is about a person. It reports false where the text is not
// JSON.
func (e *jsonEdit) value(kind keyKind, person bool) bool {
	if e.pos >= len(e.in) || len(e.steps) > maxDepth {
		return false
	}
	switch c := e.in[e.pos]; c {
	case '{':
		return e.object(kind == keyPerson)
	case '[':
		return e.array(kind, person)
	case '"':
		return e.text(kind)
	case 't', 'f', 'n':
		for _, word := range []string{"true", "false", "null"} {
			if bytes.HasPrefix(e.in[e.pos:], []byte(word)) {
				e.pos += len(word)
				return true
			}
		}
		return false
	default:
		return e.number(kind)
	}
}

func (e *jsonEdit) object(person bool) bool {
	e.pos++
	e.steps = append(e.steps, jsonStep{})
	for first := true; ; first = false {
		e.space()
		if e.pos < len(e.in) && e.in[e.pos] == '}' && first {
			break
		}
		start := e.pos
		end, ok := e.stringEnd()
		if !ok {
			return false
		}
		key := e.in[start+1 : end-1]
		e.pos = end
		e.steps[len(e.steps)-1] = jsonStep{key: key}
		e.key(start, end)
		if e.space(); e.pos >= len(e.in) || e.in[e.pos] != ':' {
			return false
		}
		e.pos++
		e.space()
		kind := e.w.keys.kind(key)
		if kind == keyBareName && !person {
			kind = keyPlain
		}
		if !e.value(kind, person) {
			return false
		}
		e.space()
		if e.pos >= len(e.in) {
			return false
		}
		if e.in[e.pos] == '}' {
			break
		}
		if e.in[e.pos] != ',' {
			return false
		}
		e.pos++
	}
	e.pos++
	e.steps = e.steps[:len(e.steps)-1]
	return true
}

// key redacts a member name that is itself a value, as in {"jane@x.org": 3}.
func (e *jsonEdit) key(start, end int) {
	if end-start < 7 {
		return
	}
	if made, changed := e.w.text(unquote(e.in[start+1:end-1]), e.path); changed {
		e.replace(start, end, quote(made))
	}
}

func (e *jsonEdit) array(kind keyKind, person bool) bool {
	e.pos++
	e.steps = append(e.steps, jsonStep{array: true})
	for i := 0; ; i++ {
		e.space()
		if e.pos < len(e.in) && e.in[e.pos] == ']' && i == 0 {
			break
		}
		e.steps[len(e.steps)-1].index = i
		if !e.value(kind, person) {
			return false
		}
		e.space()
		if e.pos >= len(e.in) {
			return false
		}
		if e.in[e.pos] == ']' {
			break
		}
		if e.in[e.pos] != ',' {
			return false
		}
		e.pos++
	}
	e.pos++
	e.steps = e.steps[:len(e.steps)-1]
	return true
}

// stringEnd returns the position behind the string that starts here.
func (e *jsonEdit) stringEnd() (int, bool) {
	if e.pos >= len(e.in) || e.in[e.pos] != '"' {
		return 0, false
	}
	for i := e.pos + 1; i < len(e.in); i++ {
		switch e.in[i] {
		case '"':
			return i + 1, true
		case '\\':
			i++
		}
	}
	return 0, false
}

func (e *jsonEdit) text(kind keyKind) bool {
	start := e.pos
	end, ok := e.stringEnd()
	raw := e.in[start+1:]
	if ok {
		raw = e.in[start+1 : end-1]
	} else {
		end = len(e.in)
	}
	e.pos = end
	if !ok && e.w.truncated {
		// Half a value cannot be judged: half an address is no address.
		if len(raw) > 0 {
			e.replace(start+1, end, nil)
		}
		return true
	}
	s := unquote(raw)
	if made, changed := e.w.value(kind, s, e.path); changed {
		e.replace(start, end, quote(made))
	}
	return true
}

func (e *jsonEdit) number(kind keyKind) bool {
	start := e.pos
	for e.pos < len(e.in) {
		c := e.in[e.pos]
		if !isDigit(c) && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			break
		}
		e.pos++
	}
	if e.pos == start {
		return false
	}
	lexeme := e.in[start:e.pos]
	if kind == keyPlain && len(lexeme) < 13 && len(e.w.rules) == 0 {
		return true
	}
	if made, changed := e.w.number(kind, string(lexeme), e.path); changed {
		e.replace(start, e.pos, []byte(made))
	}
	return true
}

// unquote returns the text of a JSON string, given what stands between its
// quotes.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	var s string
	if utf8.Valid(raw) && json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &s) == nil {
		return s
	}
	return string(raw)
}

// quote writes a JSON string without escaping what HTML would need.
func quote(s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		return append(append([]byte{'"'}, s...), '"')
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return []byte(strconv.Quote(s))
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
