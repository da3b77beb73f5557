package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// A record of the packed tier is a sequence of fields: a varint of the field's
// number times two, plus one for bytes (then a varint length and the bytes)
// or plus zero for a varint value. Readers skip numbers they do not know.

// The types of records, which stand before their fields.
const (
	recordExchange   = 'x'
	recordRoute      = 'r'
	recordCheckpoint = 'c'
)

// Field numbers of an exchange.
const (
	fID = 1 + iota
	fDirection
	fLane
	fRecorded
	fSeconds
	fNanos
	fFirstByte
	fDuration
	fRequest
	fResponse
	fFailure
	fIncomplete
	fSource
	fConnection
	fCertainty
	fMatch
	fRoute
)

// Field numbers of a message.
const (
	mMethod = 1 + iota
	mScheme
	mAuthority
	mTarget
	mProto
	mStatus
	mHeaderName
	mHeaderValue
	mTrailerName
	mTrailerValue
	mBody      // the bytes
	mBodyFrame // or where they are
	mBodyOffset
	mBodyLength
	mCoding
	mTruncated
	mSize
)

// Field numbers of a match, and of a route.
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

// appendInt writes a signed value so that small ones of both signs are short.
func appendInt(dst []byte, field int, v int64) []byte {
	return appendUint(dst, field, uint64(v<<1)^uint64(v>>63))
}

func signed(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// appendString writes a text; always writes even an empty one, where its
// presence means something.
func appendString[T string | []byte](dst []byte, field int, s T, always bool) []byte {
	if len(s) == 0 && !always {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(field)<<1|1)
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// bodyPlace is where a body stands in the packed tier.
type bodyPlace struct{ frame, offset, length uint32 }

// inlineBody is the size up to which a body stands in its record: a place
// takes nearly as much.
const inlineBody = 32

// bodyStore keeps bodies for appendRecord.
type bodyStore interface {
	place(data []byte) (bodyPlace, error)
}

func appendRecord(dst []byte, x *traffic.Exchange, route int, bodies bodyStore) ([]byte, error) {
	dst = append(dst, recordExchange)
	dst = appendString(dst, fID, x.ID, true)
	if x.Direction == traffic.Outbound {
		dst = appendUint(dst, fDirection, 1)
	}
	if x.Direction == traffic.Outbound || string(x.Lane) != x.ID {
		dst = appendString(dst, fLane, string(x.Lane), true)
	}
	dst = appendString(dst, fRecorded, x.Recorded, false)
	dst = appendInt(dst, fSeconds, x.Start.Unix())
	dst = appendUint(dst, fNanos, uint64(x.Start.Nanosecond()))
	dst = appendInt(dst, fFirstByte, int64(x.FirstByte))
	dst = appendInt(dst, fDuration, int64(x.Duration))
	dst = appendString(dst, fFailure, string(x.Failure), false)
	for _, s := range x.Incomplete {
		dst = appendString(dst, fIncomplete, s, true)
	}
	dst = appendString(dst, fSource, x.Origin.Source, false)
	dst = appendString(dst, fConnection, x.Origin.Connection, false)
	dst = appendString(dst, fCertainty, string(x.Origin.Certainty), false)
	dst = appendUint(dst, fRoute, uint64(route))
	if x.Match != nil {
		dst = appendString(dst, fMatch, encodeMatch(x.Match), true)
	}
	q := &x.Request
	var m []byte
	m = appendString(m, mMethod, q.Method, false)
	m = appendString(m, mScheme, q.Scheme, false)
	m = appendString(m, mAuthority, q.Authority, false)
	m = appendString(m, mTarget, q.Target, false)
	m = appendString(m, mProto, q.Proto, false)
	m, err := encodeMessage(m, q.Header, q.Trailer, q.Body, bodies)
	if err != nil {
		return dst, fmt.Errorf("exchange %s: request: %w", x.ID, err)
	}
	dst = appendString(dst, fRequest, m, true)
	if r := x.Response; r != nil {
		m = appendInt(m[:0], mStatus, int64(r.Status))
		m = appendString(m, mProto, r.Proto, false)
		if m, err = encodeMessage(m, r.Header, r.Trailer, r.Body, bodies); err != nil {
			return dst, fmt.Errorf("exchange %s: response: %w", x.ID, err)
		}
		dst = appendString(dst, fResponse, m, true)
	}
	if len(dst) > maxEntry {
		return dst, fmt.Errorf("exchange %s: %w: %d bytes of headers", x.ID, ErrTooLarge, len(dst))
	}
	return dst, nil
}

func encodeMessage(dst []byte, header, trailer traffic.Header, b traffic.Body, bodies bodyStore) ([]byte, error) {
	for _, f := range header {
		dst = appendString(appendString(dst, mHeaderName, f.Name, true), mHeaderValue, f.Value, false)
	}
	for _, f := range trailer {
		dst = appendString(appendString(dst, mTrailerName, f.Name, true), mTrailerValue, f.Value, false)
	}
	switch n := len(b.Raw); {
	case n > maxBody:
		return dst, fmt.Errorf("body of %d bytes: %w: at most %d", n, ErrTooLarge, maxBody)
	case n > inlineBody:
		at, err := bodies.place(b.Raw)
		if err != nil {
			return dst, err
		}
		dst = appendUint(dst, mBodyFrame, uint64(at.frame))
		dst = appendUint(dst, mBodyOffset, uint64(at.offset))
		dst = appendUint(dst, mBodyLength, uint64(at.length))
	case n > 0:
		dst = appendString(dst, mBody, b.Raw, true)
	}
	dst = appendString(dst, mCoding, b.Coding, false)
	if b.Truncated {
		dst = appendUint(dst, mTruncated, 1)
	}
	if b.Size != int64(len(b.Raw)) {
		// Written even where it is zero, as its absence means the length.
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, mSize<<1), uint64(b.Size<<1)^uint64(b.Size>>63))
	}
	return dst, nil
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

// bodyLoader returns the body at a place; the caller may keep and change it.
type bodyLoader interface {
	load(at bodyPlace) ([]byte, error)
}

// parseRecord reads the fields of an exchange, without its type.
func parseRecord(record string, bodies bodyLoader) (x *traffic.Exchange, route int, err error) {
	x = &traffic.Exchange{Direction: traffic.Inbound}
	var seconds, nanos int64
	lane := false
	f := &fields{rest: record}
	for f.next() {
		switch f.field {
		case fID:
			x.ID = f.text
		case fDirection:
			x.Direction = traffic.Outbound
		case fLane:
			x.Lane, lane = traffic.Lane(f.text), true
		case fRecorded:
			x.Recorded = f.text
		case fSeconds:
			seconds = signed(f.value)
		case fNanos:
			nanos = int64(f.value)
		case fFirstByte:
			x.FirstByte = time.Duration(signed(f.value))
		case fDuration:
			x.Duration = time.Duration(signed(f.value))
		case fFailure:
			x.Failure = traffic.Failure(f.text)
		case fIncomplete:
			x.Incomplete = append(x.Incomplete, f.text)
		case fSource:
			x.Origin.Source = f.text
		case fConnection:
			x.Origin.Connection = f.text
		case fCertainty:
			x.Origin.Certainty = traffic.Certainty(f.text)
		case fRoute:
			route = int(min(f.value, math.MaxInt32))
		case fMatch:
			if x.Match, err = decodeMatch(f.text); err != nil {
				return nil, 0, err
			}
		case fRequest:
			q := &x.Request
			if err := decodeMessage(f.text, q, nil, &q.Header, &q.Trailer, &q.Body, bodies); err != nil {
				return nil, 0, err
			}
		case fResponse:
			r := &traffic.Response{}
			x.Response = r
			if err := decodeMessage(f.text, nil, r, &r.Header, &r.Trailer, &r.Body, bodies); err != nil {
				return nil, 0, err
			}
		}
	}
	if !lane && x.Direction == traffic.Inbound {
		x.Lane = traffic.Lane(x.ID)
	}
	if nanos < 0 || nanos > 999999999 {
		return nil, 0, errRecord
	}
	x.Start = time.Unix(seconds, nanos).UTC()
	if f.err == nil {
		f.err = checkStorable(x)
	}
	return x, route, f.err
}

func decodeMessage(record string, q *traffic.Request, r *traffic.Response, header, trailer *traffic.Header, b *traffic.Body, bodies bodyLoader) error {
	f := &fields{rest: record}
	var at bodyPlace
	var size *int64
	for f.next() {
		switch f.field {
		case mHeaderName:
			*header = append(*header, traffic.Field{Name: f.text})
		case mHeaderValue:
			if n := len(*header); n > 0 {
				(*header)[n-1].Value = f.text
			}
		case mTrailerName:
			*trailer = append(*trailer, traffic.Field{Name: f.text})
		case mTrailerValue:
			if n := len(*trailer); n > 0 {
				(*trailer)[n-1].Value = f.text
			}
		case mBody:
			b.Raw = []byte(f.text)
		case mBodyFrame:
			at.frame = uint32(f.value)
		case mBodyOffset:
			at.offset = uint32(f.value)
		case mBodyLength:
			at.length = uint32(f.value)
		case mCoding:
			b.Coding = f.text
		case mTruncated:
			b.Truncated = true
		case mSize:
			n := signed(f.value)
			size = &n
		case mStatus:
			if r != nil {
				r.Status = int(signed(f.value))
			}
		case mProto:
			if r != nil {
				r.Proto = f.text
			} else {
				q.Proto = f.text
			}
		case mMethod, mScheme, mAuthority, mTarget:
			if q != nil {
				*[]*string{&q.Method, &q.Scheme, &q.Authority, &q.Target}[f.field-mMethod] = f.text
			}
		}
	}
	if f.err != nil {
		return f.err
	}
	if at.length > 0 {
		raw, err := bodies.load(at)
		if err != nil {
			return err
		}
		b.Raw = raw
	}
	b.Size = int64(len(b.Raw))
	if size != nil {
		b.Size = *size
	}
	return nil
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
