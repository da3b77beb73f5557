package cli_test

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/cli"
	"github.com/reprise-ci/reprise/internal/github/githubtest"
)

func TestGate(t *testing.T) {
	pull := `"issue":{"number":5,"pull_request":{"url":"x"}}`
	for _, c := range []struct {
		reason, issue, author, body string
		code                        int
		proceed                     bool
		reaction                    string
	}{
		{"a maintainer names the commit", pull, "mona", "/reprise run 9f2c1ab", 0, true, "eyes"},
		{"a maintainer names none on a fork", pull, "mona", "/reprise run", 0, false, "-1"},
		{"a stranger", pull, "eve", "/reprise run 9f2c1ab", 0, false, "-1"},
		{"talk", pull, "mona", "nice work", 0, false, ""},
		{"an issue", `"issue":{"number":5}`, "mona", "/reprise run 9f2c1ab", 0, false, ""},
	} {
		t.Run(c.reason, func(t *testing.T) {
			api := githubtest.New(githubtest.Options{Owner: "acme", Repo: "shop", Token: "t0ken"})
			api.SetPermission("mona", "write")
			api.AddPull(githubtest.Pull{Number: 5, HeadSHA: "9f2c1ab4aa", HeadRef: "fix", HeadRepo: "eve/shop", BaseRef: "main"})
			id := api.Seed(5, c.author, "User", c.body)
			web := httptest.NewServer(api)
			defer web.Close()
			dir := t.TempDir()
			event, outputs := filepath.Join(dir, "event.json"), filepath.Join(dir, "outputs")
			text := fmt.Sprintf(`{"action":"created",%s,"comment":{"id":%d,"body":%q,"user":{"login":%q}}}`, c.issue, id, c.body, c.author)
			if err := os.WriteFile(event, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			code := cli.Run(t.Context(), []string{"gate"}, cli.Surroundings{Dir: dir, Stdout: &out, Stderr: &out, Environ: []string{
				"GITHUB_ACTIONS=true", "GITHUB_EVENT_NAME=issue_comment", "GITHUB_EVENT_PATH=" + event, "GITHUB_REPOSITORY=acme/shop",
				"GITHUB_API_URL=" + web.URL, "REPRISE_GITHUB_TOKEN=t0ken", "GITHUB_OUTPUT=" + outputs}})
			data, err := os.ReadFile(outputs)
			if err != nil {
				t.Fatal(err)
			}
			proceed := regexp.MustCompile(`(?m)^proceed<<\S+\ntrue\n`).Match(data)
			sha := strings.Contains(string(data), "9f2c1ab4aa")
			if code != c.code || proceed != c.proceed || sha != c.proceed {
				t.Errorf("exit code %d, outputs %s\n%s", code, data, out.String())
			}
			reaction := ""
			for _, r := range api.Reactions() {
				reaction += r.Content
			}
			if reaction != c.reaction || len(api.Mistakes()) > 0 {
				t.Errorf("reaction %q, mistakes %q\n%s", reaction, api.Mistakes(), out.String())
			}
		})
	}
}
