package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// named returns a regression by its name.
func named(t *testing.T, name string) regression {
	t.Helper()
	for _, r := range regressions(t) {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("no patch %s", name)
	return regression{}
}

// TestCallsOfARunAreExplained explains a miss and a hit of a run that is over,
// from its output directory alone.
func TestCallsOfARunAreExplained(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the service")
	}
	t.Parallel()
	repository := newRepository(t, named(t, "changed-argument"))
	out := filepath.Join(t.TempDir(), "out")
	document, _ := runInto(t, repository, out, "--latency-off")
	if len(document.Mock["head"].Misses) == 0 {
		t.Fatal("the patch changes an argument, and no call of head missed")
	}
	explain := func(id string) string {
		log, code := reprise(t, repository, "explain", id, "--config", "examples/shop/reprise.yaml", "--output-dir", out)
		if code != 0 {
			t.Fatalf("explain %s: exit code %d\n%s", id, code, log)
		}
		for _, value := range personalValues(t) {
			if strings.Contains(log, value) {
				t.Errorf("the explanation of %s holds %q", id, value)
			}
		}
		return log
	}
	miss := explain(document.Mock["head"].Misses[0].ID)
	t.Log("\n" + miss)
	for _, want := range []string{
		`(?m)^MISS  head-1-out-\d+$`, `(?m)^  cause    head changed request\.body\.`, `(?m)^  nearest recorded calls$`,
		`request\.body\.\S+: recorded "[^"]*", live "[^"]*"`, `(?m)^    - name: answer `, `base makes this call as recorded \(base-1-out-\d+\)`,
	} {
		if !regexp.MustCompile(want).MatchString(miss) {
			t.Errorf("the explanation lacks %s", want)
		}
	}
	if hit := explain("base-1-out-000001"); !regexp.MustCompile(`(?m)^HIT (exact|bound|classed)  base-1-out-000001$`).MatchString(hit) || !strings.Contains(hit, "1 recorded call") {
		t.Errorf("the explanation of a hit:\n%s", hit)
	}
}

// TestCallsThatNobodyMarks replays a shop that forwards no trace, many
// requests at a time: too few calls can be attributed, so the passes are repeated one at a
// time, and then nothing is found.
func TestCallsThatNobodyMarks(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the service")
	}
	t.Parallel()
	marked, _ := run(t, newRepository(t, named(t, "harmless")), "--latency-off", "--replay-concurrency", "24")
	account := marked.Mock["head"]
	if n := account.Attributed[traffic.ByTrace]; n == 0 || len(account.Attributed) != 1 || account.Unsure != 0 {
		t.Errorf("a shop that forwards the trace: %v", account.Attributed)
	}
	t.Logf("with propagation: %v", account.Attributed)

	repository := newRepository(t)
	forgetful := func() {
		path := filepath.Join(repository, "examples", "shop", "internal", "upstream", "trace.go")
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(source), `{"Traceparent", "Tracestate"}`, `{"Tracestate"}`, 1)
		if changed == string(source) {
			t.Fatal("the shop forwards its trace in another way than this test knows")
		}
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	forgetful()
	command(t, repository, "git", "switch", "-q", "main")
	command(t, repository, "git", "commit", "-qam", "Forward nothing")
	command(t, repository, "git", "switch", "-q", "change")
	command(t, repository, "git", "reset", "-q", "--hard", "main")
	document, code := run(t, repository, "--latency-off", "--replay-concurrency", "24")
	account = document.Mock["head"]
	t.Logf("without propagation: %v; notes %q", account.Attributed, document.Run.Notes)
	if code != 0 || document.Verdict != analysis.Pass {
		t.Errorf("exit code %d, %s: %s", code, document.Verdict, document.Reason)
	}
	if account.Attributed[traffic.ByTrace] != 0 || account.Attributed[traffic.ByOnlyActive] == 0 || account.Unsure != 0 {
		t.Errorf("attributed %v, %d unsure", account.Attributed, account.Unsure)
	}
	if notes := strings.Join(document.Run.Notes, " "); !strings.Contains(notes, "repeated with one request at a time") {
		t.Errorf("the report does not say so: %s", notes)
	}
}
