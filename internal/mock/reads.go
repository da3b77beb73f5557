package mock

import (
	"net/http"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic/sql"
)

// reads reports whether a call only reads, as far as its protocol tells, so
// that answering it twice hides nothing.
func (c *call) reads() bool {
	switch c.req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	case http.MethodPost:
	default:
		return false
	}
	path := c.req.Path()
	name := path[strings.LastIndexByte(path, '/')+1:]
	media := mediaType(c.req.Header.Get("Content-Type"))
	switch {
	case strings.HasPrefix(media, "application/grpc"):
		return readsByName(name)
	case c.req.Header.Has("X-Amz-Target"):
		target := c.req.Header.Get("X-Amz-Target")
		return readsByName(target[strings.LastIndexByte(target, '.')+1:])
	}
	if statements := c.statements(); len(statements) > 0 {
		return !slices.ContainsFunc(statements, func(fingerprint string) bool { return !sql.Reads(fingerprint) })
	}
	documents := c.bodyMember("query")
	for _, d := range documents {
		if _, ok := normalGraphQL(d); !ok || changesGraphQL(d) {
			return false
		}
	}
	if len(documents) > 0 {
		return true
	}
	if actions := c.bodyMember("Action"); len(actions) == 1 && media == "application/x-www-form-urlencoded" {
		return readsByName(actions[0]) // the query protocol of AWS
	}
	return false
}

// readingVerbs begin the names of remote procedures that read. Google's and
// Amazon's guides for APIs use no others for it.
var readingVerbs = []string{"BatchGet", "Check", "Count", "Describe", "Exists", "Fetch", "Find", "Get", "Has", "Head", "Is", "List", "Lookup", "Query", "Read", "Scan", "Search", "Watch"}

func readsByName(name string) bool {
	return slices.ContainsFunc(readingVerbs, func(verb string) bool {
		rest, ok := strings.CutPrefix(name, verb)
		// "Get" and "GetItem" read, "Getaway" is another word.
		return ok && (rest == "" || rest[0] < 'a' || rest[0] > 'z')
	})
}

// bodyMember returns the text values of a member at the top of the body, or at
// the top of the objects in its list.
func (c *call) bodyMember(name string) []string {
	var values []string
	depth, inBody := 0, false
	for i, t := range c.form {
		switch t.kind {
		case part:
			inBody = t.text == "body"
		case open, list:
			depth++
		case shut, listEnd:
			depth--
		case member:
			if inBody && depth <= 2 && t.text == name && i+1 < len(c.form) && c.form[i+1].kind == text {
				values = append(values, c.form[i+1].text)
			}
		}
	}
	return values
}

// statements returns what the SQL of a call asks, as fingerprints.
func (c *call) statements() []string {
	var asks []string
	for _, t := range c.form {
		if t.kind == asked {
			asks = append(asks, t.text)
		}
	}
	return asks
}
