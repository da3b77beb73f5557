package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/stats"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Waiting is how much of the service time of an endpoint goes into waiting for
// dependencies, in the correctness passes.
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
	// Share of the service time in which at least one call was under way, as the
	// mock saw it: the median over the exchanges.
	Share float64 `json:"share"`
	// MS is the median of that time in milliseconds.
	MS float64 `json:"ms"`
	// Calls is how many calls one exchange makes on average, and Together the
	// share of exchanges in which two of them were under way at once.
	Calls    float64 `json:"calls"`
	Together float64 `json:"together"`
}

// A share of waiting must move by leastMove of what it is, and by movesOfNoise times
// what base differs from itself.
const (
	leastMove    = 0.10
	movesOfNoise = 2
)

// spans is the waiting of one exchange on one arm.
type spans struct {
	service, union time.Duration
	calls          int
	together       bool
}

// waitingOf adds up the intervals of the calls of one exchange. Calls that were
// under way when the answer was there count up to their end, at most the service
// time.
func waitingOf(x *traffic.Exchange, calls []*traffic.Exchange) spans {
	s := spans{service: x.Duration, calls: len(calls)}
	calls = slices.SortedFunc(slices.Values(calls), func(a, b *traffic.Exchange) int { return cmp.Compare(a.Start.UnixNano(), b.Start.UnixNano()) })
	var end, first time.Time // of what came before: its end, and its first byte
	for _, c := range calls {
		from, to := c.Start, c.Start.Add(c.Duration)
		// Who calls in sequence has seen the first byte before.
		s.together = s.together || from.Before(first)
		if b := c.Start.Add(c.FirstByte); b.After(first) {
			first = b
		}
		if from.Before(end) {
			from = end
		}
		if to.After(from) {
			s.union += to.Sub(from)
			end = to
		}
	}
	s.union = min(s.union, s.service)
	return s
}

// waiting compares, endpoint by endpoint, how much of the service time base and
// head wait for dependencies. The passes were made one after the other, so times
// alone prove nothing: a change needs another number of calls, in far more exchanges
// than base shows of itself, or calls that were made at once and now never are, and
// a share that moved beyond noise. Against mocks that answer alike, nothing else
// changes how long they are waited for.
// It names the endpoints whose calls were made at once.
func (r *run) waiting() (out []Waiting, sequence map[string]bool) {
	base, control, head := laneCalls(r.in.Base.Outbound), laneCalls(r.in.Control.Outbound), laneCalls(r.in.Head.Outbound)
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
		if !answered(a) || !answered(b) || len(base[lane])+len(head[lane]) == 0 {
			continue
		}
		endpoint := r.endpoints[x.ID]
		s := at[endpoint]
		if s == nil {
			s = &sums{Waiting: Waiting{Endpoint: endpoint}}
			at[endpoint] = s
		}
		one, two := waitingOf(a, base[lane]), waitingOf(b, head[lane])
		s.Exchanges++
		s.base, s.head = append(s.base, one), append(s.head, two)
		if one.calls != two.calls {
			s.changed++
		}
		if answered(c) {
			self := waitingOf(c, control[lane])
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

// answered reports whether an exchange has an answer and a time.
func answered(x *traffic.Exchange) bool { return x != nil && x.Response != nil && x.Duration > 0 }

func waited(list []spans) Waited {
	var w Waited
	shares, times := make([]float64, len(list)), make([]float64, len(list))
	for i, s := range list {
		shares[i], times[i] = float64(s.union)/float64(s.service), float64(s.union)/float64(time.Millisecond)
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

// movedBeyond says which way the share of head moved, if by more than either pass
// of base does.
func movedBeyond(w Waiting) Change {
	low, high := min(w.Base.Share, w.Control.Share), max(w.Base.Share, w.Control.Share)
	least := max(leastMove*high, movesOfNoise*(high-low))
	switch {
	case w.Head.Share > high+least:
		return ChangeWaitsLonger
	case w.Head.Share < low-least:
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
