package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// value is one text of an exchange: where it is, the name of its field if it
// has one, and what it is when decoded.
type value struct {
	path   traffic.Path
	key    string
	header bool
	person bool // the field stands in an object about a person
	text   string
}

// values yields every text of an exchange. It reads with the standard library
// what the redactor reads with code of its own.
func values(x *traffic.Exchange) iter.Seq[value] {
	return func(yield func(value) bool) {
		w := &valueWalk{yield: yield}
		req := &x.Request
		w.target(req)
		w.header(req.Header, "request", "header")
		w.header(req.Trailer, "request", "trailer")
		w.body(req.Body, req.Header, "request")
		if r := x.Response; r != nil {
			w.header(r.Header, "response", "header")
			w.header(r.Trailer, "response", "trailer")
			w.body(r.Body, r.Header, "response")
		}
		w.put(value{path: traffic.At("connection"), text: x.Origin.Connection})
	}
}

type valueWalk struct {
	yield func(value) bool
	done  bool
}

func (w *valueWalk) put(v value) {
	if !w.done && v.text != "" {
		w.done = !w.yield(v)
	}
}

func (w *valueWalk) target(r *traffic.Request) {
	for i, segment := range strings.Split(strings.TrimPrefix(r.Path(), "/"), "/") {
		text, err := url.PathUnescape(segment)
		if err != nil {
			text = segment
		}
		w.put(value{path: traffic.At("request", "path").Elem(i), text: text})
	}
	w.query(r.RawQuery(), traffic.At("request", "query"))
}

func (w *valueWalk) query(raw string, base traffic.Path) {
	for pair := range strings.SplitSeq(raw, "&") {
		values, err := url.ParseQuery(pair)
		if err != nil {
			w.put(value{path: base, text: pair})
			continue
		}
		for key, list := range values {
			for _, text := range list {
				w.put(value{path: base.Child(key), key: key, text: text})
			}
			w.put(value{path: base, text: key})
		}
	}
}

func (w *valueWalk) header(h traffic.Header, part, place string) {
	for _, f := range h {
		path := traffic.At(part, place, f.Name)
		switch lower := strings.ToLower(f.Name); {
		case lower == "cookie":
			cookies, err := http.ParseCookie(f.Value)
			if err != nil {
				w.put(value{path: path, key: "cookie", text: f.Value})
			}
			for _, c := range cookies {
				w.cookie(c, part)
			}
		case lower == "set-cookie":
			if c, err := http.ParseSetCookie(f.Value); err == nil {
				w.cookie(c, part)
			} else {
				w.put(value{path: path, key: "cookie", text: f.Value})
			}
		case !structural[lower]:
			w.put(value{path: path, key: f.Name, header: true, text: f.Value})
		}
	}
}

func (w *valueWalk) cookie(c *http.Cookie, part string) {
	text := c.Value
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	key := "cookie"
	if strings.Contains(plainCookies, " "+normalise(c.Name)+" ") {
		key = ""
	}
	w.put(value{path: traffic.At(part, "cookie", c.Name), key: key, text: text})
}

func (w *valueWalk) body(b traffic.Body, h traffic.Header, part string) {
	if len(b.Raw) == 0 {
		return
	}
	plain, err := b.Decoded()
	base := traffic.At(part, "body")
	if err != nil && len(plain) == 0 {
		return // coded bytes that nobody can read; the redactor keeps none
	}
	switch {
	case traffic.MediaType(h) == "application/x-www-form-urlencoded":
		w.query(string(plain), base)
	case json.Valid(plain):
		w.json(plain, base)
	case utf8.Valid(plain):
		for line := range strings.Lines(string(plain)) {
			w.put(value{path: base, text: line})
		}
	default:
		// Text within binary data: runs of printable characters.
		for run := range bytes.FieldsFuncSeq(plain, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
			if len(run) >= 6 {
				w.put(value{path: base, text: string(run)})
			}
		}
	}
}

func (w *valueWalk) json(data []byte, base traffic.Path) {
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if dec.Decode(&v) == nil {
		w.tree(v, base, "", false)
	}
}

func (w *valueWalk) tree(v any, path traffic.Path, key string, person bool) {
	switch v := v.(type) {
	case map[string]any:
		inside := kindOfKey(key) == keyPerson
		for name := range v {
			inside = inside || ofPerson(name)
		}
		for name, child := range v {
			w.put(value{path: path, text: name})
			w.tree(child, path.Child(name), name, inside)
		}
	case []any:
		for i, child := range v {
			w.tree(child, path.Elem(i), key, person)
		}
	case json.Number:
		w.put(value{path: path, key: key, text: v.String()})
	case string:
		if nested := []byte(v); len(v) > 8 && (v[0] == '{' || v[0] == '[') && json.Valid(nested) {
			w.json(nested, path)
			return
		}
		w.put(value{path: path, key: key, person: person, text: v})
		if plain, err := base64.StdEncoding.DecodeString(v); err == nil && len(v) >= 24 && utf8.Valid(plain) {
			w.put(value{path: path, key: key, text: string(plain)})
		}
	}
}

func decodeSegment(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }

// judgeKey returns the detector that the name of a value's field calls for
// when the value is none of its pseudonyms.
func judgeKey(v value) string {
	name := strings.ToLower(v.key)
	switch {
	case v.header && credentialHeaders[name], name == "cookie":
		if !isCredentialPseudonym(v.text) {
			return DetectCredential
		}
		return ""
	case v.key == "":
		return ""
	}
	switch kind := kindOfKey(v.key); kind {
	case keySecret:
		if !isCredentialPseudonym(v.text) && !isNumberPseudonym(v.text) {
			return DetectCredential
		}
	case keyToken:
		if len(v.text) >= 8 && !isCredentialPseudonym(v.text) {
			return DetectCredential
		}
	case keyPhone:
		if n := len(onlyDigits(v.text)); n >= 7 && n <= 15 && !strings.ContainsAny(v.text, "@:") && strings.Count(v.text, ".") < 3 && !isPhonePseudonym(v.text) {
			return DetectPhone
		}
	case keyNationalID:
		digits := onlyDigits(v.text)
		if !isCredentialPseudonym(v.text) && !isNumberPseudonym(v.text) && !(len(digits) == 9 && digits[0] == '9' && digits[3] == '1') {
			return DetectNationalID
		}
	case keyName, keyBareName:
		if (kind == keyName || v.person) && !v.header && !strings.ContainsAny(v.text, "@:/{}") && !isNamePseudonym(v.text) && !isSecretPseudonym(v.text) {
			return DetectName
		}
	}
	return ""
}

// isCredentialPseudonym reports whether a credential, with its scheme or
// without, is a pseudonym throughout.
func isCredentialPseudonym(s string) bool {
	if s == removed || isSecretPseudonym(s) {
		return true
	}
	scheme, rest, ok := strings.Cut(s, " ")
	if !ok {
		scheme, rest = "", s
	}
	if strings.EqualFold(scheme, "basic") {
		plain, err := base64.StdEncoding.DecodeString(rest)
		_, password, ok := strings.Cut(string(plain), ":")
		return err == nil && ok && (password == "" || isSecretPseudonym(password))
	}
	if parts := strings.Split(rest, "."); len(parts) == 3 && strings.HasPrefix(rest, "eyJ") {
		signature, err := decodeSegment(parts[2])
		return err == nil && (len(signature) == 0 || isSignaturePseudonym(signature))
	}
	return isSecretPseudonym(rest)
}

// isNamePseudonym reports whether all words of a name are pseudonyms.
func isNamePseudonym(s string) bool {
	for word := range strings.FieldsFuncSeq(strings.ToLower(s), func(r rune) bool { return r < 0x80 && !isAlnum(byte(r)) }) {
		if word != "x" && !(len(word) == 8 && strings.HasSuffix(word, nameSuffix)) {
			return false
		}
	}
	return true
}
