package analysis

import (
	"fmt"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/stats"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Waiting is how much of the service time of an endpoint goes into waiting for
// dependencies, in the times of the recording: each call takes as long as the
// recorded call that answered it, calls in sequence are waited for one by one, and
// the service itself takes what it took when it was recorded.
type Waiting struct {
	Endpoint  string `json:"endpoint"`
	Exchanges int    `json:"exchanges"` // that all arms answered
	// Base, Control and Head are the arms; Control is nil when it was not
	// replayed.
	Base    Waited  `json:"base"`
	Control *Waited `json:"control,omitempty"`
	Head    Waited  `json:"head"`
	// Changed says that head waits otherwise, beyond noise: [ChangeWaitsLonger]
	// or [ChangeWaitsShorter].
	Changed Change `json:"changed,omitempty"`
}

// Waited is what the exchanges of one arm have in common.
type Waited struct {
	// Share of the service time in which a call is under way: the median over the
	// exchanges.
	Share float64 `json:"share"`
	// MS is the median of that time in milliseconds.
	MS float64 `json:"ms"`
	// Calls is how many calls one exchange makes on average, and Together the
	// share of exchanges in which two of them were under way at once.
	Calls    float64 `json:"calls"`
	Together float64 `json:"together"`
}

// The time of waiting must move by leastMove of what it is, and by movesOfNoise times
// what base differs from itself. (The share of an endpoint that does little else
// hardly moves when it waits twice as long.)
const (
	leastMove    = 0.10
	movesOfNoise = 2
)

// spans is the waiting of one exchange on one arm.
type spans struct {
	service, waiting time.Duration
	calls            int
	together         bool
}

// union is how long at least one of the calls was under way.
func union(calls []*traffic.Exchange) time.Duration {
	var sum time.Duration
	var end time.Time
	for _, c := range byStart(calls) {
		from, to := c.Start, c.Start.Add(c.Duration)
		if from.Before(end) {
			from = end
		}
		if to.After(from) {
			sum, end = sum+to.Sub(from), to
		}
	}
	return sum
}

func byStart(calls []*traffic.Exchange) []*traffic.Exchange {
	return slices.SortedFunc(slices.Values(calls), func(a, b *traffic.Exchange) int { return a.Start.Compare(b.Start) })
}

// waitingOf says how long the calls of one exchange are waited for when each takes
// the time of its record, beside own, the time of the service itself. A call
// follows those whose first byte was there when it was made: only they can have
// been waited for.
func (r *run) waitingOf(calls []*traffic.Exchange, own time.Duration) spans {
	s := spans{calls: len(calls)}
	calls = byStart(calls)
	ends := make([]time.Duration, len(calls))
	for i, c := range calls {
		var from time.Duration
		first := max(0, i-maxBefore)
		for k, before := range calls[first:i] {
			if before.Start.Add(before.FirstByte).After(c.Start) {
				s.together = true
			} else {
				from = max(from, ends[first+k])
			}
		}
		ends[i] = from + r.durationOf(c)
		s.waiting = max(s.waiting, ends[i])
	}
	s.service = own + s.waiting
	return s
}

// maxBefore bounds the work for exchanges with very many calls: those long before
// have ended.
const maxBefore = 256

// durationOf is how long the recorded call took that answered c; a call without
// one takes its own time.
func (r *run) durationOf(c *traffic.Exchange) time.Duration {
	if record := r.recorded[c.Recorded]; record != nil && record.Duration > 0 {
		return record.Duration
	}
	return c.Duration
}

// waiting compares, endpoint by endpoint, how much of the service time base and
// head wait for dependencies. What was measured in passes that were made one after
// the other proves nothing, so only what is called and what is called at once is
// taken from them. A change needs another number of calls, in far more exchanges
// than base shows of itself, or calls that were made at once and now never are, and
// a time that moved beyond noise. Recordings without times have none.
// It names the endpoints whose calls were made at once.
func (r *run) waiting() (out []Waiting, sequence map[string]bool) {
	base, control, head := laneCalls(r.in.Base.Outbound), laneCalls(r.in.Control.Outbound), laneCalls(r.in.Head.Outbound)
	recorded := make(lanes)
	for _, x := range r.in.Recorded {
		if x != nil && x.Direction != traffic.Inbound {
			recorded[x.Lane] = append(recorded[x.Lane], x)
		}
	}
	type sums struct {
		Waiting
		base, control, head []spans
		// exchanges with another number of calls, of head and of base's second pass.
		changed, noisy int
	}
	at := make(map[string]*sums)
	for _, x := range r.inbound {
		a, b, c := r.base[x.ID], r.head[x.ID], r.control[x.ID]
		lane := traffic.Lane(x.ID)
		if x.Duration <= 0 || !answered(a) || !answered(b) || len(base[lane])+len(head[lane]) == 0 {
			continue
		}
		endpoint := r.endpoints[x.ID]
		s := at[endpoint]
		if s == nil {
			s = &sums{Waiting: Waiting{Endpoint: endpoint}}
			at[endpoint] = s
		}
		own := max(0, x.Duration-union(recorded[lane]))
		one, two := r.waitingOf(base[lane], own), r.waitingOf(head[lane], own)
		s.Exchanges++
		s.base, s.head = append(s.base, one), append(s.head, two)
		if one.calls != two.calls {
			s.changed++
		}
		if answered(c) {
			self := r.waitingOf(control[lane], own)
			s.control = append(s.control, self)
			if one.calls != self.calls {
				s.noisy++
			}
		}
	}
	sequence = make(map[string]bool)
	for _, s := range at {
		w := s.Waiting
		w.Base, w.Head = waited(s.base), waited(s.head)
		if len(s.control) > 0 {
			c := waited(s.control)
			w.Control = &c
			otherwise := stats.FisherGreater(s.changed, s.Exchanges-s.changed, s.noisy, len(s.control)-s.noisy) <= formLevel
			if sequence[w.Endpoint] = inSequence(w); otherwise || sequence[w.Endpoint] {
				w.Changed = movedBeyond(w)
			}
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b Waiting) int { return compareStrings(a.Endpoint, b.Endpoint) })
	return out, sequence
}

// inSequence reports whether calls that both passes of base make at once are never
// made so by head. It is not asked the other way round: quick calls that are made at
// once may miss each other on a calm machine.
func inSequence(w Waiting) bool {
	const least, mostly = 10, 0.8
	return w.Exchanges >= least && w.Base.Together >= mostly && w.Control.Together >= mostly && w.Head.Together == 0
}

func answered(x *traffic.Exchange) bool { return x != nil && x.Response != nil }

func waited(list []spans) Waited {
	var w Waited
	shares, times := make([]float64, len(list)), make([]float64, len(list))
	for i, s := range list {
		if s.service > 0 {
			shares[i] = float64(s.waiting) / float64(s.service)
		}
		times[i] = float64(s.waiting) / float64(time.Millisecond)
		w.Calls += float64(s.calls)
		if s.together {
			w.Together++
		}
	}
	n := float64(len(list))
	w.Share, w.MS = stats.Median(shares), stats.Median(times)
	w.Calls, w.Together = w.Calls/n, w.Together/n
	return w
}

// movedBeyond says which way the waiting of head moved, if by more than base differs
// from itself.
func movedBeyond(w Waiting) Change {
	low, high := min(w.Base.MS, w.Control.MS), max(w.Base.MS, w.Control.MS)
	least := max(leastMove*high, movesOfNoise*(high-low))
	switch {
	case w.Head.MS > high+least:
		return ChangeWaitsLonger
	case w.Head.MS < low-least:
		return ChangeWaitsShorter
	}
	return ""
}

// waitingFindings reports the endpoints that wait otherwise, as a consequence where
// their calls are a finding already. Another number of calls is one.
func waitingFindings(findings []Finding, waiting []Waiting, sequence map[string]bool) []Finding {
	var out []Finding
	for _, w := range waiting {
		if w.Changed == "" {
			continue
		}
		i := slices.IndexFunc(findings, func(f Finding) bool {
			return f.Cause == CauseHead && (f.Endpoint == w.Endpoint && makesOtherCalls(f.Change) ||
				slices.ContainsFunc(f.Consequences, func(c Consequence) bool { return c.Endpoint == w.Endpoint && makesOtherCalls(c.Change) }))
		})
		if i < 0 && !sequence[w.Endpoint] {
			continue
		}
		if i >= 0 {
			findings[i].Consequences = append(findings[i].Consequences, Consequence{
				Endpoint: w.Endpoint, Address: waitingAddress, Change: w.Changed, Count: w.Exchanges,
			})
			continue
		}
		out = append(out, Finding{
			Kind: KindLatency, Cause: CauseHead, Endpoint: w.Endpoint, Address: waitingAddress, Change: w.Changed,
			Base: percent(w.Base.Share), Head: percent(w.Head.Share), Count: w.Exchanges, Of: w.Exchanges,
			Detail: fmt.Sprintf("%s of the service time are spent waiting for dependencies, %s on base (%s in its second pass); calls were under way at once in %s of the exchanges, %s on base",
				percent(w.Head.Share), percent(w.Base.Share), percent(w.Control.Share), percent(w.Head.Together), percent(w.Base.Together)),
			Gates: w.Changed == ChangeWaitsLonger,
		})
	}
	return out
}

// makesOtherCalls reports whether a change brings other calls with it.
func makesOtherCalls(c Change) bool {
	switch c {
	case ChangeNewCall, ChangeMissingCall, ChangeRepeatedCall, ChangeStatus, ChangeNoResponse, ChangeCrash:
		return true
	}
	return false
}

const waitingAddress = "latency.waiting"

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }
