package transform

import (
	"cmp"
	"net/url"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

// maxBody is the size up to which the inside of a body is looked at.
const maxBody = 4 << 20

// substitute gives the value to put in the place of a spot, and whether there
// is one.
type substitute func(spot) (string, bool)

// rewriteRequest offers every value of a request to sub and returns the request
// with what sub gave. Everything else keeps its bytes. It returns req itself
// when nothing changed, and never changes what req holds. Types, which may be
// nil, are those of protobuf messages.
func rewriteRequest(types *protobuf.Types, req *traffic.Request, sub substitute) *traffic.Request {
	return rewriteSigned(types, req, sub, nil)
}

// rewriteSigned does the same, and offers every token that sub left alone to
// sign: with the claims that sub changed, or as it is. What sign does not take
// stays as recorded, because claims without their signature help nobody.
func rewriteSigned(types *protobuf.Types, req *traffic.Request, sub, sign substitute) *traffic.Request {
	w := requestWalk{collection: collectionOf(req), sub: sub, sign: sign}
	w.input = types.Input(req.Path(), req.Header.Get("Content-Type"))
	out := *req
	out.Target = w.target(req.Target)
	out.Header = w.headers(req.Header)
	out.Body = w.body(req)
	if !w.changed {
		return req
	}
	return &out
}

type requestWalk struct {
	collection string
	sub        substitute
	sign       substitute // nil: tokens stay
	changed    bool
	input      protoreflect.MessageDescriptor // of protobuf messages; may be nil
	stream     bool                           // messages are those of a stream of gRPC
}

func (w *requestWalk) offer(s spot) (string, bool) {
	s.collection = w.collection
	text, ok := w.sub(s)
	if !ok || text == s.value {
		if text, ok = w.token(s); !ok || text == s.value {
			return s.value, false
		}
	}
	w.changed = true
	return text, true
}

// token offers the claims of a token, and the token with what became of them.
func (w *requestWalk) token(s spot) (string, bool) {
	t, ok := fresh.ParseToken(s.value)
	if !ok {
		return s.value, false
	}
	claims := t.Claims
	var edits []edit
	claimSpots(claims, s.path, func(l leaf, claim spot) {
		claim.collection = w.collection
		if text, ok := w.sub(claim); ok && text != claim.value {
			edits = append(edits, edit{l.start, l.end, l.literal(text)})
		}
	})
	if w.sign == nil {
		return s.value, false
	}
	if len(edits) > 0 {
		s.value = withClaims(s.value, applyEdits(claims, edits))
	}
	return w.sign(s)
}

func (w *requestWalk) target(target string) string {
	path, query, hasQuery := strings.Cut(target, "?")
	segments := strings.Split(path, "/")
	before := ""
	for i, raw := range segments {
		value, err := url.PathUnescape(raw)
		if err != nil || raw == "" {
			continue
		}
		s := spot{path: traffic.At("request", "path").Elem(i - 1), key: before, segment: true, value: value}
		if i == 0 { // a target that does not start with a slash
			s.path = traffic.At("request", "path").Elem(0)
		}
		before = value
		if text, ok := w.offer(s); ok {
			segments[i] = url.PathEscape(text)
		}
	}
	out := strings.Join(segments, "/")
	if hasQuery {
		out += "?" + w.pairs(query, traffic.At("request", "query"))
	}
	return out
}

// pairs handles a query or a form.
func (w *requestWalk) pairs(raw string, base traffic.Path) string {
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		rawKey, rawValue, ok := strings.Cut(pair, "=")
		key, errKey := url.QueryUnescape(rawKey)
		value, errValue := url.QueryUnescape(rawValue)
		if !ok || errKey != nil || errValue != nil || value == "" {
			continue
		}
		if text, ok := w.offer(spot{path: base.Child(key), key: key, value: value}); ok {
			pairs[i] = rawKey + "=" + escapeLike(rawValue, text)
		}
	}
	return strings.Join(pairs, "&")
}

// escapeLike escapes a query value as the client escaped the one that it
// replaces: what stood there in the clear stays so.
func escapeLike(raw, text string) string {
	escaped := url.QueryEscape(text)
	for _, c := range [...]string{":", "/", ",", "@"} {
		if strings.Contains(raw, c) {
			escaped = strings.ReplaceAll(escaped, url.QueryEscape(c), c)
		}
	}
	return escaped
}

// plumbing are headers whose values belong to the connection, to the client
// software or to tracing, and never come from an answer of the service.
var plumbing = []string{
	"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "User-Agent", "Accept",
	"Accept-Encoding", "Accept-Language", "Date", "Traceparent", "Tracestate", "Via", "Forwarded", "Expect", "Te", "Trailer",
}

func isPlumbing(name string) bool {
	if len(name) > 12 && strings.EqualFold(name[:12], "X-Forwarded-") || len(name) > 5 && strings.EqualFold(name[:5], "X-B3-") {
		return true
	}
	for _, p := range plumbing {
		if strings.EqualFold(p, name) {
			return true
		}
	}
	return strings.HasPrefix(name, ":")
}

func (w *requestWalk) headers(header traffic.Header) traffic.Header {
	out := header
	set := func(i int, value string) {
		if &out[0] == &header[0] {
			out = header.Clone()
		}
		out[i].Value = value
	}
	for i, f := range header {
		switch {
		case isPlumbing(f.Name) || f.Value == "":
		case strings.EqualFold(f.Name, "Cookie"):
			if value, ok := w.cookies(f.Value); ok {
				set(i, value)
			}
		case strings.EqualFold(f.Name, "If-Match"), strings.EqualFold(f.Name, "If-None-Match"):
			if value, ok := w.tags(f); ok {
				set(i, value)
			}
		default:
			scheme, credential := splitCredential(f)
			s := spot{path: traffic.At("request", "header", f.Name), key: f.Name, value: credential}
			if text, ok := w.offer(s); ok {
				set(i, scheme+text)
			}
		}
	}
	return out
}

// splitCredential splits "Bearer abc" after the scheme; other values come back
// whole.
func splitCredential(f traffic.Field) (scheme, credential string) {
	if strings.EqualFold(f.Name, "Authorization") {
		if i := strings.IndexByte(f.Value, ' '); i > 0 {
			return f.Value[:i+1], f.Value[i+1:]
		}
	}
	return "", f.Value
}

func (w *requestWalk) cookies(line string) (string, bool) {
	pairs := strings.Split(line, ";")
	changed := false
	for i, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			continue
		}
		key := strings.TrimSpace(name)
		if text, ok := w.offer(spot{path: traffic.At("request", "cookie", key), key: key, value: strings.TrimSpace(value)}); ok {
			pairs[i], changed = name+"="+text, true
		}
	}
	return strings.Join(pairs, ";"), changed
}

// tags handles a list of entity tags such as W/"a", "b".
func (w *requestWalk) tags(f traffic.Field) (string, bool) {
	tags := strings.Split(f.Value, ",")
	changed := false
	for i, tag := range tags {
		opaque := entityTag(tag)
		if text, ok := w.offer(spot{path: traffic.At("request", "header", f.Name), key: "etag", value: opaque}); ok {
			tags[i], changed = strings.Replace(tag, opaque, text, 1), true
		}
	}
	return strings.Join(tags, ","), changed
}

// entityTag takes the mark of weakness and the quotes off an entity tag.
func entityTag(tag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
}

func (w *requestWalk) body(req *traffic.Request) traffic.Body {
	body := req.Body
	if len(body.Raw) == 0 || len(body.Raw) > maxBody {
		return body
	}
	if isWebSocket(req) {
		body.Raw = w.conversation(body.Raw)
		body.Size = int64(len(body.Raw))
		return body
	}
	plain, err := body.Decoded()
	if err != nil || len(plain) > maxBody {
		return body
	}
	before := w.changed
	w.changed = false
	edited := w.plainBody(plain, req.Header.Get("Content-Type"), spot{path: traffic.At("request", "body")})
	changed := w.changed
	w.changed = before || changed
	if !changed {
		return body
	}
	raw, err := traffic.Encode(edited, body.Coding)
	if err != nil {
		return body
	}
	body.Raw, body.Size = raw, int64(len(raw))
	return body
}

// plainBody handles a decoded body, or one part of one; whole is the spot that
// it is as a whole.
func (w *requestWalk) plainBody(plain []byte, contentType string, whole spot) []byte {
	mediaType := traffic.MediaType(traffic.Header{{Name: "Content-Type", Value: contentType}})
	if kind := protoBodyOf(mediaType); kind != noProto {
		return protoWalk{value: w.offer}.body(plain, kind, w.input, whole)
	}
	switch {
	case mediaType == "application/x-www-form-urlencoded":
		return []byte(w.pairs(string(plain), whole.path))
	case strings.HasPrefix(mediaType, "multipart/"):
		return w.parts(plain, contentType, whole.path)
	case traffic.IsJSON(mediaType) || mediaType == "" || mediaType == "text/plain":
		var edits []edit
		isJSON := jsonLeaves(plain, whole.path, func(l leaf) {
			s := spot{path: l.path, key: cmp.Or(l.key, whole.key), parent: l.parent, value: l.text(plain), number: l.number}
			if text, ok := w.offer(s); ok {
				edits = append(edits, edit{l.start, l.end, l.literal(text)})
			}
		})
		if isJSON {
			return applyEdits(plain, edits)
		}
	}
	if !utf8.Valid(plain) {
		return plain
	}
	whole.value = string(plain)
	text, _ := w.offer(whole)
	return []byte(text)
}
