package transform

import (
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// spot is one value with what is known of its place.
type spot struct {
	path       traffic.Path
	key        string // name of the parameter, field, cookie or header; for a path segment the one before it
	parent     string // name of what holds key
	collection string // the last name in the path of the request
	segment    bool   // the value is a path segment
	value      string
	number     bool
	whole      bool // the value is one or none: what lies within it is not looked at
}

// distinctive reports whether a value can hardly occur twice by chance.
func distinctive(s spot) bool {
	v := s.value
	if len(v) < 8 || len(v) > 8<<10 {
		return false
	}
	var digits, letters, other int
	var seen [256]bool
	different := 0
	for i := range len(v) {
		c := v[i]
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			letters++
		case c <= ' ' || c >= 0x7f:
			return false // prose, or names
		default:
			other++
		}
		if !seen[c] {
			seen[c] = true
			different++
		}
	}
	switch {
	case different < 4:
		return false
	case letters == 0 && other == 0:
		return digits >= 9
	case letters == 0: // dates, versions, addresses and amounts are short of it
		return digits >= 12
	case digits == 0:
		return secretName(s.key)
	}
	return true
}

// secretName reports whether a name speaks of a random value.
func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"token", "csrf", "xsrf", "nonce", "cursor", "session", "ticket", "uuid", "etag", "secret"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	switch name {
	case "code", "state", "next", "jti", "sid", "page_key":
		return true
	}
	return strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "-id") || name == "id"
}

// thing returns what a short value is the id of, such as "order" for order_id,
// for the id within orders, and for /orders/42; or "" when nothing tells.
func (s spot) thing() string {
	if s.segment {
		return singular(s.key)
	}
	name, ok := idName(s.key)
	switch {
	case !ok:
		return ""
	case name != "":
		return singular(name)
	case s.parent != "":
		return singular(s.parent)
	}
	return singular(s.collection)
}

// idName cuts the mark of an identifier off a name: order_id, orderId and
// orderID give "order", id gives "". It reports false for other names.
func idName(key string) (string, bool) {
	if strings.EqualFold(key, "id") {
		return "", true
	}
	for _, mark := range []string{"_id", "-id", "Id", "ID"} {
		if name, ok := strings.CutSuffix(key, mark); ok {
			return name, true
		}
	}
	return "", false
}

// singular folds case and takes the plural off an English word, well enough
// to tell that "orders" and "order" are one thing.
func singular(word string) string {
	word = strings.ToLower(strings.Trim(word, "_-"))
	switch {
	case strings.HasSuffix(word, "ies") && len(word) > 4:
		return word[:len(word)-3] + "y"
	case strings.HasSuffix(word, "sses"), strings.HasSuffix(word, "xes"), strings.HasSuffix(word, "ches"), strings.HasSuffix(word, "shes"):
		return word[:len(word)-2]
	case strings.HasSuffix(word, "s") && !strings.HasSuffix(word, "ss") && len(word) > 2:
		return word[:len(word)-1]
	}
	return word
}

// short reports whether a value may be an id although it is not distinctive.
func short(v string) bool {
	if v == "" || len(v) > 64 || v == "true" || v == "false" || v == "null" {
		return false
	}
	digit := false
	for i := range len(v) {
		c := v[i]
		switch {
		case c >= '0' && c <= '9':
			digit = true
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
		default:
			return false
		}
	}
	return digit
}

// identity is what a value is known by: distinctive values by themselves,
// short ones together with the thing that they are the id of. Values that
// cannot be told apart from others have none.
func (s spot) identity() (string, bool) {
	if distinctive(s) {
		return s.value, true
	}
	if thing := s.thing(); thing != "" && short(s.value) {
		return thing + "\x00" + s.value, true
	}
	return "", false
}

// recordedValue takes the value out of an identity.
func recordedValue(identity string) string {
	if _, value, ok := strings.Cut(identity, "\x00"); ok {
		return value
	}
	return identity
}

// words splits a text into what may be a value within it: once at everything
// that base64 does not use, and once at slashes and equal signs too. Each word
// comes once.
func words(text string, visit func(string)) {
	split := func(cut func(rune) bool) {
		for word := range strings.FieldsFuncSeq(text, cut) {
			if len(word) >= 12 && len(word) < len(text) {
				visit(word)
			}
		}
	}
	split(wordEnd)
	if strings.ContainsAny(text, "/=+") {
		split(func(r rune) bool { return wordEnd(r) || r == '/' || r == '=' || r == '+' })
	}
}

func wordEnd(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'`+"`,;:&?#<>()[]{}|\\!$*@^", r)
}

// collectionOf returns the last name in the path of a request.
func collectionOf(req *traffic.Request) string {
	template := (*traffic.Router)(nil).Template(req.Path())
	segments := strings.Split(template, "/")
	for i := len(segments) - 1; i >= 0; i-- {
		if segments[i] != "" && segments[i] != "{id}" {
			return segments[i]
		}
	}
	return ""
}
