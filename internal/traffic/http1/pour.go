package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// Keep keeps the first Limit bytes of a body and counts the rest.
type Keep struct {
	Data  []byte
	Limit int64
	Size  int64
	// Times notes when the messages of the body are there, if it has a kind. At
	// tells the time since the exchange began; nil notes nothing.
	Times messages.Times
	At    func() time.Duration
	// Whole, if set, is called by Pour when all of the body was read, before the
	// last of it is sent on.
	Whole func()
}

func (k *Keep) Add(b []byte) {
	k.Size += int64(len(b))
	if room := k.Limit - int64(len(k.Data)); room > 0 {
		b = b[:min(int64(len(b)), room)]
		k.Data = append(k.Data, b...)
		if k.At != nil && k.Times.Kind != messages.None {
			k.Times.Add(b, k.At())
		}
	}
}

// End notes that the side said that it sends no more.
func (k *Keep) End() {
	if k.At != nil && k.Size <= k.Limit {
		k.Times.End(k.At())
	}
}

// Body returns what was kept. A body that was cut is marked; its Size is the
// full length when the body ended, and what passed by otherwise.
func (k *Keep) Body(header traffic.Header) traffic.Body {
	b := traffic.NewBody(k.Data, header)
	b.Size, b.Times = k.Size, k.Times.List()
	b.Truncated = k.Size > int64(len(k.Data))
	return b
}

// SourceError is a failure to read a body, as against one to write it.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

func fromSource(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &SourceError{err}
}

var ErrBadChunk = errors.New("not a chunked body")

// Pour moves one body from src to dst exactly as it is on the wire, transfer
// coding included, and copies the payload to keep. It flushes dst whenever src
// has nothing more at hand, so a streamed body is never held back. Errors of
// src are of type *SourceError; others are of dst.
func Pour(dst *bufio.Writer, src *bufio.Reader, f Framing, keep *Keep) (trailer traffic.Header, err error) {
	switch f.Kind {
	case ByLength:
		err = pourBytes(dst, src, f.Length, keep)
	case ByChunks:
		trailer, err = pourChunks(dst, src, keep)
	case ByClose:
		err = PourAll(dst, src, keep)
	}
	if err != nil {
		return trailer, err
	}
	if keep != nil && keep.Whole != nil {
		keep.Whole()
	}
	return trailer, dst.Flush()
}

func pourBytes(dst *bufio.Writer, src *bufio.Reader, n int64, keep *Keep) error {
	for n > 0 {
		moved, err := pourSome(dst, src, n, keep)
		if err != nil {
			return err
		}
		n -= int64(moved)
	}
	return nil
}

func PourAll(dst *bufio.Writer, src *bufio.Reader, keep *Keep) error {
	for {
		_, err := pourSome(dst, src, 1<<62, keep)
		if source := (*SourceError)(nil); errors.As(err, &source) && source.Err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pourSome moves what is at hand, at most n bytes, waiting for at least one.
func pourSome(dst *bufio.Writer, src *bufio.Reader, n int64, keep *Keep) (int, error) {
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
		keep.Add(b)
	}
	if _, err := dst.Write(b); err != nil {
		return 0, err
	}
	return src.Discard(len(b))
}

func pourChunks(dst *bufio.Writer, src *bufio.Reader, keep *Keep) (traffic.Header, error) {
	for {
		line, err := pourLine(dst, src)
		if err != nil {
			return nil, err
		}
		size, err := chunkSize(line)
		if err != nil {
			return nil, &SourceError{err}
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
			return nil, &SourceError{fmt.Errorf("%w: a chunk is longer than its size", ErrBadChunk)}
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
		err = fmt.Errorf("%w: a line is too long", ErrBadChunk)
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
		return 0, fmt.Errorf("%w: size %q", ErrBadChunk, clip(digits, 20))
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
		if text = append(text, line...); len(text) > MaxHeadBytes {
			return nil, &SourceError{fmt.Errorf("%w: trailers over %d bytes", ErrHeadTooLarge, MaxHeadBytes)}
		}
	}
	if len(text) == 0 {
		return nil, nil
	}
	trailer, err := ParseFields(string(text))
	if err != nil {
		return nil, &SourceError{err}
	}
	return trailer, nil
}
