package compare

import (
	"encoding/json"
)

// tree is a structured body as one flat slice of nodes in document order. The
// children of a node follow it directly; next skips over a whole subtree.
type tree struct {
	data  []byte
	nodes []node
}

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

func (k kind) String() string {
	return [...]string{"null", "boolean", "number", "string", "array", "object"}[k]
}

type node struct {
	kind kind
	// escaped says that the text of a string holds backslashes, keyEscaped the
	// same of the key.
	escaped, keyEscaped bool
	// key and text are spans of data, without quotes; key is empty outside of
	// objects. The text of a container is all of it.
	keyAt, keyEnd   int32
	textAt, textEnd int32
	// next is the index of the node after this subtree; size counts children.
	next, size int32
}

// The bounds of structured comparison. A body beyond them is compared as
// binary: that it differs is still seen, where is not.
const (
	maxTreeBytes = 64 << 20
	maxTreeNodes = 4 << 20
	maxTreeDepth = 512
)

// parseTree reads one JSON document. It reports false for anything else, and
// for documents beyond the bounds.
func parseTree(data []byte) (*tree, bool) {
	if len(data) == 0 || len(data) > maxTreeBytes {
		return nil, false
	}
	p := treeParser{tree: tree{data: data, nodes: make([]node, 0, min(len(data)/12+4, maxTreeNodes))}}
	p.space()
	if !p.value(0, 0, 0, false) {
		return nil, false
	}
	p.space()
	if p.at != len(data) {
		return nil, false
	}
	return &p.tree, true
}

type treeParser struct {
	tree
	at int
}

func (p *treeParser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *treeParser) peek() byte {
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return 0
}

// value reads one value and the subtree below it.
func (p *treeParser) value(depth int, keyAt, keyEnd int, keyEscaped bool) bool {
	if depth > maxTreeDepth || len(p.nodes) >= maxTreeNodes {
		return false
	}
	i := len(p.nodes)
	n := node{keyAt: int32(keyAt), keyEnd: int32(keyEnd), keyEscaped: keyEscaped, textAt: int32(p.at)}
	p.nodes = append(p.nodes, n)
	ok := false
	switch c := p.peek(); {
	case c == '{':
		n.kind = kindObject
		n.size, ok = p.object(depth)
	case c == '[':
		n.kind = kindArray
		n.size, ok = p.array(depth)
	case c == '"':
		n.kind = kindString
		var from, to int
		from, to, n.escaped, ok = p.str()
		n.textAt, n.textEnd = int32(from), int32(to)
	case c == 't':
		n.kind, ok = kindBool, p.word("true")
	case c == 'f':
		n.kind, ok = kindBool, p.word("false")
	case c == 'n':
		n.kind, ok = kindNull, p.word("null")
	default:
		n.kind, ok = kindNumber, p.number()
	}
	if n.kind != kindString {
		n.textEnd = int32(p.at)
	}
	n.next = int32(len(p.nodes))
	p.nodes[i] = n
	return ok
}

func (p *treeParser) object(depth int) (size int32, ok bool) {
	p.at++
	p.space()
	if p.peek() == '}' {
		p.at++
		return 0, true
	}
	for {
		from, to, escaped, ok := p.str()
		if !ok {
			return size, false
		}
		p.space()
		if p.peek() != ':' {
			return size, false
		}
		p.at++
		p.space()
		if !p.value(depth+1, from, to, escaped) {
			return size, false
		}
		size++
		p.space()
		switch p.peek() {
		case ',':
			p.at++
			p.space()
		case '}':
			p.at++
			return size, true
		default:
			return size, false
		}
	}
}

func (p *treeParser) array(depth int) (size int32, ok bool) {
	p.at++
	p.space()
	if p.peek() == ']' {
		p.at++
		return 0, true
	}
	for {
		if !p.value(depth+1, 0, 0, false) {
			return size, false
		}
		size++
		p.space()
		switch p.peek() {
		case ',':
			p.at++
			p.space()
		case ']':
			p.at++
			return size, true
		default:
			return size, false
		}
	}
}

// str reads a string and returns the span between its quotes.
func (p *treeParser) str() (from, to int, escaped, ok bool) {
	if p.peek() != '"' {
		return 0, 0, false, false
	}
	p.at++
	from = p.at
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case c == '"':
			p.at++
			return from, p.at - 1, escaped, true
		case c == '\\':
			escaped = true
			p.at++
			if !p.escape() {
				return 0, 0, false, false
			}
		case c < ' ':
			return 0, 0, false, false
		default:
			p.at++
		}
	}
	return 0, 0, false, false
}

func (p *treeParser) escape() bool {
	switch p.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		p.at++
		return true
	case 'u':
		if p.at+5 > len(p.data) {
			return false
		}
		for _, c := range p.data[p.at+1 : p.at+5] {
			if !isHexDigit(c) {
				return false
			}
		}
		p.at += 5
		return true
	}
	return false
}

func isHexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (p *treeParser) word(w string) bool {
	if len(p.data)-p.at < len(w) || string(p.data[p.at:p.at+len(w)]) != w {
		return false
	}
	p.at += len(w)
	return true
}

// number reads a number of the JSON grammar.
func (p *treeParser) number() bool {
	if p.peek() == '-' {
		p.at++
	}
	if p.peek() == '0' {
		p.at++
	} else if !p.digits() {
		return false
	}
	if p.peek() == '.' {
		p.at++
		if !p.digits() {
			return false
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		return p.digits()
	}
	return true
}

func (p *treeParser) digits() bool {
	from := p.at
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.at++
	}
	return p.at > from
}

func (t *tree) raw(i int32) []byte { return t.data[t.nodes[i].textAt:t.nodes[i].textEnd] }

// key returns the name of a member, unescaped.
func (t *tree) key(i int32) string {
	n := &t.nodes[i]
	return unquote(t.data[n.keyAt:n.keyEnd], n.keyEscaped)
}

// text returns a value for people: strings without quotes, the rest as written.
func (t *tree) text(i int32) string {
	n := &t.nodes[i]
	return unquote(t.raw(i), n.kind == kindString && n.escaped)
}

// literal returns a value as JSON writes it, so that "12" and 12 look different.
func (t *tree) literal(i int32) string {
	if t.nodes[i].kind == kindString {
		return `"` + string(t.raw(i)) + `"`
	}
	return string(t.raw(i))
}

func unquote(raw []byte, escaped bool) string {
	if !escaped {
		return string(raw)
	}
	var s string
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	if err := json.Unmarshal(quoted, &s); err != nil {
		return string(raw)
	}
	return s
}
