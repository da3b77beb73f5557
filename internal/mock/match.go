package mock

import (
	"fmt"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// call is a live request on its way through the tiers.
type call struct {
	req  *traffic.Request
	dep  string // the dependency it means
	form form
	sig  uint64
	// opens says that only the beginning of the request is known: sig is that
	// of its first message, and only recorded streams can answer.
	opens bool
}

// newCall brings a live request into its canonical form.
func (ix *index) newCall(req *traffic.Request) *call {
	c := ix.call()
	c.req, c.dep = req, ix.deps.resolve(req.Scheme, req.Authority)
	c.form = ix.canon.form(c.form, c.dep, req)
	c.sig = c.form.hash(ix.seed, nil)
	return c
}

// newOpening brings the beginning of a stream into its form. It returns nil
// when no recorded stream began so.
func (ix *index) newOpening(req *traffic.Request) *call {
	c := ix.call()
	c.req, c.dep, c.opens = req, ix.deps.resolve(req.Scheme, req.Authority), true
	c.form = ix.canon.form(c.form, c.dep, req)
	c.sig = c.form.hash(ix.seed, classed)
	if _, ok := ix.openings[c.sig]; !ok {
		return nil
	}
	return c
}

// call returns an empty call, with the memory of one that is done where there is
// one.
func (ix *index) call() *call {
	if c, ok := ix.calls.Get().(*call); ok {
		return c
	}
	return new(call)
}

// done takes back a call that is decided. Nobody may use it any more: the next
// one is written into its memory.
func (ix *index) done(c *call) {
	clear(c.form) // its texts are parts of whole requests
	*c = call{form: c.form[:0]}
	ix.calls.Put(c)
}

// outcome is what the tiers found: a tier and the entry that answers, or none.
// A rule and a fault may take the place of an entry.
type outcome struct {
	tier     traffic.Tier
	entry    int32
	said     address // by the entry; 0 is not known yet
	reason   string
	response *traffic.Response // of a rule
	delay    time.Duration     // of a rule
	tempo    tempo
	fault    *Fault
	unknown  bool // of a miss: nothing recorded is the same call
}

// found is what one lane has for a call.
type found struct {
	tier  traffic.Tier
	taken // no entry when all are used
	key   uint64
	chain *chains
	begin link // of the chain
}

// said returns the answer of an entry if it is known already, else 0.
func (f *found) said(i int32) address {
	if f.chain == nil || f.begin.first != i {
		return 0
	}
	return f.begin.said
}

// match finds the recorded call that answers c in the lane of ls, tier by tier.
// Each tier is a look-up by hash. others are lanes that the call may belong to
// as well, when its own could not be told.
func (m *Mock) match(p *pass, ls *laneState, c *call, others []traffic.Lane) outcome {
	ls.mu.Lock()
	f, known := m.index.inLane(ls, c, (*laneState).take)
	ls.mu.Unlock()
	if f.entry != none {
		return outcome{tier: f.tier, entry: f.entry, said: f.said(f.entry), reason: f.reason}
	}
	if known {
		return m.again(ls, ls, c, f)
	}
	for _, name := range append(slices.Clone(others), traffic.LaneBackground, traffic.LaneBoot) {
		if name == ls.name {
			continue
		}
		owner := p.lane(m.index, name)
		owner.mu.Lock()
		f, known := m.index.inLane(owner, c, func(owner *laneState, chain *chains, key uint64) taken {
			return owner.lend(chain, key, ls)
		})
		owner.mu.Unlock()
		if f.entry != none {
			return outcome{tier: traffic.TierOtherLane, entry: f.entry, reason: fmt.Sprintf("recorded in lane %s", name)}
		}
		if known {
			return m.again(ls, owner, c, f)
		}
	}
	return m.elsewhere(ls, c)
}

// inLane tries the exact, bound and classed tiers in one lane. known says that
// the lane has recorded calls like c, though all may be used. The caller holds
// the lane's lock.
func (ix *index) inLane(ls *laneState, c *call, take func(*laneState, *chains, uint64) taken) (f found, known bool) {
	try := func(tier traffic.Tier, chain *chains, key uint64) bool {
		begin := chain.find(key)
		if begin.first == none {
			return false
		}
		f, known = found{tier, take(ls, chain, key), key, chain, begin}, true
		return true
	}
	if c.opens {
		f.entry = none
		known = try(traffic.TierClassed, &ix.opening, laneKey(c.sig, ls.laneRange))
		return f, known
	}
	// A signature that the lane has is never answered from a looser tier, even
	// when all its calls are used: the looser answer belongs to another call.
	if try(traffic.TierExact, &ix.exact, laneKey(c.sig, ls.laneRange)) {
		return f, true
	}
	if len(ls.recorded) > 0 {
		sig := c.form.hash(ix.seed, func(_ int, t token) string { return ls.toRecorded(t.text) })
		if sig != c.sig && try(traffic.TierBound, &ix.exact, laneKey(sig, ls.laneRange)) {
			return f, true
		}
	}
	return ix.inGroup(ls, c, take)
}

// inGroup tries the classed tier.
func (ix *index) inGroup(ls *laneState, c *call, take func(*laneState, *chains, uint64) taken) (f found, known bool) {
	f.entry = none
	if !c.form.volatile() {
		return f, false
	}
	key := laneKey(c.form.hash(ix.seed, classed), ls.laneRange)
	if ix.classed.first(key) == none {
		return f, false
	}
	g := ix.group(key)
	for k := range g.masks {
		candidates := g.masks[k].entries[c.form.hash(ix.seed, g.masks[k].value(ls.toRecorded))]
		if i := ls.candidate(candidates); i != none && (f.entry == none || i < f.entry) {
			f = found{tier: traffic.TierClassed, taken: taken{entry: i}}
		}
		known = known || len(candidates) > 0
	}
	switch {
	case f.entry != none:
		// Through its own chain, so that a loan is noted as one.
		e := &ix.entries[f.entry]
		f.key, f.chain = laneKey(e.sig, ix.ranges[e.lane]), &ix.exact
		f.taken = take(ls, f.chain, f.key)
	case known || g.lone:
		f = found{tier: traffic.TierClassed, taken: taken{entry: none}, key: key, chain: &ix.classed}
		if known = true; g.lone {
			f.taken = take(ls, f.chain, f.key)
		}
	}
	if f.entry != none {
		ix.learn(ls, f.entry, c)
	}
	return f, known
}

// candidate returns the first free one of some entries, of those recorded in the
// state that the lane has reached if there is one. The caller holds mu.
func (ls *laneState) candidate(entries []int32) int32 {
	first := int32(none)
	for _, i := range entries {
		if ls.used[int(i)-ls.from] != free {
			continue
		}
		if ls.epochs == nil || ls.after(i) == isWrite || ls.after(i) == ls.now(i) {
			return i
		}
		if first == none {
			first = i
		}
	}
	return first
}

// learn pairs the volatile values of a call with those of the recorded one
// that answers it, so that the next call that carries them is bound by them.
func (ix *index) learn(ls *laneState, i int32, c *call) {
	recorded := ix.form(nil, ix.request(i))
	for at, t := range c.form {
		if at < len(recorded) && t.kind.leaf() && t.text != recorded[at].text && len(t.text) >= minVolatile {
			ls.learn(recorded[at].text, t.text)
		}
	}
}

// again answers a call of ls beyond the recorded ones of owner by the policy
// of its dependency.
func (m *Mock) again(ls, owner *laneState, c *call, f found) outcome {
	policy := m.opts.repeat(c.dep, c.reads())
	owner.mu.Lock()
	i, reason := owner.repeats(f.chain, f.key, policy)
	owner.mu.Unlock()
	if policy == RepeatFail {
		return missed("more calls than recorded: " + reason)
	}
	ls.count(&ls.extra)
	return outcome{tier: traffic.TierRepeat, entry: i, said: f.said(i), reason: reason}
}

// elsewhere answers a call that only other lanes made in the recording, if it
// changes nothing and always got the same answer. It uses nothing up: the
// lanes that own the calls must still find them.
func (m *Mock) elsewhere(ls *laneState, c *call) outcome {
	ix := m.index
	i := ix.any.first(c.sig)
	if i == none {
		o := missed(m.whyUnknown(c))
		o.unknown = true
		return o
	}
	name := ix.laneName(i)
	_, ambiguous := ix.ambiguous[c.sig]
	switch {
	case !c.reads():
		return missed(fmt.Sprintf("recorded in another lane only (%s), and %s may change something", name, c.req.Method))
	case ambiguous:
		return missed(fmt.Sprintf("recorded in other lanes only (%s and more), with different answers", name))
	}
	ls.count(&ls.extra)
	return outcome{tier: traffic.TierOtherLane, entry: i, reason: fmt.Sprintf("recorded in lane %s, always with this answer", name)}
}

func missed(reason string) outcome {
	return outcome{tier: traffic.TierMiss, entry: none, reason: reason}
}

// settle finds the answer to a call: a fault, a rule that wins, a recorded
// call, another rule, or a guess. It counts what the tiers do not count themselves.
func (m *Mock) settle(p *pass, ls *laneState, c *call, others []traffic.Lane) outcome {
	fault := p.fault(ls, c)
	if fault != nil && fault.replaces() {
		ls.count(&ls.extra)
		return outcome{tier: traffic.TierRule, entry: none, reason: fault.describe(), fault: fault}
	}
	o, ok := m.byRule(ls, c, true)
	if !ok {
		o = m.match(p, ls, c, others)
	}
	if o.tier == traffic.TierMiss {
		answer, ok := m.byRule(ls, c, false)
		if !ok {
			answer, ok = m.byIssuer(ls, c)
		}
		if !ok && o.unknown {
			answer, ok = m.fuzzy(ls, c)
		}
		if ok {
			o = answer
		} else {
			ls.count(&ls.missed)
		}
	}
	if o.entry != none && o.said == 0 {
		o.said = m.index.said[o.entry]
	}
	o.tempo = m.tempo(p, ls, c, &o)
	if fault != nil && o.tier != traffic.TierMiss {
		o.fault = fault
		o.reason = fault.describe()
	}
	return o
}

// byRule answers a call by the first rule that matches.
func (m *Mock) byRule(ls *laneState, c *call, override bool) (outcome, bool) {
	for _, r := range m.rules {
		if r.Override != override {
			continue
		}
		captured, ok := r.matches(c)
		if !ok {
			continue
		}
		response, err := r.answer(c.req, captured)
		if err != nil {
			m.opts.Log.Error("a mock rule cannot answer", "error", err)
			continue
		}
		ls.count(&ls.extra)
		r.answers.Add(1)
		return outcome{tier: traffic.TierRule, entry: none, reason: "answered by " + r.Name, response: response, delay: r.Reply.Delay}, true
	}
	return outcome{}, false
}

// count adds one to a figure of the lane.
func (ls *laneState) count(figure *int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	*figure++
}

// whyUnknown says in short why nothing recorded is like c.
func (m *Mock) whyUnknown(c *call) string {
	if !m.index.deps.recorded[c.dep] {
		return fmt.Sprintf("no call to %s was recorded", c.dep)
	}
	return "no recorded call is like it"
}
