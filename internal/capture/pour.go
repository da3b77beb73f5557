package capture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// tee keeps the first limit bytes of a body and counts the rest.
type tee struct {
	data  []byte
	limit int64
	size  int64
}

func (t *tee) write(b []byte) {
	t.size += int64(len(b))
	if room := t.limit - int64(len(t.data)); room > 0 {
		t.data = append(t.data, b[:min(int64(len(b)), room)]...)
	}
}

// body returns what was kept. A body that was cut is marked; its Size is the
// full length when the body ended, and what passed by otherwise.
func (t *tee) body(header traffic.Header) traffic.Body {
	b := traffic.NewBody(t.data, header)
	b.Size = t.size
	b.Truncated = t.size > int64(len(t.data))
	return b
}

// sourceError is a failure to read a body, as against one to write it.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func fromSource(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &sourceError{err}
}

var errBadChunk = errors.New("not a chunked body")

// pour moves one body from src to dst exactly as it is on the wire, transfer
// coding included, and copies the payload to keep. It flushes dst whenever src
// has nothing more at hand, so a streamed body is never held back. Errors of
// src are of type *sourceError; others are of dst.
func pour(dst *bufio.Writer, src *bufio.Reader, f framing, keep *tee) (trailer traffic.Header, err error) {
	switch f.kind {
	case byLength:
		err = pourBytes(dst, src, f.length, keep)
	case byChunks:
		trailer, err = pourChunks(dst, src, keep)
	case byClose:
		err = pourAll(dst, src, keep)
	}
	if err != nil {
		return trailer, err
	}
	return trailer, dst.Flush()
}

func pourBytes(dst *bufio.Writer, src *bufio.Reader, n int64, keep *tee) error {
	for n > 0 {
		moved, err := pourSome(dst, src, n, keep)
		if err != nil {
			return err
		}
		n -= int64(moved)
	}
	return nil
}

func pourAll(dst *bufio.Writer, src *bufio.Reader, keep *tee) error {
	for {
		_, err := pourSome(dst, src, 1<<62, keep)
		if source := (*sourceError)(nil); errors.As(err, &source) && source.err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pourSome moves what is at hand, at most n bytes, waiting for at least one.
func pourSome(dst *bufio.Writer, src *bufio.Reader, n int64, keep *tee) (int, error) {
	if src.Buffered() == 0 {
		if err := dst.Flush(); err != nil {
			return 0, err
		}
		if _, err := src.Peek(1); err != nil {
			return 0, fromSource(err)
		}
	}
	b, _ := src.Peek(int(min(n, int64(src.Buffered()))))
	if keep != nil {
		keep.write(b)
	}
	if _, err := dst.Write(b); err != nil {
		return 0, err
	}
	return src.Discard(len(b))
}

func pourChunks(dst *bufio.Writer, src *bufio.Reader, keep *tee) (traffic.Header, error) {
	for {
		line, err := pourLine(dst, src)
		if err != nil {
			return nil, err
		}
		size, err := chunkSize(line)
		if err != nil {
			return nil, &sourceError{err}
		}
		if size == 0 {
			return pourTrailer(dst, src)
		}
		if err := pourBytes(dst, src, size, keep); err != nil {
			return nil, err
		}
		if line, err = pourLine(dst, src); err != nil {
			return nil, err
		}
		if len(trimEOL(line)) != 0 {
			return nil, &sourceError{fmt.Errorf("%w: a chunk is longer than its size", errBadChunk)}
		}
	}
}

// pourLine moves one line and returns it; it is valid until the next read.
func pourLine(dst *bufio.Writer, src *bufio.Reader) ([]byte, error) {
	if src.Buffered() == 0 {
		if err := dst.Flush(); err != nil {
			return nil, err
		}
	}
	line, err := src.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = fmt.Errorf("%w: a line is too long", errBadChunk)
	}
	if err != nil {
		return nil, fromSource(err)
	}
	_, err = dst.Write(line)
	return line, err
}

// chunkSize reads "1a;ext=1\r\n".
func chunkSize(line []byte) (int64, error) {
	digits, _, _ := bytes.Cut(trimEOL(line), []byte{';'})
	size, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 16, 62)
	if err != nil {
		return 0, fmt.Errorf("%w: size %q", errBadChunk, clip(digits, 20))
	}
	return int64(size), nil
}

func clip(b []byte, n int) []byte { return b[:min(len(b), n)] }

func pourTrailer(dst *bufio.Writer, src *bufio.Reader) (traffic.Header, error) {
	var text []byte
	for {
		line, err := pourLine(dst, src)
		if err != nil {
			return nil, err
		}
		if len(trimEOL(line)) == 0 {
			break
		}
		if text = append(text, line...); len(text) > maxHeadBytes {
			return nil, &sourceError{fmt.Errorf("%w: trailers over %d bytes", errHeadTooLarge, maxHeadBytes)}
		}
	}
	if len(text) == 0 {
		return nil, nil
	}
	trailer, err := parseFields(string(text))
	if err != nil {
		return nil, &sourceError{err}
	}
	return trailer, nil
}
