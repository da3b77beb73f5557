package formats

import (
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// wsMessage is one message of a WebSocket.
type wsMessage struct {
	fromClient bool
	opcode     byte
	data       []byte
	at         time.Time // zero if it is not known
}

// wsBodies turns messages into what each side sent as frames on the wire
// (RFC 6455 §5.2), which is how recordings keep a WebSocket. Frames of clients
// must be masked; a mask of zeros leaves the data readable. The times of a side
// are kept if each of its messages has one.
func wsBodies(list []wsMessage, start time.Time) (client, server traffic.Body) {
	var raw [2][]byte
	times := [2]messages.Times{{Kind: messages.WebSocket}, {Kind: messages.WebSocket}}
	timed := [2]bool{true, true}
	for _, m := range list {
		side := 1
		if m.fromClient {
			side = 0
		}
		frame := messages.AppendFrame(nil, 0x80|m.opcode&0x0f, m.data, m.fromClient)
		raw[side] = append(raw[side], frame...)
		timed[side] = timed[side] && !m.at.IsZero()
		times[side].Add(frame, max(m.at.Sub(start), 0))
	}
	client, server = traffic.NewBody(raw[0], nil), traffic.NewBody(raw[1], nil)
	if timed[0] {
		client.Times = times[0].List()
	}
	if timed[1] {
		server.Times = times[1].List()
	}
	return client, server
}
