package formats

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// maxNumber bounds the numbers that are kept, and so the memory for them: one
// bit each.
const maxNumber = 1 << 27

// numbers gives exchanges their ids, and lanes where those follow from ids.
type numbers struct {
	// keep says that ids and lanes of the file hold.
	keep     bool
	inbound  taken
	outbound taken
	// moved has the new ids of inbound exchanges whose own were taken, so that
	// their calls follow.
	moved map[traffic.Lane]traffic.Lane
}

// number sets the id of x, and its lane when x is inbound or when the lane that
// it names is not to be kept.
func (n *numbers) number(x *traffic.Exchange) {
	own, lane := x.ID, x.Lane
	if x.Direction == traffic.Inbound {
		x.ID = n.inbound.id("in-", own, n.keep)
		x.Lane = traffic.Lane(x.ID)
		if n.keep && own != "" && own != x.ID {
			if n.moved == nil {
				n.moved = map[traffic.Lane]traffic.Lane{}
			}
			n.moved[traffic.Lane(own)] = x.Lane
		}
		return
	}
	x.ID = n.outbound.id("out-", own, n.keep)
	switch now, moved := n.moved[lane]; {
	case lane == "" || !n.keep:
		x.Lane, x.Origin.Certainty = "", ""
	case moved:
		x.Lane = now
	case lane != traffic.LaneBoot && lane != traffic.LaneBackground && !n.inbound.has("in-", string(lane)):
		x.Lane, x.Origin.Certainty = "", "" // it names a request that is not there
	}
}

// taken is the set of numbers that are given away.
type taken struct {
	last int
	bits []uint64
}

// id returns own if it is one of ours that is not taken, else the next number
// that is free.
func (t *taken) id(prefix, own string, keep bool) string {
	if n := parseNumber(prefix, own); keep && n > 0 && !t.test(n) {
		t.set(n)
		return own
	}
	for t.last++; t.test(t.last); t.last++ {
	}
	if keep { // later ones may want it
		t.set(t.last)
	}
	return fmt.Sprintf("%s%06d", prefix, t.last)
}

func (t *taken) has(prefix, id string) bool {
	n := parseNumber(prefix, id)
	return n > 0 && t.test(n)
}

// parseNumber returns the number of an id as reprise writes it, 0 for others.
func parseNumber(prefix, id string) int {
	digits, ok := strings.CutPrefix(id, prefix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n >= maxNumber || fmt.Sprintf("%06d", n) != digits {
		return 0
	}
	return n
}

func (t *taken) test(n int) bool { return n/64 < len(t.bits) && t.bits[n/64]>>(n%64)&1 == 1 }

func (t *taken) set(n int) {
	if n >= maxNumber {
		return
	}
	for n/64 >= len(t.bits) {
		t.bits = append(t.bits, make([]uint64, max(16, len(t.bits)))...)
	}
	t.bits[n/64] |= 1 << (n % 64)
}
