package transform

import (
	"bytes"
	"mime"
	"net/textproto"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// maxPartDepth bounds parts within parts; deeper ones stay as they are.
const maxPartDepth = 4

// parts handles a multipart body part by part and keeps every byte between the
// values. A part is addressed by its name: request.body.comment, and within
// JSON request.body.order.id.
func (w *requestWalk) parts(body []byte, contentType string, base traffic.Path) []byte {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" || base.Len() > 2+maxPartDepth {
		return body
	}
	delimiter := []byte("--" + params["boundary"])
	var out []byte
	at := 0
	for start := nextDelimiter(body, 0, delimiter); start >= 0; {
		start += len(delimiter)
		end := nextDelimiter(body, start, delimiter)
		if end < 0 { // what follows the last delimiter is no part
			break
		}
		out = append(out, body[at:start]...)
		out = append(out, w.part(body[start:end], base)...)
		at, start = end, end
	}
	return append(out, body[at:]...)
}

// nextDelimiter returns where a delimiter stands at the beginning of a line,
// from at on, or -1.
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

// part handles what stands between two delimiters: a line end, headers, an
// empty line, and the content up to the line end that belongs to the next
// delimiter.
func (w *requestWalk) part(section []byte, base traffic.Path) []byte {
	front := bytes.Index(section, []byte("\r\n\r\n")) + 4
	if front < 4 {
		return section
	}
	content, ok := bytes.CutSuffix(section[front:], []byte("\r\n"))
	if !ok || len(content) == 0 {
		return section
	}
	var name, contentType string
	for line := range bytes.Lines(section[:front]) {
		field, value, _ := strings.Cut(string(line), ":")
		switch textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(field)) {
		case "Content-Disposition":
			_, params, _ := mime.ParseMediaType(strings.TrimSpace(value))
			name = params["name"]
		case "Content-Type":
			contentType = strings.TrimSpace(value)
		case "Content-Transfer-Encoding", "Content-Encoding":
			return section // its bytes are not its text
		}
	}
	made := w.plainBody(content, contentType, spot{path: base.Child(name), key: name})
	out := append(make([]byte, 0, front+len(made)+2), section[:front]...)
	return append(append(out, made...), '\r', '\n')
}
