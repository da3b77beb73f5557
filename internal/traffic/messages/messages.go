// Package messages tells where the messages of a streamed body end, so that
// those who record can note when each one came.
package messages

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Kind is how a body consists of messages.
type Kind int

// The kinds.
const (
	None      Kind = iota // it does not
	GRPC                  // each behind a flag and its length
	Events                // server-sent events, each ended by an empty line
	WebSocket             // frames of RFC 6455
)

// KindOf returns the kind of a body by its header. That of a WebSocket is told
// by its exchange alone.
func KindOf(header traffic.Header) Kind {
	switch media := traffic.MediaType(header); {
	case media == "application/grpc", strings.HasPrefix(media, "application/grpc+"):
		return GRPC
	case media == "text/event-stream" && !header.Has("Content-Encoding"):
		return Events
	}
	return None
}

// Times notes when the messages of one body were there as a whole. The zero
// value with a kind is ready.
type Times struct {
	Kind Kind

	times  []time.Duration
	head   []byte // of the message that is coming
	rest   uint64 // bytes of it that are still to come
	whole  bool   // its head is known
	closes bool   // it ends the conversation
	final  bool   // it ends a message
	ended  bool
}

// Add takes the bytes that came at a moment after the start of the exchange.
func (t *Times) Add(b []byte, at time.Duration) {
	for len(b) > 0 && t.Kind != None && !t.ended {
		if t.Kind == Events {
			b = t.event(b, at)
			continue
		}
		if !t.whole {
			t.head, b = append(t.head, b[0]), b[1:]
			t.readHead()
		}
		n := min(t.rest, uint64(len(b)))
		t.rest, b = t.rest-n, b[n:]
		if !t.whole || t.rest > 0 {
			continue
		}
		if t.final || t.closes {
			t.times = append(t.times, at)
		}
		t.ended = t.closes
		t.head, t.whole = t.head[:0], false
	}
}

// event takes bytes up to the end of an event.
func (t *Times) event(b []byte, at time.Duration) (rest []byte) {
	for i, c := range b {
		t.head = append(t.head, c)
		if bytes.HasSuffix(t.head, []byte("\n\n")) || bytes.HasSuffix(t.head, []byte("\r\n\r\n")) || bytes.HasSuffix(t.head, []byte("\r\r")) {
			t.times, t.head = append(t.times, at), t.head[:0]
			return b[i+1:]
		}
		if len(t.head) > 64 {
			t.head = append(t.head[:0], t.head[len(t.head)-4:]...)
		}
	}
	return nil
}

// readHead finds out how long a message is, if enough of its head is there.
func (t *Times) readHead() {
	switch h := t.head; t.Kind {
	case GRPC:
		if len(h) == 5 {
			t.whole, t.final, t.rest = true, true, uint64(binary.BigEndian.Uint32(h[1:]))
		}
	case WebSocket:
		if len(h) < 2 {
			return
		}
		length, size := uint64(h[1]&0x7f), 2
		switch length {
		case 126:
			size = 4
		case 127:
			size = 10
		}
		mask := 0
		if h[1]&0x80 != 0 {
			mask = 4
		}
		if len(h) < size+mask {
			return
		}
		switch size {
		case 4:
			length = uint64(binary.BigEndian.Uint16(h[2:]))
		case 10:
			length = binary.BigEndian.Uint64(h[2:])
		}
		opcode := h[0] & 0x0f
		t.whole, t.rest = true, length
		t.closes, t.final = opcode == 0x8, opcode < 0x8 && h[0]&0x80 != 0
	}
}

// End notes that the side said that it sends no more, if it consists of messages.
func (t *Times) End(at time.Duration) {
	if t.Kind != None && !t.ended && len(t.head) == 0 {
		t.times, t.ended = append(t.times, at), true
	}
}

// List returns what was noted, as [traffic.Body] keeps it.
func (t *Times) List() []time.Duration { return t.times }
