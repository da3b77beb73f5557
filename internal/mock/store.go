package mock

import (
	"encoding/binary"
	"hash/maphash"
	"time"
	"unsafe"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// store keeps recorded calls as plain bytes. A million of them would otherwise
// be tens of millions of pointers, which the collector follows again and again,
// and an answer would be found over half a dozen of them, each a miss of the
// caches. Here it is found over one address, and read from front to back.
//
// Strings and bodies that are read point into the store: they stay valid as
// long as anybody holds them, and nobody may change the bytes. A store is
// filled by one goroutine and then read by any number.
type store struct {
	chunks [][]byte
	seed   maphash.Seed
	known  table // answers by their hash, so that equal ones are kept once; nil when filled
}

// address is where something lies in a store: a chunk and an offset. Nothing is
// read at 0.
type address uint64

func (a address) split() (chunk, offset int) { return int(a >> 32), int(a & 0xffffffff) }

// short is an address in 32 bits, 0 for those beyond the first chunks, which
// hold 4 GiB when they are of full size.
func (a address) short() uint32 {
	chunk, offset := a.split()
	if chunk >= 1<<32/maxChunk || offset >= maxChunk {
		return 0
	}
	return uint32(chunk*maxChunk + offset)
}

// long undoes short.
func long(short uint32) address {
	return address(short/maxChunk)<<32 | address(short%maxChunk)
}

// Sizes of the pieces that a store grows by: small for small recordings, so
// that many mocks in one process cost nothing.
const (
	minChunk = 64 << 10
	maxChunk = 32 << 20
)

// add appends a piece, which lies in one chunk.
func (s *store) add(piece []byte) address {
	last := len(s.chunks) - 1
	if last < 0 || cap(s.chunks[last])-len(s.chunks[last]) < len(piece) {
		size := minChunk
		if last >= 0 {
			size = min(2*cap(s.chunks[last]), maxChunk)
		}
		chunk := make([]byte, 0, max(size, len(piece)+1))
		preferHugePages(chunk[:cap(chunk)])
		if last < 0 {
			chunk = append(chunk, 0) // what lies at address 0
		}
		s.chunks = append(s.chunks, chunk)
		last++
	}
	at := len(s.chunks[last])
	s.chunks[last] = append(s.chunks[last], piece...)
	return address(last)<<32 | address(at)
}

// addOnce appends a piece unless an equal one is there.
func (s *store) addOnce(piece []byte) address {
	key := maphash.Bytes(s.seed, piece)
	if v, ok := s.known.get(key); ok {
		if r := s.read(address(v)); len(r.rest) >= len(piece) && string(r.rest[:len(piece)]) == string(piece) {
			return address(v)
		}
		return s.add(piece) // two of one hash: the other one is found by it
	}
	a := s.add(piece)
	s.known.set(key, uint64(a))
	return a
}

// read begins to read at an address.
func (s *store) read(a address) reader {
	chunk, offset := a.split()
	return reader{s.chunks[chunk][offset:]}
}

// reader takes values off bytes that a writer of this package wrote.
type reader struct{ rest []byte }

func (r *reader) uint() uint64 {
	if b := r.rest[0]; b < 0x80 { // most are
		r.rest = r.rest[1:]
		return uint64(b)
	}
	v, n := binary.Uvarint(r.rest)
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := int(r.uint())
	if n == 0 {
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) string() string {
	b := r.bytes()
	return unsafe.String(unsafe.SliceData(b), len(b)) // the bytes never change
}

// fields reads a header into the memory of dst.
func (r *reader) fields(dst traffic.Header) traffic.Header {
	n := int(r.uint())
	if n == 0 {
		return nil
	}
	if cap(dst) < n {
		dst = make(traffic.Header, 0, n)
	}
	dst = dst[:0]
	for range n {
		dst = append(dst, traffic.Field{Name: r.string(), Value: r.string()})
	}
	return dst
}

func (r *reader) body() traffic.Body {
	truncated := r.uint() == 1
	b := traffic.Body{Truncated: truncated, Size: int64(r.uint()), Coding: r.string(), Raw: r.bytes()}
	if n := int(r.uint()); n > 0 {
		b.Times = make([]time.Duration, n)
		for i := range b.Times {
			b.Times[i] = time.Duration(r.uint())
		}
	}
	return b
}

func appendString[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendFields(b []byte, h traffic.Header) []byte {
	b = binary.AppendUvarint(b, uint64(len(h)))
	for _, f := range h {
		b = appendString(appendString(b, f.Name), f.Value)
	}
	return b
}

func appendBodyBytes(b []byte, body *traffic.Body) []byte {
	truncated := byte(0)
	if body.Truncated {
		truncated = 1
	}
	b = binary.AppendUvarint(append(b, truncated), uint64(body.Size))
	b = binary.AppendUvarint(appendString(appendString(b, body.Coding), body.Raw), uint64(len(body.Times)))
	for _, at := range body.Times {
		b = binary.AppendUvarint(b, uint64(at))
	}
	return b
}

// appendCall appends what is told of a call itself: its id, its times and its
// request.
func appendCall(b []byte, x *traffic.Exchange) []byte {
	b = appendString(b, x.ID)
	b = binary.AppendUvarint(b, uint64(max(0, x.FirstByte)))
	b = binary.AppendUvarint(b, uint64(max(0, x.Duration)))
	return appendRequest(b, &x.Request)
}

func appendRequest(b []byte, r *traffic.Request) []byte {
	b = appendString(appendString(appendString(b, r.Method), r.Scheme), r.Authority)
	b = appendString(appendString(b, r.Target), r.Proto)
	return appendFields(appendBodyBytes(appendFields(b, r.Header), &r.Body), r.Trailer)
}

func (r *reader) request() traffic.Request {
	return traffic.Request{
		Method: r.string(), Scheme: r.string(), Authority: r.string(), Target: r.string(), Proto: r.string(),
		Header: r.fields(nil), Body: r.body(), Trailer: r.fields(nil),
	}
}

// times are how long a recorded answer took.
type times struct{ first, last time.Duration }

func (r *reader) times() times {
	return times{time.Duration(r.uint()), time.Duration(r.uint())}
}

// answer is how a recorded call was answered. Its memory can be used again.
type answer struct {
	failure traffic.Failure
	none    bool // there is no response: failure says why
	traffic.Response
}

// appendAnswer appends how a call was answered.
func appendAnswer(b []byte, x *traffic.Exchange) []byte {
	b = appendString(b, string(x.Failure))
	if x.Response == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(append(b, 1), uint64(x.Response.Status))
	b = appendFields(appendString(b, x.Response.Proto), x.Response.Header)
	return appendFields(appendBodyBytes(b, &x.Response.Body), x.Response.Trailer)
}

// answer reads an answer into the memory of a.
func (r *reader) answer(a *answer) {
	a.failure = traffic.Failure(r.string())
	if a.none = r.uint() == 0; a.none {
		return
	}
	a.Status, a.Proto, a.Header = int(r.uint()), r.string(), r.fields(a.Header)
	a.Body, a.Trailer = r.body(), r.fields(a.Trailer)
}
