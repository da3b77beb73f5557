package formats

import "encoding/binary"

// wsMessage is one message of a WebSocket.
type wsMessage struct {
	fromClient bool
	opcode     byte
	data       []byte
}

// wsBodies turns messages into what each side sent as frames on the wire
// (RFC 6455 §5.2), which is how recordings keep a WebSocket. Frames of clients
// must be masked; a mask of zeros leaves the data readable.
func wsBodies(messages []wsMessage) (client, server []byte) {
	for _, m := range messages {
		mask := byte(0)
		if m.fromClient {
			mask = 0x80
		}
		frame := []byte{0x80 | m.opcode&0x0f}
		switch n := len(m.data); {
		case n < 126:
			frame = append(frame, mask|byte(n))
		case n < 1<<16:
			frame = binary.BigEndian.AppendUint16(append(frame, mask|126), uint16(n))
		default:
			frame = binary.BigEndian.AppendUint64(append(frame, mask|127), uint64(n))
		}
		if m.fromClient {
			frame = append(frame, 0, 0, 0, 0)
			client = append(append(client, frame...), m.data...)
		} else {
			server = append(append(server, frame...), m.data...)
		}
	}
	return client, server
}
