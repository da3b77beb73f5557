package redact

import (
	"net/http"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// isWebSocket reports whether the bodies of an exchange are frames.
func isWebSocket(x *traffic.Exchange) bool {
	return x.Response != nil && x.Response.Status == http.StatusSwitchingProtocols &&
		(strings.EqualFold(x.Request.Header.Get("Upgrade"), "websocket") || strings.EqualFold(x.Response.Header.Get("Upgrade"), "websocket"))
}

// conversation redacts what one side of a WebSocket said, message by message. A
// message in several frames that changes becomes one frame. What cannot be
// looked into is removed: compressed messages with their whole side, and a
// frame that the recording cut off.
func (w *walk) conversation(x *traffic.Exchange, b *traffic.Body, h *traffic.Header, part string) {
	var out, open, said []byte // open are the frames of a message that is not over
	var first byte
	for raw := b.Raw; len(raw) > 0; {
		f, rest, ok := messages.CutFrame(raw)
		if !ok {
			break
		}
		masked := raw[1]&0x80 != 0
		raw = rest
		switch opcode := f.First & 0x0f; {
		case f.First&0x70 != 0:
			x.Incomplete = append(x.Incomplete, part+" body removed: its messages are compressed")
			w.count("undecodable", spot{part: part, kind: "body", index: -1})
			b.Truncated, b.Raw, b.Times = true, nil, nil
			return
		case opcode >= 0x8: // control frames, which may stand within a message
			out = append(out, w.control(f, masked, part)...)
			continue
		case opcode != 0:
			first, said, open = f.First|0x80, nil, nil
		}
		said, open = append(said, f.Payload...), append(open, f.Raw...)
		if f.First&0x80 == 0 {
			continue
		}
		if made, changed := w.payload(said, nil, part); changed {
			open = messages.AppendFrame(nil, first, made, masked)
		}
		out = append(out, open...)
		said, open = nil, nil
	}
	if string(out) != string(b.Raw) {
		w.setRaw(b, h, out)
	}
}

// control redacts the reason that a close frame gives.
func (w *walk) control(f messages.Frame, masked bool, part string) []byte {
	if f.First&0x0f != 0x8 || len(f.Payload) <= 2 {
		return f.Raw
	}
	reason, _ := w.text(string(f.Payload[2:]), spot{part: part, kind: "body", index: -1})
	if reason == string(f.Payload[2:]) {
		return f.Raw
	}
	payload := append(f.Payload[:2:2], reason...)
	return messages.AppendFrame(nil, f.First, payload[:min(len(payload), 125)], masked)
}
