package redact

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
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
	in     string
	pos    int
	out    []byte
	copied int // how much of in is in out
	base   place
	steps  []jsonStep
}

type jsonStep struct {
	key   string // as it stands between the quotes
	index int
	array bool
}

// json redacts a JSON text. What follows the first thing that is not JSON (a
// truncated body) is treated as free text.
func (w *walk) json(in string, base place) (string, bool) {
	out, changed := w.jsonBytes(in, base)
	if !changed {
		return in, false
	}
	return string(out), true
}

// jsonBytes is json for callers that want bytes; out is nil when nothing
// changed.
func (w *walk) jsonBytes(in string, base place) (out []byte, changed bool) {
	e := &jsonEdit{w: w, in: in, base: base}
	for e.space(); e.pos < len(in); e.space() { // more than one value: JSON lines
		if !e.value(keyPlain, false) {
			break
		}
	}
	if e.pos < len(in) {
		if rest, changed := w.text(in[e.pos:], base); changed {
			e.replace(e.pos, len(in), rest)
		}
	}
	if e.out == nil {
		return nil, false
	}
	return append(e.out, in[e.copied:]...), true
}

func (e *jsonEdit) replace(start, end int, with string) {
	if e.out == nil {
		e.out = make([]byte, 0, len(e.in)+len(e.in)/8+64)
	}
	e.out = append(append(e.out, e.in[e.copied:start]...), with...)
	e.copied = end
}

// replaceString replaces a string with its quotes.
func (e *jsonEdit) replaceString(start, end int, with string) {
	if !plainString(with) {
		with = quote(with)
		e.replace(start, end, with)
		return
	}
	e.replace(start+1, end, with)
	e.out = append(e.out, '"')
}

func (e *jsonEdit) path() traffic.Path {
	p := e.base.path()
	for _, s := range e.steps {
		if s.array {
			p = p.Elem(s.index)
		} else {
			p = p.Child(unquote(s.key))
		}
	}
	return p
}

func (e *jsonEdit) appendKey(dst []byte) []byte {
	dst = e.base.appendKey(dst)
	for _, s := range e.steps {
		dst = append(dst, 0)
		if s.array {
			dst = append(dst, 1)
		} else {
			dst = append(dst, s.key...)
		}
	}
	return dst
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
	switch e.in[e.pos] {
	case '{':
		return e.object(kind == keyPerson)
	case '[':
		return e.array(kind, person)
	case '"':
		return e.text(kind)
	case 't', 'f', 'n':
		for _, word := range []string{"true", "false", "null"} {
			if strings.HasPrefix(e.in[e.pos:], word) {
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
	begin := e.pos
	e.steps = append(e.steps, jsonStep{})
	for first := true; ; first = false {
		e.space()
		if e.pos >= len(e.in) {
			return false
		}
		if e.in[e.pos] == '}' && first {
			break
		}
		kind, ok := e.key()
		if !ok {
			return false
		}
		if kind == keyBareName && !person && !e.besidePerson(begin) {
			kind = keyPlain
		}
		if !e.value(kind, person) {
			return false
		}
		end, ok := e.next('}')
		if !ok {
			return false
		}
		if end {
			break
		}
	}
	e.pos++
	e.steps = e.steps[:len(e.steps)-1]
	return true
}

// besideLimit is how far into an object its members are looked for.
const besideLimit = 4096

// besidePerson reports whether the object that begins at from has a member
// that only people have, as an e-mail address.
func (e *jsonEdit) besidePerson(from int) bool {
	depth := 0
	for pos := from; pos < min(len(e.in), from+besideLimit); pos++ {
		switch e.in[pos] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return false
			}
		case '"':
			end, _, _, ok := lookString(e.in, pos+1)
			if !ok {
				return false
			}
			rest := strings.TrimLeft(e.in[end+1:min(len(e.in), end+9)], " \t\r\n")
			if depth == 0 && strings.HasPrefix(rest, ":") && ofPerson(e.in[pos+1:end]) {
				return true
			}
			pos = end
		}
	}
	return false
}

// next looks at what follows a value: the end, or a comma, which it passes.
func (e *jsonEdit) next(closing byte) (end, ok bool) {
	e.space()
	if e.pos >= len(e.in) {
		return false, false
	}
	if e.in[e.pos] == closing {
		return true, true
	}
	if e.in[e.pos] != ',' {
		return false, false
	}
	e.pos++
	return false, true
}

// key reads a member name and its colon. It redacts a name that is itself a
// value, as in {"jane@x.org": 3}.
func (e *jsonEdit) key() (keyKind, bool) {
	start := e.pos
	if e.in[start] != '"' {
		return keyPlain, false
	}
	end, f, escaped, ok := lookString(e.in, start+1)
	if !ok {
		return keyPlain, false
	}
	key := e.in[start+1 : end]
	e.pos = end + 1
	e.steps[len(e.steps)-1] = jsonStep{key: key}
	if f.digits > 3 || f.has(hasAt) || escaped {
		plain := key
		if escaped {
			plain = unquote(key)
			f = look(plain)
		}
		if made, changed := e.w.textWith(plain, f, e); changed {
			e.replaceString(start, e.pos, made)
		}
	}
	e.space()
	if e.pos >= len(e.in) || e.in[e.pos] != ':' {
		return keyPlain, false
	}
	e.pos++
	e.space()
	return e.w.keys.kind(key), true
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
		end, ok := e.next(']')
		if !ok {
			return false
		}
		if end {
			break
		}
	}
	e.pos++
	e.steps = e.steps[:len(e.steps)-1]
	return true
}

func (e *jsonEdit) text(kind keyKind) bool {
	start := e.pos
	end, f, escaped, ok := lookString(e.in, start+1)
	s := e.in[start+1 : end]
	if ok {
		end++
	}
	e.pos = end
	if !ok && e.w.truncated {
		// Half a value cannot be judged: half an address is no address.
		if s != "" {
			e.replace(start+1, end, "")
		}
		return true
	}
	if escaped {
		s = unquote(s)
		f = look(s)
	}
	if made, changed := e.w.valueWith(kind, s, f, e); changed {
		e.replaceString(start, end, made)
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
	if kind == keyPlain && e.pos-start < 13 && len(e.w.rules) == 0 {
		return true
	}
	if made, changed := e.w.number(kind, e.in[start:e.pos], e); changed {
		e.replace(start, e.pos, made)
	}
	return true
}

// unquote returns the text of a JSON string, given what stands between its
// quotes.
func unquote(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw
	}
	var s string
	if utf8.ValidString(raw) && json.Unmarshal([]byte(`"`+raw+`"`), &s) == nil {
		return s
	}
	return raw
}

// plainString reports whether s stands in JSON as it is.
func plainString(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// quote writes a JSON string without escaping what only HTML would need.
func quote(s string) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSuffix(buf.String(), "\n")
}
