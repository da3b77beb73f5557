package replay

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/timing"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// RoundOptions says how long a round lasts. The zero value takes the defaults.
type RoundOptions struct {
	// PairsPerEndpoint is how many pairs each endpoint needs before the round
	// may end. Default 100.
	PairsPerEndpoint int
	// MinDuration is the least time a round lasts. Default 0.7 s: anything
	// shorter is one unit with its neighbours, not a unit of its own.
	MinDuration time.Duration
	// MaxDuration ends the round even when endpoints lack pairs. Default 30 s.
	MaxDuration time.Duration
	// Gap is a pause before every request. Default none.
	Gap time.Duration
	// Eligible picks the recorded exchanges that take part; nil takes all. An
	// exchange whose answer a picked one needs should be picked too.
	Eligible func(*traffic.Exchange) bool
}

// Validate names the first field that cannot be used.
func (o RoundOptions) Validate() error {
	switch {
	case o.PairsPerEndpoint < 0:
		return fmt.Errorf("pairs per endpoint %d: must be positive", o.PairsPerEndpoint)
	case o.MinDuration < 0 || o.MaxDuration < 0 || o.Gap < 0:
		return fmt.Errorf("round of %v to %v with gaps of %v: times must be positive", o.MinDuration, o.MaxDuration, o.Gap)
	case o.MaxDuration > 0 && o.MaxDuration < o.MinDuration:
		return fmt.Errorf("round of %v to %v: the most is less than the least", o.MinDuration, o.MaxDuration)
	}
	return nil
}

func (o RoundOptions) withDefaults() RoundOptions {
	if o.PairsPerEndpoint == 0 {
		o.PairsPerEndpoint = 100
	}
	if o.MinDuration == 0 {
		o.MinDuration = 700 * time.Millisecond
	}
	if o.MaxDuration == 0 {
		o.MaxDuration = max(30*time.Second, o.MinDuration)
	}
	return o
}

// Round is one block of paired, interleaved requests: the unit of measurement.
type Round struct {
	Pass  uint32
	Pairs []Pair
	// SendLag holds, for every request, how long after its planned moment it
	// was sent.
	SendLag []time.Duration
	// Dropped counts the pairs that were sent but not kept, by reason:
	// "<arm>: <failure>", "<arm>: retried" or "status differs". A pair may
	// have one reason on each arm.
	Dropped map[string]int
	// Repetitions is how often the recording was begun.
	Repetitions int
	// Short lists endpoints that got fewer pairs than were asked for before
	// the time ran out.
	Short []string
}

// Pair is one recorded request, sent to both arms one right after the other.
type Pair struct {
	Recorded string // id of the recorded exchange
	Endpoint string
	// A and B are service times: from sending to the last byte of the answer.
	A, B  time.Duration
	First string // the arm that was sent to first
}

// Round sends each eligible request to a and b, adjacent in time and in an
// order thrown anew for each pair from seed, and repeats the recording until
// each endpoint has its pairs. A repetition holds of each endpoint only as many
// requests as it still lacks, drawn anew from seed, and what these need: so one
// rare endpoint does not multiply all others, and over several rounds every
// request has its turn. Both arms see the recorded order. Pairs in which either side failed or retried, or the statuses
// differ, are dropped and counted. Connections are kept and opened outside the measured time, answers
// are read and counted but not kept, and the garbage collector runs before the
// round and, unless memory gets short, not within.
//
// Each repetition of a round after the first is a pass of its own for a mock
// that also has a method Forget(uint32), so that the mock's answers start
// over; these passes are forgotten by the time Round returns. Their numbers
// are pass + n<<16.
//
// When ctx ends first, the error is its cause and the round so far comes back.
func (e *Engine) Round(ctx context.Context, a, b Target, rwA, rwB Rewriter, pass uint32, seed int64, opts RoundOptions) (Round, error) {
	if err := opts.Validate(); err != nil {
		return Round{}, err
	}
	for _, t := range []Target{a, b} {
		if err := t.validate(); err != nil {
			return Round{}, err
		}
	}
	run := &roundRun{
		engine: e, opts: opts.withDefaults(), a: newSide(e, a, rwA), b: newSide(e, b, rwB),
		coin:  rand.New(rand.NewPCG(uint64(seed), uint64(pass))),
		round: Round{Pass: pass, Dropped: make(map[string]int)},
	}
	run.plan()
	defer run.waiter.Close()
	defer run.a.close()
	defer run.b.close()
	defer holdGC()()
	err := run.repeat(ctx)
	for endpoint, n := range run.missing {
		if n > 0 {
			run.round.Short = append(run.round.Short, endpoint)
		}
	}
	return run.round, err
}

// holdGC collects garbage now and then holds the collector back until the
// returned function is called, or the heap has grown by gcSlack.
func holdGC() (release func()) {
	const gcSlack = 256 << 20
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	limit := debug.SetMemoryLimit(-1)
	percent := debug.SetGCPercent(-1)
	debug.SetMemoryLimit(min(limit, int64(m.Sys-m.HeapReleased)+gcSlack))
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// roundRun is the state of one round.
type roundRun struct {
	engine   *Engine
	opts     RoundOptions
	a, b     *side
	coin     *rand.Rand
	waiter   timing.Waiter
	eligible []planned
	wanted   []bool         // of eligible, in this repetition
	missing  map[string]int // endpoint -> pairs it still lacks
	lacking  int            // endpoints that lack pairs
	round    Round
}

// planned is an eligible exchange with what is known before sending.
type planned struct {
	recorded *traffic.Exchange
	endpoint string
	lane     traffic.Lane
	needs    []int // places in eligible of what must be sent before it
}

func (r *roundRun) plan() {
	r.missing = make(map[string]int)
	places := make(map[string]int)
	writes := make(map[int]int) // session -> the last exchange that changed something
	for at, x := range r.engine.inbound {
		if r.opts.Eligible != nil && !r.opts.Eligible(x) || overWebSocket(x) {
			continue // a conversation has no service time
		}
		endpoint := r.engine.opts.Router.Endpoint(&x.Request)
		var needs []int
		for _, s := range [...]*side{r.a, r.b} {
			for _, id := range s.rewriter.Needs(x.ID) {
				if i, ok := places[id]; ok {
					needs = append(needs, i)
				}
			}
		}
		// What the session changed before is there when its next request comes.
		session := r.engine.sessions[at]
		if i, ok := writes[session]; ok {
			needs = append(needs, i)
		}
		if changes(x) {
			writes[session] = len(r.eligible)
		}
		places[x.ID] = len(r.eligible)
		r.eligible = append(r.eligible, planned{x, endpoint, laneOf(x), needs})
		r.missing[endpoint] = r.opts.PairsPerEndpoint
		r.a.keep(x.ID)
		r.b.keep(x.ID)
	}
	r.lacking = len(r.missing)
	r.wanted = make([]bool, len(r.eligible))
	pairs := max(len(r.missing)*r.opts.PairsPerEndpoint, len(r.eligible)) * 2
	r.round.Pairs = make([]Pair, 0, pairs)
	r.round.SendLag = make([]time.Duration, 0, 2*pairs)
}

// changes reports whether a recorded request is likely to have changed what
// later ones are answered.
func changes(x *traffic.Exchange) bool {
	switch x.Request.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return false
	}
	return x.Response == nil || x.Response.Status < 400
}

func (r *roundRun) repeat(ctx context.Context) error {
	if len(r.eligible) == 0 {
		return nil
	}
	start := time.Now()
	for n := uint32(0); ; n++ {
		pass := r.round.Pass + n<<16
		r.a.begin(pass, n)
		r.b.begin(pass, n)
		r.round.Repetitions++
		r.choose()
		for i := range r.eligible {
			if !r.wanted[i] {
				continue
			}
			if ctx.Err() != nil {
				return fmt.Errorf("round %d of %s and %s: %w", r.round.Pass, r.a.target.Arm, r.b.target.Arm, context.Cause(ctx))
			}
			r.pair(ctx, &r.eligible[i])
			elapsed := time.Since(start)
			if elapsed >= r.opts.MaxDuration || r.lacking == 0 && elapsed >= r.opts.MinDuration {
				return nil
			}
		}
	}
}

// choose draws what the next repetition sends: of each endpoint as much as it
// lacks, and what that needs; everything when only time is left to fill.
func (r *roundRun) choose() {
	left := maps.Clone(r.missing)
	for _, i := range r.coin.Perm(len(r.eligible)) {
		endpoint := r.eligible[i].endpoint
		r.wanted[i] = r.lacking == 0 || left[endpoint] > 0
		left[endpoint]--
	}
	for i, p := range slices.Backward(r.eligible) { // what is needed comes before
		if r.wanted[i] {
			for _, need := range p.needs {
				r.wanted[need] = true
			}
		}
	}
}

// pair sends one exchange to both arms. Everything that can be done before the
// first request is sent is done before it, for both.
func (r *roundRun) pair(ctx context.Context, p *planned) {
	r.a.prepare(ctx, r.engine, p)
	r.b.prepare(ctx, r.engine, p)
	first, second := r.a, r.b
	if r.coin.Uint64()&1 == 1 {
		first, second = second, first
	}
	for _, s := range [...]*side{first, second} {
		if lag, sent := s.send(ctx, r, p); sent {
			r.round.SendLag = append(r.round.SendLag, lag)
		}
	}
	if ctx.Err() != nil {
		return // cut short by the end of the run, not by an arm
	}
	dropped := r.drop(r.a) // both are asked, both are counted
	dropped = r.drop(r.b) || dropped
	if !dropped && r.a.out.answer.status != r.b.out.answer.status {
		r.round.Dropped["status differs"]++
		dropped = true
	}
	if dropped {
		return
	}
	r.round.Pairs = append(r.round.Pairs, Pair{
		Recorded: p.recorded.ID, Endpoint: p.endpoint, First: first.target.Arm,
		A: r.a.out.last.Sub(r.a.out.sent), B: r.b.out.last.Sub(r.b.out.sent),
	})
	if n := r.missing[p.endpoint] - 1; n >= 0 {
		r.missing[p.endpoint] = n
		if n == 0 {
			r.lacking--
		}
	}
}

// drop reports and counts that the last request of a side cannot be used.
func (r *roundRun) drop(s *side) bool {
	switch {
	case s.failure != traffic.FailureNone:
		r.round.Dropped[s.target.Arm+": "+string(s.failure)]++
	case s.retried:
		r.round.Dropped[s.target.Arm+": retried"]++
	default:
		return false
	}
	return true
}
