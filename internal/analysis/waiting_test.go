package analysis_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// plan is how the service calls a dependency on one arm: so often, at once or in
// sequence; slow stretches all times of the pass.
type plan struct {
	calls    int
	together bool
	slow     float64
}

// waitingFor makes what a run sees of twelve exchanges of one endpoint, which was
// recorded with three calls of 10 ms in sequence beside 10 ms of its own. The mock
// answers in a tenth of a millisecond.
func waitingFor(base, control, head plan) analysis.Input {
	start := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	var in analysis.Input
	call := func(id, lane string, i int, at time.Time, long time.Duration) *traffic.Exchange {
		return &traffic.Exchange{
			ID: id, Direction: traffic.Outbound, Lane: traffic.Lane(lane), Start: at, FirstByte: long * 9 / 10, Duration: long,
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "stock", Target: fmt.Sprint("/v1/stock/", i)},
			Response: &traffic.Response{Status: 200}, Origin: traffic.Origin{Certainty: traffic.ByTrace}, Match: &traffic.Match{Tier: traffic.TierExact},
		}
	}
	for lane := range 12 {
		id := fmt.Sprint("in-", lane)
		begin := start.Add(time.Duration(lane) * time.Second)
		inbound := func(name, recorded string, long time.Duration) *traffic.Exchange {
			return &traffic.Exchange{
				ID: name, Recorded: recorded, Direction: traffic.Inbound, Lane: traffic.Lane(id), Start: begin, Duration: long,
				Request: traffic.Request{Method: "GET", Scheme: "http", Authority: "shop", Target: "/v1/orders"}, Response: &traffic.Response{Status: 200},
			}
		}
		in.Recorded = append(in.Recorded, inbound(id, "", 40*time.Millisecond))
		for i := range 3 {
			in.Recorded = append(in.Recorded, call(fmt.Sprint("out-", lane, "-", i), id, i, begin.Add(time.Duration(i)*11*time.Millisecond), 10*time.Millisecond))
		}
		for _, arm := range []struct {
			of   *analysis.Observation
			plan plan
		}{{&in.Base, base}, {&in.Control, control}, {&in.Head, head}} {
			at := begin.Add(2 * time.Millisecond)
			long := time.Duration(float64(100*time.Microsecond) * arm.plan.slow)
			for i := range arm.plan.calls {
				x := call(fmt.Sprint("live-", len(arm.of.Outbound)), id, i, at, long)
				x.Recorded = fmt.Sprint("out-", lane, "-", i%3)
				arm.of.Outbound = append(arm.of.Outbound, x)
				if !arm.plan.together {
					at = at.Add(long * 19 / 20) // the client is a little faster than the end of the answer
				}
			}
			arm.of.Complete = true
			arm.of.Inbound = append(arm.of.Inbound, inbound("live-"+id, id, time.Millisecond))
		}
	}
	return in
}

func TestWaiting(t *testing.T) {
	atOnce, inTurn := plan{3, true, 1}, plan{3, false, 1}
	for _, tt := range []struct {
		reason              string
		base, control, head plan
		want                []string
		changed             analysis.Change
	}{
		{"the same", atOnce, atOnce, atOnce, nil, ""},
		{"the same in sequence", inTurn, inTurn, inTurn, nil, ""},
		{"calls that were made at once are made in sequence", atOnce, atOnce, inTurn,
			[]string{"latency waits-longer GET /v1/orders latency.waiting 12/12"}, analysis.ChangeWaitsLonger},
		{"calls that were made in sequence are made at once: shown, and no finding", inTurn, inTurn, atOnce, nil, ""},
		{"a machine that is slow while head is replayed", atOnce, atOnce, plan{3, true, 5}, nil, ""},
		{"base that is itself in either way", atOnce, inTurn, inTurn, nil, ""},
		{"more calls are a finding, from which the waiting follows", plan{1, false, 1}, plan{1, false, 1}, plan{6, false, 1},
			[]string{"outbound repeated-call GET /v1/orders [GET stock/v1/stock/{id}] 12/12"}, analysis.ChangeWaitsLonger},
		{"as are fewer", plan{6, false, 1}, plan{6, false, 1}, plan{1, false, 1},
			[]string{"outbound missing-call GET /v1/orders [GET stock/v1/stock/{id}] 12/12"}, analysis.ChangeWaitsShorter},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got := analysis.Run(waitingFor(tt.base, tt.control, tt.head), analysis.Options{})
			if diff := cmp.Diff(tt.want, summary(got.Findings)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if len(got.Waiting) != 1 || got.Waiting[0].Changed != tt.changed || got.Waiting[0].Exchanges != 12 {
				t.Errorf("waiting %+v, want %q", got.Waiting, tt.changed)
			}
			for _, f := range got.Findings {
				if f.Kind == analysis.KindLatency && f.Gates {
					t.Error("waiting fails the check by default")
				}
			}
		})
	}
	more := analysis.Run(waitingFor(plan{1, false, 1}, plan{1, false, 1}, plan{6, false, 1}), analysis.Options{})
	if c := more.Findings[0].Consequences; len(c) == 0 || c[len(c)-1].Address != "latency.waiting" || c[len(c)-1].Change != analysis.ChangeWaitsLonger {
		t.Errorf("the consequences of more calls are %+v", c)
	}
}

// The times are those of the recording, whatever those of the mock are.
func TestWaitingIsInTheTimesOfTheRecording(t *testing.T) {
	got := analysis.Run(waitingFor(plan{3, true, 1}, plan{3, true, 7}, plan{3, false, 3}), analysis.Options{}).Waiting[0]
	for _, tt := range []struct {
		reason    string
		got, want float64
	}{
		{"three calls of 10 ms at once", got.Base.MS, 10}, {"as a share of them and 10 ms", got.Base.Share, 0.5},
		{"a slow pass changes nothing", got.Control.Share, 0.5},
		{"in sequence they are waited for one by one", got.Head.MS, 30}, {"most of the time", got.Head.Share, 0.75},
		{"calls", got.Head.Calls, 3}, {"always at once", got.Base.Together, 1}, {"never", got.Head.Together, 0},
	} {
		if math.Abs(tt.got-tt.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", tt.reason, tt.got, tt.want)
		}
	}
}

// An arm that was not measured, or did not answer, has no share.
func TestWaitingNeedsTimes(t *testing.T) {
	in := waitingFor(plan{3, true, 1}, plan{3, true, 1}, plan{3, false, 1})
	for _, x := range in.Recorded {
		x.Duration = 0
	}
	if got := analysis.Run(in, analysis.Options{}).Waiting; len(got) != 0 {
		t.Errorf("waiting of a recording without times: %+v", got)
	}
	in = waitingFor(plan{3, true, 1}, plan{3, true, 1}, plan{3, false, 1})
	in.Control = analysis.Observation{}
	if got := analysis.Run(in, analysis.Options{}).Waiting; len(got) != 1 || got[0].Changed != "" || got[0].Control != nil {
		t.Errorf("without a control pass nothing is judged: %+v", got)
	}
}
