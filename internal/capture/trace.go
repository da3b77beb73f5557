package capture

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
)

// tracer makes the traceparents that the inbound proxy adds to requests of
// callers that sent none.
type tracer struct {
	prefix [8]byte
	next   atomic.Uint64
}

func newTracer() (*tracer, error) {
	t := &tracer{}
	_, err := rand.Read(t.prefix[:])
	t.prefix[0] |= 1 // never all zero
	return t, err
}

// traceparent returns a new one. Its sampled flag is off, so that no tracing
// back end is fed by a recording.
func (t *tracer) traceparent() string {
	var id [16]byte
	copy(id[:], t.prefix[:])
	binary.BigEndian.PutUint64(id[8:], t.next.Add(1))
	return "00-" + hex.EncodeToString(id[:]) + "-" + hex.EncodeToString(id[8:]) + "-00"
}
