package report_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/report"
	"pgregory.net/rapid"
)

func markdown(t testing.TB, d *report.Document, opts report.MarkdownOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := d.WriteMarkdown(&b, opts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestMarkdownKeepsItsBudget(t *testing.T) {
	for _, n := range []int{0, 50, 500, 2000} {
		for _, budget := range []int{0, 8_000, 20_000, report.SummaryBudget} {
			md := markdown(t, large(n), report.MarkdownOptions{Budget: budget})
			want := budget
			if want == 0 {
				want = report.CommentBudget
			}
			if len(md) > want {
				t.Errorf("%d findings: %d bytes, budget %d", n, len(md), want)
			}
			if !strings.HasPrefix(md, "### `shop`: the service crashed once") {
				t.Errorf("%d findings, budget %d: the verdict is gone", n, want)
			}
			if n == 2000 {
				if !strings.Contains(md, "Left out to stay within GitHub's limit: ") {
					t.Errorf("budget %d: it does not say what was left out", want)
				}
				if budget <= 20_000 && budget != 8_000 && len(md) < want*8/10 {
					t.Errorf("budget %d: only %d bytes used", want, len(md))
				}
			}
			if strings.Count(md, "<details>") != strings.Count(md, "</details>") {
				t.Errorf("%d findings, budget %d: a folded part is cut", n, want)
			}
			plainMarkdown(t, md) // fails when a fence or span is cut
		}
	}
}

// The least valuable parts go first: what changed outlives how it was measured.
func TestMarkdownDropsTheLeastValuableFirst(t *testing.T) {
	md := markdown(t, large(500), report.MarkdownOptions{Budget: 12_000})
	for _, want := range []string{"#### Crashes", "#### Changed responses", "#### Changed calls to dependencies", "#### Latency beyond noise"} {
		if !strings.Contains(md, want) {
			t.Errorf("%q was dropped", want)
		}
	}
	for _, gone := range []string{"How this was measured", "routes</summary>"} {
		if strings.Contains(md, gone) {
			t.Errorf("%q was kept", gone)
		}
	}
}

func TestMarkdownWithinBudgetForAnyDocument(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringN(0, 2000, -1), rapid.Just(attack), rapid.Just(strings.Repeat("&<`", 800)))
		d := findings()
		d.Verdict = rapid.SampledFrom([]analysis.Verdict{analysis.Pass, analysis.Fail, analysis.Inconclusive, analysis.Error}).Draw(rt, "verdict")
		d.Service, d.Reason, d.Snapshot.Name, d.Base.SHA, d.Head.SHA, d.Head.Ref = text.Draw(rt, "service"), text.Draw(rt, "reason"), text.Draw(rt, "name"), text.Draw(rt, "base"), text.Draw(rt, "head"), text.Draw(rt, "ref")
		d.Run.FailOn = rapid.SliceOfN(text, 0, 20).Draw(rt, "fail-on")
		if rapid.Bool().Draw(rt, "failed") {
			d.Failure = &report.Failure{Class: text.Draw(rt, "class"), Stage: text.Draw(rt, "stage"), Message: text.Draw(rt, "message"), Hint: text.Draw(rt, "hint"), Evidence: rapid.SliceOfN(text, 0, 40).Draw(rt, "evidence")}
		}
		for i := range d.Findings {
			f := &d.Findings[i]
			f.Endpoint, f.Base, f.Head, f.Detail = text.Draw(rt, "endpoint"), text.Draw(rt, "b"), text.Draw(rt, "h"), text.Draw(rt, "detail")
		}
		md := markdown(t, d, report.MarkdownOptions{Budget: 1, Artifacts: text.Draw(rt, "artifacts"), Notes: rapid.SliceOfN(text, 0, 9).Draw(rt, "notes"), RunURL: text.Draw(rt, "url")})
		// The parts that are never dropped have a bound of their own.
		if len(md) > 24_000 {
			rt.Fatalf("%d bytes", len(md))
		}
	})
}

func TestMarkdownVariants(t *testing.T) {
	for _, c := range []struct {
		reason    string
		doc       *report.Document
		want, not []string
	}{
		{"a clean run is short", clean(),
			[]string{"### `shop`: all 318 replayed responses match, latency within noise", "5 days old", "`41d7e02`", "`9f2c1ab`"},
			[]string{"[!CAUTION]", "[!WARNING]", "####"}},
		{"a failing run says by what", findings(), []string{"[!CAUTION]", "because of 11 findings", "`fail-on` is `response`, `outbound`, `crash`"}, nil},
		{"an infrastructure failure is no regression", infrastructure(),
			[]string{"not measured: head never became ready", "Nothing was compared", "ImagePullBackOff", "Stage `cluster` failed (infrastructure)"},
			[]string{"[!CAUTION]", "changed", "slower", "The check fails"}},
		{"a cancelled run shows what is known", cancelled(), []string{"not measured: the run was cancelled", "ended early", "#### Crashes"}, []string{"[!CAUTION]"}},
		{"an inconclusive run does not fail", inconclusive(), []string{"could not tell", "does not fail"}, []string{"[!CAUTION]"}},
		{"a stale snapshot is said once, not as findings", stale(),
			[]string{"[!NOTE]", "no longer gives the recorded answer for 34 %", "9 differences that this change did not cause"}, []string{"#### Changed responses"}},
		{"an accepted change is folded and no headline", accepted(),
			[]string{"nothing changed but what was accepted (1 finding)", "<summary>1 accepted change</summary>", "prices are texts from v2 on, mona, until 2026-11-30", "1 warning about rules"}, []string{"#### Changed responses", "[!CAUTION]"}},
		{"a threshold that does not hold is quoted", threshold(),
			[]string{"1 threshold does not hold", "fails because of threshold `GET /v1/missing: p90 < 40ms`", "**does not hold**", "Most endpoints: 12 rounds measured"}, []string{"same: 12 rounds"}},
		{"a fork gets its note", findings(), []string{"No comment: "}, nil},
	} {
		opts := report.MarkdownOptions{}
		if strings.Contains(c.reason, "fork") {
			opts.Notes = []string{"No comment: the token may not write."}
		}
		md := markdown(t, c.doc, opts)
		for _, w := range c.want {
			if !strings.Contains(md, w) {
				t.Errorf("%s: no %q in\n%s", c.reason, w, md)
			}
		}
		for _, n := range c.not {
			if strings.Contains(md, n) {
				t.Errorf("%s: %q in\n%s", c.reason, n, md)
			}
		}
	}
}

func TestHeadline(t *testing.T) {
	for _, c := range []struct {
		reason string
		change func(*report.Document)
		want   string
	}{
		{"clean", func(*report.Document) {}, "all 318 replayed responses match, latency within noise"},
		{"one request", func(d *report.Document) { d.Replayed = 1 }, "the one replayed response matches, latency within noise"},
		{"no latency", func(d *report.Document) { d.Latency.Rounds = 0 }, "all 318 replayed responses match, latency was not measured"},
		{"one endpoint undecided", func(d *report.Document) { d.Endpoints[0].P50.Verdict = analysis.SpeedInconclusive }, "all 318 replayed responses match, latency of 1 endpoint could not be judged"},
		{"what others caused is no headline", func(d *report.Document) { d.Findings = stale().Findings }, "all 318 replayed responses match, latency within noise"},
	} {
		d := clean()
		c.change(d)
		if got := d.Headline(); got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestAnnotationsAreTheGatingFindings(t *testing.T) {
	got := findings().Annotations()
	if len(got) != 11 || !strings.HasPrefix(got[0], "F1 POST /v1/orders the service crashed") {
		t.Errorf("annotations: %s", fmt.Sprintf("%q", got))
	}
}
