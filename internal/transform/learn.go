package transform

import (
	"cmp"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Bindings are what [Learn] found. They are read-only and may be shared by any
// number of rewriters.
type Bindings struct {
	uses    map[string][]string // exchange id -> identities that its request holds
	sources map[string][]source // exchange id -> values that its answer gave first
	needs   map[string][]string // exchange id -> ids whose answers it uses
	moves   map[string][]string // exchange id -> places of dates that follow the clock
	learned []Learned
	browser map[string]int          // exchange id -> browser, for those with cookies
	cookies map[int]map[string]bool // browser -> names of all its recorded cookies
	// outbound says that outbound calls were seen too, so that it is known
	// which values reach dependencies.
	outbound bool
	// What a rewriter may forget, as no exchange from here on uses it; of
	// [Windows] only.
	forget         []string // identities
	forgetBrowsers []int
}

// source is a place in an answer that gives a bound value.
type source struct {
	path     traffic.Path
	identity string
}

// Learned is one binding, for people.
type Learned struct {
	// From is the place in the answer of exchange Source that gave the value,
	// To the place in the request of exchange Use that sent it back; an
	// outbound call that held it is named by its own id. Source and From are
	// empty for a date that follows the client's clock.
	Source string       `json:"source,omitempty"`
	From   traffic.Path `json:"from,omitzero"`
	Use    string       `json:"use"`
	To     traffic.Path `json:"to"`
	// Rule says that a rule of the options binds it, and not learning.
	Rule bool `json:"rule,omitempty"`
}

// Learned lists the bindings by use. The values themselves are not in it.
func (b *Bindings) Learned() []Learned { return slices.Clone(b.learned) }

// Needs returns the IDs of the exchanges whose live answers the exchange with
// this ID uses, in recorded order.
func (b *Bindings) Needs(id string) []string { return b.needs[id] }

// Learn finds values that were first seen in a recorded answer and later in a
// request; see the package comment for the rule. Outbound exchanges may be
// among the recorded ones: values that reach them are bound for the mock, but
// nothing in them is ever a source, because the mock answers as recorded.
func Learn(recorded []*traffic.Exchange, opts Options) (*Bindings, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	l := newLearner(recorded, opts)
	l.collectUsed()
	for _, x := range l.requests {
		l.answersUntil(x.Start)
		l.request(x)
	}
	l.finish()
	l.followClocks()
	l.conversations()
	l.cookies()
	return l.bindings, nil
}

// maxSources bounds how many answers one value is followed through: the first
// that gave it and the latest ones.
const maxSources = 4

type learner struct {
	opts     Options
	bindings *Bindings
	requests []*traffic.Exchange // by start
	answers  []*traffic.Exchange // inbound with an answer, by its end
	order    map[string]int      // inbound id -> position by start

	used  map[string]bool     // identities that any request holds
	own   map[string]bool     // identities that a request held before any answer did
	given map[string][]giver  // identity -> answers that gave it
	paths map[string][]source // exchange id -> all sources, before it is known which are used
	taken map[[2]string]bool  // (source id, identity) that some use takes

	nonces map[string][]spot // outbound id -> nonces in the tokens that it was given

	clocks clocks
}

type giver struct {
	id   string
	path traffic.Path
	at   int // position by start
}

func end(x *traffic.Exchange) time.Time { return x.Start.Add(x.Duration) }

func newLearner(recorded []*traffic.Exchange, opts Options) *learner {
	l := &learner{
		opts: opts,
		bindings: &Bindings{
			uses: make(map[string][]string), sources: make(map[string][]source), needs: make(map[string][]string),
			moves: make(map[string][]string),
		},
		clocks: clocks{places: make(map[clockPlace][]sighting)},
		order:  make(map[string]int), used: make(map[string]bool), own: make(map[string]bool),
		nonces: make(map[string][]spot),
		given:  make(map[string][]giver), paths: make(map[string][]source), taken: make(map[[2]string]bool),
	}
	for _, x := range recorded {
		l.requests = append(l.requests, x)
		if x.Direction == traffic.Outbound {
			l.bindings.outbound = true
			l.findNonces(x)
		} else if x.Response != nil {
			l.answers = append(l.answers, x)
		}
	}
	slices.SortStableFunc(l.requests, func(a, b *traffic.Exchange) int { return a.Start.Compare(b.Start) })
	slices.SortStableFunc(l.answers, func(a, b *traffic.Exchange) int { return cmp.Or(end(a).Compare(end(b)), a.Start.Compare(b.Start)) })
	for i, x := range l.requests {
		if x.Direction != traffic.Outbound {
			l.order[x.ID] = i
		}
	}
	return l
}

// identities visits every identity that a spot in the request of x may stand
// for: those that rules give, that of the whole value, and those of the words
// within it.
func (l *learner) identities(x *traffic.Exchange, s spot, visit func(string)) {
	for i, rule := range l.opts.Bind {
		if rule.sent(l.opts.Router, x, s.path) {
			visit(pinned(i, s.value))
		}
	}
	if identity, ok := s.identity(); ok {
		visit(identity)
	}
	if s.whole {
		return
	}
	words(s.value, func(word string) {
		if distinctive(spot{key: s.key, value: word}) {
			visit(word)
		}
	})
}

// collectUsed notes all identities in requests, so that the far more values of
// answers that nobody sends back take no memory.
func (l *learner) collectUsed() {
	for _, x := range l.requests {
		l.sent(x, func(s spot) {
			l.identities(x, s, func(identity string) { l.used[identity] = true })
		})
	}
}

// sent visits the values that a request holds, and the nonces of the tokens
// that answer an outbound one: the service gave them to its client before, and
// wants to see them again.
func (l *learner) sent(x *traffic.Exchange, visit func(spot)) {
	rewriteRequest(l.opts.Types, &x.Request, func(s spot) (string, bool) {
		visit(s)
		return "", false
	})
	for _, s := range l.nonces[x.ID] {
		visit(s)
	}
}

func (l *learner) findNonces(x *traffic.Exchange) {
	if fresh.KindOf(x) != fresh.Tokens {
		return
	}
	answerSpots(l.opts.Types, x, func(s spot) {
		if s.key == "nonce" {
			l.nonces[x.ID] = append(l.nonces[x.ID], s)
		}
	})
}

// answersUntil takes in the answers that were complete at t.
func (l *learner) answersUntil(t time.Time) {
	for len(l.answers) > 0 && !end(l.answers[0]).After(t) {
		x := l.answers[0]
		l.answers = l.answers[1:]
		seen := make(map[string]bool)
		give := func(s spot, identity string) {
			if !l.used[identity] || seen[identity] {
				return
			}
			seen[identity] = true
			givers := l.given[identity]
			if len(givers) == maxSources {
				givers = slices.Delete(givers, 1, 2)
			}
			l.given[identity] = append(givers, giver{x.ID, s.path, l.order[x.ID]})
			l.paths[x.ID] = append(l.paths[x.ID], source{s.path, identity})
		}
		answerSpots(l.opts.Types, x, func(s spot) {
			for i, rule := range l.opts.Bind {
				if rule.given(l.opts.Router, x, s.path) {
					give(s, pinned(i, s.value))
				}
			}
			if identity, ok := s.identity(); ok && !l.own[identity] && !l.opts.forbids(s.path) {
				give(s, identity)
			}
		})
	}
}

// request binds the values of a request that an answer gave before, and notes
// the others as the client's own.
func (l *learner) request(x *traffic.Exchange) {
	lane := x.ID
	if x.Direction == traffic.Outbound {
		lane = string(x.Lane) // its values matter to the mock in the lane that it belongs to
	}
	position, known := l.order[lane]
	bound := make(map[string]bool)
	endpoint := l.opts.Router.Endpoint(&x.Request)
	echoed := make(map[string]bool) // the server said it first, though its answer as a whole ends later
	l.echoes(x, func(identity string, _ saying, _ traffic.Path) { echoed[identity] = true })
	l.sent(x, func(s spot) {
		given := false // by an answer
		l.identities(x, s, func(identity string) {
			givers := l.given[identity]
			given = given || len(givers) > 0
			if len(givers) == 0 {
				if x.Direction != traffic.Outbound && !echoed[identity] {
					l.own[identity] = true
				}
				return
			}
			if bound[identity] || !known || !isPinned(identity) && l.opts.forbids(s.path) {
				return
			}
			bound[identity] = true
			used := false
			for _, g := range givers {
				if g.at >= position {
					continue
				}
				used = true
				l.taken[[2]string{g.id, identity}] = true
				if !slices.Contains(l.bindings.needs[lane], g.id) {
					l.bindings.needs[lane] = append(l.bindings.needs[lane], g.id)
				}
			}
			if !used {
				return
			}
			if x.Direction != traffic.Outbound {
				l.bindings.uses[lane] = append(l.bindings.uses[lane], identity)
			}
			l.bindings.learned = append(l.bindings.learned, Learned{Source: givers[0].id, From: givers[0].path, Use: x.ID, To: s.path, Rule: isPinned(identity)})
		})
		if !given && x.Direction != traffic.Outbound && !l.opts.forbids(s.path) {
			l.clocks.see(endpoint, x, s)
		}
	})
}

// followClocks notes the dates that move with the age of the recording.
func (l *learner) followClocks() {
	b := l.bindings
	l.clocks.follow(func(s sighting) {
		b.moves[s.id] = append(b.moves[s.id], s.path.String())
		b.learned = append(b.learned, Learned{Use: s.id, To: s.path})
	})
}

// cookies finds the browsers, and lets each request need the latest answer that
// set one of its cookies.
func (l *learner) cookies() {
	b := l.bindings
	var inbound []*traffic.Exchange
	for _, x := range l.requests {
		if x.Direction != traffic.Outbound {
			inbound = append(inbound, x)
		}
	}
	b.browser, b.cookies = browsers(inbound), make(map[int]map[string]bool)
	type setting struct {
		browser int
		name    string
	}
	latest := make(map[setting]string)
	for _, x := range inbound {
		n, ok := b.browser[x.ID]
		if !ok {
			continue
		}
		if b.cookies[n] == nil {
			b.cookies[n] = make(map[string]bool)
		}
		eachCookie(&x.Request, func(name, _ string) {
			b.cookies[n][name] = true
			if id, ok := latest[setting{n, name}]; ok && !slices.Contains(b.needs[x.ID], id) {
				b.needs[x.ID] = append(b.needs[x.ID], id)
			}
		})
		slices.SortFunc(b.needs[x.ID], func(a, b string) int { return l.order[a] - l.order[b] })
		if x.Response != nil {
			for _, c := range setCookies(x.Response) {
				b.cookies[n][c.name] = true
				latest[setting{n, c.name}] = x.ID
			}
		}
	}
}

// finish keeps the sources that some use takes.
func (l *learner) finish() {
	for id, sources := range l.paths {
		for _, s := range sources {
			if l.taken[[2]string{id, s.identity}] {
				l.bindings.sources[id] = append(l.bindings.sources[id], s)
			}
		}
	}
	for _, needs := range l.bindings.needs {
		slices.SortFunc(needs, func(a, b string) int { return l.order[a] - l.order[b] })
	}
}
