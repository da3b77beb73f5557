package mock

import (
	"cmp"
	"encoding/xml"
	"io"
	"slices"
	"strings"
)

// appendXML appends an XML document: elements and attributes as members,
// attributes sorted, prefixes resolved, white space between elements and
// comments left out. It reports false, and f as it was, for what is not
// well-formed.
func appendXML(f form, s string) (form, bool) {
	kept := len(f)
	d := xml.NewDecoder(strings.NewReader(s))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // both sides are read the same way
	depth, elements := 0, 0
	var content strings.Builder
	pour := func() {
		if t := strings.TrimSpace(content.String()); t != "" {
			f = append(f, token{member, "text"}, token{text, t})
		}
		content.Reset()
	}
	for {
		t, err := d.Token()
		if err == io.EOF && depth == 0 && elements > 0 {
			return f, true
		}
		if err != nil || depth > maxDepth {
			return f[:kept], false
		}
		switch t := t.(type) {
		case xml.StartElement:
			pour()
			depth++
			elements++
			f = append(f, token{member, xmlName(t.Name)}, token{open, ""})
			slices.SortStableFunc(t.Attr, func(a, b xml.Attr) int { return cmp.Compare(xmlName(a.Name), xmlName(b.Name)) })
			for _, a := range t.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" { // a prefix says nothing once it is resolved
					f = append(f, token{member, "@" + xmlName(a.Name)}, token{text, a.Value})
				}
			}
		case xml.EndElement:
			pour()
			depth--
			f = append(f, token{shut, ""})
		case xml.CharData:
			content.Write(t)
		}
	}
}

func xmlName(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return "{" + n.Space + "}" + n.Local
}
