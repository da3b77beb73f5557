package transform

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Sampler decides, of inbound exchanges that come in order of Start, which ones
// belong to sampled sessions. It decides as [Options.Select] does, except that a
// session is forgotten when nothing was heard of it while the marks of many
// others came (see maxKnown), and that sessions which show only later to be one
// are what they were until then. It is not safe for concurrent use.
type Sampler struct {
	share float64
	count int
	// By mark of a session. When recent is full it becomes old, and what was old
	// is forgotten.
	recent, old map[string]drawn
	most        int
}

// drawn is a session that was decided on.
type drawn struct {
	number int // in the order in which sessions began
	kept   bool
}

// Sampler returns one that has seen nothing.
func (o Options) Sampler() *Sampler {
	return &Sampler{share: o.Sample, recent: make(map[string]drawn), most: maxKnown}
}

// Keeps decides on the next exchange.
func (s *Sampler) Keeps(x *traffic.Exchange) bool {
	if s.share == 0 || s.share == 1 {
		return true
	}
	s.count++
	session := drawn{s.count, sampledBy(x.ID, s.share)}
	traffic.SessionMarks(x, func(mark string) {
		known, ok := s.recent[mark]
		if !ok {
			known, ok = s.old[mark]
		}
		if ok && known.number < session.number {
			session = known
		}
	})
	traffic.SessionMarks(x, func(mark string) {
		if s.recent[mark] = session; len(s.recent) >= s.most/2 {
			s.recent, s.old = make(map[string]drawn), s.recent
		}
	})
	return session.kept
}

// sampledBy decides by the first exchange of a session.
func sampledBy(id string, share float64) bool {
	sum := sha256.Sum256([]byte(id)) // evenly spread, unlike cheaper hashes of short names
	return float64(binary.BigEndian.Uint64(sum[:])>>11)/(1<<53) < share
}
