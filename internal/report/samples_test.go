package report_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/report"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// sample is one row of the table that all renderers are tested with.
type sample struct {
	name   string
	reason string // what the row stands for
	doc    *report.Document
	md     report.MarkdownOptions
}

func samples() []sample {
	return []sample{
		{"clean", "nothing changed and the run could have seen it", clean(), report.MarkdownOptions{RunURL: "https://github.com/acme/shop/actions/runs/8123", Artifacts: "out/reprise"}},
		{"findings", "every kind of finding, gating and not", findings(), report.MarkdownOptions{RunURL: "https://github.com/acme/shop/actions/runs/8123", Artifacts: "out/reprise"}},
		{"fork", "findings, and no right to comment", findings(), report.MarkdownOptions{Notes: []string{"No comment: the token of a pull request from a fork may not write. This summary holds the report."}}},
		{"inconclusive", "too noisy to judge", inconclusive(), report.MarkdownOptions{}},
		{"stale", "base no longer gives the recorded answers", stale(), report.MarkdownOptions{}},
		{"infrastructure", "the cluster never came up: must not look like a regression", infrastructure(), report.MarkdownOptions{}},
		{"cancelled", "ended by a signal with findings so far", cancelled(), report.MarkdownOptions{}},
		{"accepted", "a change that people agreed to, and a threshold that holds", accepted(), report.MarkdownOptions{}},
		{"threshold", "nothing changed, but a threshold does not hold", threshold(), report.MarkdownOptions{}},
		{"load", "an open load by three workers, one of which was lost", loaded(), report.MarkdownOptions{}},
		{"faster", "an improvement passes and is said", faster(), report.MarkdownOptions{}},
		{"unmeasured", "latency is off", unmeasured(), report.MarkdownOptions{}},
		{"hostile", "every string of the document is an attack", hostile(), report.MarkdownOptions{RunURL: "javascript:alert(1)", Artifacts: attack, Notes: []string{attack}}},
		{"empty", "the zero document", &report.Document{Schema: report.SchemaV1, Result: analysis.Result{Verdict: analysis.Error}}, report.MarkdownOptions{}},
	}
}

func unmeasured() *report.Document {
	d := clean()
	d.Endpoints = []analysis.Endpoint{}
	d.Latency = analysis.Run(analysis.Input{}, analysis.Options{}).Latency
	return d
}

func day(d int) time.Time { return time.Date(2026, 11, d, 9, 30, 0, 0, time.UTC) }

func clean() *report.Document {
	d := &report.Document{
		Schema: report.SchemaV1, Service: "shop",
		Base:     report.Commit{SHA: "41d7e02c9a1b3f5d7e9f0a2b4c6d8e0f1a3b5c7d", Ref: "refs/heads/main"},
		Head:     report.Commit{SHA: "9f2c1ab4d6e8f0a1b3c5d7e9f1a2b4c6d8e0f2a4", Ref: "refs/heads/cheaper-tax"},
		Snapshot: report.Snapshot{Name: "shop", Digest: "sha256:1f3a5b7c9d0e2f4a6b8c0d1e3f5a7b9c1d2e4f6a8b0c2d3e5f7a9b1c3d4e6f80", RecordedAt: day(18), Exchanges: 874, Redacted: 1420},
		Run: report.Run{
			Target: "kind", Seed: 7, Rounds: 12, StartedAt: day(23), Version: "v0.1.0", FailOn: []string{"response", "outbound", "crash"},
			Stages: []report.Stage{{"prepare", 0, 1.2, ""}, {"images", 1.2, 34.1, ""}, {"cluster", 1.2, 27.4, ""}, {"deploy", 35.3, 11.8, ""}, {"correctness", 47.1, 9.6, ""}, {"latency", 56.7, 24.9, ""}, {"report", 81.6, 0.2, ""}, {"teardown", 81.8, 2.1, ""}},
		},
	}
	d.Run.Bindings = []report.Binding{
		{Request: "GET /v1/orders/{id}", To: "request.path[2]", Answer: "POST /v1/orders", From: "response.body.id", Times: 96},
		{Request: "POST /v1/checkin", To: "request.query.place", Answer: "POST /v1/bookings", From: "response.body.seat", Times: 4, Pinned: true},
		{Request: "GET /v1/quote", To: "request.query.at", Times: 2},
	}
	d.Verdict, d.Reason = analysis.Pass, "All 318 responses match and latency is within noise."
	d.Replayed, d.Equal, d.Noisy, d.Stale = 318, 318, 9, 0.003
	account := analysis.Account{Recorded: 556, Matched: 556, Attributed: map[traffic.Certainty]int{traffic.ByTrace: 556}}
	d.Mock = map[string]analysis.Account{"base": account, "control": account, "head": account}
	d.Latency = analysis.Latency{Rounds: 12, Pairs: 9216, Seed: 7, NoiseFloor: 0.011, SendLagP50MS: 0.021, SendLagP99MS: 0.19, Stopped: "all endpoints decided",
		Overall: quantile(8.1, 8.13, 1.003, 0.994, 1.012, 0.51, 0.013, analysis.Same)}
	d.OpenLoop = &analysis.OpenLoop{Rate: 200, Rounds: 8, Pairs: 3200, SendLagP50MS: 0.004, SendLagP99MS: 0.09,
		P50: quantile(8.4, 8.5, 1.01, 0.99, 1.03, 0.4, 0.03, analysis.Same), P90: quantile(14.1, 14.2, 1.01, 0.98, 1.04, 0.5, 0.04, analysis.Same), Verdict: analysis.Same}
	d.Capacity = &analysis.Capacity{LimitMS: 50, BaseRPS: 1180, HeadRPS: 1210, ControlRPS: 1160, Verdict: analysis.Same}
	for i, name := range []string{"GET /v1/orders", "GET /v1/orders/{id}", "POST /v1/orders", "GET /v1/catalog", "GET /v1/quote", "GET /v1/me", "GET /v1/reports/large", "GET /v1/missing"} {
		base := 2.1 + 3.7*float64(i)
		e := analysis.Endpoint{Endpoint: name, Requests: 1152,
			P50: quantile(base, base*1.002, 1.002, 0.991, 1.013, 0.62, 0.016, analysis.Same),
			P90: quantile(base*1.6, base*1.61, 1.006, 0.982, 1.031, 0.7, 0.034, analysis.Same),
			P99: analysis.Tail{BaseMS: base * 3, HeadMS: base * 3.1, Ratio: 1.03, CI: [2]float64{0.9, 1.2}}}
		for r := range 12 {
			wobble := 1 + 0.008*float64((r*7+i*3)%5-2)
			e.RoundsBaseMS = append(e.RoundsBaseMS, base*wobble)
			e.RoundsHeadMS = append(e.RoundsHeadMS, base*(wobble+0.004*float64(r%3-1)))
		}
		d.Endpoints = append(d.Endpoints, e)
	}
	d.Outbound = []analysis.Outbound{{Call: "GET inventory/v1/stock/{id}", Recorded: 318, Base: 318, Head: 318}, {Call: "POST api.payments.example/v1/charges", Recorded: 96, Base: 96, Head: 96}}
	d.Waiting = []analysis.Waiting{
		{Endpoint: "GET /v1/orders", Exchanges: 48, Base: analysis.Waited{Share: 0.41, MS: 1.2, Calls: 1}, Control: &analysis.Waited{Share: 0.43, MS: 1.3, Calls: 1}, Head: analysis.Waited{Share: 0.42, MS: 1.2, Calls: 1}},
		{Endpoint: "POST /v1/orders", Exchanges: 96, Base: analysis.Waited{Share: 0.62, MS: 5.1, Calls: 3.5, Together: 0.97}, Control: &analysis.Waited{Share: 0.62, MS: 5.2, Calls: 3.5, Together: 0.98}, Head: analysis.Waited{Share: 0.63, MS: 5.2, Calls: 3.5, Together: 0.97}},
	}
	d.Resources = []analysis.Resource{{Arm: "base", CPUSeconds: 9.1, PeakBytes: 31 << 20, StartupMS: 212}, {Arm: "head", CPUSeconds: 9.2, PeakBytes: 32 << 20, StartupMS: 209}}
	return d
}

func quantile(base, head, ratio, low, high, p, detectable float64, s analysis.Speed) analysis.Quantile {
	return analysis.Quantile{BaseMS: base, HeadMS: head, Ratio: ratio, CI: [2]float64{low, high}, P: p, Detectable: detectable, Verdict: s}
}

func findings() *report.Document {
	d := clean()
	d.Verdict, d.Reason = analysis.Fail, "6 findings fail the check."
	d.Changed, d.Equal = 41, 277
	d.Waiting[1].Head, d.Waiting[1].Changed = analysis.Waited{Share: 0.81, MS: 13.4, Calls: 3.5}, analysis.ChangeWaitsLonger
	slow := &d.Endpoints[4]
	slow.P50 = quantile(16.9, 21.1, 1.248, 1.231, 1.266, 0.0005, 0.018, analysis.Slower)
	slow.P90 = quantile(27, 33.4, 1.237, 1.2, 1.27, 0.0005, 0.03, analysis.Slower)
	for i := range slow.RoundsHeadMS {
		slow.RoundsHeadMS[i] *= 1.248
	}
	d.Endpoints[3].P50 = quantile(13.2, 12.1, 0.917, 0.902, 0.931, 0.001, 0.02, analysis.Faster)
	d.Endpoints[6].P90.Verdict, d.Endpoints[6].P90.CI, d.Endpoints[6].P90.Ratio = analysis.SpeedInconclusive, [2]float64{0.93, 1.21}, 1.06
	d.Endpoints[6].Note = "p90 varies by 11 % between rounds of base"
	head := d.Mock["head"]
	head.Matched, head.Unused, head.Extra, head.Missed = 520, 36, 72, 12
	head.Attributed = map[traffic.Certainty]int{traffic.ByTrace: 540, traffic.ByValue: 12, analysis.ByNone: 4}
	head.Unsure = 4
	head.Tiers = map[traffic.Tier]int{traffic.TierExact: 500, traffic.TierClassed: 44, traffic.TierRepeat: 7, traffic.TierFuzzy: 1, traffic.TierMiss: 4}
	head.Misses = []analysis.Miss{
		{Lane: "in-000021", Call: "POST api.payments.example/v1/charges", Reason: "the amount is another one", Nearest: &analysis.NearestCall{Record: "out-000044", Score: 0.94, Differences: []string{"request.body.amount: recorded 2000, live 2100"}}},
		{Lane: "in-000007", Call: "GET flags.example/v2/flags", Reason: "nothing was recorded for this host"},
	}
	d.Mock["head"] = head
	d.Outbound = append(d.Outbound, analysis.Outbound{Call: "GET flags.example/v2/flags", Head: 6})
	d.Outbound[0].Head = 390
	f := func(kind analysis.Kind, endpoint, address string, change analysis.Change, base, head string, n, of int) analysis.Finding {
		return analysis.Finding{ID: fmt.Sprintf("F%d", len(d.Findings)+1), Kind: kind, Cause: analysis.CauseHead, Endpoint: endpoint, Address: address, Change: change,
			Recorded: base, Base: base, Head: head, Count: n, Of: of, Example: fmt.Sprintf("in-%06d", 17*n), Gates: kind != analysis.KindLatency && kind != analysis.KindResource}
	}
	add := func(x analysis.Finding) *analysis.Finding {
		d.Findings = append(d.Findings, x)
		return &d.Findings[len(d.Findings)-1]
	}
	x := add(f(analysis.KindCrash, "POST /v1/orders", "", analysis.ChangeCrash, "", "", 1, 96))
	x.Detail = "the container ended with exit code 2: panic: runtime error: index out of range [3]"
	x.Consequences = []analysis.Consequence{{Endpoint: "GET /v1/orders/{id}", Address: "response.status", Change: analysis.ChangeStatus, Count: 4}, {Endpoint: "GET /v1/orders", Address: "", Change: analysis.ChangeNoResponse, Count: 2}}
	add(f(analysis.KindResponse, "GET /v1/orders/{id}", "response.body.total", analysis.ChangeType, "1299", `"1299"`, 31, 31))
	x = add(f(analysis.KindResponse, "POST /v1/orders", "response.status", analysis.ChangeStatus, "201", "500", 1, 96))
	x.Consequences = []analysis.Consequence{{Endpoint: "POST /v1/orders", Address: "response.body", Change: analysis.ChangeMissing, Count: 1}}
	x.Assisted = true
	add(f(analysis.KindResponse, "GET /v1/catalog", "response.body.items[].currency", analysis.ChangeMissing, `"EUR"`, "", 9, 40))
	add(f(analysis.KindResponse, "GET /v1/orders", "response.header.Cache-Control", analysis.ChangeExtra, "", "no-store", 40, 40))
	add(f(analysis.KindResponse, "POST /v1/orders", "response.body.id", analysis.ChangeClass, "ord_8f3k2a9d", "ord_00000000", 95, 96)).Detail = "the recording, base and base again give a fresh id each time; head always gives the same"
	add(f(analysis.KindResponse, "GET /v1/me", "response.body.roles", analysis.ChangeOrder, `["admin","buyer"]`, `["buyer","admin"]`, 3, 12))
	add(f(analysis.KindResponse, "GET /v1/me", "response.body.bio", analysis.ChangeValue, "likes | pipes and `ticks`", "likes | pipes and ``ticks``", 3, 12))
	x = add(f(analysis.KindOutbound, "POST /v1/orders", "request.body.amount", analysis.ChangeChangedCall, "2000", "2100", 12, 96))
	x.Call = "POST api.payments.example/v1/charges"
	x = add(f(analysis.KindOutbound, "GET /v1/quote", "", analysis.ChangeRepeatedCall, "3", "12", 8, 8))
	x.Call, x.Detail = "GET inventory/v1/stock/{id}", "3 calls became 12 (4 times)"
	x = add(f(analysis.KindOutbound, "GET /v1/me", "", analysis.ChangeNewCall, "", "", 6, 12))
	x.Call, x.Detail = "GET flags.example/v2/flags", "base never calls flags.example"
	x = add(f(analysis.KindLatency, "GET /v1/quote", "latency.p50", analysis.ChangeSlower, "16.9 ms", "21.1 ms", 1152, 1152))
	x.Detail = "p50 is 24.8 % slower (95 % interval +23.1 to +26.6 %)"
	add(f(analysis.KindLatency, "GET /v1/catalog", "latency.p50", analysis.ChangeFaster, "13.2 ms", "12.1 ms", 1152, 1152))
	add(f(analysis.KindLatency, "POST /v1/orders", "latency.waiting", analysis.ChangeWaitsLonger, "62 %", "81 %", 96, 96)).Detail = "81 % of the service time are spent waiting for dependencies, 62 % on base"
	add(f(analysis.KindResource, "", "resource.peak_bytes", analysis.ChangeValue, "31.0 MiB", "58.2 MiB", 1, 1)).Detail = "peak memory is 88 % larger"
	x = add(f(analysis.KindResponse, "GET /v1/orders", "response.body.next", analysis.ChangeValue, "c2", "c2", 5, 40))
	x.Cause, x.Recorded, x.Gates = analysis.CauseSnapshot, "c1", false
	x = add(f(analysis.KindResponse, "GET /v1/quote", "response.body.nonce", analysis.ChangeValue, "a81f", "77c0", 8, 8))
	x.Cause, x.Gates = analysis.CauseNoise, false
	return d
}

func inconclusive() *report.Document {
	d := clean()
	d.Verdict, d.Reason = analysis.Inconclusive, "Base differed from itself by 14 %, more than the 10 % that the budget asks for"
	d.Latency.NoiseFloor = 0.14
	for i := range d.Endpoints {
		d.Endpoints[i].P50.Verdict, d.Endpoints[i].P50.CI, d.Endpoints[i].P50.Detectable = analysis.SpeedInconclusive, [2]float64{0.88, 1.17}, 0.19
	}
	d.Run.Notes = []string{"3 of 4 processors were busy with something else while measuring."}
	return d
}

func stale() *report.Document {
	d := clean()
	d.Stale = 0.34
	for i := range 9 {
		d.Findings = append(d.Findings, analysis.Finding{ID: fmt.Sprintf("F%d", i+1), Kind: analysis.KindResponse, Cause: analysis.CauseSnapshot, Endpoint: "GET /v1/catalog",
			Address: fmt.Sprintf("response.body.items[].f%d", i), Change: analysis.ChangeExtra, Base: "1", Head: "1", Count: 40, Of: 40, Example: "in-000003"})
	}
	return d
}

func infrastructure() *report.Document {
	d := clean()
	d.Result = analysis.Result{Verdict: analysis.Error, Reason: "the cluster could not be created"}
	d.Failure = &report.Failure{Class: report.FailureInfrastructure, Stage: "cluster", Message: "head never became ready: container shop cannot start: ImagePullBackOff", Hint: "Build the image in this job and name it in `values`.",
		Evidence: []string{"Failed to pull image \"shop:head\": not found", "::error::not a command", "Back-off pulling image \"shop:head\""}}
	d.Run.Stages = []report.Stage{{"prepare", 0, 1.2, ""}, {"cluster", 1.2, 61, "head never became ready"}}
	return d
}

func cancelled() *report.Document {
	d := findings()
	d.Verdict, d.Reason, d.Findings = analysis.Error, "cancelled", d.Findings[:2]
	d.Failure = &report.Failure{Class: report.FailureCancelled, Stage: "latency", Message: "interrupted"}
	return d
}

func accepted() *report.Document {
	d := clean()
	d.Findings = findings().Findings[1:2]
	d.Findings[0].Gates = false
	d.Findings[0].Accepted = &analysis.AcceptedBy{Reason: "prices are texts from v2 on", Author: "mona", Date: day(20), Expires: day(30)}
	d.Changed, d.Equal = 31, 287
	d.Thresholds = []analysis.ThresholdResult{{Threshold: "p90 < 150ms", Holds: true, Endpoint: "GET /v1/missing", Value: "45.1 ms"}}
	d.Warnings = []string{"the rule response.body.nonce matches nothing; remove it"}
	return d
}

func threshold() *report.Document {
	d := clean()
	d.Verdict, d.Reason = analysis.Fail, "A threshold does not hold."
	d.Thresholds = []analysis.ThresholdResult{
		{Threshold: "GET /v1/missing: p90 < 40ms", Endpoint: "GET /v1/missing", Value: "45.1 ms"},
		{Threshold: "slower < 10%", Holds: true, Endpoint: "GET /v1/me", Value: "0.6 %"},
		{Threshold: "p99 < 1s", Holds: true, Unknown: "p99 is never judged at these sample sizes"},
	}
	for i := range d.Endpoints {
		d.Endpoints[i].Note = "12 rounds measured; a change among 22 tests needs 13"
	}
	return d
}

func faster() *report.Document {
	d := clean()
	d.Endpoints[0].P50 = quantile(2.1, 1.4, 0.667, 0.65, 0.68, 0.0005, 0.02, analysis.Faster)
	d.Findings = []analysis.Finding{{ID: "F1", Kind: analysis.KindLatency, Cause: analysis.CauseHead, Endpoint: "GET /v1/orders", Address: "latency.p50", Change: analysis.ChangeFaster, Base: "2.1 ms", Head: "1.4 ms", Count: 1152, Of: 1152}}
	return d
}

// attack tries every way out of a cell, a span, a fence, an element and a log
// line that we know of.
const attack = "`` ` ```\n\n</details></summary><script>alert(1)</script><img src=x onerror=1> | a | b |\n::error::x\n##[error]y\n" +
	"@octocat #1 acme/shop#2 https://evil.example www.evil.example [x](https://evil.example) ![i](https://evil.example/p.png) " +
	"<!-- reprise:report key=k --> &#64;octocat &lt; \u202egnp.exe\u2066\u200b\x1b[31m\x00\r**bold** _i_ ~~s~~ > quote\n# head\n- item\n1. one $x$ \\"

func hostile() *report.Document {
	d := findings()
	d.Service, d.Reason = attack, attack
	d.Base, d.Head = report.Commit{attack, attack}, report.Commit{attack, attack}
	d.Snapshot.Name, d.Snapshot.Digest = attack, attack
	d.Run.Target, d.Run.Version, d.Run.Notes, d.Run.FailOn = attack, attack, []string{attack}, []string{attack, "response"}
	d.OpenLoop.Note, d.Capacity.Note = attack, attack
	for i := range d.Run.Bindings {
		d.Run.Bindings[i] = report.Binding{Answer: attack, From: attack, Request: attack, To: attack, Times: 1}
	}
	for i := range d.Run.Stages {
		d.Run.Stages[i].Name, d.Run.Stages[i].Error = attack, attack
	}
	for i := range d.Findings {
		f := &d.Findings[i]
		f.ID, f.Endpoint, f.Address, f.Call, f.Example, f.Detail = attack, attack, attack, attack, attack, attack
		f.Recorded, f.Base, f.Head = "r"+attack, attack, attack+"!"
		for j := range f.Consequences {
			f.Consequences[j].Endpoint, f.Consequences[j].Address = attack, attack
		}
	}
	for i := range d.Endpoints {
		d.Endpoints[i].Endpoint, d.Endpoints[i].Note = attack, attack
	}
	for i := range d.Outbound {
		d.Outbound[i].Call = attack
	}
	head := d.Mock["head"]
	for i := range head.Misses {
		m := &head.Misses[i]
		m.Call, m.Reason, m.Lane = attack, attack, attack
		if m.Nearest != nil {
			m.Nearest.Record, m.Nearest.Differences = attack, []string{attack, attack, attack, attack}
		}
	}
	d.Latency.Stopped, d.Latency.Note = attack, ""
	d.Thresholds = []analysis.ThresholdResult{{Threshold: attack, Endpoint: attack, Value: attack}, {Threshold: attack, Holds: true, Unknown: attack}}
	d.Warnings = []string{attack, attack}
	accepted := d.Findings[2]
	accepted.Gates, accepted.Accepted = false, &analysis.AcceptedBy{Reason: attack, Author: attack, Expires: day(30)}
	d.Findings = append(d.Findings, accepted)
	return d
}

// large is a report that exceeds every budget.
func large(n int) *report.Document {
	d := findings()
	long := strings.Repeat("lorem ipsum ", 60)
	for i := range n {
		f := d.Findings[1+i%8]
		f.ID, f.Endpoint, f.Base, f.Head = fmt.Sprintf("F%d", 100+i), fmt.Sprintf("GET /v1/generated/%d", i), long, long+"x"
		d.Findings = append(d.Findings, f)
		e := d.Endpoints[i%8]
		e.Endpoint = f.Endpoint
		d.Endpoints = append(d.Endpoints, e)
		d.Outbound = append(d.Outbound, analysis.Outbound{Call: fmt.Sprintf("GET dependency-%d.example/v1/x", i), Recorded: i, Base: i, Head: i + 1})
	}
	return d
}

func loaded() *report.Document {
	d := clean()
	d.Load = &report.Load{
		Plan: "30000 requests in 1m0s, in stages 500/s for 1m0s; 318 exchanges of 41 sessions", Workers: 3, Lost: 1,
		ClocksAheadMS: []float64{0.02, -0.31, 1.4}, ClockErrorMS: 0.42, LateMS: 0.8,
		Arms: []report.LoadArm{
			{Arm: "base", Requests: 30000, Rate: 499.98, P50MS: 2.4, P90MS: 6.1, P99MS: 21.5, MaxMS: 80.2, LagP99MS: 0.11, Answers: map[string]int64{"200": 29990, "404": 10}, Reliable: true},
			{Arm: "head", Requests: 29980, Unsent: 20, Rate: 499.6, P50MS: 2.5, P90MS: 7.3, P99MS: 44.1, MaxMS: 201.7, LagP99MS: 0.6, Answers: map[string]int64{"200": 29960, "404": 10, "timeout": 10}},
		},
	}
	return d
}
