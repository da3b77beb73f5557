package transform

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Rewriter makes recorded requests fit one arm, and learns from the answers of
// that arm. Each arm and pass needs one of its own. It is safe for concurrent
// use.
type Rewriter struct {
	bindings *Bindings
	opts     compiled
	*memory
}

// memory is what the live answers taught.
type memory struct {
	mu   sync.Mutex
	live map[string]string // identity -> live value
	jars map[int]jar       // by browser

	said  map[string]map[string][]saying // by conversation
	moved map[string][]traffic.Binding   // exchange id -> dates and tokens of its last request
}

// NewRewriter returns a rewriter that has seen no live answer yet. b may be nil
// for none. The options must be valid: rules that [Options.Validate] rejects
// are left out.
func NewRewriter(b *Bindings, opts Options) *Rewriter {
	if b == nil {
		b = &Bindings{}
	}
	return &Rewriter{bindings: b, opts: opts.compile(), memory: &memory{
		live: make(map[string]string), jars: make(map[int]jar), moved: make(map[string][]traffic.Binding),
		said: make(map[string]map[string][]saying),
	}}
}

// With returns a rewriter for another part of the recording, with bindings of
// its own, that shares with r what the live answers teach. It forgets what the
// part and those after it do not use.
func (r *Rewriter) With(b *Bindings) *Rewriter {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, identity := range b.forget {
		delete(r.live, identity)
	}
	for _, n := range b.forgetBrowsers {
		delete(r.jars, n)
	}
	clear(r.moved)
	clear(r.said)
	return &Rewriter{bindings: b, opts: r.opts, memory: r.memory}
}

// Needs returns the IDs of the recorded exchanges whose live answers the
// exchange with this ID uses.
func (r *Rewriter) Needs(id string) []string { return r.bindings.Needs(id) }

// Request returns what to send in the place of a recorded request: learned
// values, dates and tokens first, then cookies, header rules and signatures. It
// never changes its argument, and returns a part of it when there is nothing to
// change.
func (r *Rewriter) Request(recorded *traffic.Exchange) *traffic.Request {
	req := &recorded.Request
	pairs, moves := r.resolved(recorded.ID), r.bindings.moves[recorded.ID]
	if len(pairs) > 0 || len(moves) > 0 || len(r.opts.shift) > 0 || len(r.opts.jwt) > 0 || r.opts.ring != nil {
		var moved []traffic.Binding
		req = rewriteSigned(r.opts.types, req, func(s spot) (string, bool) {
			text, ok := r.replaceIn(recorded, s, pairs)
			if !ok && (r.opts.moves(s.path) || len(moves) > 0 && slices.Contains(moves, s.path.String())) {
				if text, ok = fresh.ShiftDate(s.value, r.opts.age(recorded)); ok && text != s.value {
					moved = append(moved, traffic.Binding{Recorded: s.value, Live: text})
				}
			}
			return text, ok
		}, func(s spot) (string, bool) {
			token, ok := r.opts.resign(recorded, s)
			if ok && token != s.value {
				moved = append(moved, traffic.Binding{Recorded: s.value, Live: token})
			}
			return token, ok
		})
		if len(moved) > 0 {
			r.mu.Lock()
			r.moved[recorded.ID] = moved
			r.mu.Unlock()
		}
	}
	req = r.fillCookies(recorded.ID, req)
	req = r.opts.headers(recorded, req)
	return r.opts.signatures(recorded, req)
}

// Moved returns the dates and tokens that the last request for the exchange with
// this ID renewed, so that a mock finds calls that hold them.
func (r *Rewriter) Moved(id string) []traffic.Binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moved[id]
}

// fillCookies adds what the jar of the browser knows.
func (r *Rewriter) fillCookies(id string, req *traffic.Request) *traffic.Request {
	n, ok := r.bindings.browser[id]
	if !ok {
		return req
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jars[n].fill(req, r.bindings.cookies[n])
}

// resolved returns the live values of identities that the request of an
// exchange holds, where they differ from the recorded ones.
func (r *Rewriter) resolved(id string) map[string]string {
	uses := r.bindings.uses[id]
	if len(uses) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var pairs map[string]string
	for _, identity := range uses {
		if live, ok := r.live[identity]; ok && live != recordedValue(identity) {
			if pairs == nil {
				pairs = make(map[string]string)
			}
			pairs[identity] = live
		}
	}
	return pairs
}

// replaceIn returns the value of a spot with live values in it; what rules bind
// comes first.
func (r *Rewriter) replaceIn(recorded *traffic.Exchange, s spot, pairs map[string]string) (string, bool) {
	for i, rule := range r.opts.bind {
		if live, ok := pairs[pinned(i, s.value)]; ok && rule.sent(r.opts.router, recorded, s.path) {
			return live, true
		}
	}
	if identity, ok := s.identity(); ok {
		if live, ok := pairs[identity]; ok {
			return live, true
		}
	}
	text := s.value
	if s.whole {
		return text, false
	}
	words(s.value, func(word string) {
		if live, ok := pairs[word]; ok {
			text = replaceWord(text, word, live)
		}
	})
	return text, text != s.value
}

// replaceWord replaces word in text where it does not go on to either side.
func replaceWord(text, word, live string) string {
	var out strings.Builder
	for {
		i := strings.Index(text, word)
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		end := i + len(word)
		out.WriteString(text[:i])
		if (i == 0 || !inWord(text[i-1])) && (end == len(text) || !inWord(text[end])) {
			out.WriteString(live)
		} else {
			out.WriteString(word)
		}
		text = text[end:]
	}
}

func inWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

// maxPairs bounds what one answer tells the mock.
const maxPairs = 256

// Observe learns the live values of an answer that later requests use, and
// returns the pairs of recorded and live values that a mock should know. A
// live exchange without an answer teaches nothing.
func (r *Rewriter) Observe(recorded, live *traffic.Exchange) []traffic.Binding {
	if n, ok := r.bindings.browser[recorded.ID]; ok && live.Response != nil {
		r.mu.Lock()
		if r.jars[n] == nil {
			r.jars[n] = make(jar)
		}
		r.jars[n].keep(live.Response)
		r.mu.Unlock()
	}
	sources := r.bindings.sources[recorded.ID]
	if live.Response == nil || recorded.Response == nil || len(sources) == 0 && r.bindings.outbound {
		return nil
	}
	at := make(map[string]spot)
	held := make(map[string]bool)
	answerSpots(r.opts.types, live, func(s spot) {
		at[s.path.String()] = s
		held[s.value] = true
	})
	var pairs []traffic.Binding
	told := make(map[string]bool)
	tell := func(was, is string) {
		if was != is && !told[was] && len(pairs) < maxPairs {
			told[was] = true
			pairs = append(pairs, traffic.Binding{Recorded: was, Live: is})
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range sources {
		was := recordedValue(s.identity)
		if held[was] && !isPinned(s.identity) { // still good, wherever it stands now
			r.live[s.identity] = was
		} else if is, ok := at[s.path.String()]; ok && is.value != "" {
			r.live[s.identity] = is.value
			tell(was, is.value)
		}
	}
	if !r.bindings.outbound { // unknown what reaches dependencies: all that is distinctive may
		answerSpots(r.opts.types, recorded, func(s spot) {
			if is, ok := at[s.path.String()]; ok && is.value != "" && !held[s.value] && distinctive(s) {
				tell(s.value, is.value)
			}
		})
	}
	return pairs
}

// age returns how far the recorded moment of an exchange lies in the past.
func (c *compiled) age(recorded *traffic.Exchange) time.Duration {
	return c.now().Sub(recorded.Start)
}
