package agent

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// A stream is a sequence of frames: a kind, the length, the payload. It ends
// with a frame of its own, so that a lost connection is never taken for the
// end.
type frame byte

const (
	frameSettings frame = 'j' // JSON, first in a load
	frameExchange frame = 'x'
	frameError    frame = 'e' // text; the stream ends
	frameEnd      frame = 'z' // the stream is complete
)

// maxFrame bounds one exchange: two bodies of the size that the rooms keep,
// and their headers.
const maxFrame = 256 << 20

// StreamWriter writes exchanges. It is not safe for concurrent use.
type StreamWriter struct {
	w   *bufio.Writer
	buf encoder
}

// NewStreamWriter starts a stream on w.
func NewStreamWriter(w io.Writer) *StreamWriter {
	return &StreamWriter{w: bufio.NewWriterSize(w, 64<<10)}
}

// Exchange appends one exchange.
func (s *StreamWriter) Exchange(x *traffic.Exchange) error {
	s.buf.b = s.buf.b[:0]
	s.buf.exchange(x)
	return s.frame(frameExchange, s.buf.b)
}

// Flush sends what is buffered.
func (s *StreamWriter) Flush() error { return s.w.Flush() }

// Close ends the stream, with the reason if it is not complete. It does not
// close the writer below.
func (s *StreamWriter) Close(reason error) error {
	kind, text := frameEnd, ""
	if reason != nil {
		kind, text = frameError, reason.Error()
	}
	if err := s.frame(kind, []byte(text)); err != nil {
		return err
	}
	return s.w.Flush()
}

func (s *StreamWriter) settings(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	return s.frame(frameSettings, data)
}

func (s *StreamWriter) frame(kind frame, payload []byte) error {
	var head [1 + binary.MaxVarintLen64]byte
	head[0] = byte(kind)
	n := 1 + binary.PutUvarint(head[1:], uint64(len(payload)))
	if _, err := s.w.Write(head[:n]); err != nil {
		return err
	}
	_, err := s.w.Write(payload)
	return err
}

// RemoteError is what the other side said.
type RemoteError struct{ Message string }

// Error returns the message as it came.
func (e *RemoteError) Error() string { return e.Message }

// StreamReader reads what a StreamWriter wrote.
type StreamReader struct{ r *bufio.Reader }

// NewStreamReader reads a stream from r.
func NewStreamReader(r io.Reader) *StreamReader {
	return &StreamReader{bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next exchange, io.EOF after the last one of a complete
// stream, a *RemoteError when the writer gave a reason, or an error that says
// how the stream is damaged.
func (s *StreamReader) Next() (*traffic.Exchange, error) {
	kind, payload, err := s.frame()
	if err != nil {
		return nil, err
	}
	switch kind {
	case frameEnd:
		return nil, io.EOF
	case frameError:
		return nil, &RemoteError{string(payload)}
	case frameExchange:
		d := decoder{b: payload}
		x := d.exchange()
		if d.err != nil {
			return nil, d.err
		}
		return x, nil
	default:
		return nil, fmt.Errorf("%w: a frame of kind %q", errDamaged, byte(kind))
	}
}

// All reads the rest of the stream into memory.
func (s *StreamReader) All() ([]*traffic.Exchange, error) {
	var all []*traffic.Exchange
	for {
		x, err := s.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
}

func (s *StreamReader) settings(v any) error {
	kind, payload, err := s.frame()
	if err != nil {
		return err
	}
	if kind != frameSettings {
		return fmt.Errorf("%w: the stream does not begin with settings", errDamaged)
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber() // a number in a free-form value keeps all its digits
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read the settings: %w", err)
	}
	return nil
}

func (s *StreamReader) frame() (frame, []byte, error) {
	kind, err := s.r.ReadByte()
	if err != nil {
		return 0, nil, cutOff(err)
	}
	size, err := binary.ReadUvarint(s.r)
	if err != nil {
		return 0, nil, cutOff(err)
	}
	if size > maxFrame {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", errDamaged, size)
	}
	payload, err := readN(s.r, int(size))
	if err != nil {
		return 0, nil, cutOff(err)
	}
	return frame(kind), payload, nil
}

// readN reads n bytes without trusting n for the allocation.
func readN(r io.Reader, n int) ([]byte, error) {
	const step = 1 << 20
	buf := make([]byte, min(n, step))
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, err
	}
	for len(buf) < n {
		more := min(n-len(buf), len(buf))
		buf = append(buf, make([]byte, more)...)
		if _, err := io.ReadFull(r, buf[len(buf)-more:]); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// cutOff makes sure that an early end is not taken for a complete stream.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read the stream: %w", err)
}
