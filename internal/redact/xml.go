package redact

import (
	"html"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// xmlEdit replaces text and attribute values of an XML text where they stand.
// It is no validator: what it cannot follow it treats as text.
type xmlEdit struct {
	w      *walk
	in     string
	out    strings.Builder
	copied int
	base   place
	names  []string
	did    bool
}

func (e *xmlEdit) path() traffic.Path {
	p := e.base.path()
	for _, n := range e.names {
		p = p.Child(n)
	}
	return p
}

func (e *xmlEdit) appendKey(dst []byte) []byte {
	dst = e.base.appendKey(dst)
	for _, n := range e.names {
		dst = append(append(dst, 0), n...)
	}
	return dst
}

// xml redacts an XML text.
func (w *walk) xml(in string, base place) (string, bool) {
	e := &xmlEdit{w: w, in: in, base: base}
	for at := 0; at < len(in); {
		open := strings.IndexByte(in[at:], '<')
		if open < 0 {
			e.value(at, len(in))
			break
		}
		e.value(at, at+open)
		at = e.tag(at + open)
	}
	if !e.did {
		return in, false
	}
	e.out.WriteString(in[e.copied:])
	return e.out.String(), true
}

func (e *xmlEdit) replace(start, end int, with string) {
	e.out.WriteString(e.in[e.copied:start])
	e.out.WriteString(with)
	e.copied, e.did = end, true
}

// value redacts the text between two tags, whose name the last element gives.
func (e *xmlEdit) value(start, end int) {
	raw := e.in[start:end]
	text := strings.TrimSpace(raw)
	if text == "" {
		return
	}
	from := start + strings.Index(raw, text)
	kind := keyPlain
	if n := len(e.names); n > 0 {
		kind = e.kind(e.names[n-1])
	}
	if made, changed := e.w.value(kind, html.UnescapeString(text), e); changed {
		e.replace(from, from+len(text), html.EscapeString(made))
	}
}

// kind is what the name of an element or attribute, without its prefix, says;
// "name" is a person's where the element around it is about one.
func (e *xmlEdit) kind(name string) keyKind {
	kind := e.w.keys.kind(local(name))
	if kind == keyBareName && (len(e.names) < 2 || e.w.keys.kind(local(e.names[len(e.names)-2])) != keyPerson) {
		return keyPlain
	}
	return kind
}

func local(name string) string {
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		return name[i+1:]
	}
	return name
}

// tag passes what starts with the "<" at, and returns where the next text
// begins.
func (e *xmlEdit) tag(at int) int {
	rest := e.in[at:]
	for _, section := range [][2]string{{"<![CDATA[", "]]>"}, {"<!--", "-->"}, {"<?", "?>"}, {"<!", ">"}} {
		if !strings.HasPrefix(rest, section[0]) {
			continue
		}
		end := strings.Index(rest, section[1])
		if end < len(section[0]) {
			return len(e.in)
		}
		inside := rest[len(section[0]):end]
		kind := keyPlain
		if n := len(e.names); n > 0 && section[0] == "<![CDATA[" {
			kind = e.kind(e.names[n-1])
		}
		if made, changed := e.w.value(kind, inside, e); changed {
			e.replace(at+len(section[0]), at+end, strings.ReplaceAll(made, section[1], ""))
		}
		return at + end + len(section[1])
	}
	end := tagEnd(rest)
	if end < 0 {
		e.value(at, len(e.in))
		return len(e.in)
	}
	if strings.HasPrefix(rest, "</") {
		if n := len(e.names); n > 0 {
			e.names = e.names[:n-1]
		}
		return at + end + 1
	}
	nameEnd := 1
	for nameEnd < end && rest[nameEnd] > ' ' && rest[nameEnd] != '/' {
		nameEnd++
	}
	if len(e.names) < maxDepth {
		e.names = append(e.names, rest[1:nameEnd])
	}
	e.attributes(at+nameEnd, at+end)
	if rest[end-1] == '/' {
		e.names = e.names[:len(e.names)-1]
	}
	return at + end + 1
}

// tagEnd returns the position of the ">" that ends a tag, behind the quoted
// values in it.
func tagEnd(s string) int {
	var quote byte
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return i
		}
	}
	return -1
}

func (e *xmlEdit) attributes(start, end int) {
	for at := start; at < end; {
		eq := strings.IndexByte(e.in[at:end], '=')
		if eq < 0 {
			return
		}
		name := strings.TrimSpace(e.in[at : at+eq])
		from := at + eq + 1
		for from < end && e.in[from] <= ' ' {
			from++
		}
		if from >= end || e.in[from] != '"' && e.in[from] != '\'' {
			at = from
			continue
		}
		length := strings.IndexByte(e.in[from+1:end], e.in[from])
		if length < 0 {
			return
		}
		e.names = append(e.names, name)
		value := e.in[from+1 : from+1+length]
		if made, changed := e.w.value(e.kind(name), html.UnescapeString(value), e); changed {
			e.replace(from+1, from+1+length, html.EscapeString(made))
		}
		e.names = e.names[:len(e.names)-1]
		at = from + length + 2
	}
}
