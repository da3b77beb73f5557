package replay

import (
	"bytes"
	"errors"
	"io"
)

// take moves up to n bytes of body from the connection to sink, or drops them
// when keep is false. It stops with truncated set at limit.
func (a *answerReader) take(ans *answer, sink []byte, keep bool, n, limit int64) ([]byte, error) {
	for n > 0 {
		if a.r == a.w {
			if err := a.fill(); err != nil {
				return sink, early(err)
			}
		}
		m := min(int64(a.w-a.r), n)
		if ans.size+m > limit {
			m, ans.truncated = limit-ans.size, true
		}
		if keep {
			sink = append(sink, a.buf[a.r:a.r+int(m)]...)
		}
		a.r += int(m)
		ans.size += m
		n -= m
		if ans.truncated {
			return sink, nil
		}
	}
	return sink, nil
}

func (a *answerReader) readSized(ans *answer, keep bool, length, limit int64) ([]byte, error) {
	var sink []byte
	if keep {
		// A length is a claim: do not allocate more for it than has to be.
		sink = make([]byte, 0, min(length, firstChunk, limit))
	}
	return a.take(ans, sink, keep, length, limit)
}

func (a *answerReader) readToEnd(ans *answer, keep bool, limit int64) ([]byte, error) {
	var sink []byte
	for {
		if a.r == a.w {
			if err := a.fill(); errors.Is(err, io.EOF) {
				return sink, nil
			} else if err != nil {
				return sink, err
			}
		}
		var err error
		if sink, err = a.take(ans, sink, keep, int64(a.w-a.r), limit); err != nil || ans.truncated {
			return sink, err
		}
	}
}

func (a *answerReader) readChunked(ans *answer, keep bool, limit int64) ([]byte, error) {
	var sink []byte
	for {
		line, err := a.line(4 << 10)
		if err != nil {
			return sink, err
		}
		size, err := chunkSize(line)
		if err != nil {
			return sink, err
		}
		if size == 0 {
			return sink, a.readTrailer(ans, keep)
		}
		if sink, err = a.take(ans, sink, keep, size, limit); err != nil || ans.truncated {
			return sink, err
		}
		if line, err = a.line(16); err != nil {
			return sink, err
		}
		if len(line) > 0 {
			return sink, protocolErrorf("%q follows a chunk", clip(line, 16))
		}
	}
}

func (a *answerReader) readTrailer(ans *answer, keep bool) error {
	for total := 0; ; {
		line, err := a.line(maxHead)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		if total += len(line); total > maxHead {
			return protocolErrorf("trailers are longer than %d bytes", maxHead)
		}
		name, value, _, err := nextField(line)
		if err != nil {
			return err
		}
		if keep {
			ans.trailer.Add(string(name), string(value))
		}
	}
}

// chunkSize reads the hexadecimal size of a chunk and drops its extensions.
func chunkSize(line []byte) (int64, error) {
	digits, _, _ := bytes.Cut(line, []byte{';'})
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 || len(digits) > 15 {
		return 0, protocolErrorf("chunk size %q", clip(line, 32))
	}
	var n int64
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int64(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | int64(c-'A'+10)
		default:
			return 0, protocolErrorf("chunk size %q", clip(line, 32))
		}
	}
	return n, nil
}
