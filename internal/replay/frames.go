package replay

import (
	"encoding/binary"
	"errors"

	"github.com/coder/websocket"
)

// Recordings keep what each side of a WebSocket sent as frames on the wire
// (RFC 6455 §5.2): that of the client as the body of the request, that of the
// server as the body of the answer.

// wsMessage is one whole message.
type wsMessage struct {
	kind websocket.MessageType
	data []byte
}

var errFrames = errors.New("the recorded WebSocket frames cannot be read")

// messagesOf joins frames to messages and leaves out control frames. A message
// that the recording cut off is dropped.
func messagesOf(raw []byte) ([]wsMessage, error) {
	const control = 0x8
	var messages []wsMessage
	var open *wsMessage
	for len(raw) > 0 {
		payload, rest, ok := cutFrame(raw)
		if !ok {
			return messages, nil
		}
		first := raw[0]
		raw = rest
		opcode := first & 0x0f
		switch {
		case first&0x70 != 0:
			return nil, errFrames // an extension, such as compression
		case opcode >= control:
			continue
		case opcode == 0 && open != nil:
			open.data = append(open.data, payload...)
		case opcode == byte(websocket.MessageText) || opcode == byte(websocket.MessageBinary):
			open = &wsMessage{websocket.MessageType(opcode), payload}
		default:
			return nil, errFrames
		}
		if first&0x80 != 0 {
			messages = append(messages, *open)
			open = nil
		}
	}
	return messages, nil
}

// cutFrame takes the first frame off b and returns its payload, unmasked. It
// reports false when the frame is not there as a whole.
func cutFrame(b []byte) (payload, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, b, false
	}
	length, at := uint64(b[1]&0x7f), 2
	switch {
	case length == 126 && len(b) >= 4:
		length, at = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case length == 127 && len(b) >= 10:
		length, at = binary.BigEndian.Uint64(b[2:]), 10
	case length > 125:
		return nil, b, false
	}
	var mask []byte
	if b[1]&0x80 != 0 {
		if len(b) < at+4 {
			return nil, b, false
		}
		mask, at = b[at:at+4], at+4
	}
	if length > uint64(len(b)-at) {
		return nil, b, false
	}
	end := at + int(length)
	payload = append([]byte(nil), b[at:end]...)
	for i := range payload {
		if mask != nil {
			payload[i] ^= mask[i%4]
		}
	}
	return payload, b[end:], true
}

// appendFrame appends a message as a server sends it: one frame, no mask.
func appendFrame(dst []byte, m wsMessage) []byte {
	dst = append(dst, 0x80|byte(m.kind))
	switch n := len(m.data); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, m.data...)
}
