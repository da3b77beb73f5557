package compare

import (
	"bytes"
	"encoding/xml"
	"strings"

	"golang.org/x/net/html"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// element is what XML and HTML have in common.
type element struct {
	name     string
	attrs    []pair
	children []*element
	text     []string // pieces between the children, without outer space
}

// maxMarkupDepth bounds the nesting of markup that is read.
const maxMarkupDepth = 256

// xmlJSON writes an XML document as an object: attributes are members whose
// names begin with @, children are members by their local name, and text beside
// them is #text. It returns nil for what is not XML.
func xmlJSON(data []byte) []byte {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.Strict = false
	root := &element{}
	stack := []*element{root}
	for {
		token, err := d.RawToken()
		if token == nil || err != nil {
			break // RawToken reports the end as io.EOF; other errors leave the stack open
		}
		top := stack[len(stack)-1]
		switch t := token.(type) {
		case xml.StartElement:
			e := &element{name: t.Name.Local}
			for _, a := range t.Attr {
				if a.Name.Space == "xmlns" || a.Name.Local == "xmlns" {
					continue
				}
				e.attrs = append(e.attrs, pair{a.Name.Local, a.Value})
			}
			top.children = append(top.children, e)
			if stack = append(stack, e); len(stack) > maxMarkupDepth {
				return nil
			}
		case xml.EndElement:
			if len(stack) == 1 || top.name != t.Name.Local {
				return nil
			}
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.addText(string(t))
		}
	}
	if len(stack) != 1 || len(root.children) != 1 || len(root.text) > 0 {
		return nil
	}
	return root.appendJSON(nil)
}

// htmlJSON writes an HTML document in the same form as [xmlJSON], without
// comments, scripts' and styles' text kept as text. It returns nil when the
// nesting is too deep.
func htmlJSON(data []byte) []byte {
	doc, err := html.Parse(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	root := &element{}
	if !root.addNodes(doc, 0) {
		return nil
	}
	return root.appendJSON(nil)
}

func (e *element) addNodes(n *html.Node, depth int) bool {
	if depth > maxMarkupDepth {
		return false
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		switch c.Type {
		case html.TextNode:
			e.addText(c.Data)
		case html.ElementNode:
			child := &element{name: c.Data}
			for _, a := range c.Attr {
				child.attrs = append(child.attrs, pair{a.Key, a.Val})
			}
			e.children = append(e.children, child)
			if !child.addNodes(c, depth+1) {
				return false
			}
		}
	}
	return true
}

// addText adds a piece of text with its spaces folded, unless it is empty.
func (e *element) addText(s string) {
	if s = strings.Join(strings.Fields(s), " "); s != "" {
		e.text = append(e.text, s)
	}
}

// appendJSON writes an element: plain text alone as a string, else an object.
// Children of one name are a list when there are several, or when the name of
// the parent says that there may be (items of item), so that one element more
// does not change the type.
func (e *element) appendJSON(dst []byte) []byte {
	if len(e.attrs) == 0 && len(e.children) == 0 {
		return traffic.AppendText(dst, strings.Join(e.text, " "))
	}
	dst = append(dst, '{')
	member := func(name string) {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(traffic.AppendText(dst, name), ':')
	}
	for _, a := range e.attrs {
		member("@" + a.name)
		dst = traffic.AppendText(dst, a.value)
	}
	byName := make(map[string][]*element)
	var names []string
	for _, c := range e.children {
		if byName[c.name] == nil {
			names = append(names, c.name)
		}
		byName[c.name] = append(byName[c.name], c)
	}
	for _, name := range names {
		member(name)
		list := byName[name]
		if len(list) == 1 && !pluralOf(e.name, name) {
			dst = list[0].appendJSON(dst)
			continue
		}
		dst = append(dst, '[')
		for i, c := range list {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = c.appendJSON(dst)
		}
		dst = append(dst, ']')
	}
	if len(e.text) > 0 {
		member("#text")
		dst = traffic.AppendText(dst, strings.Join(e.text, " "))
	}
	return append(dst, '}')
}

// pluralOf reports whether a name is the plural of another, or its list: items
// of item, entries of entry, ul of li, productList of product.
func pluralOf(parent, child string) bool {
	p, c := strings.ToLower(parent), strings.ToLower(child)
	switch {
	case p == c+"s", p == c+"es", p == c+"list", p == c+"_list", p == c+"-list", p == "listof"+c+"s", p == "arrayof"+c:
		return true
	case strings.HasSuffix(c, "y") && p == strings.TrimSuffix(c, "y")+"ies":
		return true
	}
	switch child {
	case "li", "tr", "td", "th", "option", "dt", "dd":
		return true
	}
	return false
}
