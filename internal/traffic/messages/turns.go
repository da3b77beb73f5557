package messages

import "time"

// Turn is when a side of a recorded conversation sent a message: when so many
// messages of the other side had come, and how long after the last of them or
// after its own message before.
type Turn struct {
	After int
	Pause time.Duration
}

// Turns returns the turns of the messages of one side, and of its end if that
// was recorded, with mine and theirs the times of so many messages of each. The
// first is counted from from, if it was not earlier. It is nil where the times
// of either side are not known.
func Turns(said, heard int, mine, theirs []time.Duration, from time.Duration) []Turn {
	if len(mine) < said || len(theirs) < heard || said == 0 && len(mine) == 0 {
		return nil
	}
	turns := make([]Turn, min(len(mine), said+1))
	last := time.Duration(0)
	if from <= mine[0] {
		last = from
	}
	after := 0
	for k := range turns {
		at := mine[k]
		for after < heard && theirs[after] < at {
			last = max(last, theirs[after])
			after++
		}
		turns[k] = Turn{after, max(at-last, 0)}
		last = max(last, at)
	}
	return turns
}
