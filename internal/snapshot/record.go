package snapshot

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// A record of a packed snapshot (a route, a match) is a sequence of fields: a
// varint of the field's number times two, plus one for bytes (then a varint
// length and the bytes) or plus zero for a varint value. Readers skip numbers
// they do not know.

// Field numbers of a match.
const (
	tTier = 1 + iota
	tRecord
	tPass
	tReason
	tNear // starts one; the fields below belong to it
	tScore
	tPath // starts one difference
	tRecorded
	tLive
)

// Field numbers of a route.
const (
	rNumber = 1 + iota
	rPath
	rTitle
)

func appendUint(dst []byte, field int, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(field)<<1), v)
}

// appendString writes a text; always writes even an empty one, where its
// presence means something.
func appendString(dst []byte, field int, s string, always bool) []byte {
	if len(s) == 0 && !always {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(field)<<1|1)
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func encodeMatch(m *traffic.Match) []byte {
	var dst []byte
	dst = appendString(dst, tTier, string(m.Tier), false)
	dst = appendString(dst, tRecord, m.Record, false)
	dst = appendUint(dst, tPass, uint64(m.Pass))
	dst = appendString(dst, tReason, m.Reason, false)
	for _, n := range m.Nearest {
		dst = appendString(dst, tNear, n.Record, true)
		dst = appendUint(dst, tScore, math.Float64bits(n.Score))
		for _, d := range n.Differences {
			dst = appendString(dst, tPath, d.Path.String(), true)
			dst = appendString(dst, tRecorded, d.Recorded, false)
			dst = appendString(dst, tLive, d.Live, false)
		}
	}
	return dst
}

var errRecord = errors.New("damaged record")

// fields walks over the fields of a record.
type fields struct {
	rest  string
	field int
	value uint64 // of a varint field
	text  string // of a bytes field
	err   error
}

func (f *fields) uvarint() uint64 {
	// binary.Uvarint needs bytes; most varints here are one byte.
	var v uint64
	for i := range min(len(f.rest), binary.MaxVarintLen64) {
		c := f.rest[i]
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 {
				break
			}
			f.rest = f.rest[i+1:]
			return v | uint64(c)<<(7*i)
		}
		v |= uint64(c&0x7f) << (7 * i)
	}
	f.err = errRecord
	f.rest = ""
	return 0
}

// next moves to the next field, and reports whether there is one.
func (f *fields) next() bool {
	if f.rest == "" || f.err != nil {
		return false
	}
	tag := f.uvarint()
	if tag>>1 > 1<<20 || tag < 2 {
		f.err = errRecord
		return false
	}
	f.field, f.value, f.text = int(tag>>1), f.uvarint(), ""
	if f.err == nil && tag&1 == 1 {
		if f.value > uint64(len(f.rest)) {
			f.err = errRecord
			return false
		}
		f.text, f.rest = f.rest[:f.value], f.rest[f.value:]
	}
	return f.err == nil
}

func decodeMatch(record string) (*traffic.Match, error) {
	m := &traffic.Match{}
	f := &fields{rest: record}
	for f.next() {
		if (f.field > tNear && len(m.Nearest) == 0) || (f.field > tPath && len(m.Nearest[len(m.Nearest)-1].Differences) == 0) {
			return nil, errRecord
		}
		switch f.field {
		case tTier:
			m.Tier = traffic.Tier(f.text)
		case tRecord:
			m.Record = f.text
		case tPass:
			m.Pass = uint32(f.value)
		case tReason:
			m.Reason = f.text
		case tNear:
			m.Nearest = append(m.Nearest, traffic.Near{Record: f.text})
		case tScore:
			m.Nearest[len(m.Nearest)-1].Score = math.Float64frombits(f.value)
		case tPath:
			path, err := traffic.ParsePath(f.text)
			if err != nil {
				return nil, err
			}
			last := &m.Nearest[len(m.Nearest)-1]
			last.Differences = append(last.Differences, traffic.Disagreement{Path: path})
		case tRecorded, tLive:
			d := m.Nearest[len(m.Nearest)-1].Differences
			if f.field == tRecorded {
				d[len(d)-1].Recorded = f.text
			} else {
				d[len(d)-1].Live = f.text
			}
		}
	}
	return m, f.err
}
