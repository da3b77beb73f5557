package compare

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// maxParts bounds the parts of a multipart body that are read.
const maxParts = 1000

// multipartJSON writes a multipart body as an object by the names of its parts
// (RFC 7578), or as a list where parts have none. It returns nil for what cannot
// be read.
func multipartJSON(data []byte, contentType string) []byte {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return nil
	}
	r := multipart.NewReader(bytes.NewReader(data), params["boundary"])
	byName := make(map[string][][]byte)
	var order []string
	for range maxParts {
		part, err := r.NextRawPart()
		if err == io.EOF {
			if len(order) == 0 {
				return nil
			}
			return namedLists(order, byName)
		}
		if err != nil {
			return nil
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil
		}
		name := part.FormName()
		if byName[name] == nil {
			order = append(order, name)
		}
		byName[name] = append(byName[name], partJSON(part, content))
	}
	return nil
}

// partJSON writes a field as its value, and a file with its name and type.
func partJSON(part *multipart.Part, content []byte) []byte {
	value := embed(content)
	file, kind := part.FileName(), part.Header.Get("Content-Type")
	if file == "" && kind == "" {
		return value
	}
	dst := []byte{'{'}
	for _, m := range []pair{{"filename", file}, {"content-type", kind}} {
		if m.value != "" {
			dst = append(append(append(dst, '"'), m.name...), '"', ':')
			dst = append(traffic.AppendText(dst, m.value), ',')
		}
	}
	return append(append(append(dst, `"content":`...), value...), '}')
}

func namedLists(order []string, byName map[string][][]byte) []byte {
	dst := []byte{'{'}
	for i, name := range order {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(traffic.AppendText(dst, name), ':')
		if list := byName[name]; len(list) == 1 {
			dst = append(dst, list[0]...)
		} else {
			dst = append(append(append(dst, '['), bytes.Join(list, []byte{','})...), ']')
		}
	}
	return append(dst, '}')
}

// embed writes content as the JSON it is, else as a string, else as a digest.
func embed(content []byte) []byte {
	trimmed := bytes.TrimSpace(content)
	if startsJSON(trimmed) {
		if _, ok := parseTree(trimmed); ok {
			return trimmed
		}
	}
	if !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 {
		return traffic.AppendText(nil, digest(content))
	}
	return traffic.AppendText(nil, string(content))
}

// eventsJSON writes a stream of server-sent events as a list of objects, one an
// event, as the HTML standard (§9.2.6) reads them. Comments are left out: they
// keep a connection alive.
func eventsJSON(data []byte) []byte {
	dst := []byte{'['}
	var fields []pair
	var lines []string
	flush := func() {
		if len(lines) == 0 && len(fields) == 0 {
			return
		}
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		for _, f := range fields {
			dst = append(append(append(dst, '"'), f.name...), '"', ':')
			dst = append(traffic.AppendText(dst, f.value), ',')
		}
		dst = append(append(append(dst, `"data":`...), embed([]byte(strings.Join(lines, "\n")))...), '}')
		fields, lines = nil, nil
	}
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(data), "\ufeff"))
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			flush()
		case name == "data":
			lines = append(lines, value)
		case name == "event" || name == "id" || name == "retry":
			fields = append(fields, pair{name, value})
		}
	}
	flush()
	return append(dst, ']')
}

// base64Text writes bytes that mean nothing else.
func base64Text(b []byte) []byte {
	return traffic.AppendText(nil, base64.StdEncoding.EncodeToString(b))
}
