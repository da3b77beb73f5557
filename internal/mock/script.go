package mock

import (
	"bytes"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// script plays the server's side of a recorded conversation. Where the recording
// has the moments of its messages, each is said in its turn. Else it holds what
// each side said, not who spoke when, and the script follows the live client: it
// answers in proportion to what the client has said.
type script struct {
	client int      // messages of the recorded client
	pieces [][]byte // of the recorded server, a message each
	turns  []messages.Turn
	sent   int
}

// newScript makes the script of a recorded conversation of so many messages of
// its client. A tempo scales the distances of messages.
func newScript(client int, pieces [][]byte, asked, said traffic.Body, took times, t tempo) *script {
	s := &script{client: client, pieces: pieces, turns: messages.Turns(len(pieces), client, said.Times, asked.Times, took.first)}
	for i := range s.turns {
		s.turns[i].Pause = t.scaled(s.turns[i].Pause, took)
	}
	return s
}

// How long a client must be silent before it is taken to be waiting: not long
// where all that is known is what was said, and longer than most pauses where
// it is known that it had more to say.
const (
	stall     = 25 * time.Millisecond
	longStall = time.Second
)

func (s *script) patience() time.Duration {
	if s.turns != nil {
		return longStall
	}
	return stall
}

// due returns what is to be said after the client's k-th message, with the pause
// before each. When the client waits, one more message is due, unless what is
// left is no more than an answer to each message that is still to come.
func (s *script) due(k int, waits bool) []line {
	n, k := len(s.pieces), min(k, s.client)
	until := n
	switch {
	case k >= s.client:
	case s.turns != nil:
		for until = s.sent; until < n && s.turns[until].After <= k; {
			until++
		}
		if waits && until == s.sent {
			until = min(until+1, n)
		}
	default:
		until = k * n / s.client
		if waits && s.sent < n-(s.client-k) {
			until = max(until, s.sent+1)
		}
	}
	return s.say(until)
}

// line is a message that is to be said, after a pause.
type line struct {
	text  []byte
	pause time.Duration
}

func (s *script) say(until int) []line {
	var due []line
	for ; s.sent < until; s.sent++ {
		l := line{text: s.pieces[s.sent]}
		if s.turns != nil {
			l.pause = s.turns[s.sent].Pause
		}
		due = append(due, l)
	}
	return due
}

// rest returns all that was not said yet.
func (s *script) rest() []line { return s.say(len(s.pieces)) }

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
