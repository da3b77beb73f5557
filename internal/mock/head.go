package mock

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// head is the head of an HTTP/1 request as it was on the wire: fields in their
// order and spelling, which net/http does not keep.
type head struct {
	method, target string
	minor          int // of the version: 0 or 1
	fields         traffic.Header
	length         int64 // of the body; -1 is chunked
	close          bool  // the connection ends with the answer
	expects        bool  // 100-continue
}

// badRequest is a request that is refused, with the status that says why. The
// connection ends with it, since where the next request begins is not sure.
type badRequest struct {
	status int
	why    string
}

func (e *badRequest) Error() string {
	return fmt.Sprintf("refuse a request with %d: %s", e.status, e.why)
}

func bad(why string) error { return &badRequest{http.StatusBadRequest, why} }

var headEnd = []byte("\r\n\r\n")

// bufferedHead takes a head that is there as a whole without reading on, which
// is the common case.
func bufferedHead(in *bufio.Reader) (s string, whole bool, err error) {
	buffered, err := in.Peek(in.Buffered())
	if err != nil || len(buffered) == 0 || buffered[0] == '\r' || buffered[0] == '\n' {
		return "", false, err
	}
	i := bytes.Index(buffered, headEnd)
	if i < 0 {
		return "", false, nil
	}
	s = string(buffered[:i+len(headEnd)])
	_, err = in.Discard(len(s))
	return s, true, err
}

// readHead reads the bytes of a head, its end included. It returns io.EOF when
// the client closed between two requests.
func readHead(in *bufio.Reader) (string, error) {
	if err := skipEmptyLines(in); err != nil {
		return "", err
	}
	if s, whole, err := bufferedHead(in); whole || err != nil {
		return s, err
	}
	var all []byte
	for {
		line, err := in.ReadSlice('\n')
		if all = append(all, line...); len(all) > maxHeaderBytes {
			return "", &badRequest{http.StatusRequestHeaderFieldsTooLarge, "the header is too large"}
		}
		switch {
		case err == bufio.ErrBufferFull:
		case err != nil:
			return "", errors.Join(io.ErrUnexpectedEOF, err)
		case bytes.HasSuffix(all, headEnd):
			return string(all), nil
		}
	}
}

// skipEmptyLines skips what RFC 9112 §2.2 tells servers to skip before a
// request, within reason.
func skipEmptyLines(in *bufio.Reader) error {
	for range 8 {
		b, err := in.Peek(1)
		if err != nil {
			return io.EOF
		}
		if b[0] != '\r' && b[0] != '\n' {
			return nil
		}
		in.Discard(1) // it was peeked
	}
	return bad("too many empty lines")
}

// parse reads a head into h, whose fields it keeps in the memory of those that
// were there. It is strict: whatever two readers could understand in two ways is
// refused.
func (h *head) parse(s string) error {
	line, rest, _ := strings.Cut(s, "\r\n")
	*h = head{fields: h.fields[:0]}
	if err := h.requestLine(line); err != nil {
		return err
	}
	rest = strings.TrimSuffix(rest, "\r\n")
	h.fields = slices.Grow(h.fields, strings.Count(rest, "\r\n"))
	for rest != "" {
		line, rest, _ = strings.Cut(rest, "\r\n")
		f, err := parseField(line)
		if err != nil {
			return err
		}
		h.fields = append(h.fields, f)
	}
	return h.framing()
}

func (h *head) requestLine(line string) error {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !isToken(method) || target == "" || strings.IndexFunc(target, isControl) >= 0 {
		return bad("the request line cannot be read")
	}
	switch version {
	case "HTTP/1.1":
		h.minor = 1
	case "HTTP/1.0":
	default:
		if strings.HasPrefix(version, "HTTP/") {
			return &badRequest{http.StatusHTTPVersionNotSupported, "unknown version"}
		}
		return bad("the request line cannot be read")
	}
	h.method, h.target = method, target
	return nil
}

func isControl(r rune) bool { return r <= ' ' || r == 0x7f }

func parseField(line string) (traffic.Field, error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) { // also a folded line, and a space before the colon
		return traffic.Field{}, bad("a header line cannot be read")
	}
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return traffic.Field{}, bad("a header value holds a control character")
		}
	}
	return traffic.Field{Name: name, Value: value}, nil
}

// tokenBytes marks the characters of tokens (RFC 9110 §5.6.2).
var tokenBytes = func() (t [256]bool) {
	for c := range 256 {
		b := byte(c)
		t[c] = b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
	}
	return t
}()

func isToken(s string) bool {
	for i := range len(s) {
		if !tokenBytes[s[i]] {
			return false
		}
	}
	return s != ""
}

// framing works out how the body is delimited and what becomes of the
// connection.
func (h *head) framing() error {
	lengths, codings, hosts := 0, 0, 0
	h.close = h.minor == 0
	for _, f := range h.fields {
		switch len(f.Name) { // few names have these lengths, and most fields have others
		case len("Host"):
			if strings.EqualFold(f.Name, "Host") {
				hosts++
			}
		case len("Expect"):
			if strings.EqualFold(f.Name, "Expect") {
				if !strings.EqualFold(f.Value, "100-continue") {
					return &badRequest{http.StatusExpectationFailed, "unknown expectation"}
				}
				h.expects = h.minor == 1
			}
		case len("Connection"):
			if strings.EqualFold(f.Name, "Connection") {
				h.connection(f.Value)
			}
		case len("Content-Length"):
			if strings.EqualFold(f.Name, "Content-Length") {
				n, err := strconv.ParseUint(f.Value, 10, 62)
				if err != nil || f.Value[0] == '+' || lengths > 0 && int64(n) != h.length {
					return bad("Content-Length cannot be read")
				}
				h.length = int64(n)
				lengths++
			}
		case len("Transfer-Encoding"):
			if strings.EqualFold(f.Name, "Transfer-Encoding") {
				if !strings.EqualFold(f.Value, "chunked") {
					return &badRequest{http.StatusNotImplemented, "unknown transfer coding"}
				}
				codings++
			}
		}
	}
	switch {
	case hosts > 1 || hosts == 0 && h.minor == 1:
		return bad("there must be one Host")
	case codings > 1 || codings > 0 && (lengths > 0 || h.minor == 0):
		return bad("Transfer-Encoding beside Content-Length, twice, or in HTTP/1.0")
	case codings > 0:
		h.length = -1
	}
	return nil
}

func (h *head) connection(value string) {
	for option := range strings.SplitSeq(value, ",") {
		switch option = strings.TrimSpace(option); {
		case strings.EqualFold(option, "close"):
			h.close = true
		case h.minor == 0 && strings.EqualFold(option, "keep-alive"):
			h.close = false
		}
	}
}
