package analysis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestParseThreshold(t *testing.T) {
	for _, tt := range []struct {
		text string
		want string // part of the error; "" for none
	}{
		{"p90 < 150ms", ""},
		{"p99<=1.5s", ""},
		{"slower < 10%", ""},
		{"GET /v1/orders/{id}: slower < 10 %", ""},
		{"findings.response == 0", ""},
		{"GET /v1/orders: errors == 0", ""},
		{"stale < 20%", ""},
		{"open.p90 < 150ms", ""},
		{"open.slower<=5%", ""},
		{"capacity.head >= 200", ""},
		{"capacity.head >= 200/s", ""},
		{"capacity.head >= 0.9 capacity.base", ""},
		{"startup < 10s", ""},
		{"startup <= 800 ms", ""},
		{"startup < 50%", ""},
		{"startup < 10", "startup takes growth over base in %, or a time in us, ms or s; the unit must stand at character 13"},
		{"cpu < 10s", "cpu takes a share; % must stand at character 9"},
		{"capacity.head >= 0.9 open.p90", "a multiple of the other, 0.9 capacity.base; it must stand at character 22"},
		{"p90 < 2 open.p90", "p90 takes a time in us, ms or s; the unit must stand at character 9"},
		{"capacity.head >= capacity.base", "a number must stand at character 18"},
		{"GET /a: open.p90 < 1ms", "open.p90 is a metric of the whole run"},
		{"", `unknown metric ""; use p50`},
		{"p95 < 1ms", `unknown metric "p95"; use p50, p90, p99, slower`},
		{"p90 150ms", "one of <= >= == != < > must stand at character 5"},
		{"p90 < ms", "a number must stand at character 7"},
		{"p90 < 150", "the unit must stand at character 10"},
		{"p90 < 150%", "takes a time in us, ms or s; the unit must stand at character 10"},
		{"slower < 10", "% must stand at character 12"},
		{"findings < 1ms", "nothing may follow at character 13"},
		{"orders: p90 < 1ms", "an endpoint such as GET /v1/orders must stand before the colon at character 1"},
		{"GET /v1/orders: stale < 1%", "not of an endpoint, at character 17"},
		{"p90 < 1.2.3ms", "a number must stand at character 7"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got, err := analysis.ParseThreshold(tt.text)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want == "" && got.String() != tt.text:
				t.Errorf("written back as %q", got)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzParseThreshold(f *testing.F) {
	for _, s := range []string{"p90 < 150ms", "GET /a: slower<10%", ": ", "p90", "\xff", "findings..x == 1", "capacity.head >= 0.9 capacity.base", "open.p90<0 open.p50", "startup < 10s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := analysis.ParseThreshold(s)
		if err != nil {
			return
		}
		if again, err := analysis.ParseThreshold(got.String()); err != nil || again != got {
			t.Fatalf("%q is read as %v and then as %v (%v)", s, got, again, err)
		}
	})
}

func thresholds(t *testing.T, list ...string) []analysis.Threshold {
	t.Helper()
	var out []analysis.Threshold
	for _, s := range list {
		parsed, err := analysis.ParseThreshold(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, parsed)
	}
	return out
}

func TestThresholds(t *testing.T) {
	w := miniature.Record()
	in := input(w, miniature.Faults{Fails: func(sku string) bool { return sku == "SKU-004" }})
	in.Rounds = measured(1, 12, 4, 60, 1.25, false)
	in.Resources = []analysis.Resource{{Arm: "base", CPUSeconds: 1, PeakBytes: 100, StartupMS: 1000}, {Arm: "head", CPUSeconds: 1.3, PeakBytes: 100, Restarts: 1, StartupMS: 1800}}
	for _, tt := range []struct {
		text    string
		holds   bool
		where   string
		value   string
		unknown bool
	}{
		{"p50 < 10s", true, "", "", false},
		{"p50 < 1ms", false, "GET /v1/e03", "", false}, // the slowest of four
		{"slower < 10%", false, "GET /v1/e00", "", false},
		{"GET /v1/e01: slower < 10%", true, "GET /v1/e01", "0 %", false},
		{"GET /v1/none: p90 < 1ms", true, "GET /v1/none", "", true},
		{"findings.response == 0", false, "", "1", false},
		{"findings.outbound == 0", true, "", "0", false},
		{"POST /v1/orders: findings <= 1", true, "POST /v1/orders", "1", false},
		{"errors == 0", false, "", "1", false},
		{"GET /v1/products: errors == 0", true, "GET /v1/products", "0", false},
		{"misses == 0", true, "", "0", false},
		{"stale <= 0%", true, "", "0 %", false},
		{"cpu < 20%", false, "", "30 %", false},
		{"cpu <= 30%", true, "", "30 %", false},
		{"memory <= 0%", true, "", "0 %", false},
		{"restarts == 0", false, "", "1", false},
		{"image < 5%", true, "", "", true},
		{"startup < 1.5s", false, "", "1800 ms", false},
		{"startup < 2s", true, "", "1800 ms", false},
		{"startup < 50%", false, "", "80 %", false},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got := analysis.Run(in, analysis.Options{FailOn: []string{"never"}, Thresholds: thresholds(t, tt.text)})
			r := got.Thresholds[0]
			if r.Holds != tt.holds || tt.where != "" && r.Endpoint != tt.where || tt.value != "" && r.Value != tt.value || (r.Unknown != "") != tt.unknown {
				t.Errorf("got %+v", r)
			}
			if want := map[bool]analysis.Verdict{true: analysis.Pass, false: analysis.Fail}[tt.holds]; got.Verdict != want {
				t.Errorf("verdict %s (%s), want %s", got.Verdict, got.Reason, want)
			}
			if !tt.holds && !strings.Contains(got.Reason, tt.text) {
				t.Errorf("the reason %q does not quote the threshold", got.Reason)
			}
		})
	}
}

// TestThresholdsUnderLoad lets what is measured under load gate, and only what
// can be told.
func TestThresholdsUnderLoad(t *testing.T) {
	w := miniature.Record()
	open := func(shift float64, lag time.Duration) analysis.Input {
		in := input(w, miniature.Faults{})
		in.OpenRounds, in.OpenRate = measured(3, 12, 4, 60, shift, true), 200
		for i := range in.OpenRounds {
			in.OpenRounds[i].SendLag = []time.Duration{lag, lag}
		}
		return in
	}
	found := func(base, control, head float64, late bool) analysis.Input {
		in := input(w, miniature.Faults{})
		in.Capacity = &analysis.CapacityFound{LimitMS: 50, Base: base, Control: control, Head: head, Bounded: true, Late: late}
		return in
	}
	for name, tt := range map[string]struct {
		in      analysis.Input
		text    string
		holds   bool
		value   string
		unknown string
	}{
		"slower":                       {open(1.5, 0), "open.slower < 10%", false, "", ""},
		"slower by less":               {open(1.5, 0), "open.slower < 80%", true, "", ""},
		"as fast":                      {open(1, 0), "open.slower < 1%", true, "0 %", ""},
		"p90 above":                    {open(1.5, 0), "open.p90 < 1us", false, "", ""},
		"p50 below":                    {open(1.5, 0), "open.p50 < 10s", true, "", ""},
		"the sender was late":          {open(1.5, time.Millisecond), "open.p90 < 1us", true, "", "the sender was late"},
		"no open load":                 {found(1000, 1000, 1000, false), "open.p90 < 1us", true, "", "set latency.open-rate"},
		"head holds half":              {found(1000, 1000, 500, false), "capacity.head >= 0.9 capacity.base", false, "500/s", ""},
		"head holds nearly as much":    {found(1000, 1000, 920, false), "capacity.head >= 0.9 capacity.base", true, "920/s", ""},
		"head holds just as much":      {found(1000, 1000, 900, false), "capacity.head >= 0.9 capacity.base", true, "900/s", ""},
		"a number":                     {found(1000, 1000, 500, false), "capacity.head >= 600/s", false, "500/s", ""},
		"base":                         {found(1000, 1000, 500, false), "capacity.base >= 600", true, "1000/s", ""},
		"base differs from itself":     {found(1000, 600, 500, false), "capacity.head >= 0.9 capacity.base", true, "", "two searches on base differ"},
		"the search's sender was late": {found(1000, 1000, 500, true), "capacity.head >= 0.9 capacity.base", true, "", "the sender was late"},
		"no search":                    {open(1, 0), "capacity.head >= 0.9 capacity.base", true, "", "set latency.capacity"},
		"no search for the other side": {open(1, 0), "capacity.head >= 1", true, "", "set latency.capacity"},
	} {
		t.Run(name, func(t *testing.T) {
			got := analysis.Run(tt.in, analysis.Options{FailOn: []string{"never"}, Thresholds: thresholds(t, tt.text)})
			r := got.Thresholds[0]
			if r.Holds != tt.holds || tt.value != "" && r.Value != tt.value || !strings.Contains(r.Unknown, tt.unknown) || tt.unknown == "" && r.Unknown != "" {
				t.Errorf("got %+v", r)
			}
			if want := map[bool]analysis.Verdict{true: analysis.Pass, false: analysis.Fail}[tt.holds]; got.Verdict != want {
				t.Errorf("verdict %s (%s), want %s", got.Verdict, got.Reason, want)
			}
		})
	}
}

func pattern(t *testing.T, s string) traffic.Pattern {
	t.Helper()
	p, err := traffic.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAcceptances(t *testing.T) {
	w := miniature.Record()
	in := input(w, miniature.Faults{Body: func(e string, b map[string]any) {
		if e == "get" {
			delete(b, "currency")
		}
	}, NewHost: true})
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	field := analysis.Accept{Address: pattern(t, "response.body.currency"), Kind: analysis.KindResponse, Endpoint: "GET /v1/orders/{id}", Reason: "prices are in euro", Author: "kim", Date: now}
	call := analysis.Accept{Kind: analysis.KindOutbound, Change: analysis.ChangeNewCall, Endpoint: "POST /v1/orders", Call: "POST fraud.example/*", Reason: "fraud check"}
	for _, tt := range []struct {
		name     string
		accepts  []analysis.Accept
		verdict  analysis.Verdict
		accepted int
		warnings []string
	}{
		{"none", nil, analysis.Fail, 0, nil},
		{"one of two", []analysis.Accept{field}, analysis.Fail, 1, nil},
		{"both", []analysis.Accept{field, call}, analysis.Pass, 2, nil},
		{"another place", []analysis.Accept{{Address: pattern(t, "response.body.total"), Endpoint: "GET /v1/orders/{id}", Reason: "x"}}, analysis.Fail, 0,
			[]string{"The acceptance of GET /v1/orders/{id} response.body.total (x) matches nothing any more; reprise accept --prune removes it."}},
		{"last day", []analysis.Accept{func() analysis.Accept { a := field; a.Expires = now.Truncate(24 * time.Hour); return a }(), call}, analysis.Pass, 2, nil},
		{"expired", []analysis.Accept{func() analysis.Accept { a := field; a.Expires = now.AddDate(0, 0, -2); return a }(), call}, analysis.Fail, 1,
			[]string{"The acceptance of GET /v1/orders/{id} response.body.currency (prices are in euro) expired on 2026-11-21."}},
		{"broad", []analysis.Accept{{Address: pattern(t, "**"), Kind: analysis.KindResponse, Endpoint: "*", Reason: "x", Broad: true}, call}, analysis.Pass, 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := analysis.Run(in, analysis.Options{Accepts: tt.accepts, Now: now})
			n := 0
			for _, f := range got.Findings {
				if f.Accepted != nil {
					n++
					if f.Gates {
						t.Errorf("%s is accepted and gates", f.ID)
					}
				}
			}
			if n != tt.accepted || got.Verdict != tt.verdict {
				t.Errorf("%d accepted, verdict %s (%s)", n, got.Verdict, got.Reason)
			}
			if diff := cmp.Diff(tt.warnings, got.Warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAcceptValidate(t *testing.T) {
	body := pattern(t, "response.body.x")
	for _, tt := range []struct {
		name   string
		accept analysis.Accept
		want   string
	}{
		{"good", analysis.Accept{Address: body, Endpoint: "GET /a", Reason: "r"}, ""},
		{"no reason", analysis.Accept{Address: body, Endpoint: "GET /a"}, "reason is missing"},
		{"no endpoint", analysis.Accept{Address: body, Reason: "r"}, "endpoint is missing"},
		{"all endpoints", analysis.Accept{Address: body, Endpoint: "GET *", Reason: "r"}, "set broad: true"},
		{"all places", analysis.Accept{Address: pattern(t, "**"), Endpoint: "GET /a", Reason: "r"}, "set broad: true"},
		{"all endpoints, meant", analysis.Accept{Address: body, Endpoint: "*", Reason: "r", Broad: true}, ""},
		{"no place", analysis.Accept{Endpoint: "GET /a", Reason: "r"}, "needs kind and change"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := analysis.Options{Accepts: []analysis.Accept{tt.accept}}.Validate()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestIgnoreRules(t *testing.T) {
	w := miniature.Record()
	in := input(w, miniature.Faults{Body: func(e string, b map[string]any) {
		if e == "get" {
			delete(b, "currency")
		}
	}})
	got := analysis.Run(in, analysis.Options{
		Ignore: []analysis.Ignore{
			{Address: pattern(t, "response.body.currency"), Endpoint: "GET /v1/orders/{id}"},
			{Address: pattern(t, "response.body.nothing")},
		},
		Compare: compare.Options{Unordered: []traffic.Pattern{pattern(t, "response.body.no.list")}},
	})
	if len(got.Findings) > 0 {
		t.Errorf("the place is ignored, yet %v", summary(got.Findings))
	}
	if got.Verdict != analysis.Error || got.Reason != got.Mistakes[0] {
		t.Errorf("verdict %s: %s; a rule for no place is a mistake", got.Verdict, got.Reason)
	}
	want := []string{
		"The ignore rule for response.body.nothing matches nothing; correct its address or remove it.",
		"The unordered rule for response.body.no.list matches nothing; correct its address or remove it.",
	}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	other := analysis.Run(in, analysis.Options{Ignore: []analysis.Ignore{{Address: pattern(t, "response.body.currency"), Endpoint: "GET /v1/products"}}})
	if len(other.Findings) != 1 {
		t.Errorf("the rule is for another endpoint: %v", summary(other.Findings))
	}
	quiet := analysis.Run(in, analysis.Options{Ignore: []analysis.Ignore{{Address: pattern(t, "response.body.total")}}})
	if len(quiet.Mistakes)+len(quiet.Warnings) > 0 {
		t.Errorf("the place of the rule exists, and nothing differs there: %q %q", quiet.Mistakes, quiet.Warnings)
	}
	in.Partial = true
	part := analysis.Run(in, analysis.Options{Ignore: []analysis.Ignore{{Address: pattern(t, "response.body.nothing")}}})
	if len(part.Mistakes) > 0 || len(part.Warnings) != 1 || part.Verdict == analysis.Error {
		t.Errorf("a part of a recording may lack the place: %s, %q %q", part.Verdict, part.Mistakes, part.Warnings)
	}
}

func TestAssistedGate(t *testing.T) {
	w := miniature.Record()
	in := input(w, miniature.Faults{NPlusOne: 2})
	got := analysis.Run(in, analysis.Options{FailOn: []string{"assisted"}})
	if got.Verdict != analysis.Fail || !strings.Contains(got.Reason, "24 calls of head were answered by a guess") {
		t.Errorf("verdict %s: %s", got.Verdict, got.Reason)
	}
}
