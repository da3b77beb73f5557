package redact

import (
	"bytes"
	"mime"
	"net/textproto"
	"strings"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// parts redacts a multipart body part by part, keeping every byte between the
// values. It reports false where the body has no such parts.
func (w *walk) parts(body []byte, contentType, part string) (out []byte, changed, ok bool) {
	_, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	if err != nil || boundary == "" {
		return body, false, false
	}
	delimiter := []byte("--" + boundary)
	at := 0
	for {
		start := nextDelimiter(body, at, delimiter)
		if start < 0 {
			break
		}
		start += len(delimiter)
		end := nextDelimiter(body, start, delimiter)
		if end < 0 {
			end = len(body)
		}
		out = append(out, body[at:start]...)
		made, did := w.onePart(body[start:end], part)
		out = append(out, made...)
		changed = changed || did
		at, ok = end, true
	}
	return append(out, body[at:]...), changed, ok
}

// nextDelimiter returns where a delimiter stands on a line of its own, from at
// on, or -1.
func nextDelimiter(body []byte, at int, delimiter []byte) int {
	for {
		i := bytes.Index(body[at:], delimiter)
		if i < 0 {
			return -1
		}
		start, end := at+i, at+i+len(delimiter)
		if (start == 0 || body[start-1] == '\n') && (end == len(body) || bytes.IndexByte([]byte("\r\n -"), body[end]) >= 0) {
			return start
		}
		at = end
	}
}

// onePart redacts what stands between two delimiters: a line end, headers, an
// empty line, and the content up to the line end of the next delimiter.
func (w *walk) onePart(section []byte, part string) ([]byte, bool) {
	headerEnd, gap := bytes.Index(section, []byte("\r\n\r\n")), 4
	if headerEnd < 0 {
		headerEnd, gap = bytes.Index(section, []byte("\n\n")), 2
	}
	if headerEnd < 0 {
		return section, false
	}
	header := traffic.Header{}
	for line := range bytes.Lines(section[:headerEnd]) {
		if name, value, ok := strings.Cut(strings.TrimSpace(string(line)), ":"); ok {
			header.Add(textproto.TrimString(name), textproto.TrimString(value))
		}
	}
	content := section[headerEnd+gap:]
	tail := content[len(bytes.TrimRight(content, "\r\n")):]
	content = content[:len(content)-len(tail)]
	_, disposition, _ := mime.ParseMediaType(header.Get("Content-Disposition"))
	where := spot{part: part, kind: "body", name: disposition["name"], index: -1}
	var made []byte
	var changed bool
	if disposition["filename"] == "" && header.Get("Content-Type") == "" && utf8.Valid(content) {
		var text string
		text, changed = w.value(w.plainKind(disposition["name"]), string(content), where)
		made = []byte(text)
	} else {
		made, changed = w.payload(content, header, part)
	}
	if !changed {
		return section, false
	}
	front := section[:headerEnd+gap]
	return append(append(append(make([]byte, 0, len(section)), front...), made...), tail...), true
}

// plainKind is the kind of a name that no object stands around.
func (w *walk) plainKind(name string) keyKind {
	kind := w.keys.kind(name)
	if kind == keyBareName || kind == keyPerson {
		return keyPlain
	}
	return kind
}

// events redacts a stream of server-sent events: JSON behind "data:" by its
// keys, other lines as text.
func (w *walk) events(body string, base place) (string, bool) {
	var out strings.Builder
	changed := false
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(line, "data:")
		text := strings.TrimLeft(data, " ")
		if !ok || text == "" || text[0] != '{' && text[0] != '[' {
			made, did := w.text(line, base)
			out.WriteString(made)
			changed = changed || did
			continue
		}
		made, did := w.json(text, base)
		out.WriteString(line[:len(line)-len(text)] + made)
		changed = changed || did
	}
	return out.String(), changed
}
