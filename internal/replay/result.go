package replay

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Sample is what one request of a load came to. Times count from the start of
// the load; First and Last are zero where there was no answer.
type Sample struct {
	Exchange int32 // index in the order of the recording
	Instance int32 // loop * copies + copy
	Planned  time.Duration
	// Due is when nothing but the sender kept the request back any more: the
	// planned moment, or when the answer came that it had to wait for.
	Due     time.Duration
	Sent    time.Duration
	First   time.Duration
	Last    time.Duration
	Size    int64  // bytes of the answer's body
	Status  uint16 // 0 where there was no answer
	Retried bool
	failure uint8
}

// Response returns the time from the planned moment to the last byte of the
// answer: what a caller that does not wait for others would have felt.
func (s Sample) Response() time.Duration { return s.Last - s.Planned }

// Service returns the time from sending to the last byte of the answer.
func (s Sample) Service() time.Duration { return s.Last - s.Sent }

// Lag returns how late the sender was.
func (s Sample) Lag() time.Duration { return s.Sent - s.Due }

// Failure says why there is no answer; empty when there is one.
func (s Sample) Failure() traffic.Failure { return failures[s.failure] }

var failures = [...]traffic.Failure{
	traffic.FailureNone, traffic.FailureRefused, traffic.FailureReset, traffic.FailureTimeout, traffic.FailureProtocol,
	traffic.FailureDNS, traffic.FailureTLS, traffic.FailureCanceled, traffic.FailureLimit,
}

func failureCode(f traffic.Failure) uint8 { return uint8(max(0, slices.Index(failures[:], f))) }

// Result is what a load came to.
type Result struct {
	Plan *Plan
	// Start is the moment from which times count.
	Start time.Time
	// Samples are all requests that were sent, in the order in which they ended;
	// none for a load that was streamed.
	Samples []Sample
	// Elapsed is from the start to the last answer.
	Elapsed time.Duration
	// Unsent counts planned requests that were never sent, because the load
	// was ended or an answer that they needed never came.
	Unsent int64
	// Skipped counts planned requests that were left out because too many others
	// waited, or that waited too long themselves: see Load.MaxWaiting.
	Skipped int64
	// Connections counts those that were opened.
	Connections int
	// Errors holds the first error of each kind of failure.
	Errors map[traffic.Failure]string

	engine *Engine
	arm    string
	tally  *tally // of a streamed load, in the place of samples
	// The samples before those in Samples, while the load is under way: growing
	// one list of all would hold up the sender for longer each time.
	full [][]Sample
}

// samplesAtOnce is how many samples there is room for at a time when it is not
// known how many there will be.
const samplesAtOnce = 1 << 13

func (r *Result) add(s Sample, endpoint int32) {
	if r.tally != nil {
		r.tally.add(s, endpoint)
		return
	}
	if len(r.Samples) == cap(r.Samples) {
		r.full = append(r.full, r.Samples)
		r.Samples = make([]Sample, 0, samplesAtOnce)
	}
	r.Samples = append(r.Samples, s)
}

// gather puts all samples into Samples, once there will be no more.
func (r *Result) gather() {
	if len(r.full) > 0 {
		r.Samples = slices.Concat(append(r.full, r.Samples)...)
		r.full = nil
	}
}

func (r *Result) explain(f traffic.Failure, why string) {
	why = strings.ReplaceAll(why, "\n", ": ") // of joined errors
	if _, ok := r.Errors[f]; !ok {
		if r.Errors == nil {
			r.Errors = make(map[traffic.Failure]string)
		}
		r.Errors[f] = why
	}
}

// Endpoint returns the endpoint of a sample.
func (r *Result) Endpoint(s Sample) string {
	return r.engine.opts.Router.Endpoint(&r.engine.inbound[s.Exchange].Request)
}

// Recorded returns the id of the recorded exchange of a sample.
func (r *Result) Recorded(s Sample) string { return r.engine.inbound[s.Exchange].ID }

// Summary is a load in figures.
type Summary struct {
	Requests int64
	// Rate is requests sent per second, from the first to the last.
	Rate float64
	// Status counts answers by status, Failures requests without one.
	Status   map[int]int64
	Failures map[traffic.Failure]int64
	Retried  int64
	// Response, Service and Lag hold the times of answered requests (Lag: of
	// all sent ones).
	Response, Service, Lag Distribution
	// Skipped are the requests of the whole load that were left out.
	Skipped int64
	// Late is true when the sender was so late that the figures say more of it
	// than of the service: the p99 of Lag exceeds a tenth of the median response
	// time.
	Late bool
	// Reliable is false when the load was not sent as planned, so that its times
	// are no result: the sender was Late, left requests out, or had no file or
	// port for some.
	Reliable bool
}

// Short is how many requests could not be sent because this side had no file or
// local port left for a connection. They say nothing of the service.
func (s Summary) Short() int64 { return s.Failures[traffic.FailureLimit] }

// Distribution is a set of durations.
type Distribution interface {
	// Quantile returns the nearest-rank quantile, zero for an empty set.
	Quantile(q float64) time.Duration
	// Mean returns the mean, zero for an empty set.
	Mean() time.Duration
}

// Times is a sorted set of durations.
type Times []time.Duration

// Quantile returns the nearest-rank quantile, zero for an empty set.
func (t Times) Quantile(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	return t[min(max(int(math.Ceil(q*float64(len(t))))-1, 0), len(t)-1)]
}

// Mean returns the mean, zero for an empty set.
func (t Times) Mean() time.Duration {
	if len(t) == 0 {
		return 0
	}
	var sum float64
	for _, d := range t {
		sum += float64(d)
	}
	return time.Duration(sum / float64(len(t)))
}

// Summary counts the samples for which pick reports true; nil picks all. Of a
// streamed load there are none to pick from: see [Result.Overview].
func (r *Result) Summary(pick func(Sample) bool) Summary {
	s := Summary{Status: make(map[int]int64), Failures: make(map[traffic.Failure]int64)}
	var first, last time.Duration
	var response, service, lag Times
	for _, x := range r.Samples {
		if pick != nil && !pick(x) {
			continue
		}
		if s.Requests == 0 {
			first = x.Sent
		}
		first, last = min(first, x.Sent), max(last, x.Sent)
		s.Requests++
		if x.Retried {
			s.Retried++
		}
		lag = append(lag, x.Lag())
		if f := x.Failure(); f != traffic.FailureNone {
			s.Failures[f]++
			continue
		}
		s.Status[int(x.Status)]++
		response = append(response, x.Response())
		service = append(service, x.Service())
	}
	for _, t := range []Times{response, service, lag} {
		slices.Sort(t)
	}
	s.Response, s.Service, s.Lag = response, service, lag
	s.finish(r.Plan, r.Skipped, last-first)
	return s
}

// finish works out what follows from the counts and times; span is from the
// first to the last moment of sending.
func (s *Summary) finish(p *Plan, skipped int64, span time.Duration) {
	if span > 0 {
		s.Rate = float64(s.Requests-1) / span.Seconds()
	}
	s.Skipped = skipped
	s.Late = !p.load.Max && s.Lag.Quantile(0.99) > s.Response.Quantile(0.5)/10
	s.Reliable = !s.Late && s.Skipped == 0 && s.Short() == 0
}

// EndpointSummary is what came back from one endpoint.
type EndpointSummary struct {
	Endpoint string
	Summary
}

// overall is the summary of all requests, streamed or not.
func (r *Result) overall() Summary {
	if r.tally != nil {
		return r.tally.all.summary(r.Plan, r.Skipped)
	}
	return r.Summary(nil)
}

// Overview returns the summary of all requests, and those of the endpoints,
// sorted by name. Unlike Summary it serves streamed loads too.
func (r *Result) Overview() (all Summary, endpoints []EndpointSummary) {
	if r.tally != nil {
		return r.tally.overview(r.Plan, r.Skipped)
	}
	names := make([]string, len(r.engine.inbound)) // by exchange, so that each is named once
	seen := make(map[string]bool)
	for _, s := range r.Samples {
		if names[s.Exchange] == "" {
			names[s.Exchange] = r.Endpoint(s)
			seen[names[s.Exchange]] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		endpoints = append(endpoints, EndpointSummary{name, r.Summary(func(s Sample) bool { return names[s.Exchange] == name })})
	}
	return r.Summary(nil), endpoints
}
