package redact

import (
	"bytes"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// exchange redacts every part of x that can hold a value of somebody.
func (w *walk) exchange(x *traffic.Exchange) error {
	req := &x.Request
	w.target(req)
	w.header(req.Header, "request", "header")
	if err := w.body(x, &req.Body, &req.Header, "request"); err != nil {
		return err
	}
	w.header(req.Trailer, "request", "trailer")
	if resp := x.Response; resp != nil {
		w.header(resp.Header, "response", "header")
		if err := w.body(x, &resp.Body, &resp.Header, "response"); err != nil {
			return err
		}
		w.header(resp.Trailer, "response", "trailer")
	}
	x.Origin.Connection, _ = w.text(x.Origin.Connection, spot{part: "connection"})
	w.match(x.Match)
	return nil
}

// match redacts what the mock noted about a miss.
func (w *walk) match(m *traffic.Match) {
	if m == nil {
		return
	}
	m.Reason, _ = w.text(m.Reason, spot{part: "match"})
	near := make([]traffic.Near, len(m.Nearest))
	for i, n := range m.Nearest {
		differences := make([]traffic.Disagreement, len(n.Differences))
		for j, d := range n.Differences {
			where := at{d.Path}
			kind := keyPlain
			if steps := d.Path.Steps(); len(steps) > 0 {
				last := steps[len(steps)-1].Name
				kind = w.keys.kind(last)
				if len(steps) == 3 && (steps[1].Name == "header" || steps[1].Name == "cookie") {
					kind = keyPlain
					d.Recorded, _ = w.headerValue(last, d.Recorded, where)
					d.Live, _ = w.headerValue(last, d.Live, where)
				}
			}
			d.Recorded, _ = w.value(kind, d.Recorded, where)
			d.Live, _ = w.value(kind, d.Live, where)
			differences[j] = d
		}
		n.Differences = differences
		near[i] = n
	}
	if len(near) > 0 {
		m.Nearest = near
	}
}

// target redacts path and query, keeping the spelling of what stays.
func (w *walk) target(r *traffic.Request) {
	path, query, hasQuery := strings.Cut(r.Target, "?")
	segments := strings.Split(path, "/")
	for i, s := range segments {
		where := spot{part: "request", kind: "path", index: max(i-1, 0)}
		segments[i] = w.escaped(keyPlain, s, url.PathUnescape, url.PathEscape, where)
	}
	r.Target = strings.Join(segments, "/")
	if hasQuery {
		r.Target += "?" + w.pairs(query, "request", "query")
	}
}

// escaped redacts a value inside a coding. What does not change keeps its
// spelling.
func (w *walk) escaped(kind keyKind, raw string, decode func(string) (string, error), encode func(string) string, where place) string {
	plain, err := decode(raw)
	if err != nil {
		plain, encode = raw, func(s string) string { return s }
	}
	made, changed := w.value(kind, plain, where)
	if !changed {
		return raw
	}
	out := encode(made)
	if strings.Contains(raw, "@") {
		return strings.ReplaceAll(out, "%40", "@")
	}
	if strings.Contains(raw, "%40") {
		return strings.ReplaceAll(out, "@", "%40")
	}
	return out
}

// pairs redacts key=value pairs of a query or form.
func (w *walk) pairs(raw, part, kindOf string) string {
	list := strings.Split(raw, "&")
	for i, pair := range list {
		key, value, ok := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err != nil {
			name = key
		}
		where := spot{part: part, kind: kindOf, name: name, index: -1}
		if !ok {
			list[i] = w.escaped(keyPlain, pair, url.QueryUnescape, url.QueryEscape, where)
			continue
		}
		kind := w.keys.kind(name)
		if kind == keyBareName && !w.besidePerson(raw) {
			kind = keyPlain
		}
		list[i] = key + "=" + w.escaped(kind, value, url.QueryUnescape, url.QueryEscape, where)
	}
	return strings.Join(list, "&")
}

// besidePerson reports whether a query or form has a field that only people
// have.
func (w *walk) besidePerson(pairs string) bool {
	for pair := range strings.SplitSeq(pairs[:min(len(pairs), besideLimit)], "&") {
		key, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(key); err == nil && ofPerson(name) {
			return true
		}
	}
	return false
}

// structural names headers whose values are about the message and nobody, and
// would only cost time or look like something else.
var structural = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range []string{
		"accept", "accept-encoding", "accept-language", "accept-ranges", "age", "allow", "cache-control", "connection", "content-encoding", "content-length", "content-range",
		"content-md5", "digest", "content-digest", "repr-digest", "x-amz-content-sha256", "date", "etag", "expires", "host", "if-match", "if-modified-since", "if-none-match", "if-unmodified-since", "keep-alive",
		"last-modified", "range", "server", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "vary", "b3", "x-b3-traceid",
		"x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled",
	} {
		m[name] = true
	}
	return m
}()

// credentialHeaders hold a credential and nothing else.
var credentialHeaders = map[string]bool{
	"authorization": true, "proxy-authorization": true, "x-api-key": true, "api-key": true, "apikey": true, "x-auth-token": true, "x-access-token": true,
	"x-amz-security-token": true, "x-csrf-token": true, "x-xsrf-token": true, "x-vault-token": true, "x-goog-api-key": true, "x-functions-key": true,
	"ocp-apim-subscription-key": true, "private-token": true, "x-gitlab-token": true, "x-hub-signature": true, "x-hub-signature-256": true, "stripe-signature": true,
	"x-forwarded-access-token": true, "x-amzn-oidc-data": true, "x-amzn-oidc-accesstoken": true, "cf-access-jwt-assertion": true, "x-shopify-access-token": true,
}

func (w *walk) header(h traffic.Header, part, kind string) {
	for i, f := range h {
		lower := strings.ToLower(f.Name)
		if f.Value == "" || structural[lower] && len(w.rules) == 0 {
			continue
		}
		where := spot{part: part, kind: kind, name: f.Name, index: -1}
		switch lower {
		case "cookie":
			h[i].Value = w.cookies(f.Value, part)
		case "set-cookie":
			pair, attributes, ok := strings.Cut(f.Value, ";")
			h[i].Value = w.cookies(pair, part)
			if ok {
				h[i].Value += ";" + attributes
			}
		default:
			h[i].Value, _ = w.headerValue(f.Name, f.Value, where)
		}
	}
}

// headerValue redacts the value of a header other than cookies.
func (w *walk) headerValue(name, value string, where place) (string, bool) {
	lower := strings.ToLower(name)
	if rule := w.rule(where); rule == nil {
		if structural[lower] {
			return value, false
		}
		if credentialHeaders[lower] && !w.disabled[DetectCredential] {
			made := w.credential(value, where)
			if made != value {
				w.count(DetectCredential, where)
			}
			return made, made != value
		}
		if lower == "location" || lower == "referer" || lower == "content-location" {
			return w.url(value, where)
		}
	}
	kind := w.keys.kind(name)
	switch kind {
	case keyBareName, keyPerson, keyBirth, keyAddress:
		kind = keyPlain
	}
	return w.value(kind, value, where)
}

// url redacts path and query of a URL, key by key.
func (w *walk) url(s string, where place) (string, bool) {
	front, query, ok := strings.Cut(s, "?")
	made, _ := w.text(front, where)
	if ok {
		fragment := ""
		if i := strings.IndexByte(query, '#'); i >= 0 {
			fragment, _ = w.text(query[i:], where)
			query = query[:i]
		}
		p := where.path().Steps()
		made += "?" + w.pairs(query, p[0].Name, p[1].Name+"."+p[2].Name) + fragment
	}
	return made, made != s
}

// plainCookies hold settings, which the answers depend on.
const plainCookies = " lang language locale currency country region theme tz timezone consent cookieconsent darkmode device viewport "

func (w *walk) cookies(s, part string) string {
	list := strings.Split(s, ";")
	for i, pair := range list {
		name, value, ok := strings.Cut(pair, "=")
		bare := strings.TrimSpace(name)
		where := spot{part: part, kind: "cookie", name: bare, index: -1}
		if !ok {
			continue
		}
		kind := keySecret
		if strings.Contains(plainCookies, " "+normalise(bare)+" ") {
			kind = keyPlain
		}
		quoted := len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"'
		value = strings.Trim(value, `"`)
		value = w.escaped(kind, value, url.PathUnescape, cookieEscape, where)
		if quoted {
			value = `"` + value + `"`
		}
		list[i] = name + "=" + value
	}
	return strings.Join(list, ";")
}

// cookieEscape escapes only what a cookie value cannot hold.
func cookieEscape(s string) string {
	var out strings.Builder
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\' || c == '%' {
			fmt.Fprintf(&out, "%%%02X", c)
			continue
		}
		out.WriteByte(c)
	}
	return out.String()
}

// body redacts a payload inside its content coding, and corrects the length
// that the header gives.
func (w *walk) body(x *traffic.Exchange, b *traffic.Body, h *traffic.Header, part string) error {
	if len(b.Raw) == 0 {
		return nil
	}
	if isWebSocket(x) {
		w.conversation(x, b, h, part)
		return nil
	}
	plain, err := b.Decoded()
	if err != nil && !(b.Truncated && len(plain) > 0) {
		w.drop(x, b, part)
		return nil
	}
	w.truncated = b.Truncated
	made, changed := w.payload(plain, *h, part)
	w.truncated = false
	if !changed && err == nil {
		return nil
	}
	raw, encodeErr := traffic.Encode(made, b.Coding)
	if encodeErr != nil {
		return fmt.Errorf("%s body: %w", part, encodeErr)
	}
	w.setRaw(b, h, raw)
	return nil
}

// setRaw changes the bytes of a body and what tells their number.
func (w *walk) setRaw(b *traffic.Body, h *traffic.Header, raw []byte) {
	before := len(b.Raw)
	setDigests(*h, b.Raw, raw)
	b.Raw = raw
	if b.Truncated {
		return
	}
	b.Size = int64(len(raw))
	for i, f := range *h {
		if strings.EqualFold(f.Name, "Content-Length") && strings.TrimSpace(f.Value) == strconv.Itoa(before) {
			(*h)[i].Value = strconv.Itoa(len(raw))
		}
	}
}

// drop removes a body that nobody can look into.
func (w *walk) drop(x *traffic.Exchange, b *traffic.Body, part string) {
	x.Incomplete = append(x.Incomplete, part+" body removed: its "+b.Coding+" coding cannot be undone")
	w.count("undecodable", spot{part: part, kind: "body", index: -1})
	if !b.Truncated {
		b.Truncated, b.Size = true, int64(len(b.Raw))
	}
	b.Raw = nil
}

// payload redacts decoded bytes by their media type, or by what they look
// like when it is not said.
func (w *walk) payload(plain []byte, h traffic.Header, part string) ([]byte, bool) {
	base := spot{part: part, kind: "body", index: -1}
	media := traffic.MediaType(h)
	first := bytes.TrimLeft(plain, " \t\r\n\ufeff")
	switch {
	case strings.HasPrefix(media, "application/grpc"):
		return w.grpc(plain, strings.ToLower(h.Get("Grpc-Encoding")), base)
	case media == "application/x-protobuf" || media == "application/protobuf" || media == "application/vnd.google.protobuf":
		return w.protobuf(plain, base, 0)
	case traffic.IsJSON(media), strings.HasSuffix(media, "json"), media != "application/x-www-form-urlencoded" && len(first) > 0 && (first[0] == '{' || first[0] == '['):
		made, changed := w.jsonBytes(string(plain), base)
		if !changed {
			return plain, false
		}
		return made, true
	case media == "application/x-www-form-urlencoded":
		if w.truncated { // half a value cannot be judged
			plain = plain[:bytes.LastIndexByte(plain, '&')+1]
		}
		made := w.pairs(string(plain), part, "body")
		return []byte(made), made != string(plain) || w.truncated
	case strings.HasPrefix(media, "multipart/"):
		if made, changed, ok := w.parts(plain, h.Get("Content-Type"), part); ok {
			return made, changed
		}
	case media == "text/event-stream" && !w.truncated:
		made, changed := w.events(string(plain), base)
		return []byte(made), changed
	}
	if !w.truncated && (strings.HasSuffix(media, "/xml") || strings.HasSuffix(media, "+xml") || bytes.HasPrefix(first, []byte("<?xml"))) && utf8.Valid(plain) {
		made, changed := w.xml(string(plain), base)
		return []byte(made), changed
	}
	if !utf8.Valid(plain) && !strings.HasPrefix(media, "text/") {
		return plain, false
	}
	if w.truncated {
		// The last word may be half a value.
		plain = plain[:max(bytes.LastIndexAny(plain, " \t\r\n")+1, len(plain)-maxWord)]
	}
	made, changed := w.text(string(plain), base)
	return []byte(made), changed || w.truncated
}

// maxWord is how much of the end of a truncated text is given up.
const maxWord = 256
