package mock

import (
	"bytes"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// script plays the server's side of a recorded conversation. The recording
// holds what each side said, not who spoke when, so the script follows the live
// client: it answers in proportion to what the client has said.
type script struct {
	client int      // messages of the recorded client
	pieces [][]byte // of the recorded server, a message each
	sent   int
}

// stall is how long a client must be silent before it is taken to be waiting.
const stall = 25 * time.Millisecond

// due returns what is to be said after the client's k-th message. When the
// client waits, one more message is due, unless what is left is no more than
// an answer to each message that is still to come.
func (s *script) due(k int, waits bool) [][]byte {
	n, k := len(s.pieces), min(k, s.client)
	until := n
	if k < s.client {
		until = k * n / s.client
		if waits && s.sent < n-(s.client-k) {
			until = max(until, s.sent+1)
		}
	}
	if until <= s.sent {
		return nil
	}
	due := s.pieces[s.sent:until]
	s.sent = until
	return due
}

// rest returns all that was not said yet.
func (s *script) rest() [][]byte {
	rest := s.pieces[s.sent:]
	s.sent = len(s.pieces)
	return rest
}

// piecesOf splits a body into the messages that its server sent one by one:
// those of gRPC, and server-sent events. Any other body is one piece.
func piecesOf(response *traffic.Response) [][]byte {
	raw := response.Body.Raw
	switch media := mediaType(response.Header.Get("Content-Type")); {
	case isGRPC(media):
		messages, whole := splitGRPC(raw)
		if !whole || len(messages) == 0 {
			break
		}
		pieces := make([][]byte, len(messages))
		for i, m := range messages {
			pieces[i] = m.frame
		}
		return pieces
	case media == "text/event-stream" && response.Body.Coding == "":
		return splitEvents(raw)
	}
	return [][]byte{raw}
}

// splitEvents cuts after the empty line that ends each event.
func splitEvents(raw []byte) [][]byte {
	var pieces [][]byte
	for len(raw) > 0 {
		end := len(raw)
		for _, gap := range []string{"\n\n", "\r\n\r\n", "\r\r"} {
			if i := bytes.Index(raw[:end], []byte(gap)); i >= 0 {
				end = i + len(gap)
			}
		}
		pieces = append(pieces, raw[:end:end])
		raw = raw[end:]
	}
	if pieces == nil {
		pieces = [][]byte{nil}
	}
	return pieces
}
