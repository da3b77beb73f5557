package cli_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/cli"
	"github.com/reprise-ci/reprise/internal/github/githubtest"
	"github.com/reprise-ci/reprise/internal/report"
)

// forkRun is what a run of a fork left: a report, and the event that follows it.
type forkRun struct {
	dir string
	api *githubtest.Server
	url string
	run int
	// name and payload are another event than workflow_run, if set.
	name, payload string
}

func newForkRun(t *testing.T) *forkRun {
	t.Helper()
	f := &forkRun{dir: t.TempDir(), api: githubtest.New(githubtest.Options{Owner: "acme", Repo: "shop", Token: "t0ken"}), run: 55}
	web := httptest.NewServer(f.api)
	t.Cleanup(web.Close)
	f.url = web.URL
	f.api.AddPull(githubtest.Pull{Number: 8, HeadSHA: "h5", HeadRef: "fix", HeadRepo: "eve/shop", BaseRef: "main"})
	f.report(t, analysis.Fail)
	return f
}

func (f *forkRun) report(t *testing.T, verdict analysis.Verdict) {
	t.Helper()
	d := &report.Document{Schema: report.SchemaV1, Service: "shop", Snapshot: report.Snapshot{Name: "shop", RecordedAt: time.Unix(0, 0).UTC()}, Run: report.Run{StartedAt: time.Unix(0, 0).UTC()}}
	d.Verdict, d.Replayed, d.Changed = verdict, 10, 1
	if verdict == analysis.Fail {
		d.Findings = []analysis.Finding{{ID: "F1", Kind: analysis.KindResponse, Cause: analysis.CauseHead, Endpoint: "GET /", Change: analysis.ChangeStatus,
			Base: "200", Head: "</details> @octocat", Count: 1, Of: 10, Gates: true}}
	}
	var b bytes.Buffer
	if err := d.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	f.write(t, "report.json", b.String())
}

func (f *forkRun) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// comment runs the command and returns its exit code, what it said, and the
// outputs it set.
func (f *forkRun) comment(t *testing.T, head string, args ...string) (code int, said, outputs string) {
	t.Helper()
	name, payload := "workflow_run", fmt.Sprintf(`{"workflow_run":{"id":%d,"run_attempt":1,"event":"pull_request","html_url":"https://github.com/acme/shop/actions/runs/%d","head_sha":%q,"head_branch":"fix","head_repository":{"full_name":"eve/shop"},"pull_requests":[{"number":1}]}}`, f.run, f.run, head)
	if f.name != "" {
		name, payload = f.name, f.payload
	}
	f.write(t, "event.json", payload)
	f.write(t, "outputs", "")
	var out bytes.Buffer
	code = cli.Run(t.Context(), append([]string{"comment"}, args...), cli.Surroundings{
		Environ: []string{"GITHUB_ACTIONS=true", "GITHUB_EVENT_NAME=" + name, "GITHUB_EVENT_PATH=" + filepath.Join(f.dir, "event.json"), "GITHUB_REPOSITORY=acme/shop",
			"GITHUB_API_URL=" + f.url, "REPRISE_GITHUB_TOKEN=t0ken", "GITHUB_OUTPUT=" + filepath.Join(f.dir, "outputs")},
		Dir: f.dir, Stdout: &out, Stderr: &out,
	})
	data, err := os.ReadFile(filepath.Join(f.dir, "outputs"))
	if err != nil {
		t.Fatal(err)
	}
	return code, out.String(), string(data)
}

func TestCommentOfAForksRun(t *testing.T) {
	f := newForkRun(t)
	code, said, outputs := f.comment(t, "h5", "--report", "report.json")
	if code != 0 || !strings.Contains(said, "Comment created: https://github.com/acme/shop/pull/8#") || !strings.Contains(outputs, "verdict<<") {
		t.Fatalf("exit code %d\n%s\n%s", code, said, outputs)
	}
	f.run++
	f.report(t, analysis.Pass)
	if code, said, _ = f.comment(t, "h5", "--report", "report.json"); code != 0 || !strings.Contains(said, "Comment updated") {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	got := f.api.Comments()
	if len(got) != 1 || got[0].Issue != 8 || got[0].Edits != 1 || !strings.Contains(got[0].Body, "all 10 replayed responses match") || !strings.Contains(got[0].Body, "/actions/runs/56") {
		t.Errorf("comments %+v", got)
	}
	if m := f.api.Mistakes(); len(m) > 0 {
		t.Errorf("mistakes %q", m)
	}
}

// The third job of a run on demand follows no other run: the event names the
// pull request, and a stranger has no say in it.
func TestCommentOfARunOnDemand(t *testing.T) {
	f := newForkRun(t)
	f.name, f.payload = "issue_comment", `{"action":"created","issue":{"number":8,"pull_request":{"url":"x"}},"comment":{"id":1,"body":"/reprise run","user":{"login":"mona"}}}`
	if code, said, _ := f.comment(t, "", "--report", "report.json"); code != 0 || !strings.Contains(said, "Comment created") {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	if got := f.api.Comments(); len(got) != 1 || got[0].Issue != 8 {
		t.Errorf("comments %+v", got)
	}
	f.name, f.payload = "push", `{}`
	if code, said, _ := f.comment(t, "", "--report", "report.json"); code != 2 || !strings.Contains(said, `the event "push" names no pull request`) {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

func TestCommentRefuses(t *testing.T) {
	for _, c := range []struct {
		reason string
		spoil  func(*forkRun)
		head   string
		args   []string
		code   int
		want   string
	}{
		{"no report", func(*forkRun) {}, "h5", nil, 2, "--report: missing"},
		{"a file that is not there", func(*forkRun) {}, "h5", []string{"--report=none.json"}, 2, "no such file"},
		{"not a report", func(f *forkRun) { f.write(t, "report.json", `{"schema":"x"}`) }, "h5", []string{"--report=report.json"}, 2, `schema is "x"`},
		{"another head was pushed", func(*forkRun) {}, "h6", []string{"--report=report.json"}, 0, "No comment: "},
		{"no right to write", func(f *forkRun) { f.api.Fail(githubtest.Fault{Method: "POST", Status: http.StatusForbidden}) }, "h5", []string{"--report=report.json"}, 2, "pull-requests: write"},
		{"never", func(*forkRun) {}, "h5", []string{"--report=report.json", "--comment=never"}, 0, "No comment: "},
	} {
		t.Run(c.reason, func(t *testing.T) {
			f := newForkRun(t)
			c.spoil(f)
			code, said, outputs := f.comment(t, c.head, c.args...)
			if code != c.code || !strings.Contains(said, c.want) || !strings.Contains(outputs, "verdict<<") || len(f.api.Comments()) != 0 {
				t.Errorf("exit code %d, outputs %q, %d comments\n%s", code, outputs, len(f.api.Comments()), said)
			}
		})
	}
}
