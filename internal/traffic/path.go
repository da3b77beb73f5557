package traffic

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Path is the address of a place inside an exchange, such as
//
//	response.status
//	response.header.Content-Type
//	request.query.limit
//	response.body.items[3].price
//	response.body["odd key"]
//
// The first steps name the part: request or response, then method, path,
// query, header, cookie, trailer, status or body. The zero Path is the whole exchange. A
// Path is immutable; its methods return new ones.
type Path struct{ steps []Step }

// Step is one step of a path: into an object by Name, or into a list by Index.
type Step struct {
	Name    string
	Index   int
	IsIndex bool
}

// At starts a path from names.
func At(names ...string) Path {
	steps := make([]Step, len(names))
	for i, n := range names {
		steps[i] = Step{Name: n}
	}
	return Path{steps}
}

// Child returns the path of a member.
func (p Path) Child(name string) Path { return p.with(Step{Name: name}) }

// Elem returns the path of a list element.
func (p Path) Elem(i int) Path { return p.with(Step{Index: i, IsIndex: true}) }

func (p Path) with(s Step) Path {
	steps := make([]Step, len(p.steps)+1)
	copy(steps, p.steps)
	steps[len(p.steps)] = s
	return Path{steps}
}

// Steps returns the steps; the caller must not change them.
func (p Path) Steps() []Step { return p.steps }

// Len returns the number of steps.
func (p Path) Len() int { return len(p.steps) }

// Within reports whether p is q or lies below it.
func (p Path) Within(q Path) bool {
	if len(q.steps) > len(p.steps) {
		return false
	}
	for i, s := range q.steps {
		if p.steps[i] != s {
			return false
		}
	}
	return true
}

// String writes the path in the grammar that [ParsePath] reads.
func (p Path) String() string {
	var b strings.Builder
	for i, s := range p.steps {
		switch {
		case s.IsIndex:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s.Index))
			b.WriteByte(']')
		default:
			writeName(&b, s.Name, i == 0)
		}
	}
	return b.String()
}

// MarshalText writes the same as String.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Path) UnmarshalText(text []byte) error {
	q, err := ParsePath(string(text))
	if err == nil {
		*p = q
	}
	return err
}

// Pattern returns the pattern that p is an instance of: its list indices
// become "any index". Findings are grouped by it.
func (p Path) Pattern() Pattern {
	steps := make([]patternStep, len(p.steps))
	for i, s := range p.steps {
		if s.IsIndex {
			steps[i] = patternStep{kind: anyIndex}
		} else {
			steps[i] = patternStep{Step: s}
		}
	}
	return Pattern{steps}
}

// ParsePath reads one concrete path.
func ParsePath(s string) (Path, error) {
	pattern, err := ParsePattern(s)
	if err != nil {
		return Path{}, err
	}
	steps := make([]Step, len(pattern.steps))
	for i, st := range pattern.steps {
		if st.kind != exact {
			return Path{}, fmt.Errorf("path %q: wildcards belong in patterns", s)
		}
		steps[i] = st.Step
	}
	return Path{steps}, nil
}

// Pattern addresses many places. It is a Path in which [] stands for any
// index, * for any one name, and ** for any number of steps, none included.
type Pattern struct{ steps []patternStep }

type patternStep struct {
	Step
	kind stepKind
}

type stepKind uint8

const (
	exact stepKind = iota
	anyIndex
	anyName
	anyDepth
)

// String writes the pattern in the grammar that [ParsePattern] reads.
func (p Pattern) String() string {
	var b strings.Builder
	for i, s := range p.steps {
		switch {
		case s.kind == anyIndex:
			b.WriteString("[]")
		case s.kind == anyName || s.kind == anyDepth:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(strings.Repeat("*", int(s.kind-anyName)+1))
		case s.IsIndex:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s.Index))
			b.WriteByte(']')
		default:
			writeName(&b, s.Name, i == 0)
		}
	}
	return b.String()
}

// MarshalText writes the same as String.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Pattern) UnmarshalText(text []byte) error {
	q, err := ParsePattern(string(text))
	if err == nil {
		*p = q
	}
	return err
}

// Matches reports whether the pattern addresses exactly the place path.
// Header and trailer names are compared without regard to case.
func (p Pattern) Matches(path Path) bool { return matchSteps(p.steps, path.steps, 0, false) }

// Covers reports whether path is the addressed place or lies below it.
func (p Pattern) Covers(path Path) bool { return matchSteps(p.steps, path.steps, 0, true) }

func matchSteps(pattern []patternStep, steps []Step, at int, prefix bool) bool {
	for i, ps := range pattern {
		if ps.kind == anyDepth {
			for skip := 0; at+skip <= len(steps); skip++ {
				if matchSteps(pattern[i+1:], steps, at+skip, prefix) {
					return true
				}
			}
			return false
		}
		if at >= len(steps) {
			return false
		}
		s := steps[at]
		switch ps.kind {
		case anyIndex:
			if !s.IsIndex {
				return false
			}
		case anyName:
			if s.IsIndex {
				return false
			}
		default:
			if s != ps.Step && (s.IsIndex || ps.IsIndex || !inHeader(steps, at) || !strings.EqualFold(s.Name, ps.Name)) {
				return false
			}
		}
		at++
	}
	return prefix || at == len(steps)
}

// inHeader reports whether steps[at] is the name of a header or trailer.
func inHeader(steps []Step, at int) bool {
	return at == 2 && (steps[1].Name == "header" || steps[1].Name == "trailer")
}

func writeName(b *strings.Builder, name string, first bool) {
	if plainName(name) {
		if !first {
			b.WriteByte('.')
		}
		b.WriteString(name)
		return
	}
	b.WriteByte('[')
	b.WriteString(strconv.Quote(name))
	b.WriteByte(']')
}

// plainName reports whether a name can stand without quotes.
func plainName(name string) bool {
	if name == "" || name == "*" || name == "**" {
		return false
	}
	for _, r := range name {
		if r == '.' || r == '[' || r == ']' || r == '"' || r == '*' || r <= ' ' || r == 0x7f || r == '�' {
			return false
		}
	}
	return strconv.CanBackquote(name)
}

var errPattern = errors.New("not an address")

// ParsePattern reads a pattern such as "response.body.items[].price". The
// error names the position of what cannot be read.
func ParsePattern(s string) (Pattern, error) {
	fail := func(at int, why string) (Pattern, error) {
		return Pattern{}, fmt.Errorf("%w: %q: %s at character %d", errPattern, s, why, at+1)
	}
	var steps []patternStep
	for i := 0; i < len(s); {
		if s[i] == '[' {
			step, n, why := parseBracket(s[i:])
			if why != "" {
				return fail(i, why)
			}
			steps = append(steps, step)
			i += n
			continue
		}
		if s[i] == '.' {
			if len(steps) == 0 {
				return fail(i, "a name must stand before the dot")
			}
			i++
		} else if len(steps) > 0 {
			return fail(i, "a dot or [ must follow")
		}
		end := i
		for end < len(s) && s[end] != '.' && s[end] != '[' {
			end++
		}
		switch name := s[i:end]; {
		case name == "*":
			steps = append(steps, patternStep{kind: anyName})
		case name == "**":
			steps = append(steps, patternStep{kind: anyDepth})
		case !plainName(name):
			return fail(i, `a name is missing or needs quotes, as in ["odd name"]`)
		default:
			steps = append(steps, patternStep{Step: Step{Name: name}})
		}
		i = end
	}
	return Pattern{steps}, nil
}

// parseBracket reads [], [3] or ["name"] at the start of s and returns how
// many bytes it took, or why it cannot be read.
func parseBracket(s string) (step patternStep, n int, why string) {
	if strings.HasPrefix(s, "[]") {
		return patternStep{kind: anyIndex}, 2, ""
	}
	if strings.HasPrefix(s, `["`) {
		quoted, err := strconv.QuotedPrefix(s[1:])
		if err != nil || !strings.HasPrefix(s[1+len(quoted):], "]") {
			return step, 0, "the quoted name does not end"
		}
		name, _ := strconv.Unquote(quoted)
		return patternStep{Step: Step{Name: name}}, len(quoted) + 2, ""
	}
	digits, _, closed := strings.Cut(s[1:], "]")
	index, err := strconv.Atoi(digits)
	if !closed || err != nil || index < 0 || strconv.Itoa(index) != digits {
		return step, 0, `[] must hold an index, a "quoted name" or nothing`
	}
	return patternStep{Step: Step{Index: index, IsIndex: true}}, len(digits) + 2, ""
}
