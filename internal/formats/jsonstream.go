package formats

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// jsonList reads the members of one list of a JSON text one by one, so that
// memory holds one member at a time.
type jsonList struct {
	s     *source
	d     *json.Decoder
	bound *boundedReader
}

func newJSONList(s *source) *jsonList {
	if head, _ := s.r.Peek(3); string(head) == "\xef\xbb\xbf" {
		_, _ = s.r.Discard(3)
	}
	bound := &boundedReader{r: s.r, limit: s.opts.MaxRecord}
	return &jsonList{s: s, d: json.NewDecoder(bound), bound: bound}
}

// find moves to the list that the path of names leads to, passing over what
// stands before it. It reports false when there is none.
func (l *jsonList) find(path ...string) (bool, error) {
	for _, want := range path {
		if t, err := l.token(); err != nil || t != json.Delim('{') {
			return false, err
		}
		for {
			t, err := l.token()
			if err != nil {
				return false, err
			}
			if t == json.Delim('}') {
				return false, nil
			}
			if t == want {
				break
			}
			if err := l.skip(); err != nil {
				return false, err
			}
		}
	}
	t, err := l.token()
	return t == json.Delim('['), err
}

func (l *jsonList) token() (json.Token, error) {
	l.bound.reset()
	return l.d.Token()
}

// skip passes over one value without holding it.
func (l *jsonList) skip() error {
	for depth := 0; ; {
		t, err := l.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// each calls read for every member, which is decoded into what fresh returns.
// A member of a wrong shape is reported and passed over; text that is not JSON
// ends the list, since nothing tells where the next member starts.
func (l *jsonList) each(fresh func() any, read func(at place, v any) error) error {
	for l.d.More() {
		l.bound.reset()
		at := place{offset: l.d.InputOffset()}
		v := fresh()
		err := l.d.Decode(v)
		var wrong *json.UnmarshalTypeError
		switch {
		case errors.As(err, &wrong):
			err = l.s.unreadable(at, "%s is not of the right type (%s)", wrong.Field, wrong.Value)
		case err != nil:
			return l.s.rest(place{offset: l.d.InputOffset()}, err)
		default:
			err = read(at, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rest reports that nothing more of the file can be read: one record is lost
// for sure, and how many more cannot be told.
func (s *source) rest(at place, err error) error {
	if errors.Is(err, s.ctx.Err()) && err != nil && s.ctx.Err() != nil {
		return err
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return s.unreadable(at, "the file ends within a record")
	}
	return s.unreadable(at, "the rest of the file cannot be read: %v", err)
}

// boundedReader fails when more than limit bytes are read without a reset.
type boundedReader struct {
	r     io.Reader
	limit int64
	read  int64
}

func (b *boundedReader) reset() { b.read = 0 }

// Read implements io.Reader.
func (b *boundedReader) Read(p []byte) (int, error) {
	if b.read > b.limit {
		return 0, fmt.Errorf("a record is over %d bytes", b.limit)
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	return n, err
}
