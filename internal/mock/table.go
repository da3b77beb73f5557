package mock

// table is a hash table in one piece of memory without pointers: a look-up is
// one miss of the caches, and the collector never looks inside. Its keys are
// hashes already. The zero table is empty and ready for use.
type table struct {
	slots []slot
	n     int
}

// slot is free when its value is 0: values are stored one higher.
type slot struct{ key, value uint64 }

// newTable returns a table with room for n keys.
func newTable(n int) table {
	size := 16
	for size < 2*n { // at most half full, so that most keys are where they belong
		size *= 2
	}
	t := table{slots: make([]slot, size)}
	preferHugePages(t.slots)
	return t
}

// at returns the slot of a key, or the free one where it belongs.
func (t *table) at(key uint64) *slot {
	mask := uint64(len(t.slots) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.value == 0 || s.key == key {
			return s
		}
	}
}

func (t *table) get(key uint64) (value uint64, ok bool) {
	if t.n == 0 {
		return 0, false
	}
	s := t.at(key)
	return s.value - 1, s.value != 0
}

// set notes a value below the greatest uint64 for a key.
func (t *table) set(key, value uint64) {
	if 2*(t.n+1) > len(t.slots) {
		bigger := newTable(2 * (t.n + 1))
		for _, s := range t.slots {
			if s.value != 0 {
				*bigger.at(s.key) = s
			}
		}
		bigger.n = t.n
		*t = bigger
	}
	s := t.at(key)
	if s.value == 0 {
		t.n++
	}
	*s = slot{key, value + 1}
}
