package formats

import (
	"errors"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/reprise-ci/reprise/internal/traffic"
)

func (t *tapReader) readProto() error {
	var offset int64
	for {
		at := place{offset: offset}
		head, err := t.s.r.Peek(protowire.SizeVarint(1<<63 - 1))
		if len(head) == 0 {
			if err == io.EOF {
				return nil
			}
			return t.s.rest(at, err)
		}
		size, n := protowire.ConsumeVarint(head)
		if n < 0 || size > 1<<40 {
			return t.s.rest(at, errors.New("no length"))
		}
		_, _ = t.s.r.Discard(n)
		offset += int64(n) + int64(size)
		if int64(size) > t.s.opts.MaxRecord {
			if _, err := io.CopyN(io.Discard, t.s.r, int64(size)); err != nil {
				return t.s.rest(at, err)
			}
			if err := t.s.unreadable(at, "the record is over %d bytes", t.s.opts.MaxRecord); err != nil {
				return err
			}
			continue
		}
		data, err := readExactly(t.s.r, nil, int64(size))
		if err != nil {
			return t.s.rest(at, err)
		}
		if err := t.wrapper(at, data); err != nil {
			return err
		}
	}
}

var errProto = errors.New("not a message of Envoy's tap")

// protoFields calls f with the number of every field and its bytes or number.
func protoFields(data []byte, f func(number protowire.Number, value []byte, n uint64)) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errProto
		}
		data = data[n:]
		switch kind {
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(data)
			if n < 0 {
				return errProto
			}
			f(number, v, 0)
			data = data[n:]
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(data)
			if n < 0 {
				return errProto
			}
			f(number, nil, v)
			data = data[n:]
		default:
			n := protowire.ConsumeFieldValue(number, kind, data)
			if n < 0 {
				return errProto
			}
			data = data[n:]
		}
	}
	return nil
}

func (t *tapReader) wrapper(at place, data []byte) error {
	var whole, segment []byte
	err := protoFields(data, func(number protowire.Number, value []byte, _ uint64) {
		switch number {
		case 1:
			whole = value
		case 2:
			segment = value
		}
	})
	switch {
	case err != nil:
		return t.s.unreadable(at, "%v", err)
	case whole != nil:
		trace := &tapTrace{place: at}
		var inner error
		err = protoFields(whole, func(number protowire.Number, value []byte, _ uint64) {
			switch number {
			case 1:
				inner = errors.Join(inner, trace.request.fromProto(value))
			case 2:
				inner = errors.Join(inner, trace.response.fromProto(value))
			}
		})
		if err != nil || inner != nil {
			return t.s.unreadable(at, "%v", errProto)
		}
		return t.emit(trace)
	case segment != nil:
		return t.protoSegment(at, segment)
	}
	return t.s.unreadable(at, "not a trace of HTTP")
}

func (t *tapReader) protoSegment(at place, data []byte) error {
	var id uint64
	var m tapMessage
	var number protowire.Number
	var inner error
	err := protoFields(data, func(n protowire.Number, value []byte, v uint64) {
		switch n {
		case 1:
			id = v
		case 2, 5:
			number = n
			m.header, inner = protoHeaderMap(value)
		case 4, 7:
			number = n
			m.trailer, inner = protoHeaderMap(value)
		case 3, 6:
			number = n
			inner = m.bodyFromProto(value)
		}
	})
	if err != nil || inner != nil || number == 0 {
		return t.s.unreadable(at, "%v", errProto)
	}
	kind := map[protowire.Number]byte{2: 'h', 5: 'h', 3: 'b', 6: 'b', 4: 't', 7: 't'}[number]
	return t.segment(at, id, number >= 5, kind, m)
}

func (m *tapMessage) fromProto(data []byte) error {
	var inner error
	err := protoFields(data, func(number protowire.Number, value []byte, _ uint64) {
		switch number {
		case 1:
			inner = errors.Join(inner, protoHeader(value, &m.header))
		case 2:
			inner = errors.Join(inner, m.bodyFromProto(value))
		case 3:
			inner = errors.Join(inner, protoHeader(value, &m.trailer))
		case 4:
			var seconds, nanos uint64
			inner = errors.Join(inner, protoFields(value, func(n protowire.Number, _ []byte, v uint64) {
				if n == 1 {
					seconds = v
				} else {
					nanos = v
				}
			}))
			if seconds < 1<<36 && nanos < 1e9 {
				m.at = time.Unix(int64(seconds), int64(nanos)).UTC()
			}
		}
	})
	m.seen = len(m.header) > 0
	return errors.Join(err, inner)
}

func (m *tapMessage) bodyFromProto(data []byte) error {
	return protoFields(data, func(number protowire.Number, value []byte, v uint64) {
		switch number {
		case 1, 2:
			m.body = value
		case 3:
			m.truncated = v != 0
		}
	})
}

func protoHeaderMap(data []byte) (h traffic.Header, err error) {
	var inner error
	err = protoFields(data, func(number protowire.Number, value []byte, _ uint64) {
		if number == 1 {
			inner = errors.Join(inner, protoHeader(value, &h))
		}
	})
	return h, errors.Join(err, inner)
}

func protoHeader(data []byte, h *traffic.Header) error {
	var key, value string
	err := protoFields(data, func(number protowire.Number, v []byte, _ uint64) {
		switch number {
		case 1:
			key = string(v)
		case 2, 3: // value, raw_value
			value = string(v)
		}
	})
	h.Add(key, value)
	return err
}
