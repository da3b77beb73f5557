package replay

import (
	"errors"

	"github.com/coder/websocket"

	"github.com/reprise-ci/reprise/internal/traffic/messages"
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
	var all []wsMessage
	var open *wsMessage
	for len(raw) > 0 {
		f, rest, ok := messages.CutFrame(raw)
		if !ok {
			return all, nil
		}
		first, payload := f.First, f.Payload
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
			all = append(all, *open)
			open = nil
		}
	}
	return all, nil
}

// appendFrame appends a message as a server sends it: one frame, no mask.
func appendFrame(dst []byte, m wsMessage) []byte {
	return messages.AppendFrame(dst, 0x80|byte(m.kind), m.data, false)
}
