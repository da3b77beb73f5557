package http1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Bounds of what a peer may send as a head. They are far above what servers
// accept, so that the proxy never refuses what the service would have taken.
const (
	MaxHeadBytes  = 1 << 20
	MaxHeadFields = 1 << 14
)

var (
	ErrHeadTooLarge = errors.New("message head is too large")
	ErrBadHead      = errors.New("not an HTTP/1 message head")
	ErrBadFraming   = errors.New("the length of the body cannot be told")
)

// Head is the start line and the fields of one HTTP/1 message.
type Head struct {
	Wire   []byte // as read, the closing empty line included
	Start  string
	Fields traffic.Header
}

// ReadHead reads up to the empty line that ends a head. Empty lines before the
// start line are skipped, as RFC 9112 §2.2 asks. The error is io.EOF when
// nothing was sent, and io.ErrUnexpectedEOF when the head does not end.
func ReadHead(r *bufio.Reader) (*Head, error) {
	var wire []byte
	line := 0 // where the current line starts in wire
	for {
		part, err := r.ReadSlice('\n')
		if len(wire)+len(part) > MaxHeadBytes {
			return nil, fmt.Errorf("%w: over %d bytes", ErrHeadTooLarge, MaxHeadBytes)
		}
		wire = append(wire, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			if err == io.EOF && len(wire) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if len(trimEOL(wire[line:])) > 0 {
			line = len(wire)
			continue
		}
		if line > 0 {
			return parseHead(wire)
		}
		wire = wire[:0]
	}
}

func trimEOL(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

func parseHead(wire []byte) (*Head, error) {
	h := &Head{Wire: wire}
	text := string(wire) // one copy; start and fields are parts of it
	h.Start, text, _ = strings.Cut(text, "\n")
	h.Start = strings.TrimSuffix(h.Start, "\r")
	var err error
	h.Fields, err = ParseFields(text)
	return h, err
}

// ParseFields reads field lines up to an empty line or the end of text.
func ParseFields(text string) (traffic.Header, error) {
	fields := make(traffic.Header, 0, min(strings.Count(text, "\n"), 32))
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' { // a folded line, from before RFC 7230
			if len(fields) == 0 {
				return nil, fmt.Errorf("%w: it starts with a folded line", ErrBadHead)
			}
			last := &fields[len(fields)-1]
			last.Value = strings.TrimSpace(last.Value + " " + strings.TrimSpace(line))
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t\x00\r") {
			return nil, fmt.Errorf("%w: field line %d has no name", ErrBadHead, len(fields)+1)
		}
		if len(fields) == MaxHeadFields {
			return nil, fmt.Errorf("%w: over %d fields", ErrHeadTooLarge, MaxHeadFields)
		}
		fields.Add(name, strings.Trim(value, " \t"))
	}
	return fields, nil
}

// RequestLine splits "GET /path HTTP/1.1".
func (h *Head) RequestLine() (method, target, proto string, err error) {
	method, rest, ok1 := strings.Cut(h.Start, " ")
	target, proto, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || method == "" || target == "" || !isHTTP1(proto) {
		return "", "", "", fmt.Errorf("%w: the request line cannot be read", ErrBadHead)
	}
	return method, target, proto, nil
}

// StatusLine splits "HTTP/1.1 200 OK".
func (h *Head) StatusLine() (proto string, status int, err error) {
	proto, rest, ok := strings.Cut(h.Start, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, convErr := strconv.Atoi(code)
	if !ok || !isHTTP1(proto) || convErr != nil || len(code) != 3 || status < 100 {
		return "", 0, fmt.Errorf("%w: the status line cannot be read", ErrBadHead)
	}
	return proto, status, nil
}

func isHTTP1(proto string) bool { return proto == "HTTP/1.1" || proto == "HTTP/1.0" }

// has reports whether a comma-separated field holds token.
func HasToken(fields traffic.Header, name, token string) bool {
	for _, v := range fields.Values(name) {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// Persistent reports whether the connection stays open after a message.
func Persistent(proto string, fields traffic.Header) bool {
	if HasToken(fields, "Connection", "close") {
		return false
	}
	return proto != "HTTP/1.0" || HasToken(fields, "Connection", "keep-alive")
}

// Framing is how the end of a body is found (RFC 9112 §6.3).
type Framing struct {
	Kind   Kind
	Length int64
}

type Kind uint8

const (
	NoBody Kind = iota
	ByLength
	ByChunks
	ByClose
)

func RequestFraming(fields traffic.Header) (Framing, error) {
	chunked, err := transferChunked(fields)
	length, lengthErr := ContentLength(fields)
	switch {
	case err != nil:
		return Framing{}, err
	case lengthErr != nil:
		return Framing{}, lengthErr
	case chunked && length >= 0:
		return Framing{}, fmt.Errorf("%w: both Transfer-Encoding and Content-Length", ErrBadFraming)
	case chunked:
		return Framing{Kind: ByChunks}, nil
	case length > 0:
		return Framing{ByLength, length}, nil
	}
	return Framing{}, nil
}

func ResponseFraming(method string, status int, fields traffic.Header) (Framing, error) {
	if method == "HEAD" || status < 200 || status == 204 || status == 304 {
		return Framing{}, nil
	}
	if fields.Has("Transfer-Encoding") {
		if chunked, err := transferChunked(fields); err == nil && chunked {
			return Framing{Kind: ByChunks}, nil
		}
		return Framing{Kind: ByClose}, nil
	}
	switch length, err := ContentLength(fields); {
	case err != nil:
		return Framing{}, err
	case length > 0:
		return Framing{ByLength, length}, nil
	case length == 0:
		return Framing{}, nil
	}
	return Framing{Kind: ByClose}, nil
}

// transferChunked reports whether the last transfer coding is chunked; another
// coding is an error.
func transferChunked(fields traffic.Header) (bool, error) {
	values := fields.Values("Transfer-Encoding")
	if len(values) == 0 {
		return false, nil
	}
	codings := strings.Split(strings.Join(values, ","), ",")
	if !strings.EqualFold(strings.TrimSpace(codings[len(codings)-1]), "chunked") {
		return false, fmt.Errorf("%w: transfer coding %q", ErrBadFraming, strings.Join(values, ", "))
	}
	return true, nil
}

// ContentLength returns -1 when there is none. Repeated equal lengths count as
// one (RFC 9112 §6.3).
func ContentLength(fields traffic.Header) (int64, error) {
	length := int64(-1)
	for _, v := range fields.Values("Content-Length") {
		for one := range strings.SplitSeq(v, ",") {
			n, err := strconv.ParseUint(strings.TrimSpace(one), 10, 63)
			if err != nil || (length >= 0 && length != int64(n)) {
				return -1, fmt.Errorf("%w: Content-Length %q", ErrBadFraming, v)
			}
			length = int64(n)
		}
	}
	return length, nil
}

// OriginForm splits the absolute form of a request target ("http://host/path")
// into scheme and authority, and origin form. Other targets come back as they
// are.
func OriginForm(target string) (base, origin string) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || strings.ContainsAny(scheme, "/?") || strings.HasPrefix(target, "/") {
		return "", target
	}
	i := strings.IndexAny(rest, "/?")
	if i < 0 {
		return target, "/"
	}
	base, origin = target[:len(scheme)+3+i], rest[i:]
	if origin[0] == '?' {
		origin = "/" + origin
	}
	return base, origin
}
