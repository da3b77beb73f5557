package mock

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// bodyTimeout is how long a body may stand still.
const bodyTimeout = 30 * time.Second

// Limits of chunked bodies, beside that of all bodies.
const (
	maxChunkLine   = 4 << 10
	maxTrailerSize = 64 << 10
)

// body reads a body of the given length, or chunks and their trailer.
func (h *http1) body(length int64, req *traffic.Request) ([]byte, error) {
	if length > 0 && length <= int64(h.in.Buffered()) { // it came with the head
		raw := make([]byte, length)
		_, err := io.ReadFull(h.in, raw)
		return raw, err
	}
	in := patient{h}
	var raw bytes.Buffer // grows with what arrives, not with what is announced
	if length > 0 {
		if n, err := io.CopyN(&raw, in, length); err != nil {
			return nil, fmt.Errorf("read a body after %d of %d bytes: %w", n, length, err)
		}
		return raw.Bytes(), nil
	}
	for {
		size, err := in.chunkSize()
		if err != nil {
			return nil, err
		}
		if size == 0 {
			break
		}
		if size > h.mock.opts.MaxBody-int64(raw.Len()) {
			return nil, tooLarge(h.mock.opts.MaxBody)
		}
		if _, err := io.CopyN(&raw, in, size); err != nil {
			return nil, fmt.Errorf("read a chunk of %d bytes: %w", size, err)
		}
		if line, err := in.line(len("\r\n")); err != nil || line != "" {
			return nil, bad("a chunk does not end where it should")
		}
	}
	trailer, err := in.trailer()
	req.Trailer = trailer
	return raw.Bytes(), err
}

// patient reads from a connection that may be slow but not stand still.
type patient struct{ h *http1 }

func (p patient) Read(b []byte) (int, error) {
	p.wait()
	return p.h.in.Read(b)
}

func (p patient) wait() {
	if p.h.in.Buffered() == 0 {
		p.h.timed = true
		p.h.stream.SetReadDeadline(time.Now().Add(bodyTimeout))
	}
}

// line reads a line that ends with CRLF and returns it without.
func (p patient) line(limit int) (string, error) {
	p.wait()
	line, err := p.h.in.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull || err == nil && (len(line) > limit || !bytes.HasSuffix(line, []byte("\r\n"))):
		return "", bad("a line of a chunked body cannot be read")
	case err != nil:
		return "", fmt.Errorf("read a chunked body: %w", err)
	}
	return string(line[:len(line)-2]), nil
}

func (p patient) chunkSize() (int64, error) {
	line, err := p.line(maxChunkLine)
	if err != nil {
		return 0, err
	}
	digits, _, _ := strings.Cut(line, ";") // extensions mean nothing here
	digits = strings.TrimRight(digits, " \t")
	size, err := strconv.ParseUint(digits, 16, 62)
	if err != nil || digits[0] == '+' || strings.Contains(digits, "_") {
		return 0, bad("the size of a chunk cannot be read")
	}
	return int64(size), nil
}

func (p patient) trailer() (traffic.Header, error) {
	var fields traffic.Header
	for size := 0; size <= maxTrailerSize; {
		line, err := p.line(maxChunkLine)
		if err != nil || line == "" {
			return fields, err
		}
		f, err := parseField(line)
		if err != nil {
			return nil, err
		}
		size += len(line)
		fields = append(fields, f)
	}
	return nil, bad("the trailer is too large")
}
