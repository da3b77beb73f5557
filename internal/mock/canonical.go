package mock

import (
	"bytes"
	"hash/maphash"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
	"github.com/reprise-ci/reprise/internal/traffic/sql"
)

// form is the canonical form of a request: a flat list of tokens that is the
// same for two requests that mean the same. The same code makes it for
// recorded and for live requests.
type form []token

// token is one element of a form. Leaves carry values; all others are
// structure.
type token struct {
	kind kind
	text string
}

type kind byte

const (
	part    kind = 'p' // the beginning of a part of the request: "method", "path", "query", "header", "body"
	member  kind = 'k' // the name of what follows: an object member, a query name, a header name
	open    kind = '{'
	shut    kind = '}'
	list    kind = '['
	listEnd kind = ']'
	text    kind = 's' // a string value
	number  kind = 'n' // a number, normalised
	literal kind = 'l' // true, false, null, and names that have no class
	raw     kind = 'r' // bytes that are not looked into
	asked   kind = 'q' // what SQL asks, without the values that it asks with
	source  kind = 'S' // SQL as it was written, before what was made of it; for rules, and in no hash
)

// leaf reports whether the token carries a value.
func (k kind) leaf() bool {
	return k == text || k == number || k == literal || k == raw || k == asked
}

// signatureHeaders are the request headers that tell calls apart. An allow-list,
// since a new header of a client library must not turn every call into a miss.
var signatureHeaders = []string{"Content-Type", "Range", "Soapaction", "X-Amz-Target"}

// canonicalizer makes forms. It is immutable and safe for concurrent use.
type canonicalizer struct {
	headers []string        // canonical names, sorted
	types   *protobuf.Types // of the messages of gRPC services; nil without
}

func newCanonicalizer(extra []string, types *protobuf.Types) *canonicalizer {
	headers := slices.Clone(signatureHeaders)
	headers = append(headers, extra...)
	slices.SortFunc(headers, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return &canonicalizer{slices.CompactFunc(headers, strings.EqualFold), types}
}

// form appends the canonical form of a request to dst[:0]. The dependency is
// the name of the callee after normalisation.
func (c *canonicalizer) form(dst form, dependency string, req *traffic.Request) form {
	f := append(dst[:0], token{part, "authority"}, token{literal, dependency}, token{part, "method"}, token{literal, req.Method}, token{part, "path"})
	for segment := range strings.SplitSeq(strings.TrimPrefix(req.Path(), "/"), "/") {
		f = append(f, token{text, unescape(segment)})
	}
	if q := req.RawQuery(); q != "" {
		f = append(f, token{part, "query"})
		f = appendQuery(f, q)
	}
	f = append(f, token{part, "header"})
	for _, name := range c.headers {
		for _, field := range req.Header {
			if !isName(field.Name, name) {
				continue
			}
			as, value := text, field.Value
			if slices.Contains(signatureHeaders, name) {
				as = literal // these name things, which no service makes up
			}
			if strings.EqualFold(name, "Content-Type") {
				if len(req.Body.Raw) == 0 {
					continue // some clients name a type for no body
				}
				value = mediaType(value)
			}
			f = append(f, token{member, name}, token{as, value})
		}
	}
	f = append(f, token{part, "body"})
	if upgrades(req) { // a conversation, which only begins with the call
		return f
	}
	return c.appendBody(f, req)
}

// mediaType cuts the parameters off, which say how a body is written
// (boundary, charset) and not what it says.
func mediaType(value string) string {
	value, _, _ = strings.Cut(value, ";")
	return strings.ToLower(strings.TrimSpace(value))
}

func unescape(segment string) string {
	if strings.IndexByte(segment, '%') < 0 {
		return segment
	}
	if s, err := url.PathUnescape(segment); err == nil {
		return s
	}
	return segment
}

// appendQuery appends the pairs of a query or form as a sorted multimap: by
// name, and the values of one name in their order.
func appendQuery(f form, query string) form {
	type pair struct{ name, value string }
	pairs := make([]pair, 0, 8)
	for piece := range strings.SplitSeq(query, "&") {
		if piece == "" {
			continue
		}
		name, value, _ := strings.Cut(piece, "=")
		name, value = unescapeQuery(name), unescapeQuery(value)
		if signingParameters[strings.ToLower(name)] {
			continue
		}
		if name == "query" {
			if document, ok := normalGraphQL(value); ok {
				value = document
			}
		}
		pairs = append(pairs, pair{name, value})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	for _, p := range pairs {
		f = appendText(append(f, token{member, p.name}), p.value)
	}
	return f
}

// minSQL is the length of the shortest statement that is told from other texts.
const minSQL = len("SELECT*FROM t")

// appendText appends a value that may be SQL: such a one is what it asks, and
// the values that it asks with.
func appendText(f form, value string) form {
	if len(value) >= minSQL && sql.Begins(value) {
		if s, ok := sql.Read(value, false); ok {
			return appendSQL(f, s, value)
		}
	}
	return append(f, token{text, value})
}

// appendSQL appends a statement at two addresses below its own.
func appendSQL(f form, s *sql.Statement, text string) form {
	kept := len(f)
	f = append(f, token{source, text}, token{open, ""}, token{member, "statement"}, token{asked, s.Fingerprint}, token{member, "values"})
	g, ok := appendJSON(f, string(s.Values))
	if !ok { // nested too deep
		return append(f[:kept], token{asked, s.Fingerprint}, token{raw, string(s.Values)})
	}
	return append(g, token{shut, ""})
}

// signingParameters say who asks and when, in URLs that are signed for AWS.
var signingParameters = map[string]bool{
	"x-amz-signature": true, "x-amz-date": true, "x-amz-credential": true, "x-amz-security-token": true,
}

func unescapeQuery(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// appendBody appends the body by its media type. What cannot be read as its
// type says is taken as bytes.
func (c *canonicalizer) appendBody(f form, req *traffic.Request) form {
	if len(req.Body.Raw) == 0 {
		return f
	}
	contentType := req.Header.Get("Content-Type")
	if strings.HasPrefix(mediaType(contentType), "application/grpc") {
		if g, ok := appendGRPC(f, req, c.types.Input(req.Path(), contentType)); ok {
			return g
		}
	}
	data, err := awsUnchunked(&req.Body).Decoded()
	if err != nil {
		return append(f, token{raw, string(req.Body.Raw)})
	}
	if isProtobuf(mediaType(contentType)) {
		if input := c.types.Input(req.Path(), contentType); input != nil { // Connect and Twirp name it as gRPC does
			if g, ok := appendMessage(f, data, input); ok {
				return g
			}
		}
	}
	return appendContent(f, contentType, data)
}

// appendContent appends data of a media type.
func appendContent(f form, contentType string, data []byte) form {
	media := mediaType(contentType)
	ok := false
	g := f
	switch {
	case traffic.IsJSON(media) || strings.HasPrefix(media, "application/x-amz-json") || media == "" && looksLikeJSON(data):
		if g, ok = appendJSON(f, string(data)); ok {
			normalizeDocuments(g[len(f):])
		}
	case media == "application/x-ndjson" || media == "application/jsonl" || media == "application/json-seq":
		g, ok = appendLines(f, data)
	case media == "application/x-www-form-urlencoded":
		return appendQuery(f, string(data))
	case strings.HasPrefix(media, "multipart/"):
		g, ok = appendMultipart(f, contentType, data)
	case media == "application/xml" || media == "text/xml" || strings.HasSuffix(media, "+xml"):
		g, ok = appendXML(f, string(data))
	case media == "application/graphql":
		var document string
		document, ok = normalGraphQL(string(data))
		g = append(f, token{text, document})
	case isProtobuf(media):
		g, ok = appendProto(f, data, 0)
	case utf8.Valid(data):
		var s *sql.Statement
		if s, ok = sql.Read(string(data), sql.IsMedia(media)); ok {
			g = appendSQL(f, s, string(data))
		}
	}
	if ok {
		return g
	}
	return append(f, opaque(data))
}

// isProtobuf reports whether a body is one message of protobuf.
func isProtobuf(media string) bool {
	switch media {
	case "application/protobuf", "application/proto", "application/x-protobuf", "application/vnd.google.protobuf":
		return true
	}
	return strings.HasSuffix(media, "+proto") && !strings.HasPrefix(media, "application/grpc") // which are framed
}

// appendLines appends one JSON value a line.
func appendLines(f form, data []byte) (form, bool) {
	kept := len(f)
	f = append(f, token{list, ""})
	for line := range bytes.Lines(data) {
		if line = bytes.Trim(line, "\x1e \t\r\n"); len(line) == 0 {
			continue
		}
		var ok bool
		if f, ok = appendJSON(f, string(line)); !ok {
			return f[:kept], false
		}
	}
	return append(f, token{listEnd, ""}), true
}

// appendGRPC appends the messages of a stream: by the names of their fields if
// their type is known, else by numbers.
func appendGRPC(f form, req *traffic.Request, md protoreflect.MessageDescriptor) (form, bool) {
	messages, whole := splitGRPC(req.Body.Raw)
	if !whole {
		return f, false
	}
	f = append(f, token{list, ""})
	for _, m := range messages {
		payload := m.payload()
		if m.compressed {
			plain, err := traffic.Body{Raw: payload, Coding: req.Header.Get("Grpc-Encoding")}.Decoded()
			if err != nil {
				f = append(f, token{raw, string(payload)})
				continue
			}
			payload = plain
		}
		if md != nil {
			if g, ok := appendMessage(f, payload, md); ok {
				f = g
				continue
			}
		}
		if g, ok := appendProto(f, payload, 0); ok {
			f = g
		} else {
			f = append(f, token{raw, string(payload)})
		}
	}
	return append(f, token{listEnd, ""}), true
}

// normalizeDocuments writes the GraphQL documents of a JSON body anew: the
// member "query" of its object, or of the objects in its list.
func normalizeDocuments(f form) {
	if len(f) == 0 || f[0].kind != open && f[0].kind != list {
		return
	}
	at := 1 // the depth of the members that count
	if f[0].kind == list {
		at = 2
	}
	depth := 0
	for i, t := range f {
		switch t.kind {
		case open, list:
			depth++
		case shut, listEnd:
			depth--
		case member:
			if depth == at && t.text == "query" && f[i+1].kind == text {
				if document, ok := normalGraphQL(f[i+1].text); ok {
					f[i+1].text = document
				}
			}
		}
	}
}

func looksLikeJSON(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && (data[0] == '{' || data[0] == '[')
}

// maxText is how long a body may be to be taken as one text value.
const maxText = 4 << 10

func opaque(data []byte) token {
	if len(data) <= maxText && utf8.Valid(data) {
		return token{text, string(bytes.TrimSpace(data))}
	}
	return token{raw, string(data)}
}

// appendMultipart appends the parts in order; their boundary, which clients
// draw at random, is left out.
func appendMultipart(f form, contentType string, data []byte) (form, bool) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return f, false
	}
	kept := len(f)
	f = append(f, token{list, ""})
	r := multipart.NewReader(bytes.NewReader(data), params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return append(f, token{listEnd, ""}), true
		}
		if err != nil {
			return f[:kept], false
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return f[:kept], false
		}
		partType := p.Header.Get("Content-Type")
		f = append(f, token{open, ""}, token{member, "name"}, token{text, p.FormName()},
			token{member, "filename"}, token{text, p.FileName()},
			token{member, "type"}, token{text, mediaType(partType)}, token{member, "content"})
		if strings.HasPrefix(mediaType(partType), "multipart/") {
			f = append(f, opaque(content)) // parts within parts are not looked into, so depth costs nothing
		} else {
			f = appendContent(f, partType, content)
		}
		f = append(f, token{shut, ""})
	}
}

// hash returns the hash of a form whose leaves are first passed through value,
// which may be nil.
func (f form) hash(seed maphash.Seed, value func(i int, t token) string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	// Tokens are short and many: they are put together before they are hashed.
	var room [256]byte
	b := room[:0]
	for i, t := range f {
		if t.kind == source {
			continue
		}
		s := t.text
		if value != nil && t.kind.leaf() {
			s = value(i, t)
		}
		if len(b)+len(s)+6 > len(room) {
			h.Write(b)
			b = room[:0]
		}
		// The length keeps the border between two texts: "a","bc" and "ab","c"
		// must differ.
		b = append(b, byte(t.kind))
		if n := len(s); n < 0xff {
			b = append(b, byte(n))
		} else {
			b = append(b, 0xff, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
		}
		if len(b)+len(s) > len(room) { // long by itself
			h.Write(b)
			h.WriteString(s)
			b = room[:0]
			continue
		}
		b = append(b, s...)
	}
	h.Write(b)
	return h.Sum64()
}
