package traffic

import (
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"strings"
)

// Mark is what the replayer writes into the traceparent of a request, so that
// the mock finds the lane of the calls it causes in any service that forwards
// trace context (https://www.w3.org/TR/trace-context/).
type Mark struct {
	// Pass counts the replays of a run on one arm, so that each pass has
	// cursors of its own.
	Pass uint32
	Lane uint64 // LaneNumber of the lane
}

// markMagic starts every trace id that reprise makes ("repr").
const markMagic = 0x72657072

// LaneNumber maps a lane to the number that a mark carries.
func LaneNumber(l Lane) uint64 {
	h := fnv.New64a()
	h.Write([]byte(l))
	return h.Sum64()
}

// Traceparent returns the header value: version 00, a trace id that holds the
// mark, a span id that is never zero, and the sampled flag off so that no
// tracing back end is fed.
func (m Mark) Traceparent() string {
	var id [16]byte
	binary.BigEndian.PutUint32(id[0:], markMagic)
	binary.BigEndian.PutUint32(id[4:], m.Pass)
	binary.BigEndian.PutUint64(id[8:], m.Lane)
	var span [8]byte
	binary.BigEndian.PutUint64(span[:], m.Lane|1)
	return "00-" + hex.EncodeToString(id[:]) + "-" + hex.EncodeToString(span[:]) + "-00"
}

// ParseMark reads a mark back from a traceparent, whatever span id a tracer
// put into it. It reports false for trace ids that reprise did not make.
func ParseMark(traceparent string) (Mark, bool) {
	parts := strings.Split(strings.TrimSpace(traceparent), "-")
	if len(parts) < 4 || len(parts[1]) != 32 {
		return Mark{}, false
	}
	id, err := hex.DecodeString(parts[1])
	if err != nil || binary.BigEndian.Uint32(id) != markMagic {
		return Mark{}, false
	}
	return Mark{Pass: binary.BigEndian.Uint32(id[4:]), Lane: binary.BigEndian.Uint64(id[8:])}, true
}
