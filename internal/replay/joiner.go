package replay

import (
	"maps"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// reach is how many windows back an exchange may wait for another. What is
// older has been sent long ago, or the load stands still anyway.
const reach = 8

// joiner finds what the exchanges of a window wait for in windows before it:
// for the one before in their session, and for the answers that they need.
type joiner struct {
	number int // of the present window
	first  int32
	recent [reach]*stretch  // by number of the window
	marks  map[string]place // latest exchange with a mark of a session
	ids    map[string]place
}

// place is an exchange within the windows.
type place struct {
	window   int
	exchange int32
}

func newJoiner() *joiner { return &joiner{marks: make(map[string]place), ids: make(map[string]place)} }

// stretch makes a window ready to be sent.
func (j *joiner) stretch(w *Window) *stretch {
	needs := w.Needs
	if needs == nil {
		needs = asRecorded{}.Needs
	}
	s := newStretch(w.Exchanges, traffic.Sessions(w.Exchanges), needs)
	s.window, s.first, s.users = w, j.first, 1
	for i, x := range w.Exchanges {
		s.sources[i] = s.sources[i] || w.Watch != nil && w.Watch(x.ID)
		before := make(map[place]bool)
		traffic.SessionMarks(x, func(mark string) {
			if at, ok := j.marks[mark]; ok && at.window < j.number {
				before[at] = true
			}
			j.marks[mark] = place{j.number, int32(i)}
		})
		for _, id := range needs(x.ID) {
			if at, ok := j.ids[id]; ok {
				before[at] = true
			}
		}
		for at := range before {
			s.earlier = append(s.earlier, link{int32(i), j.recent[at.window%reach], at.exchange})
		}
	}
	for i, x := range w.Exchanges {
		j.ids[x.ID] = place{j.number, int32(i)}
	}
	j.recent[j.number%reach] = s
	j.number++
	j.first += int32(len(w.Exchanges))
	old := func(_ string, at place) bool { return at.window <= j.number-reach }
	maps.DeleteFunc(j.marks, old)
	maps.DeleteFunc(j.ids, old)
	return s
}

// leave ends one use of a window. When the last one is gone its exchanges are
// let go, while later windows may still name it as what they wait for.
func (s *stretch) leave() {
	if s.users--; s.users == 0 {
		s.exchanges, s.templates, s.window.Exchanges, s.earlier, s.endpoints, s.streams = nil, nil, nil, nil, nil, nil
		s.graph, s.sources, s.sessions = graph{}, nil, nil
	}
}
