package replay

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// maxEndpoints is for how many endpoints a streamed load keeps times; those
// after them are counted together.
const maxEndpoints = 500

// otherEndpoints names those together.
const otherEndpoints = "(other endpoints)"

// tally is a load in figures, worked out as its samples come, in memory that
// does not grow with their number.
type tally struct {
	all       *figures
	endpoints []*figures // by number; the last stands for those without one
	names     []string
	samples   *SampleWriter
}

// figures are those of all requests, or of one endpoint.
type figures struct {
	Summary
	response, service, lag *Histogram
	first, last            time.Duration // moments of sending
}

func newTally(samples *SampleWriter) *tally {
	return &tally{all: newFigures(3), endpoints: make([]*figures, maxEndpoints+1), samples: samples}
}

// newFigures keeps times to so many digits. With three each histogram takes
// 270 kB, with two 38 kB.
func newFigures(digits int) *figures {
	return &figures{
		Summary:  Summary{Status: make(map[int]int64), Failures: make(map[traffic.Failure]int64)},
		response: NewHistogram(digits), service: NewHistogram(digits), lag: NewHistogram(digits),
	}
}

func (t *tally) add(s Sample, endpoint int32) {
	t.all.add(s)
	if t.endpoints[endpoint] == nil {
		t.endpoints[endpoint] = newFigures(2)
	}
	t.endpoints[endpoint].add(s)
	if t.samples != nil {
		t.samples.Add(s)
	}
}

func (t *tally) overview(p *Plan, skipped int64) (all Summary, endpoints []EndpointSummary) {
	for i, f := range t.endpoints {
		if f == nil {
			continue
		}
		name := otherEndpoints
		if i < len(t.names) {
			name = t.names[i]
		}
		endpoints = append(endpoints, EndpointSummary{name, f.summary(p, skipped)})
	}
	slices.SortFunc(endpoints, func(a, b EndpointSummary) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
	return t.all.summary(p, skipped), endpoints
}

func (f *figures) add(s Sample) {
	if f.Requests == 0 {
		f.first = s.Sent
	}
	f.first, f.last = min(f.first, s.Sent), max(f.last, s.Sent)
	f.Requests++
	if s.Retried {
		f.Retried++
	}
	f.lag.Record(s.Lag())
	if failure := s.Failure(); failure != traffic.FailureNone {
		f.Failures[failure]++
		return
	}
	f.Status[int(s.Status)]++
	f.response.Record(s.Response())
	f.service.Record(s.Service())
}

func (f *figures) summary(p *Plan, skipped int64) Summary {
	s := f.Summary
	s.Response, s.Service, s.Lag = f.response, f.service, f.lag
	s.finish(p, skipped, f.last-f.first)
	return s
}

// Histogram is a distribution in buckets (HdrHistogram): quantiles are right to
// a thousandth, or to a hundredth where there are many.
type Histogram struct{ h *hdrhistogram.Histogram }

const longestTime = int64(time.Hour)

// NewHistogram keeps times up to an hour, to so many digits.
func NewHistogram(digits int) *Histogram {
	return &Histogram{hdrhistogram.New(1, longestTime, digits)}
}

// Record adds a time; what is below zero or above an hour counts as these.
func (h *Histogram) Record(d time.Duration) {
	_ = h.h.RecordValue(min(max(int64(d), 0), longestTime)) // fails only outside of these bounds
}

// Quantile implements [Distribution].
func (h *Histogram) Quantile(q float64) time.Duration {
	return time.Duration(h.h.ValueAtQuantile(q * 100))
}

// Mean implements [Distribution].
func (h *Histogram) Mean() time.Duration { return time.Duration(h.h.Mean()) }
