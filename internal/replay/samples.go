package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// AppendSamples appends samples as bytes that [ReadSamples] reads: some fifteen
// bytes each, and nothing is lost.
func AppendSamples(b []byte, samples []Sample) []byte {
	b = binary.AppendUvarint(b, uint64(len(samples)))
	var before Sample
	for _, s := range samples {
		b = binary.AppendUvarint(b, uint64(uint32(s.Exchange)))
		b = binary.AppendVarint(b, int64(s.Instance-before.Instance))
		b = binary.AppendVarint(b, int64(s.Planned-before.Planned))
		b = binary.AppendVarint(b, int64(s.Due-s.Planned))
		b = binary.AppendVarint(b, int64(s.Sent-s.Due))
		b = binary.AppendVarint(b, int64(s.First-s.Sent))
		b = binary.AppendVarint(b, int64(s.Last-s.Sent))
		b = binary.AppendVarint(b, s.Size)
		b = binary.AppendUvarint(b, uint64(s.Status))
		flags := s.failure << 1
		if s.Retried {
			flags |= 1
		}
		b = append(b, flags)
		before = s
	}
	return b
}

var errSamples = errors.New("damaged samples")

// leastSample is the size of the smallest sample in bytes.
const leastSample = 10

// ReadSamples reads what AppendSamples wrote, all of it.
func ReadSamples(b []byte) ([]Sample, error) {
	r := reader{b: b}
	n := r.unsigned()
	if n > uint64(len(b)/leastSample) {
		return nil, fmt.Errorf("%w: %d in %d bytes", errSamples, n, len(b))
	}
	samples := make([]Sample, n)
	var before Sample
	for i := range samples {
		var s Sample
		s.Exchange = int32(uint32(r.unsigned()))
		s.Instance = before.Instance + int32(r.signed())
		s.Planned = before.Planned + time.Duration(r.signed())
		s.Due = s.Planned + time.Duration(r.signed())
		s.Sent = s.Due + time.Duration(r.signed())
		s.First = s.Sent + time.Duration(r.signed())
		s.Last = s.Sent + time.Duration(r.signed())
		s.Size = r.signed()
		s.Status = uint16(r.unsigned())
		if len(r.b) == 0 || int(r.b[0]>>1) >= len(failures) || s.Exchange < 0 {
			return nil, fmt.Errorf("%w: number %d of %d", errSamples, i, n)
		}
		s.failure, s.Retried = r.b[0]>>1, r.b[0]&1 != 0
		r.b = r.b[1:]
		samples[i], before = s, s
	}
	if r.bad || len(r.b) > 0 {
		return nil, errSamples
	}
	return samples, nil
}

// reader takes numbers off the front of bytes, and zeros where they end.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) unsigned() uint64 {
	v, n := binary.Uvarint(r.b)
	return advance(r, v, n)
}

func (r *reader) signed() int64 {
	v, n := binary.Varint(r.b)
	return advance(r, v, n)
}

func advance[T int64 | uint64](r *reader, v T, n int) T {
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}
