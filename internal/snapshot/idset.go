package snapshot

// idSet remembers ids in the order they were added, in little memory.
type idSet struct {
	text   []byte
	ends   []uint32
	lookup map[uint64]uint32 // hash, or the next free number after it, to position
}

func newIDSet() *idSet { return &idSet{lookup: map[uint64]uint32{}} }

func (s *idSet) at(i int) string {
	start := uint32(0)
	if i > 0 {
		start = s.ends[i-1]
	}
	return string(s.text[start:s.ends[i]])
}

// find returns the slot of id, and whether it is there.
func (s *idSet) find(id string) (slot uint64, ok bool) {
	for slot = hashID(id); ; slot++ {
		i, taken := s.lookup[slot]
		if !taken {
			return slot, false
		}
		if int(i) < len(s.ends) && s.at(int(i)) == id {
			return slot, true
		}
	}
}

func (s *idSet) has(id string) bool { _, ok := s.find(id); return ok }

func (s *idSet) add(id string) {
	slot, _ := s.find(id)
	s.lookup[slot] = uint32(len(s.ends))
	s.text = append(s.text, id...)
	s.ends = append(s.ends, uint32(len(s.text)))
}

// truncate forgets all ids from position n on. It is rare, so it rebuilds.
func (s *idSet) truncate(n int) {
	if n >= len(s.ends) {
		return
	}
	kept := newIDSet()
	for i := range n {
		kept.add(s.at(i))
	}
	*s = *kept
}
