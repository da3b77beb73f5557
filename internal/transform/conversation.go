package transform

import (
	"net/http"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// isWebSocket reports whether a request asks for a WebSocket, so that its body
// is what its client said.
func isWebSocket(req *traffic.Request) bool {
	return strings.EqualFold(req.Header.Get("Upgrade"), "websocket")
}

// becameWebSocket reports whether an exchange did. A request that was sent again
// has no field of the connection, but its answer has.
func becameWebSocket(x *traffic.Exchange) bool {
	return x.Response != nil && x.Response.Status == http.StatusSwitchingProtocols &&
		(isWebSocket(&x.Request) || strings.EqualFold(x.Response.Header.Get("Upgrade"), "websocket"))
}

// spoken visits the messages of a side of a WebSocket, control frames left out,
// with their numbers. Only whole messages of plain text are texts; what is left
// of all others is their bytes.
func spoken(raw []byte, visit func(n int, f messages.Frame)) {
	for n := 0; len(raw) > 0; {
		f, rest, ok := messages.CutFrame(raw)
		if !ok {
			return
		}
		raw = rest
		visit(n, f)
		if control, final := f.First&0x08 != 0, f.First&0x80 != 0; !control && final {
			n++
		}
	}
}

// conversation handles what the client of a WebSocket said, message by message.
func (w *requestWalk) conversation(raw []byte) []byte {
	var out []byte
	changed := false
	kept := raw
	spoken(raw, func(n int, f messages.Frame) {
		kept = kept[len(f.Raw):]
		if f.Text() {
			if said := w.message(n, f.Payload); string(said) != string(f.Payload) {
				out, changed = messages.AppendFrame(out, f.First, said, true), true
				return
			}
		}
		out = append(out, f.Raw...)
	})
	if !changed {
		return raw
	}
	return append(out, kept...) // what is no whole frame
}

// message handles one message; those of gRPC have their heads.
func (w *requestWalk) message(n int, said []byte) []byte {
	if w.stream {
		return protoWalk{value: w.offer, first: n}.frames(said, w.input, spot{path: traffic.At("request", "body")})
	}
	return w.plainBody(said, "", spot{path: traffic.At("request", "body", "messages").Elem(n)})
}

// conversation visits the values that the server of a WebSocket said.
func (w *answerWalk) conversation(raw []byte) {
	spoken(raw, func(n int, f messages.Frame) {
		if f.Text() {
			w.message(n, f.Payload)
		}
	})
}

func (w *answerWalk) message(n int, said []byte) {
	if w.stream {
		w.proto(n).frames(said, w.output, spot{path: traffic.At("response", "body")})
		return
	}
	w.plain(said, "", traffic.At("response", "body", "messages").Elem(n))
}

// heard returns the texts of the messages of a server, nil for others.
func heard(raw []byte) [][]byte {
	var all [][]byte
	spoken(raw, func(n int, f messages.Frame) {
		for len(all) <= n {
			all = append(all, nil)
		}
		if f.Text() {
			all[n] = f.Payload
		}
	})
	return all
}

// saying is a value in a message of a recorded server.
type saying struct {
	at spot
	n  int // number of the message
}

// sayingsOf returns what the server of a recorded conversation said, by
// identity and in its order.
func sayingsOf(recorded *traffic.Exchange, opts *compiled) map[string][]saying {
	said := make(map[string][]saying)
	n := 0
	w := answersIn(recorded, opts.types, func(s spot) {
		if identity, ok := s.identity(); ok && !opts.forbids(s.path) {
			said[identity] = append(said[identity], saying{s, n})
		}
	})
	for i, message := range heardIn(recorded) {
		if n = i; message != nil {
			w.message(i, message)
		}
	}
	return said
}

// sayings returns those of a conversation, which are found once.
func (r *Rewriter) sayings(recorded *traffic.Exchange) map[string][]saying {
	r.mu.Lock()
	defer r.mu.Unlock()
	said, ok := r.said[recorded.ID]
	if !ok {
		said = sayingsOf(recorded, &r.opts)
		r.said[recorded.ID] = said
	}
	return said
}

// Message returns what the client of a recorded WebSocket, or of a stream of
// gRPC, says as its n-th message, from 0: said, which [Rewriter.Request] gave,
// with the live values in the place of those that it had from messages of the
// server in the same conversation. live are the messages that have come, nil for
// those that are no text; those of gRPC have their heads, as said has.
func (r *Rewriter) Message(recorded *traffic.Exchange, n int, said []byte, live [][]byte) []byte {
	if !isConversation(recorded) || len(said) > maxBody {
		return said
	}
	sayings := r.sayings(recorded)
	value := func(identity string) (string, bool) { // of the last message that said it
		for _, s := range slices.Backward(sayings[identity]) {
			if s.n < len(live) {
				return r.liveAt(recorded, live[s.n], s)
			}
		}
		return "", false
	}
	w := saidIn(recorded, r.opts.types)
	w.sub = func(s spot) (string, bool) {
		if r.opts.forbids(s.path) {
			return s.value, false
		}
		if identity, ok := s.identity(); ok && len(sayings[identity]) > 0 {
			return value(identity)
		}
		text := s.value
		words(s.value, func(word string) {
			if is, ok := value(word); ok {
				text = replaceWord(text, word, is)
			}
		})
		return text, text != s.value
	}
	return w.message(n, said)
}

// Awaits returns how many messages of the server in a recorded conversation it
// takes to know all values that a message of its client had from them.
func (r *Rewriter) Awaits(recorded *traffic.Exchange, n int, said []byte) int {
	if !isConversation(recorded) || len(said) > maxBody {
		return 0
	}
	sayings, awaits := r.sayings(recorded), 0
	from := func(identity string) {
		if said := sayings[identity]; len(said) > 0 {
			awaits = max(awaits, said[0].n+1)
		}
	}
	w := saidIn(recorded, r.opts.types)
	w.sub = func(s spot) (string, bool) {
		if !r.opts.forbids(s.path) {
			if identity, ok := s.identity(); ok {
				from(identity)
			}
			words(s.value, from)
		}
		return "", false
	}
	w.message(n, said)
	return awaits
}

// liveAt returns what a live message says at a place. A recorded value that it
// still says anywhere stays.
func (r *Rewriter) liveAt(recorded *traffic.Exchange, message []byte, s saying) (value string, ok bool) {
	still := false
	w := answersIn(recorded, r.opts.types, func(live spot) {
		still = still || live.value == s.at.value
		if live.path.String() == s.at.path.String() && live.value != "" {
			value, ok = live.value, true
		}
	})
	if message != nil {
		w.message(s.n, message)
	}
	return value, ok && !still
}

// conversations notes the values that clients of WebSockets and streams had from messages
// of the same conversation, for people: they are bound while it goes on.
func (l *learner) conversations() {
	for _, x := range l.requests {
		if x.Direction == traffic.Outbound {
			continue
		}
		l.echoes(x, func(identity string, said saying, to traffic.Path) {
			if first := l.given[identity]; len(first) == 0 || first[0].id == x.ID {
				l.bindings.learned = append(l.bindings.learned, Learned{Source: x.ID, From: said.at.path, Use: x.ID, To: to})
			}
		})
	}
}

// echoes visits the values that the client of a WebSocket, or of a stream of
// gRPC with the times of its messages, had from messages of the same
// conversation. Other exchanges have none.
func (l *learner) echoes(x *traffic.Exchange, visit func(identity string, said saying, to traffic.Path)) {
	if !isConversation(x) {
		return
	}
	server, client := heardIn(x), spokenIn(x)
	turns := messages.Turns(len(client), len(server), x.Request.Body.Times, x.Response.Body.Times, 0)
	sayings := sayingsOf(x, &compiled{forbid: l.opts.Forbid, types: l.opts.Types})
	if len(sayings) == 0 {
		return
	}
	w := saidIn(x, l.opts.Types)
	for n, message := range client {
		if message == nil {
			continue
		}
		before := len(server)
		if n < len(turns) {
			before = turns[n].After
		}
		w.sub = func(s spot) (string, bool) {
			note := func(identity string) {
				said := sayings[identity]
				if len(said) > 0 && said[0].n < before && !l.opts.forbids(s.path) {
					visit(identity, said[0], s.path)
				}
			}
			if identity, ok := s.identity(); ok {
				note(identity)
			}
			words(s.value, note)
			return "", false
		}
		w.message(n, message)
	}
}

// forbids reports whether a place must not be bound.
func (c *compiled) forbids(path traffic.Path) bool {
	return slices.ContainsFunc(c.forbid, func(p traffic.Pattern) bool { return p.Covers(path) })
}
