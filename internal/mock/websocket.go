package mock

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// upgrades reports whether a request asks for another protocol on its
// connection. What follows its head is not a body.
func upgrades(req *traffic.Request) bool {
	return req.Method == http.MethodGet && req.Header.Has("Upgrade")
}

// Opcodes of WebSocket frames (RFC 6455 §5.2).
const (
	wsClose = 0x8
	wsPing  = 0x9
	wsPong  = 0xa
)

// wsFrame is one frame: raw as on the wire, payload unmasked.
type wsFrame struct {
	raw     []byte
	payload []byte
	opcode  byte
	final   bool
}

// control reports whether the frame stands between messages.
func (f *wsFrame) control() bool { return f.opcode >= wsClose }

var errFrame = errors.New("the WebSocket frame cannot be read")

// wsHeader reads the length and mask of a frame from its first bytes, or
// returns how many bytes it takes to tell.
func wsHeader(b []byte) (header int, length uint64, mask []byte, more int) {
	header = 2
	if len(b) < header {
		return 0, 0, nil, header
	}
	length = uint64(b[1] & 0x7f)
	masked := b[1]&0x80 != 0
	switch length {
	case 126:
		header += 2
	case 127:
		header += 8
	}
	whole := header
	if masked {
		whole += 4
	}
	if len(b) < whole {
		return 0, 0, nil, whole
	}
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		length = binary.BigEndian.Uint64(b[2:])
	}
	if masked {
		mask = b[header:whole]
	}
	return whole, length, mask, 0
}

// newFrame cuts the first frame off b. It reports false when the frame is not
// there as a whole.
func newFrame(b []byte) (f wsFrame, rest []byte, ok bool) {
	header, length, mask, more := wsHeader(b)
	if more > 0 || length > uint64(len(b)-header) {
		return f, b, false
	}
	n := header + int(length)
	f = wsFrame{raw: b[:n:n], opcode: b[0] & 0xf, final: b[0]&0x80 != 0}
	f.payload = append([]byte(nil), b[header:n]...)
	for i := range f.payload {
		if mask != nil {
			f.payload[i] ^= mask[i%4]
		}
	}
	return f, b[n:], true
}

// splitFrames cuts what one side sent into messages, each with the control
// frames that stand before its end, and a tail of control frames.
func splitFrames(raw []byte) (messages [][]byte, tail []byte) {
	begin := 0
	for at := 0; at < len(raw); {
		f, rest, ok := newFrame(raw[at:])
		if !ok {
			break // the recording ends within a frame, which is not played
		}
		at = len(raw) - len(rest)
		if !f.control() && f.final {
			messages = append(messages, raw[begin:at:at])
			begin = at
		} else if f.opcode == wsClose {
			tail = raw[begin:at:at]
			begin = at
		}
	}
	return messages, tail
}

// upgrade plays a recorded conversation after a change of protocol. It ends
// with the connection.
func (h *http1) upgrade(rec *record, recorded *traffic.Request, response *traffic.Response, o outcome, began time.Time) {
	if response.Header.Has("Sec-Websocket-Accept") {
		response.Header.Set("Sec-WebSocket-Accept", wsAccept(rec.x.Request.Header.Get("Sec-Websocket-Key")))
	}
	b := append(h.out.AvailableBuffer(), "HTTP/1.1 101 Switching Protocols\r\n"...)
	for _, f := range response.Header {
		if isToken(f.Name) {
			b = appendField(b, f.Name, f.Value)
		}
	}
	h.out.Write(append(b, "\r\n"...)) // an error shows at the flush
	err := h.out.Flush()
	first := h.mock.since(began)
	var heard []byte
	if err == nil && strings.EqualFold(rec.x.Request.Header.Get("Upgrade"), "websocket") {
		asked, _ := splitFrames(recorded.Body.Raw)
		said, tail := splitFrames(response.Body.Raw)
		heard, err = h.converse(newScript(len(asked), said, recorded.Body, response.Body, h.mock.index.times(o.entry), o.tempo), tail)
	} else if err == nil { // another protocol: what its server said, whatever the client says
		if _, err = h.stream.Write(response.Body.Raw); err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(h.in, h.mock.opts.MaxBody))
		}
	}
	rec.heard(heard)
	rec.finish(response, failureOf(err), first, h.mock.since(began))
}

func wsAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // by RFC 6455, not for secrecy
	return base64.StdEncoding.EncodeToString(sum[:])
}

// converse plays a recorded WebSocket against a live one. It returns what the
// client said, without masks.
func (h *http1) converse(play *script, tail []byte) (heard []byte, err error) {
	in := flow(h.in, h.mock.opts.MaxBody)
	k, at := 0, 0
	for waits := false; ; {
		data, ended, err := in.so()
		for {
			f, rest, ok := newFrame(data[at:])
			if !ok {
				break
			}
			at = len(data) - len(rest)
			heard = append(heard, unmasked(&f)...)
			if closed, err := h.control(&f, tail); closed || err != nil {
				return heard, err
			}
			if !f.control() && f.final {
				k++
			}
		}
		for _, l := range play.due(k, waits) {
			if err := h.mock.wait(h.ctx, h.mock.opts.Now(), l.pause); err != nil {
				return heard, err
			}
			if _, err := h.stream.Write(l.text); err != nil {
				return heard, err
			}
		}
		if tail != nil && k >= play.client && play.sent == len(play.pieces) {
			_, err := h.stream.Write(tail) // the recorded server closed
			tail = nil
			if err != nil {
				return heard, err
			}
		}
		if ended {
			return heard, err
		}
		if waits, err = in.wait(h.ctx, play.patience()); err != nil {
			return heard, err
		}
	}
}

// control answers pings, and the client's close with the recorded one or its
// own. It reports whether the conversation is over.
func (h *http1) control(f *wsFrame, tail []byte) (closed bool, err error) {
	answer := wsFrame{payload: f.payload, opcode: wsPong, final: true}
	switch f.opcode {
	case wsPing:
	case wsClose:
		if tail != nil {
			_, err := h.stream.Write(tail)
			return true, err
		}
		answer.opcode, closed = wsClose, true
	default:
		return false, nil
	}
	if len(answer.payload) > 125 { // more than a control frame may carry
		return true, errFrame
	}
	_, err = h.stream.Write(unmasked(&answer))
	return closed, err
}

// unmasked writes a frame as a server does.
func unmasked(f *wsFrame) []byte {
	b := []byte{f.opcode}
	if f.final {
		b[0] |= 0x80
	}
	if len(f.raw) > 0 {
		b[0] = f.raw[0] // with the bits of extensions
	}
	switch n := len(f.payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, f.payload...)
}
