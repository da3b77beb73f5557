package compare

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// format is what a body was read as.
type format string

const (
	formatEmpty  format = "empty"
	formatJSON   format = "json"
	formatLines  format = "json lines"
	formatForm   format = "form"
	formatXML    format = "xml"
	formatHTML   format = "html"
	formatParts  format = "multipart"
	formatEvents format = "events"
	formatProto  format = "protobuf"
	formatGRPC   format = "grpc"
	formatText   format = "text"
	formatBinary format = "binary"
)

// payload is a decoded body and, unless it is binary, its tree.
type payload struct {
	format format
	plain  []byte
	tree   *tree
	// broken says why the content coding could not be undone.
	broken string
}

// bodies compares two bodies by structure. Bodies with equal bytes are equal;
// so are bodies that differ only in their content coding.
func (c *comparer) bodies(a, b message) {
	if a.Body.Coding == b.Body.Coding && bytes.Equal(a.Body.Raw, b.Body.Raw) {
		return
	}
	if a.Body.Truncated || b.Body.Truncated {
		c.beginnings(a, b)
		return
	}
	plainA, brokenA := decoded(a.Body)
	plainB, brokenB := decoded(b.Body)
	if brokenA == brokenB && bytes.Equal(plainA, plainB) {
		return
	}
	pa, pb := read(plainA, brokenA, a), read(plainB, brokenB, b)
	switch {
	case pa.format == formatEmpty:
		c.emit(Extra, "", pb.text())
	case pb.format == formatEmpty:
		c.emit(Missing, pa.text(), "")
	case pa.broken != pb.broken:
		c.emitNote(Type, pa.describe(), pb.describe(), strings.Trim(pa.broken+"; "+pb.broken, "; "))
	case pa.format != pb.format && !(pa.isText() && pb.isText()):
		c.emit(Type, pa.describe(), pb.describe())
	case pa.tree == nil || pb.tree == nil:
		c.digests(pa.plain, pb.plain)
	default:
		if c.request {
			sa, okA := c.opts.Reading.whole(pa, a.Header, c.path)
			sb, okB := c.opts.Reading.whole(pb, b.Header, c.path)
			if okA && okB {
				c.statements(sa, sb)
				return
			}
		}
		c.trees(pa.tree, pb.tree)
	}
}

// isText reports whether a body is plain text, of one line or several.
func (p payload) isText() bool { return p.format == formatText }

func (p payload) text() string {
	if p.format == formatBinary {
		return p.describe()
	}
	return string(p.plain)
}

func (p payload) describe() string {
	return fmt.Sprintf("%s, %d bytes", p.format, len(p.plain))
}

// beginnings compares bodies of which at least one was cut off when it was
// recorded: they differ where what is known of both differs.
func (c *comparer) beginnings(a, b message) {
	ra, rb := a.Body.Raw, b.Body.Raw
	if a.Body.Coding != b.Body.Coding {
		ra, _ = decoded(a.Body)
		rb, _ = decoded(b.Body)
	}
	n := min(len(ra), len(rb))
	if bytes.Equal(ra[:n], rb[:n]) {
		return
	}
	at := 0
	for at < n && ra[at] == rb[at] {
		at++
	}
	c.emitNote(Value, digest(ra), digest(rb), fmt.Sprintf("only the first %d bytes are known; they differ at byte %d", n, at))
}

// digests compares what has no structure.
func (c *comparer) digests(a, b []byte) {
	if len(a) != len(b) {
		c.emitNote(Length, strconv.Itoa(len(a)), strconv.Itoa(len(b)), "digests "+digest(a)+" and "+digest(b))
		return
	}
	c.emit(Value, digest(a), digest(b))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:8])
}

func decoded(b traffic.Body) (plain []byte, broken string) {
	plain, err := b.Decoded()
	if err != nil {
		return b.Raw, err.Error()
	}
	return plain, ""
}

// read finds the structure of a decoded body: what its media type promises
// where it keeps the promise, else JSON where it is JSON, else text, else
// binary.
func read(plain []byte, broken string, m message) payload {
	p := payload{plain: plain, broken: broken}
	trimmed := bytes.TrimSpace(plain)
	mediaType := traffic.MediaType(m.Header)
	switch {
	case broken != "":
		p.format = formatBinary
		return p
	case len(plain) == 0:
		p.format = formatEmpty
		return p
	case p.byMediaType(mediaType, m):
	case jsonLines(mediaType):
		p.format, p.tree = formatLines, linesTree(plain)
	case traffic.IsJSON(mediaType) || startsJSON(trimmed):
		p.format = formatJSON
		p.tree, _ = parseTree(plain)
		if p.tree == nil && bytes.IndexByte(trimmed, '\n') > 0 {
			p.format, p.tree = formatLines, linesTree(plain)
		}
	}
	if p.tree != nil {
		return p
	}
	if !utf8.Valid(plain) || bytes.IndexByte(plain, 0) >= 0 {
		p.format = formatBinary
		return p
	}
	p.format = formatText
	p.tree, _ = parseTree(textJSON(string(plain)))
	return p
}

// byMediaType reads the formats that only a media type tells. It reports whether
// there is such a format and the body is in it.
func (p *payload) byMediaType(mediaType string, m message) bool {
	if len(p.plain) > maxTreeBytes/4 {
		return false // what is written as a tree may be several times as long
	}
	var written []byte
	switch {
	case mediaType == "application/x-www-form-urlencoded":
		p.format, written = formatForm, formJSON(formPairs(string(bytes.TrimSpace(p.plain))))
	case mediaType == "text/html":
		p.format, written = formatHTML, htmlJSON(p.plain)
	case mediaType == "application/xml" || mediaType == "text/xml" || strings.HasSuffix(mediaType, "+xml"):
		p.format, written = formatXML, xmlJSON(p.plain)
	case strings.HasPrefix(mediaType, "multipart/"):
		p.format, written = formatParts, multipartJSON(p.plain, m.Header.Get("Content-Type"))
	case mediaType == "text/event-stream":
		p.format, written = formatEvents, eventsJSON(p.plain)
	case mediaType == "application/grpc" || strings.HasPrefix(mediaType, "application/grpc+") && mediaType != "application/grpc+json":
		p.format, written = formatGRPC, framesJSON(p.plain, m.Type)
	case mediaType == "application/protobuf" || mediaType == "application/proto" || mediaType == "application/x-protobuf" || mediaType == "application/vnd.google.protobuf" || strings.HasSuffix(mediaType, "+proto"):
		p.format, written = formatProto, protobufJSON(p.plain, m.Type)
	}
	if written == nil {
		return false
	}
	p.tree, _ = parseTree(written)
	return p.tree != nil
}

func startsJSON(b []byte) bool { return len(b) > 0 && (b[0] == '{' || b[0] == '[') }

func jsonLines(mediaType string) bool {
	switch mediaType {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
		"application/json-seq", "application/stream+json", "application/x-json-stream":
		return true
	}
	return false
}

// linesTree reads JSON documents, one a line, as one list. It returns nil when
// a line is not JSON.
func linesTree(plain []byte) *tree {
	list := make([]byte, 0, len(plain)+2)
	list = append(list, '[')
	for line := range bytes.Lines(plain) {
		line = bytes.TrimSpace(bytes.TrimLeft(line, "\x1e")) // RFC 7464 starts records with RS
		if len(line) == 0 {
			continue
		}
		if _, ok := parseTree(line); !ok {
			return nil
		}
		if len(list) > 1 {
			list = append(list, ',')
		}
		list = append(list, line...)
	}
	t, _ := parseTree(append(list, ']'))
	return t
}

// formJSON writes a form as an object: a string for a name that occurs once, a
// list for others.
func formJSON(pairs []pair) []byte {
	values := make(map[string][]string, len(pairs))
	for _, p := range pairs {
		values[p.name] = append(values[p.name], p.value)
	}
	out := []byte{'{'}
	for _, name := range unionNames(values, nil) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(traffic.AppendText(out, name), ':')
		if v := values[name]; len(v) == 1 {
			out = traffic.AppendText(out, v[0])
		} else {
			out = appendStrings(out, v)
		}
	}
	return append(out, '}')
}

// textJSON writes text as one string, or as a list of lines when there are
// several. Line ends do not count.
func textJSON(s string) []byte {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	if n := len(lines); n > 1 && lines[n-1] == "" {
		lines = lines[:n-1]
	}
	if len(lines) == 1 {
		return traffic.AppendText(nil, lines[0])
	}
	return appendStrings(nil, lines)
}

func appendStrings(dst []byte, values []string) []byte {
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = traffic.AppendText(dst, v)
	}
	return append(dst, ']')
}
