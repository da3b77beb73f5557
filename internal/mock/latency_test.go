package mock_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/mock"
)

// planner is a clock that stands still, and notes until when it was waited.
type planner struct {
	mu    sync.Mutex
	waits []time.Duration
}

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func (p *planner) now() time.Time { return noon }

func (p *planner) wait(_ context.Context, until time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits = append(p.waits, until.Sub(noon))
	return nil
}

// taken returns the waits since it was asked last.
func (p *planner) taken() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waits
	p.waits = nil
	return w
}

// slowly records four calls to each of two dependencies, of 10, 20, 20 and 40 ms:
// the median of the distribution that fits is 20 ms.
func slowly() *recording {
	var rec recording
	for _, host := range []string{"stock", "search"} {
		for i, d := range []time.Duration{10, 20, 20, 40} {
			x := rec.call("in-1", "GET", "http://"+host+"/"+string(rune('a'+i)), "", response(200, "x"))
			x.FirstByte, x.Duration = d*time.Millisecond/2, d*time.Millisecond
		}
	}
	return &rec
}

func TestLatencyOfDependencies(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		reason  string
		latency mock.Latency
		url     string
		want    []time.Duration
	}{
		{"at once by default", mock.Latency{EveryPass: true}, "http://stock/a", nil},
		{"first byte and last as recorded", mock.Latency{Scale: 1, EveryPass: true}, "http://stock/b", []time.Duration{10 * ms, 20 * ms}},
		{"scaled", mock.Latency{Scale: 0.5, EveryPass: true}, "http://stock/b", []time.Duration{5 * ms, 10 * ms}},
		{"the first passes answer at once", mock.Latency{Scale: 1}, "http://stock/b", nil},
		{"another factor for one dependency", mock.Latency{Scale: 1, EveryPass: true, Of: map[string]mock.DependencyLatency{"stock": {Scale: 3}}}, "http://stock/b", []time.Duration{30 * ms, 60 * ms}},
		{"which is no matter to the other", mock.Latency{Scale: 1, EveryPass: true, Of: map[string]mock.DependencyLatency{"stock": {Scale: 3}}}, "http://search/b", []time.Duration{10 * ms, 20 * ms}},
		{"one dependency at once", mock.Latency{Scale: 1, EveryPass: true, Of: map[string]mock.DependencyLatency{"stock": {}}}, "http://stock/b", nil},
		{"a median in place of the recording", mock.Latency{EveryPass: true, Of: map[string]mock.DependencyLatency{"stock": {Median: 8 * ms}}}, "http://stock/d", []time.Duration{4 * ms, 8 * ms}},
		{"a call that nothing answers", mock.Latency{Scale: 1, EveryPass: true}, "http://stock/never", nil},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			var p planner
			s := start(t, slowly().exchanges, mock.Options{Latency: tt.latency, Now: p.now, Wait: p.wait})
			s.BeginPass(1)
			s.Enter(1, "in-1")
			send(t, s.proxied(), "GET", tt.url, "")
			if diff := cmp.Diff(tt.want, p.taken()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A call that is answered again, or by a rule, takes a time like those recorded
// of its dependency: not always the same, but the same for every arm.
func TestLatencyIsDrawnFromTheDependency(t *testing.T) {
	rules := []mock.Rule{
		{Match: mock.RuleMatch{Host: "stock", Path: "/new"}, Reply: mock.RuleAnswer{Body: "x"}},
		{Match: mock.RuleMatch{Host: "stock", Path: "/fixed"}, Reply: mock.RuleAnswer{Body: "x", Delay: 7 * time.Millisecond}},
		{Match: mock.RuleMatch{Host: "unknown"}, Reply: mock.RuleAnswer{Body: "x"}},
	}
	const calls = 200
	drawn := map[string][][]time.Duration{}
	for _, arm := range []string{"base", "head"} {
		var p planner
		s := start(t, slowly().exchanges, mock.Options{Arm: arm, Rules: rules, Latency: mock.Latency{Scale: 1, EveryPass: true}, Now: p.now, Wait: p.wait})
		s.BeginPass(1)
		s.Enter(1, "in-1")
		client := s.proxied()
		send(t, client, "GET", "http://stock/a", "") // as recorded
		p.taken()
		for _, url := range []string{"http://stock/a", "http://stock/new"} {
			var ends []time.Duration
			for range calls {
				send(t, client, "GET", url, "")
				w := p.taken()
				if len(w) == 0 {
					t.Fatalf("%s was answered at once", url)
				}
				ends = append(ends, w[len(w)-1])
			}
			drawn[url] = append(drawn[url], ends)
		}
		send(t, client, "GET", "http://stock/fixed", "")
		if diff := cmp.Diff([]time.Duration{7 * time.Millisecond}, p.taken()); diff != "" {
			t.Errorf("a rule with a delay of its own: %s", diff)
		}
		send(t, client, "GET", "http://unknown/x", "")
		if w := p.taken(); w != nil {
			t.Errorf("nothing is known of the dependency, yet it was waited: %v", w)
		}
	}
	for url, arms := range drawn {
		if diff := cmp.Diff(arms[0], arms[1]); diff != "" {
			t.Errorf("%s: the arms wait differently: %s", url, diff)
		}
		sorted := slices.Sorted(slices.Values(arms[0]))
		// The recorded logarithms have a standard deviation of 0.49, so the
		// median of 200 lies within 10 % in nearly all draws; this one is fixed.
		if median := sorted[calls/2]; median < 17*time.Millisecond || median > 23*time.Millisecond {
			t.Errorf("%s: the median is %v, recorded were 20 ms", url, median)
		}
		if low, high := sorted[calls/10], sorted[calls*9/10]; low > 14*time.Millisecond || high < 28*time.Millisecond {
			t.Errorf("%s: from %v to %v, which is no spread like the recorded one", url, low, high)
		}
	}
}

// A delay by chaos waits on the same clock.
func TestFaultDelaysUseTheClock(t *testing.T) {
	var p planner
	s := start(t, slowly().exchanges, mock.Options{Now: p.now, Wait: p.wait})
	s.BeginPass(1)
	s.Enter(1, "in-1")
	err := s.SetFaults(1, &mock.Faults{Faults: []mock.Fault{{Dependency: "stock", Share: 1, Kind: mock.FaultDelay, Delay: 300 * time.Millisecond}}})
	if err != nil {
		t.Fatal(err)
	}
	send(t, s.proxied(), "GET", "http://stock/a", "")
	if diff := cmp.Diff([]time.Duration{300 * time.Millisecond}, p.taken()); diff != "" {
		t.Error(diff)
	}
}
