package formats

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// Bounds of what an HTTP/2 connection in a capture may hold open.
const (
	maxH2Streams = 4096
)

// h2Conn reads the two directions of a connection that carries HTTP/2. Streams
// pair requests and responses. Heads are compressed against those before, so a
// hole anywhere but in the data of a body ends the reading of its direction.
type h2Conn struct {
	c       *conn
	client  int // side
	sides   [2]h2Side
	streams map[uint32]*h2Stream
	failed  bool // it was said that the rest is lost
}

type h2Side struct {
	buf     []byte // of a frame's head, or of a frame that is read as a whole
	need    int    // size of the whole frame; 0 before its head is there
	data    *h2Message
	padding int64 // of a DATA frame, at its end
	left    int64 // of a DATA frame that streams by
	end     bool  // and ends its stream
	id      uint32
	preface int // bytes of the preface that are to come
	decoder *hpack.Decoder
	block   []byte // of a head in several frames
	blockID uint32
	blockIs http2.Flags
	dead    bool
}

// h2Message is one half of a stream.
type h2Message struct {
	seen, done  bool
	fields      []hpack.HeaderField
	trailer     []hpack.HeaderField
	keep        http1.Keep
	first, last time.Time
	incomplete  []string
	held        int64
}

type h2Stream struct {
	request, response h2Message
	reset             bool
}

func newH2(c *conn, client int) *h2Conn {
	h := &h2Conn{c: c, client: client, streams: map[uint32]*h2Stream{}}
	for i := range h.sides {
		h.sides[i].decoder = hpack.NewDecoder(4096, nil)
		h.sides[i].decoder.SetAllowedMaxDynamicTableSize(1 << 16)
		h.sides[i].decoder.SetMaxStringLength(http1.MaxHeadBytes)
	}
	h.sides[client].preface = len(http2.ClientPreface)
	return h
}

// isH2Settings reports whether a server's first bytes are HTTP/2's.
func isH2Settings(data []byte) bool {
	return len(data) >= 9 && data[0] == 0 && data[1] == 0 && data[2]%6 == 0 && data[3] == byte(http2.FrameSettings) && data[4] == 0 && binary.BigEndian.Uint32(data[5:]) == 0
}

// feed takes the next piece of a side.
func (h *h2Conn) feed(i int, piece []byte, at time.Time) {
	s := &h.sides[i]
	for len(piece) > 0 && !s.dead {
		n := h.step(i, s, piece, at)
		piece = piece[n:]
	}
}

func (h *h2Conn) step(i int, s *h2Side, piece []byte, at time.Time) int {
	switch {
	case s.preface > 0:
		n := min(s.preface, len(piece))
		s.preface -= n
		return n
	case s.left+s.padding > 0: // within a DATA frame
		n := int(min(int64(len(piece)), s.left))
		if s.left > 0 {
			h.dataBytes(s, piece[:n], at)
			s.left -= int64(n)
		} else {
			n = int(min(int64(len(piece)), s.padding))
			s.padding -= int64(n)
		}
		if s.left+s.padding == 0 {
			h.dataEnd(i, s, at)
		}
		return n
	case s.need == 0:
		n := min(9-len(s.buf), len(piece))
		s.buf = append(s.buf, piece[:n]...)
		if len(s.buf) == 9 {
			h.frameHead(i, s, at)
		}
		return n
	}
	n := min(s.need-len(s.buf), len(piece))
	s.buf = append(s.buf, piece[:n]...)
	if len(s.buf) == s.need {
		frame := s.buf
		s.buf, s.need = nil, 0
		h.frame(i, s, frame, at)
	}
	return n
}

// frameHead decides whether a frame streams by or is read as a whole.
func (h *h2Conn) frameHead(i int, s *h2Side, at time.Time) {
	size := int64(s.buf[0])<<16 | int64(s.buf[1])<<8 | int64(s.buf[2])
	kind, flags := http2.FrameType(s.buf[3]), http2.Flags(s.buf[4])
	id := binary.BigEndian.Uint32(s.buf[5:]) & 0x7fffffff
	if kind == http2.FrameData && !flags.Has(http2.FlagDataPadded) {
		s.buf = nil
		s.id, s.end, s.left, s.data = id, flags.Has(http2.FlagDataEndStream), size, h.message(i, id)
		if size == 0 {
			h.dataEnd(i, s, at)
		}
		return
	}
	if kind != http2.FrameData && size > http1.MaxHeadBytes {
		h.lose(i, "a frame is too large")
		return
	}
	if s.need = 9 + int(size); size == 0 {
		frame := s.buf
		s.buf, s.need = nil, 0
		h.frame(i, s, frame, at)
	}
}

func (h *h2Conn) dataBytes(s *h2Side, b []byte, at time.Time) {
	m := s.data
	if m == nil {
		return
	}
	if !h.c.as.held.add(int64(len(b))) {
		m.keep.Limit = int64(len(m.keep.Data))
	}
	m.held += int64(len(b))
	m.last = at
	m.keep.Add(b)
}

func (h *h2Conn) dataEnd(i int, s *h2Side, at time.Time) {
	m, id, end := s.data, s.id, s.end
	s.data, s.end = nil, false
	if m != nil {
		m.last = at
		if end {
			h.finish(i, id, m)
		}
	}
}

// message returns a side's half of a stream, which is made if need be.
func (h *h2Conn) message(i int, id uint32) *h2Message {
	if id == 0 {
		return nil
	}
	s := h.streams[id]
	if s == nil {
		if len(h.streams) >= maxH2Streams {
			return nil
		}
		s = &h2Stream{}
		s.request.keep.Limit, s.response.keep.Limit = h.c.as.opts.MaxRecord, h.c.as.opts.MaxRecord
		h.streams[id] = s
	}
	if i == h.client {
		return &s.request
	}
	return &s.response
}

// frame takes a whole frame.
func (h *h2Conn) frame(i int, s *h2Side, frame []byte, at time.Time) {
	kind, flags := http2.FrameType(frame[3]), http2.Flags(frame[4])
	id := binary.BigEndian.Uint32(frame[5:]) & 0x7fffffff
	payload := frame[9:]
	switch kind {
	case http2.FrameData: // padded
		if payload, ok := unpad(payload); ok {
			s.data, s.id, s.end = h.message(i, id), id, flags.Has(http2.FlagDataEndStream)
			h.dataBytes(s, payload, at)
			h.dataEnd(i, s, at)
		}
	case http2.FrameHeaders:
		ok := true
		if flags.Has(http2.FlagHeadersPadded) {
			payload, ok = unpad(payload)
		}
		if flags.Has(http2.FlagHeadersPriority) && ok {
			if ok = len(payload) >= 5; ok {
				payload = payload[5:]
			}
		}
		if !ok {
			h.lose(i, "a head cannot be read")
			return
		}
		s.block, s.blockID, s.blockIs = append([]byte(nil), payload...), id, flags
		if flags.Has(http2.FlagHeadersEndHeaders) {
			h.head(i, s, at)
		}
	case http2.FrameContinuation:
		if s.block = append(s.block, payload...); len(s.block) > http1.MaxHeadBytes || id != s.blockID {
			h.lose(i, "a head cannot be read")
			return
		}
		if flags.Has(http2.FlagContinuationEndHeaders) {
			h.head(i, s, at)
		}
	case http2.FrameRSTStream:
		if stream := h.streams[id]; stream != nil {
			stream.reset = true
			h.emit(id, stream)
		}
	}
}

func unpad(payload []byte) ([]byte, bool) {
	if len(payload) == 0 || int(payload[0]) >= len(payload) {
		return nil, false
	}
	return payload[1 : len(payload)-int(payload[0])], true
}

// head decodes a block of fields: a head, an interim answer, or trailers.
func (h *h2Conn) head(i int, s *h2Side, at time.Time) {
	fields, err := s.decoder.DecodeFull(s.block)
	id, flags := s.blockID, s.blockIs
	s.block = nil
	if err != nil || len(fields) > http1.MaxHeadFields {
		h.lose(i, "a head cannot be read")
		return
	}
	m := h.message(i, id)
	if m == nil {
		return
	}
	m.last = at
	switch {
	case !m.seen && i != h.client && strings.HasPrefix(pseudo(fields, ":status"), "1"):
		return
	case !m.seen:
		m.seen, m.first, m.fields = true, at, fields
		m.keep.Times.Kind = messages.KindOf(h2Fields(fields))
		m.keep.At = func() time.Duration { return m.last.Sub(m.first) }
	default:
		m.trailer = fields
	}
	if flags.Has(http2.FlagHeadersEndStream) {
		h.finish(i, id, m)
	}
}

func (h *h2Conn) finish(i int, id uint32, m *h2Message) {
	m.done = true
	if i != h.client {
		h.emit(id, h.streams[id])
		return
	}
	m.keep.End()
}

// hole takes missing bytes: within a body they are counted, elsewhere the rest
// of the direction is lost.
func (h *h2Conn) hole(i int, n int64) {
	s := &h.sides[i]
	if s.dead {
		return
	}
	if n <= s.left && s.data != nil {
		s.data.keep.Size += n
		s.data.keep.Times.Kind = messages.None // where the next message begins is not known
		s.data.incomplete = append(s.data.incomplete, fmt.Sprintf("hole of %d bytes", n))
		if s.left -= n; s.left+s.padding == 0 {
			h.dataEnd(i, s, s.data.last)
		}
		return
	}
	h.lose(i, fmt.Sprintf("hole of %d bytes", n))
}

// lose ends the reading of a direction. Streams that are open end with the
// connection.
func (h *h2Conn) lose(i int, why string) {
	h.sides[i].dead = true
	h.sides[i].buf, h.sides[i].block = nil, nil
	if !h.failed {
		h.failed = true
		h.c.as.failed(h.c.as.lose(h.c.as.place(), "the rest of HTTP/2 connection %d: %s", h.c.number, why))
	}
}

// close hands on what is open.
func (h *h2Conn) close() {
	for id, s := range h.streams {
		h.emit(id, s)
	}
}

func pseudo(fields []hpack.HeaderField, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func h2Fields(fields []hpack.HeaderField) traffic.Header {
	var header traffic.Header
	for _, f := range fields {
		if f.Name != "" && f.Name[0] != ':' {
			header.Add(f.Name, f.Value)
		}
	}
	return header
}

// emit hands on a stream that is over.
func (h *h2Conn) emit(id uint32, s *h2Stream) {
	delete(h.streams, id)
	h.c.as.held.bytes -= s.request.held + s.response.held
	q, a := &s.request, &s.response
	method := pseudo(q.fields, ":method")
	switch {
	case !q.seen && !a.seen:
		return
	case method == "":
		h.c.as.failed(h.c.as.lose(h.c.as.place(), "a stream of connection %d has no request", h.c.number))
		return
	}
	x := &traffic.Exchange{Start: q.first, Request: traffic.Request{
		Method: method, Scheme: "http", Authority: strings.ToLower(pseudo(q.fields, ":authority")), Target: pseudo(q.fields, ":path"),
		Proto: "HTTP/2.0", Header: h2Fields(q.fields), Trailer: h2Fields(q.trailer),
	}}
	x.Request.Body = q.body(x, "request", x.Request.Header, s.reset)
	why, failure := "", traffic.FailureNone
	if status, err := strconv.Atoi(pseudo(a.fields, ":status")); a.seen && err == nil && status >= 100 && status <= 999 {
		x.Response = &traffic.Response{Status: status, Proto: "HTTP/2.0", Header: h2Fields(a.fields), Trailer: h2Fields(a.trailer)}
		x.Response.Body = a.body(x, "response", x.Response.Header, false)
		later(x.Response.Body.Times, a.first.Sub(q.first))
		x.FirstByte = max(a.first.Sub(q.first), 0)
		x.Duration = max(a.last.Sub(q.first), x.FirstByte)
	} else if s.reset {
		failure = traffic.FailureReset
	} else if h.c.sides[1-h.client].seen {
		why = "its response is lost"
	}
	h.c.hand(x, why, failure)
}

func (m *h2Message) body(x *traffic.Exchange, part string, header traffic.Header, reset bool) traffic.Body {
	b := m.keep.Body(header)
	if !m.done && !reset {
		m.incomplete = append(m.incomplete, "the stream does not end")
	}
	if b.Truncated && len(m.incomplete) == 0 {
		m.incomplete = append(m.incomplete, fmt.Sprintf("body truncated after %d of %d bytes", len(b.Raw), b.Size))
	}
	for _, why := range m.incomplete {
		x.Incomplete = append(x.Incomplete, part+": "+why)
		b.Truncated = true
	}
	return b
}
