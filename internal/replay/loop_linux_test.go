package replay

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/timing"
)

// The connections of a patience are those of a plain list that is told the same.
func TestPatienceIsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p patience
		var want []*loopConn
		conns := make([]*loopConn, 5)
		for i := range conns {
			conns[i] = &loopConn{fd: i}
		}
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			c := rapid.SampledFrom(conns).Draw(t, "connection")
			want = slices.DeleteFunc(want, func(other *loopConn) bool { return other == c })
			if rapid.Bool().Draw(t, "add") {
				p.add(c, time.Duration(step))
				want = append(want, c)
			} else {
				p.remove(c)
			}
			var forth, back []*loopConn
			for c := p.first; c != nil && len(forth) <= len(conns); c = c.after {
				forth = append(forth, c)
			}
			for c := p.last; c != nil && len(back) <= len(conns); c = c.before {
				back = append(back, c)
			}
			slices.Reverse(back)
			if !slices.Equal(forth, want) || !slices.Equal(back, want) {
				t.Fatalf("it holds %v, backwards %v, want %v", forth, back, want)
			}
		}
	})
}

func TestAim(t *testing.T) {
	const us = time.Microsecond
	tests := []struct {
		reason  string
		late    bool // wakings were as late as can be
		least   time.Duration
		at, now time.Duration
		want    time.Duration // how long before the moment the wait ends
	}{
		{"nothing learned: the last stretch all the same", false, 0, 1000 * us, 0, brink},
		{"what was learned", true, 0, 10_000 * us, 0, timing.MaxLearned},
		{"not more than a part of the wait", true, 0, 100 * us, 0, 25 * us},
		{"what is always wanted", false, 20 * us, 30 * us, 0, 20 * us},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			a := aim{least: tt.least}
			for i := 0; tt.late && i < 1000; i++ {
				a.late.Saw(time.Hour)
			}
			until := a.until(tt.at, tt.now)
			if got := tt.at - until; got != tt.want {
				t.Errorf("%v before, want %v", got, tt.want)
			}
			if again := a.until(tt.at, tt.at-tt.want-us); again != until {
				t.Errorf("woken by an answer on the way it aims at %v instead of %v: it would sleep again and again", again, until)
			}
		})
	}
}

// Bursts are met as exactly as lone moments, but not for more than a part of all
// the time.
func TestAimSavesUpForBursts(t *testing.T) {
	const us = time.Microsecond
	var a aim
	for range 1000 {
		a.late.Saw(time.Hour) // each wait wants all that there may be
	}
	busy := func(at, now time.Duration) time.Duration { return at - a.until(at, now) }
	if got := busy(10_000*us, 0); got != timing.MaxLearned {
		t.Fatalf("awake for %v before a moment that is far away", got)
	}
	if got := busy(10_100*us, 10_000*us); got < 100*us {
		t.Errorf("awake for %v of the 100 µs before a moment soon after: the credit of the long wait is lost", got)
	}
	const gap = 100 * us
	var awake time.Duration
	moment := 10_100 * us
	for range 1000 {
		awake += min(busy(moment+gap, moment), gap)
		moment += gap
	}
	if most := 1000*gap/share + purse; awake > most {
		t.Errorf("awake for %v of %v in a load without pauses, want at most %v", awake, 1000*gap, most)
	}
}

// A load that has something due all the time reads answers in between.
func TestAimIsNeverNearTwice(t *testing.T) {
	var a aim
	for i, want := range []bool{true, false, true, false} {
		if got := a.near(0, time.Second); got != want {
			t.Errorf("look %d: %v", i, got)
		}
	}
	if a.near(time.Second, 0) {
		t.Error("a second is not near")
	}
}

func TestSamplesAreGathered(t *testing.T) {
	for _, room := range []int{0, 10, 3 * samplesAtOnce} {
		r := Result{Samples: make([]Sample, 0, room)}
		const n = 2*samplesAtOnce + 5
		for i := range n {
			r.add(Sample{Exchange: int32(i)}, 0)
		}
		r.gather()
		r.gather() // once more changes nothing
		if len(r.Samples) != n || !slices.IsSortedFunc(r.Samples, func(a, b Sample) int { return int(a.Exchange - b.Exchange) }) {
			t.Errorf("room for %d: %d samples of %d, or not in order", room, len(r.Samples), n)
		}
	}
}
