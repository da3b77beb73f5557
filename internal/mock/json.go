package mock

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// maxDepth bounds the nesting of JSON that is looked into.
const maxDepth = 256

// appendJSON appends one JSON value in canonical form: members sorted by name,
// numbers normalised. It reports false, and f as it was, when s is not JSON.
func appendJSON(f form, s string) (form, bool) {
	p := jsonParser{in: s, out: f}
	if !p.value(0) {
		return f, false
	}
	p.space()
	if p.at != len(s) {
		return f, false
	}
	return p.out, true
}

// jsonParser turns JSON text into tokens. Strings without escapes are parts of
// the text, so that a request costs few allocations.
type jsonParser struct {
	in  string
	at  int
	out form
}

func (p *jsonParser) space() {
	for p.at < len(p.in) {
		switch p.in[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

// next returns the byte at the current place after space, or 0 at the end.
func (p *jsonParser) next() byte {
	p.space()
	if p.at < len(p.in) {
		return p.in[p.at]
	}
	return 0
}

func (p *jsonParser) value(depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch c := p.next(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		s, ok := p.str()
		p.out = appendText(p.out, s)
		return ok
	case c == '-' || c >= '0' && c <= '9':
		s, ok := p.num()
		p.out = append(p.out, token{number, s})
		return ok
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(p.in[p.at:], word) {
			p.at += len(word)
			p.out = append(p.out, token{literal, word})
			return true
		}
	}
	return false
}

func (p *jsonParser) array(depth int) bool {
	p.at++
	p.out = append(p.out, token{list, ""})
	if p.next() == ']' {
		p.at++
		p.out = append(p.out, token{listEnd, ""})
		return true
	}
	for {
		if !p.value(depth + 1) {
			return false
		}
		switch p.next() {
		case ',':
			p.at++
		case ']':
			p.at++
			p.out = append(p.out, token{listEnd, ""})
			return true
		default:
			return false
		}
	}
}

// span is where the tokens of one member lie in the output.
type span struct{ from, to int }

func (p *jsonParser) object(depth int) bool {
	p.at++
	p.out = append(p.out, token{open, ""})
	first := len(p.out)
	var few [16]span
	members, sorted := few[:0], true
	if p.next() == '}' {
		p.at++
		p.out = append(p.out, token{shut, ""})
		return true
	}
	for {
		if p.next() != '"' {
			return false
		}
		from := len(p.out)
		name, ok := p.str()
		if !ok || p.next() != ':' {
			return false
		}
		p.at++
		p.out = append(p.out, token{member, name})
		if !p.value(depth + 1) {
			return false
		}
		if n := len(members); n > 0 && p.out[members[n-1].from].text > name {
			sorted = false
		}
		members = append(members, span{from, len(p.out)})
		switch p.next() {
		case ',':
			p.at++
		case '}':
			p.at++
			if !sorted {
				p.sort(first, members)
			}
			p.out = append(p.out, token{shut, ""})
			return true
		default:
			return false
		}
	}
}

// sort puts members into the order of their names. Members of one name keep
// theirs.
func (p *jsonParser) sort(first int, members []span) {
	before := slices.Clone(p.out[first:])
	slices.SortStableFunc(members, func(a, b span) int {
		return strings.Compare(before[a.from-first].text, before[b.from-first].text)
	})
	out := p.out[:first]
	for _, m := range members {
		out = append(out, before[m.from-first:m.to-first]...)
	}
}

// str reads a string, whose quote is at the current place.
func (p *jsonParser) str() (string, bool) {
	start, plain := p.at, true
	for i := p.at + 1; i < len(p.in); i++ {
		switch c := p.in[i]; {
		case c == '"':
			p.at = i + 1
			if plain {
				return p.in[start+1 : i], true
			}
			var s string
			err := json.Unmarshal([]byte(p.in[start:p.at]), &s)
			return s, err == nil
		case c == '\\':
			plain = false
			i++
		case c < ' ':
			return "", false
		}
	}
	return "", false
}

func (p *jsonParser) num() (string, bool) {
	start := p.at
	if p.in[p.at] == '-' {
		p.at++
	}
	zero := p.at < len(p.in) && p.in[p.at] == '0'
	digits := p.digits()
	if digits == 0 || zero && digits > 1 {
		return "", false
	}
	if p.at < len(p.in) && p.in[p.at] == '.' {
		p.at++
		if p.digits() == 0 {
			return "", false
		}
	}
	if p.at < len(p.in) && (p.in[p.at] == 'e' || p.in[p.at] == 'E') {
		p.at++
		if p.at < len(p.in) && (p.in[p.at] == '+' || p.in[p.at] == '-') {
			p.at++
		}
		if p.digits() == 0 {
			return "", false
		}
	}
	return normalNumber(p.in[start:p.at]), true
}

func (p *jsonParser) digits() int {
	start := p.at
	for p.at < len(p.in) && p.in[p.at] >= '0' && p.in[p.at] <= '9' {
		p.at++
	}
	return p.at - start
}

// plainDigits is up to how many digits a whole number is written out.
const plainDigits = 25

// normalNumber writes a JSON number so that equal numbers have equal texts: 1,
// 1.0 and 10e-1 are "1". Nothing is rounded.
func normalNumber(s string) string {
	if len(s) <= plainDigits && !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			return "0"
		}
		return s
	}
	sign, rest := "", s
	if strings.HasPrefix(s, "-") {
		sign, rest = "-", s[1:]
	}
	mantissa, power := rest, 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		var err error
		mantissa = rest[:i]
		if power, err = strconv.Atoi(rest[i+1:]); err != nil || power > 1<<20 || power < -1<<20 {
			return s // beyond any number that is meant
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	power -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	power += len(digits) - len(trimmed)
	switch {
	case trimmed == "":
		return "0"
	case power >= 0 && len(trimmed)+power <= plainDigits:
		return sign + trimmed + strings.Repeat("0", power)
	}
	return sign + trimmed + "e" + strconv.Itoa(power)
}
