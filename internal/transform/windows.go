package transform

import (
	"cmp"
	"maps"
	"slices"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Windows learns from a recording that is read once, in windows of exchanges,
// because it may not fit into memory. It finds what [Learn] finds, except that
//
//   - a value of an answer is bound only where a request of the same window or of
//     the one after it holds it first; from then on it is followed;
//   - an identity, or a browser, that nobody sent for a long time is forgotten
//     (see maxKnown);
//   - dates follow the clock where those of their window say so.
//
// It is not safe for concurrent use.
type Windows struct {
	l        *learner
	waiting  [][]*traffic.Exchange // windows whose bindings are not complete yet
	number   int                   // of the window taken in last
	position int
	known    map[string]int // identity -> window that held it last
	browsers browserTable
	dropped  []string
	most     int // maxKnown
}

// maxKnown is how many identities are remembered; when there are more, those
// that were seen longest ago are forgotten until half of it is left.
const maxKnown = 1 << 16

// NewWindows returns a learner that has seen nothing.
func NewWindows(opts Options) (*Windows, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	w := &Windows{l: newLearner(nil, opts), known: make(map[string]int), most: maxKnown, browsers: newBrowserTable()}
	w.l.bindings.outbound = true // nobody asks which values reach dependencies
	return w, nil
}

// Next takes in the next window of inbound exchanges, in order of Start, and
// returns the window before the one before it, with its bindings. What is
// returned is no longer used. Both are nil for the first two.
func (w *Windows) Next(window []*traffic.Exchange) ([]*traffic.Exchange, *Bindings) {
	w.number++
	for _, x := range window {
		w.l.order[x.ID] = w.position
		w.position++
		rewriteRequest(w.l.opts.Types, &x.Request, func(s spot) (string, bool) {
			w.l.identities(x, s, func(identity string) {
				w.l.used[identity] = true
				w.known[identity] = w.number
			})
			return "", false
		})
	}
	w.waiting = append(w.waiting, window)
	if n := len(w.waiting); n > 1 {
		w.learn(w.waiting[n-2])
	}
	if len(w.waiting) < 3 {
		return nil, nil
	}
	return w.take()
}

// Rest returns what Next holds back, one window a call, and nil after the last.
func (w *Windows) Rest() ([]*traffic.Exchange, *Bindings) {
	if len(w.waiting) == 0 {
		return nil, nil
	}
	if !w.browsers.closed {
		w.learn(w.waiting[len(w.waiting)-1])
		w.browsers.closed = true
	}
	return w.take()
}

// learn takes in a window when the requests of the one after it are known.
func (w *Windows) learn(window []*traffic.Exchange) {
	l := w.l
	for _, x := range window {
		if x.Response != nil {
			l.answers = append(l.answers, x)
		}
	}
	slices.SortStableFunc(l.answers, func(a, b *traffic.Exchange) int { return cmp.Or(end(a).Compare(end(b)), a.Start.Compare(b.Start)) })
	for _, x := range window {
		l.answersUntil(x.Start)
		l.request(x)
		w.browsers.see(x, l.bindings, w.number)
	}
	l.followClocks()
	l.clocks = clocks{places: make(map[clockPlace][]sighting)}
	l.bindings.learned = nil
	clear(l.taken)
}

// take hands out the oldest window and forgets it.
func (w *Windows) take() ([]*traffic.Exchange, *Bindings) {
	window, all := w.waiting[0], w.l.bindings
	w.waiting = w.waiting[1:]
	b := &Bindings{
		uses: make(map[string][]string), sources: make(map[string][]source), needs: make(map[string][]string),
		moves: make(map[string][]string), browser: make(map[string]int), cookies: make(map[int]map[string]bool), outbound: true,
	}
	gone := make(map[string]bool, len(window))
	for _, x := range window {
		gone[x.ID] = true
		pass(b.uses, all.uses, x.ID)
		pass(b.needs, all.needs, x.ID)
		pass(b.moves, all.moves, x.ID)
		pass(b.sources, w.l.paths, x.ID)
		if n, ok := w.browsers.of[x.ID]; ok {
			b.browser[x.ID] = n
			if b.cookies[n] == nil {
				b.cookies[n] = maps.Clone(w.browsers.names[n])
			}
			delete(w.browsers.of, x.ID)
		}
		delete(w.l.order, x.ID)
	}
	w.l.answers = slices.DeleteFunc(w.l.answers, func(x *traffic.Exchange) bool { return gone[x.ID] })
	w.forget()
	b.forget = w.dropped
	b.forgetBrowsers = w.browsers.prune(w.number)
	w.dropped = nil
	return window, b
}

func pass[T any](to, from map[string]T, id string) {
	if v, ok := from[id]; ok {
		to[id] = v
		delete(from, id)
	}
}

// forget bounds what is remembered.
func (w *Windows) forget() {
	if len(w.known) <= w.most {
		return
	}
	counts := make(map[int]int) // by window
	for _, n := range w.known {
		counts[n]++
	}
	kept, oldest := 0, w.number
	for oldest > 0 && kept+counts[oldest] <= w.most/2 {
		kept += counts[oldest]
		oldest--
	}
	oldest = min(oldest, w.number-len(w.waiting)-1) // those of windows at hand are needed
	for identity, n := range w.known {
		if n > oldest {
			continue
		}
		if _, given := w.l.given[identity]; given {
			w.dropped = append(w.dropped, identity)
		}
		delete(w.known, identity)
		delete(w.l.used, identity)
		delete(w.l.own, identity)
		delete(w.l.given, identity)
	}
}

// Watches reports whether the live answer to the exchange with this ID teaches
// anything.
func (b *Bindings) Watches(id string) bool {
	if len(b.sources[id]) > 0 {
		return true
	}
	_, ok := b.browser[id]
	return ok
}

// browserTable numbers browsers as [browsers] does, as their exchanges come.
// Two browsers that a later exchange shows to be one stay two.
type browserTable struct {
	marks  map[string]int // cookie -> browser
	names  map[int]map[string]bool
	seen   map[int]int    // browser -> window
	of     map[string]int // exchange id -> browser
	latest map[cookieOf]string
	next   int
	closed bool
	most   int // maxBrowsers
}

type cookieOf struct {
	browser int
	name    string
}

// maxBrowsers is how many browsers are remembered.
const maxBrowsers = 1 << 13

func newBrowserTable() browserTable {
	return browserTable{most: maxBrowsers, marks: make(map[string]int), names: make(map[int]map[string]bool), seen: make(map[int]int), of: make(map[string]int), latest: make(map[cookieOf]string)}
}

// see finds the browser of an exchange, and the answers whose cookies it needs.
func (t *browserTable) see(x *traffic.Exchange, b *Bindings, window int) {
	n := -1
	var marks []string
	look := func(name, value string) {
		if len(value) < 12 {
			return
		}
		mark := name + "=" + value
		marks = append(marks, mark)
		if known, ok := t.marks[mark]; ok && n < 0 {
			n = known
		}
	}
	eachCookie(&x.Request, look)
	var set []cookie
	if x.Response != nil {
		set = setCookies(x.Response)
		for _, c := range set {
			look(c.name, c.value)
		}
	}
	if len(marks) == 0 {
		return
	}
	if n < 0 {
		n = t.next
		t.next++
		t.names[n] = make(map[string]bool)
	}
	for _, mark := range marks {
		if _, ok := t.marks[mark]; !ok {
			t.marks[mark] = n
		}
	}
	t.of[x.ID], t.seen[n] = n, window
	eachCookie(&x.Request, func(name, _ string) {
		t.names[n][name] = true
		if id, ok := t.latest[cookieOf{n, name}]; ok && !slices.Contains(b.needs[x.ID], id) {
			b.needs[x.ID] = append(b.needs[x.ID], id)
		}
	})
	for _, c := range set {
		t.names[n][c.name] = true
		t.latest[cookieOf{n, c.name}] = x.ID
	}
}

// prune forgets the browsers that were silent for longest when there are too
// many, and returns their numbers.
func (t *browserTable) prune(window int) []int {
	if len(t.seen) <= t.most {
		return nil
	}
	var gone []int
	old := slices.SortedFunc(maps.Keys(t.seen), func(a, b int) int { return cmp.Or(cmp.Compare(t.seen[a], t.seen[b]), cmp.Compare(a, b)) })
	for _, n := range old[:len(old)-t.most/2] {
		if t.seen[n] > window-3 {
			break // of windows at hand
		}
		gone = append(gone, n)
		delete(t.seen, n)
		delete(t.names, n)
	}
	maps.DeleteFunc(t.marks, func(_ string, n int) bool { _, ok := t.seen[n]; return !ok })
	maps.DeleteFunc(t.latest, func(of cookieOf, _ string) bool { _, ok := t.seen[of.browser]; return !ok })
	return gone
}
