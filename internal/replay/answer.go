package replay

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

const (
	maxHead    = 1 << 20 // bytes of status line and fields, trailers counted apart
	maxInterim = 32      // interim (1xx) answers before the final one
	firstChunk = 64 << 10
)

// answerReader reads HTTP/1.1 answers from one connection. It allocates only
// when an answer is larger than any before it, or when it is asked to keep one.
type answerReader struct {
	src  io.Reader
	buf  []byte
	r, w int // buf[r:w] is read but not used
	// got says that a byte of the present answer arrived, and at what time the
	// first one did.
	got    bool
	first  time.Time
	parser answerParser
}

func newAnswerReader(src io.Reader) *answerReader {
	return &answerReader{src: src, buf: make([]byte, 16<<10)}
}

// answer is one whole answer. header, body and trailer are empty when it was
// read without keeping it.
type answer struct {
	status    int
	proto     string
	header    traffic.Header
	body      []byte
	trailer   traffic.Header
	size      int64 // bytes of body on the wire, transfer coding undone
	declared  int64 // Content-Length, -1 for none
	truncated bool  // the body was longer than the limit; the rest is unread
	reusable  bool  // the connection can take another request
}

// read reads the answer to a request with this method. When keep is false the
// body is counted and dropped. A body beyond limit ends the answer there, with
// truncated set.
func (a *answerReader) read(method string, keep bool, limit int64, s stream) (ans answer, err error) {
	a.got, a.first = a.w > a.r, time.Time{}
	if a.got {
		return answer{}, protocolErrorf("%d bytes came before the request was sent", a.w-a.r)
	}
	a.parser.begin(method, keep, limit, s)
	for {
		used, done, err := a.parser.parse(a.buf[a.r:a.w])
		a.r += used
		if err != nil {
			return a.parser.answer, err
		}
		if done {
			a.parser.answer.reusable = a.parser.answer.reusable && a.r == a.w
			return a.parser.answer, nil
		}
		if err := a.fill(); errors.Is(err, io.EOF) {
			return a.parser.answer, a.parser.ended()
		} else if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && a.parser.enough() {
				a.parser.complete(false)
				return a.parser.answer, nil
			}
			return a.parser.answer, err
		}
	}
}

// fill reads more bytes, moving or growing the buffer when it is full.
func (a *answerReader) fill() error {
	if a.r == a.w {
		a.r, a.w = 0, 0
	}
	if a.w == len(a.buf) {
		if a.r > 0 {
			a.w = copy(a.buf, a.buf[a.r:a.w])
			a.r = 0
		} else {
			a.buf = append(a.buf, make([]byte, len(a.buf))...)
		}
	}
	for range 100 {
		n, err := a.src.Read(a.buf[a.w:])
		if n > 0 {
			if !a.got {
				a.got, a.first = true, time.Now()
			}
			a.w += n
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// endOfHead finds the empty line in b, searching from a position. It returns
// where the lines before it end and where what follows starts, 0 for neither.
func endOfHead(b []byte, from int) (end, next int) {
	for i := from; i < len(b); i++ {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return 0, 0
		}
		i += j
		switch {
		case i+1 < len(b) && b[i+1] == '\n':
			return i + 1, i + 2
		case i+2 < len(b) && b[i+1] == '\r' && b[i+2] == '\n':
			return i + 1, i + 3
		}
	}
	return 0, 0
}

// notHTTP reports that b cannot become an HTTP/1 answer, so that garbage
// without a line end fails at once.
func notHTTP(b []byte) bool {
	const want = "HTTP/1."
	n := min(len(b), len(want))
	return string(b[:n]) != want[:n]
}

func clip(b []byte, n int) []byte { return b[:min(len(b), n)] }

// parseHead reads the lines of a head. It does not allocate.
func parseHead(block []byte) (head, error) {
	status, fields, _ := bytes.Cut(block, []byte{'\n'})
	status = bytes.TrimSuffix(status, []byte{'\r'})
	h := head{length: -1, fields: fields}
	// HTTP/1.1 200 OK; the reason may be missing, with its space.
	if len(status) < 12 || notHTTP(status) || status[8] != ' ' || len(status) > 12 && status[12] != ' ' {
		return h, protocolErrorf("status line %q", clip(status, 64))
	}
	if h.minor = int(status[7] - '0'); h.minor != 0 && h.minor != 1 {
		return h, protocolErrorf("version in status line %q", clip(status, 64))
	}
	for _, c := range status[9:12] {
		if c < '0' || c > '9' {
			return h, protocolErrorf("status line %q", clip(status, 64))
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 {
		return h, protocolErrorf("status line %q", clip(status, 64))
	}
	h.close = h.minor == 0
	return h, h.parseFields()
}

// parseFields checks all fields and takes those that frame the body.
func (h *head) parseFields() error {
	coded := false
	for rest := h.fields; len(rest) > 0; {
		var name, value []byte
		var err error
		if name, value, rest, err = nextField(rest); err != nil {
			return err
		}
		switch {
		case equalFold(name, "Content-Length"):
			// A list of equal lengths is one length (RFC 9110 §8.6).
			for len(value) > 0 {
				var one []byte
				one, value, _ = bytes.Cut(value, []byte{','})
				n, ok := parseLength(bytes.TrimSpace(one))
				if !ok || h.length >= 0 && h.length != n {
					return protocolErrorf("Content-Length %q", clip(one, 32))
				}
				h.length = n
			}
		case equalFold(name, "Transfer-Encoding"):
			coded = true
			h.chunked = endsWithToken(value, "chunked")
		case equalFold(name, "Connection"):
			if hasToken(value, "close") {
				h.close = true
			} else if h.minor == 0 && hasToken(value, "keep-alive") {
				h.close = false
			}
		}
	}
	if coded { // Transfer-Encoding wins over Content-Length (RFC 9112 §6.3)
		h.length = -1
	}
	return nil
}

// nextField splits the first field off a block of lines.
func nextField(block []byte) (name, value, rest []byte, err error) {
	line, rest, _ := bytes.Cut(block, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	i := bytes.IndexByte(line, ':')
	if i <= 0 {
		return nil, nil, nil, protocolErrorf("header line %q", clip(line, 64))
	}
	for _, c := range line[:i] {
		if !tokenByte[c] {
			return nil, nil, nil, protocolErrorf("header line %q", clip(line, 64))
		}
	}
	return line[:i], bytes.Trim(line[i+1:], " \t"), rest, nil
}

// fieldsOf copies fields that parseFields accepted.
func fieldsOf(block []byte) traffic.Header {
	out := make(traffic.Header, 0, bytes.Count(block, []byte{'\n'})+1)
	text := string(block) // one allocation; names and values are parts of it
	for len(text) > 0 {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":"); ok {
			out = append(out, traffic.Field{Name: name, Value: strings.Trim(value, " \t")})
		}
	}
	return out
}

func equalFold(b []byte, s string) bool {
	return len(b) == len(s) && strings.EqualFold(string(b), s)
}

func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var one []byte
		one, list, _ = bytes.Cut(list, []byte{','})
		if equalFold(bytes.TrimSpace(one), token) {
			return true
		}
	}
	return false
}

func endsWithToken(list []byte, token string) bool {
	if i := bytes.LastIndexByte(list, ','); i >= 0 {
		list = list[i+1:]
	}
	return equalFold(bytes.TrimSpace(list), token)
}

func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
