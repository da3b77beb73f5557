package formats

import (
	"net/netip"
	"slices"
	"time"
)

// Bounds of what waits for a missing segment. When they are reached the
// segment counts as lost.
const (
	maxWaiting      = 1 << 20
	maxWaitingCount = 512
)

// segment is one TCP segment as captured.
type segment struct {
	from, to            netip.AddrPort
	network             uint32 // VXLAN network, so that equal addresses stay apart
	seq, ack            uint32
	syn, fin, rst, ackd bool
	data                []byte
	missing             int // bytes at its end that were not captured
	at                  time.Time
}

// half is one direction of a connection: it brings segments into the order of
// their sequence numbers.
type half struct {
	started bool
	first   uint32 // sequence number of the first byte
	next    uint32 // of the byte that is due
	done    int64  // its offset
	waiting []waiting
	bytes   int
	held    *held64
	ended   bool // FIN was delivered
	finSeq  uint32
	finSeen bool
	seen    bool  // any segment came
	acked   int64 // offset up to which the other end has received
	// piece and hole take what is delivered, from an offset on.
	piece func(from int64, data []byte, at time.Time, heard int64)
	hole  func(from, n int64)
}

type waiting struct {
	seq     uint32
	data    []byte
	missing int
	at      time.Time
	heard   int64
}

func (w waiting) size() int { return len(w.data) + w.missing }

// offset turns an acknowledgement of this direction into an offset.
func (h *half) offset(ack uint32) int64 {
	if !h.started {
		return 0
	}
	return h.done + int64(int32(ack-h.next))
}

// delivered is the offset of the byte that is due.
func (h *half) delivered() int64 {
	if !h.started {
		return 0
	}
	return h.done
}

// skipTo gives up what is missing before an offset.
func (h *half) skipTo(offset int64) {
	for h.delivered() < offset && len(h.waiting) > 0 && h.offset(h.waiting[0].seq) <= offset {
		h.skip()
	}
	if n := offset - h.delivered(); n > 0 {
		h.miss(n)
	}
}

// miss gives up the next n bytes.
func (h *half) miss(n int64) {
	h.hole(h.done, n)
	h.next += uint32(n)
	h.done += n
}

// add takes a segment; heard is what its sender had received.
func (h *half) add(s *segment, heard int64) {
	h.seen = true
	seq := s.seq
	if s.syn {
		seq++
		if !h.started {
			h.started, h.first, h.next = true, seq, seq
		}
	}
	if s.fin {
		h.finSeen, h.finSeq = true, seq+uint32(len(s.data)+s.missing)
	}
	if len(s.data)+s.missing > 0 {
		if !h.started {
			h.started, h.first, h.next = true, seq, seq
		}
		h.take(waiting{seq, s.data, s.missing, s.at, heard})
	}
	for len(h.waiting) > 0 && (h.bytes > maxWaiting || len(h.waiting) > maxWaitingCount || h.held.bytes > maxHeld) {
		h.skip()
	}
	h.checkEnd()
}

func (h *half) checkEnd() {
	if h.finSeen && h.started && int32(h.next-h.finSeq) >= 0 {
		h.ended = true
	}
}

// take delivers what is due and keeps what comes too early. What was delivered
// before (a repetition) is dropped; what only overlaps is cut.
func (h *half) take(w waiting) {
	if early := int32(w.seq - h.next); early > 0 {
		i, found := slices.BinarySearchFunc(h.waiting, w, func(a, b waiting) int {
			if c := int32(a.seq - b.seq); c != 0 {
				return int(c)
			}
			return b.size() - a.size() // the longer one first
		})
		if found {
			return
		}
		w.data = slices.Clone(w.data)
		h.waiting = slices.Insert(h.waiting, i, w)
		h.bytes += len(w.data)
		h.held.add(int64(len(w.data)))
		return
	}
	h.deliver(w)
	for len(h.waiting) > 0 && int32(h.waiting[0].seq-h.next) <= 0 {
		w := h.waiting[0]
		h.waiting = h.waiting[1:]
		h.release(w)
		h.deliver(w)
	}
}

func (h *half) deliver(w waiting) {
	old := int(int32(h.next - w.seq)) // bytes that came before
	if old >= w.size() {
		return
	}
	if old < len(w.data) {
		h.piece(h.done, w.data[old:], w.at, w.heard)
		h.next += uint32(len(w.data) - old)
		h.done += int64(len(w.data) - old)
		old = len(w.data)
	}
	if rest := w.size() - old; rest > 0 {
		h.miss(int64(rest))
	}
}

// skip gives up what is missing before the first segment that waits.
func (h *half) skip() {
	w := h.waiting[0]
	if n := int32(w.seq - h.next); n > 0 {
		h.miss(int64(n))
	}
	h.waiting = h.waiting[1:]
	h.release(w)
	h.take(w)
}

func (h *half) release(w waiting) {
	h.bytes -= len(w.data)
	h.held.bytes -= int64(len(w.data))
}

// flush gives up all that is missing.
func (h *half) flush() {
	for len(h.waiting) > 0 {
		h.skip()
	}
	if h.finSeen && h.started {
		if n := int32(h.finSeq - h.next); n > 0 {
			h.miss(int64(n))
		}
	}
	h.checkEnd()
}
