package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// The forms in which a body stands in a route file.
const (
	formEmpty      = "empty"
	formJSON       = "json"        // pretty; the bytes have no space outside strings
	formJSONSpaced = "json-spaced" // pretty; the bytes have one space after , and :
	formText       = "text"        // the lines as they are
	formQuoted     = "quoted"      // lines quoted as in Go, for text with characters that hide
	formFile       = "file"        // in a file below bodies/
)

var (
	errNotJSON    = errors.New("body is not valid JSON")
	errBodyDiffer = errors.New("the shown body is not what the stored one decodes to")
)

// bodyPrefix stands before each line of a body.
const bodyPrefix = "  "

// blobStore keeps bodies by their content and returns the path of the file.
type blobStore interface {
	put(data []byte, ext string) (path string, err error)
}

// blobSource returns the content of a file that a blobStore named.
type blobSource interface {
	get(path string) ([]byte, error)
}

// appendBody writes the body section of a message. A body that its header
// fully describes and that is empty takes no line at all.
func appendBody(dst []byte, b traffic.Body, header traffic.Header, inline int, store blobStore) ([]byte, error) {
	var flags []string
	derived := traffic.NewBody(nil, header).Coding
	if b.Coding != derived {
		flags = append(flags, pair("coding", b.Coding))
	}
	if b.Truncated {
		flags = append(flags, pair("truncated", "true"))
	}
	if b.Size != int64(len(b.Raw)) {
		flags = append(flags, pair("size", strconv.FormatInt(b.Size, 10)))
	}
	if len(b.Times) > 0 {
		flags = append(flags, pair("times", showTimes(b.Times)))
	}
	if len(b.Raw) == 0 {
		if len(flags) == 0 {
			return dst, nil
		}
		return appendDirective(dst, formEmpty, "", flags), nil
	}
	if len(b.Raw) > maxBody {
		return dst, fmt.Errorf("body of %d bytes: %w: at most %d", len(b.Raw), ErrTooLarge, maxBody)
	}
	view := b.Raw
	if b.Coding != "" {
		decoded, err := b.Decoded()
		if err != nil || len(decoded) == 0 {
			decoded = nil
		}
		view = decoded
	}
	shown, form, newline := showBody(view, inline)
	if form == formFile || b.Coding != "" {
		path, err := store.put(b.Raw, extension(b))
		if err != nil {
			return dst, err
		}
		if form == formFile {
			return appendDirective(dst, formFile, path, flags), nil
		}
		flags = append(flags, pair("raw", path))
	}
	if newline {
		flags = append(flags, pair("newline", "true"))
	}
	dst = appendDirective(dst, form, "", flags)
	for l := range bytes.SplitSeq(shown, []byte("\n")) {
		dst = append(dst, bodyPrefix...)
		dst = append(dst, l...)
		dst = append(dst, '\n')
	}
	return dst, nil
}

func appendDirective(dst []byte, form, path string, flags []string) []byte {
	dst = append(dst, "body: "+form...)
	if path != "" {
		dst = append(dst, " "+path...)
	}
	for _, f := range flags {
		dst = append(dst, " "+f...)
	}
	return append(dst, '\n')
}

// smallBody is the size up to which a body that is not text is quoted all the
// same: a message of gRPC is not worth a file.
const smallBody = 256

// showBody chooses how people see a body. newline says that the bytes end in
// a newline that the shown lines leave out.
func showBody(view []byte, inline int) (shown []byte, form string, newline bool) {
	small := len(view) <= smallBody
	if len(view) == 0 || len(view) > inline || !small && !utf8.Valid(view) {
		return nil, formFile, false
	}
	text, newline := bytes.CutSuffix(view, []byte("\n"))
	if utf8.Valid(view) && cleanText(text) {
		if pretty, form, ok := prettyJSON(text); ok {
			return pretty, form, newline
		}
		return text, formText, newline
	}
	var quoted []byte
	for i, l := range bytes.SplitAfter(view, []byte("\n")) {
		if i > 0 {
			quoted = append(quoted, '\n')
		}
		quoted = strconv.AppendQuote(quoted, string(l))
	}
	if !small && len(quoted) > 2*len(view)+16 {
		return nil, formFile, false
	}
	return quoted, formQuoted, false
}

// cleanText is isClean for text with line feeds and tabs.
func cleanText(text []byte) bool {
	for l := range bytes.SplitSeq(text, []byte("\n")) {
		if !isClean(strings.ReplaceAll(string(l), "\t", " ")) {
			return false
		}
	}
	return true
}

// hideBody undoes showBody.
func hideBody(shown []byte, form string, newline bool) ([]byte, error) {
	var view []byte
	switch form {
	case formJSON, formJSONSpaced:
		var err error
		if view, err = unprettyJSON(shown, form); err != nil {
			return nil, err
		}
	case formText:
		view = shown
	case formQuoted:
		for l := range bytes.SplitSeq(shown, []byte("\n")) {
			text, err := strconv.Unquote(string(l))
			if err != nil || len(l) == 0 || l[0] != '"' {
				return nil, errors.New("a line of a quoted body must be one quoted text")
			}
			view = append(view, text...)
		}
	}
	if newline {
		view = append(view[:len(view):len(view)], '\n')
	}
	return view, nil
}

// extension names the kind of a stored body for people and editors.
func extension(b traffic.Body) string {
	switch b.Coding {
	case "":
	case "gzip", "x-gzip":
		return ".gz"
	case "br":
		return ".br"
	case "zstd":
		return ".zst"
	default:
		return ".bin"
	}
	if !utf8.Valid(b.Raw) || bytes.IndexByte(b.Raw, 0) >= 0 {
		return ".bin"
	}
	if first := bytes.TrimLeft(b.Raw[:min(len(b.Raw), 64)], " \t\r\n"); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		return ".json"
	}
	return ".txt"
}

var blobName = regexp.MustCompile(`^bodies/[0-9a-f]{32}\.(json|txt|bin|gz|br|zst)$`)

// blobPath is the path of a body: 128 bits of its SHA-256, so that equal
// bodies are stored once.
func blobPath(data []byte, ext string) string {
	sum := sha256.Sum256(data)
	return "bodies/" + hex.EncodeToString(sum[:16]) + ext
}

// bodyLine is a parsed body directive.
type bodyLine struct {
	form, path string
	coding     *string
	truncated  bool
	size       *int64
	newline    bool
	raw        string
	times      []time.Duration
}

func parseBodyLine(s string) (bodyLine, error) {
	var l bodyLine
	var err error
	if l.form, s, err = cutToken(s); err != nil {
		return l, err
	}
	switch l.form {
	case formEmpty, formJSON, formJSONSpaced, formText, formQuoted:
	case formFile:
		if l.path, s, err = cutToken(s); err != nil {
			return l, err
		}
		if !blobName.MatchString(l.path) {
			return l, fmt.Errorf("%q is not the path of a body", l.path)
		}
	default:
		return l, fmt.Errorf("unknown form of body %q", l.form)
	}
	seen := map[string]bool{}
	for s != "" {
		var key, value string
		if key, value, s, err = cutPair(s); err != nil {
			return l, err
		}
		if seen[key] {
			return l, fmt.Errorf("%q is given twice", key)
		}
		seen[key] = true
		if err := l.set(key, value); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (l *bodyLine) set(key, value string) error {
	switch key {
	case "coding":
		l.coding = &value
	case "size":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("size %q is not a number", value)
		}
		l.size = &n
	case "raw":
		if !blobName.MatchString(value) {
			return fmt.Errorf("%q is not the path of a body", value)
		}
		l.raw = value
	case "times":
		var err error
		if l.times, err = parseTimes(value); err != nil {
			return err
		}
	case "truncated", "newline":
		if value != "true" {
			return fmt.Errorf("%s must be true or absent", key)
		}
		l.truncated = l.truncated || key == "truncated"
		l.newline = l.newline || key == "newline"
	default:
		return fmt.Errorf("unknown key %q of a body", key)
	}
	return nil
}

// body builds the body that a directive and the lines below it describe.
func (l bodyLine) body(shown []byte, header traffic.Header, source blobSource) (traffic.Body, error) {
	b := traffic.NewBody(nil, header)
	if l.coding != nil {
		b.Coding = *l.coding
	}
	b.Truncated, b.Times = l.truncated, l.times
	var err error
	switch l.form {
	case formEmpty:
	case formFile:
		b.Raw, err = source.get(l.path)
	default:
		var view []byte
		if view, err = hideBody(shown, l.form, l.newline); err != nil {
			return b, err
		}
		if l.raw == "" {
			b.Raw = view
			break
		}
		if b.Raw, err = source.get(l.raw); err != nil {
			return b, err
		}
		if decoded, err := b.Decoded(); err != nil || !bytes.Equal(decoded, view) {
			return b, errBodyDiffer
		}
	}
	if err != nil {
		return b, err
	}
	b.Size = int64(len(b.Raw))
	if l.size != nil {
		b.Size = *l.size
	}
	return b, nil
}
