package analysis_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func summaryDiff(want []string, findings []analysis.Finding) string {
	return cmp.Diff(want, summary(findings))
}

func input(w miniature.World, f miniature.Faults) analysis.Input {
	return analysis.Input{Recorded: w.Recorded, Base: w.Pass("base", 11, miniature.Faults{}), Control: w.Pass("control", 12, miniature.Faults{}), Head: w.Pass("head", 13, f)}
}

// A base that no longer answers as recorded is one finding, whatever the number
// of places, and the pull request is not blamed for it.
func TestStaleSnapshotIsReportedOnce(t *testing.T) {
	w := miniature.Record()
	moved := miniature.Faults{Body: func(e string, b map[string]any) {
		if e == "get" || e == "list" {
			b["version"] = 2
			delete(b, "currency")
		}
	}}
	in := analysis.Input{Recorded: w.Recorded, Base: w.Pass("base", 11, moved), Control: w.Pass("control", 12, moved), Head: w.Pass("head", 13, moved)}
	got := analysis.Run(in, analysis.Options{})
	want := []string{"response extra GET /v1/orders/{id} response.body.version 20/44 cause:snapshot"}
	for i := range got.Findings { // either of two places that differ equally often may stand for all
		if got.Findings[i].Address == "response.body.currency" {
			got.Findings[i].Address, got.Findings[i].Change = "response.body.version", analysis.ChangeExtra
		}
	}
	if diff := summaryDiff(want, got.Findings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Verdict != analysis.Pass || got.Stale < 0.4 || got.Stale > 0.5 {
		t.Errorf("verdict %s, stale %.2f", got.Verdict, got.Stale)
	}
}

// Where the recorder put a pseudonym, base cannot answer as recorded. What is
// not a matter of the value still counts.
func TestRedactedPlacesAreNotStale(t *testing.T) {
	w := miniature.Record()
	real := miniature.Faults{Body: func(e string, b map[string]any) {
		if e == "get" {
			b["currency"] = "what was recorded as a pseudonym"
		}
	}}
	in := analysis.Input{Recorded: w.Recorded, Base: w.Pass("base", 11, real), Control: w.Pass("control", 12, real), Head: w.Pass("head", 13, real)}
	place, err := traffic.ParsePattern("response.body.currency")
	if err != nil {
		t.Fatal(err)
	}
	in.Redacted = []traffic.Pattern{place}
	if got := analysis.Run(in, analysis.Options{}); len(got.Findings) > 0 || got.Stale > 0 {
		t.Errorf("stale %.2f, findings %v", got.Stale, summary(got.Findings))
	}
	in.Head = w.Pass("head", 13, miniature.Faults{})
	got := analysis.Run(in, analysis.Options{})
	want := []string{"response value GET /v1/orders/{id} response.body.currency 16/16"}
	if diff := summaryDiff(want, got.Findings); diff != "" {
		t.Errorf("head differs from base (-want +got):\n%s", diff)
	}
	gone := miniature.Faults{Body: func(e string, b map[string]any) {
		if e == "get" {
			delete(b, "currency")
		}
	}}
	in.Base, in.Control, in.Head = w.Pass("base", 11, gone), w.Pass("control", 12, gone), w.Pass("head", 13, gone)
	if got := analysis.Run(in, analysis.Options{}); got.Stale == 0 {
		t.Error("a missing field is not a matter of redaction")
	}
}

// Head that goes back to what production answered is shown and does not fail.
func TestRestoringTheRecordingDoesNotFail(t *testing.T) {
	w := miniature.Record()
	broken := miniature.Faults{Body: func(e string, b map[string]any) {
		if e == "get" {
			delete(b, "currency")
		}
	}}
	in := analysis.Input{Recorded: w.Recorded, Base: w.Pass("base", 11, broken), Control: w.Pass("control", 12, broken), Head: w.Pass("head", 13, miniature.Faults{})}
	got := analysis.Run(in, analysis.Options{})
	i := slices.IndexFunc(got.Findings, func(f analysis.Finding) bool { return f.Cause == analysis.CauseHead })
	if i < 0 || got.Findings[i].Change != analysis.ChangeExtra || got.Findings[i].Gates || !strings.Contains(got.Findings[i].Detail, "as recorded") {
		t.Errorf("got %v", summary(got.Findings))
	}
	if got.Verdict != analysis.Pass {
		t.Errorf("verdict %s: %s", got.Verdict, got.Reason)
	}
}

func TestGates(t *testing.T) {
	w := miniature.Record()
	typeChange := miniature.Faults{Body: func(e string, b map[string]any) {
		if e == "get" {
			b["total"] = "x"
		}
	}}
	for _, tt := range []struct {
		name   string
		failOn []string
		change func(*analysis.Input)
		want   analysis.Verdict
		reason string
	}{
		{"default", nil, nil, analysis.Fail, "1 response finding; the first is type on GET /v1/orders/{id} at response.body.total."},
		{"nothing fails", []string{}, nil, analysis.Pass, "1 finding, but nothing that fails the check"},
		{"another kind", []string{"outbound"}, nil, analysis.Pass, "nothing that fails"},
		{"incomplete", []string{}, func(in *analysis.Input) { in.Head.Complete = false }, analysis.Inconclusive, "did not finish"},
		{"incomplete fails", []string{"inconclusive"}, func(in *analysis.Input) { in.Head.Complete = false }, analysis.Fail, "did not finish"},
		{"a finding beats doubt", nil, func(in *analysis.Input) { in.Head.Complete = false }, analysis.Fail, "1 response finding"},
		{"base crashed", []string{}, func(in *analysis.Input) { in.Base.Crashes = []analysis.Crash{{}} }, analysis.Inconclusive, "Base itself crashed"},
		{"nothing of head", nil, func(in *analysis.Input) { in.Head = analysis.Observation{} }, analysis.Inconclusive, "against head"},
		{"nothing of base", nil, func(in *analysis.Input) { in.Base = analysis.Observation{} }, analysis.Error, "against base"},
		{"nothing at all", nil, func(in *analysis.Input) { *in = analysis.Input{} }, analysis.Error, "nothing is known"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := input(w, typeChange)
			if tt.change != nil {
				tt.change(&in)
			}
			got := analysis.Run(in, analysis.Options{FailOn: tt.failOn})
			if got.Verdict != tt.want || !strings.Contains(got.Reason, tt.reason) {
				t.Errorf("got %s: %s; want %s: %s", got.Verdict, got.Reason, tt.want, tt.reason)
			}
		})
	}
}

func TestOptionsValidate(t *testing.T) {
	if err := (analysis.Options{}).Validate(); err != nil {
		t.Errorf("the zero value is valid, got %v", err)
	}
	for _, bad := range []analysis.Options{
		{FailOn: []string{"respones"}},
		{Latency: analysis.LatencyOptions{Level: -1}},
		{Latency: analysis.LatencyOptions{MaxNoise: 11}},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// The same input gives the same bytes, whatever the order of maps.
func TestRunIsDeterministic(t *testing.T) {
	w := miniature.Record()
	var first []byte
	for range 3 {
		in := input(w, miniature.Faults{LostCall: true, NPlusOne: 2, ID: func() string { return "5c1f5c0e-1b1f-4c39-9d4a-0b7a8f3f2a11" }})
		in.Rounds = measured(3, 8, 6, 40, 1.2, false)
		b, err := json.Marshal(analysis.Run(in, analysis.Options{}))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		} else if string(first) != string(b) {
			t.Fatal("two runs over the same input differ")
		}
	}
}

// Calls whose lane was only guessed may wander between lanes.
func TestGuessedLanesAreNoFindings(t *testing.T) {
	w := miniature.Record()
	in := input(w, miniature.Faults{})
	moved := 0
	for _, x := range in.Head.Outbound {
		if x.Request.Method == "GET" && x.Lane == "in-0000" && moved == 0 {
			moved++
			x.Lane, x.Origin.Certainty = "in-0004", traffic.ByTime
		}
	}
	got := analysis.Run(in, analysis.Options{})
	if moved != 1 || len(got.Findings) > 0 {
		t.Errorf("one call moved (%d): %v", moved, summary(got.Findings))
	}
}

func TestAccounts(t *testing.T) {
	w := miniature.Record()
	in := input(w, miniature.Faults{NewHost: true})
	in.Head.Account = analysis.Account{Recorded: 3, Matched: 2, Unused: 1}
	got := analysis.Run(in, analysis.Options{})
	if got.Mock["head"].Matched != 2 {
		t.Errorf("the accounts of the mock are passed on, got %+v", got.Mock)
	}
	i := slices.IndexFunc(got.Outbound, func(o analysis.Outbound) bool { return o.Call == "POST fraud.example/v1/score" })
	if i < 0 || got.Outbound[i] != (analysis.Outbound{Call: "POST fraud.example/v1/score", Head: 12}) {
		t.Errorf("got %+v", got.Outbound)
	}
}

// An endpoint that base itself cannot answer steadily is named, and not judged.
func TestUnsteadyEndpointIsNamed(t *testing.T) {
	w := miniature.Record()
	flaky := func(n int) miniature.Faults {
		return miniature.Faults{Answer: func(e string, r *traffic.Response) {
			if n++; e == "products" && n%2 == 0 {
				r.Status = 503
			}
		}}
	}
	in := analysis.Input{Recorded: w.Recorded, Base: w.Pass("base", 11, flaky(0)), Control: w.Pass("control", 12, flaky(1)), Head: w.Pass("head", 13, flaky(0))}
	got := analysis.Run(in, analysis.Options{})
	want := []string{"GET /v1/products can hardly be judged: base itself answers with another status or body from pass to pass in 12 of 12 exchanges."}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	for _, f := range got.Findings {
		if f.Cause == analysis.CauseHead {
			t.Errorf("head does what base does, yet %v", summary([]analysis.Finding{f}))
		}
	}
}

func TestSeveralFaultsAtOnce(t *testing.T) {
	w := miniature.Record()
	got := analysis.Run(input(w, miniature.Faults{
		NPlusOne: 2,
		NewHost:  true,
		Body: func(e string, b map[string]any) {
			if e == "get" {
				delete(b, "currency")
			}
		},
	}), analysis.Options{})
	want := []string{
		"response missing GET /v1/orders/{id} response.body.currency 16/16",
		"outbound repeated-call POST /v1/orders [GET inventory/v1/stock/{id}] 12/12",
		"outbound new-call POST /v1/orders [POST fraud.example/v1/score] 12/12",
	}
	if diff := summaryDiff(want, got.Findings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A call that fails explains what changes in the answer beside it, but not a
// type that changes just so on endpoints where every call was answered.
func TestAFaultOfItsOwnIsNotFolded(t *testing.T) {
	w := miniature.Record()
	got := analysis.Run(input(w, miniature.Faults{
		NewHost: true,
		Body: func(e string, b map[string]any) {
			if e == "get" || e == "create" {
				b["total"] = fmt.Sprint(b["total"])
			}
		},
	}), analysis.Options{})
	want := []string{
		"response type GET /v1/orders/{id} response.body.total 16/16",
		"response type POST /v1/orders response.body.total 12/12",
		"response type GET /v1/orders response.body.orders[].total 4/4",
		"outbound new-call POST /v1/orders [POST fraud.example/v1/score] 12/12",
	}
	if diff := summaryDiff(want, got.Findings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
