package transform

import (
	"encoding/binary"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

// isStream reports whether an exchange is a stream of gRPC whose client may have
// heard the server before it said all: both have said something, and when they
// did is known.
func isStream(x *traffic.Exchange) bool {
	if x.Response == nil || len(x.Request.Body.Times) < 2 || len(x.Response.Body.Times) == 0 ||
		len(x.Request.Body.Raw) > maxBody || len(x.Response.Body.Raw) > maxBody {
		return false
	}
	mediaType := traffic.MediaType(x.Request.Header)
	return strings.HasPrefix(mediaType, "application/grpc") && protoBodyOf(mediaType) == grpcFrames
}

// isConversation reports whether both sides of an exchange say several things.
func isConversation(x *traffic.Exchange) bool { return becameWebSocket(x) || isStream(x) }

// cutFrames cuts a body of gRPC into its messages, each with its head.
func cutFrames(raw []byte) (all [][]byte) {
	for len(raw) >= grpcHead {
		size := uint64(binary.BigEndian.Uint32(raw[1:]))
		if size > uint64(len(raw)-grpcHead) {
			break // it was cut off
		}
		end := grpcHead + int(size)
		all, raw = append(all, raw[:end]), raw[end:]
	}
	return all
}

// heardIn returns what the server of a conversation said, message by message;
// nil stands for one that is no text.
func heardIn(x *traffic.Exchange) [][]byte {
	if isStream(x) {
		return cutFrames(x.Response.Body.Raw)
	}
	return heard(x.Response.Body.Raw)
}

// spokenIn returns what its client said, likewise.
func spokenIn(x *traffic.Exchange) (all [][]byte) {
	if isStream(x) {
		return cutFrames(x.Request.Body.Raw)
	}
	spoken(x.Request.Body.Raw, func(_ int, f messages.Frame) {
		switch control, final := f.First&0x08 != 0, f.First&0x80 != 0; {
		case f.Text():
			all = append(all, f.Payload)
		case !control && final:
			all = append(all, nil)
		}
	})
	return all
}

// saidIn walks the messages of the client of a conversation.
func saidIn(x *traffic.Exchange, types *protobuf.Types) *requestWalk {
	w := &requestWalk{collection: collectionOf(&x.Request), stream: isStream(x)}
	if w.stream {
		w.input, _ = types.Method(x.Request.Path())
	}
	return w
}

// answersIn walks those of its server.
func answersIn(x *traffic.Exchange, types *protobuf.Types, visit func(spot)) *answerWalk {
	w := &answerWalk{collection: collectionOf(&x.Request), visit: visit, stream: isStream(x)}
	if w.stream {
		_, w.output = types.Method(x.Request.Path())
	}
	return w
}
