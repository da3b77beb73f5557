package e2e

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/github/githubtest"
)

// actVersion is the act that the tests build from its module.
const actVersion = "github.com/nektos/act@v0.2.89"

// TestAct runs the project's own workflow twice under act in host mode, with a
// stand-in for GitHub's API: a kind cluster, the action of this commit, and one
// comment that the second run edits.
func TestAct(t *testing.T) {
	needsKind(t)
	act := buildAct(t)
	before := dockerState(t)
	api := githubtest.New(githubtest.Options{Owner: "reprise-ci", Repo: "reprise"})
	server := httptest.NewServer(api)
	defer server.Close()
	url := server.URL

	project := cloneProject(t)
	apply(t, project, "type-changed")
	log := runAct(t, act, project, url)
	first := api.Comments()
	if len(first) != 1 {
		t.Fatalf("%d comments after the first run, want 1\n%s", len(first), log)
	}
	if body := first[0].Body; !strings.Contains(body, "changed its type") && !strings.Contains(body, "response.body.total") {
		t.Errorf("the comment does not tell of the changed type:\n%s", body)
	}

	apply(t, project, "lost-call")
	log = runAct(t, act, project, url)
	second := api.Comments()
	if len(second) != 1 || second[0].ID != first[0].ID {
		t.Fatalf("after the second run there are %d comments, want the first one edited\n%s", len(second), log)
	}
	if second[0].Body == first[0].Body || !strings.Contains(second[0].Body, "/capture") {
		t.Errorf("the comment was not brought up to date:\n%s", second[0].Body)
	}
	if wrong := api.Mistakes(); len(wrong) > 0 {
		t.Errorf("requests that GitHub would refuse: %q", wrong)
	}
	if after := dockerState(t); !slices.Equal(before, after) {
		t.Errorf("Docker holds other things than before:\nbefore %q\nafter  %q", before, after)
	}
}

// buildAct finds act, or builds it from its module.
func buildAct(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("act"); err == nil {
		return path
	}
	bin := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "install", actVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build act: %v\n%s", err, out)
	}
	return filepath.Join(bin, "act")
}

// cloneProject clones this project, as it stands in the work tree, and makes a
// branch in it. Less time is spent on measuring than on a real pull request.
func cloneProject(t *testing.T) string {
	t.Helper()
	root, dir := command(t, ".", "git", "rev-parse", "--show-toplevel"), filepath.Join(t.TempDir(), "reprise")
	root = strings.TrimSpace(root)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSpace(command(t, root, "git", "ls-files", "-co", "--exclude-standard")), "\n") {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // deleted in the work tree
		}
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "examples", "shop", "reprise.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, string(text)+"\nlatency: {budget: 15s}\n")
	git := func(args ...string) { command(t, dir, "git", args...) }
	git("init", "-q", "-b", "main")
	git("config", "user.name", "test")
	git("config", "user.email", "test@example.com")
	git("remote", "add", "origin", "https://github.com/reprise-ci/reprise")
	git("add", "-A")
	git("commit", "-qm", "The project as it is")
	git("switch", "-qc", "change")
	return dir
}

// apply commits one regression of the example.
func apply(t *testing.T, project, name string) {
	t.Helper()
	command(t, project, "git", "apply", filepath.Join("examples", "shop", "regressions", name+".patch"))
	command(t, project, "git", "commit", "-qam", name)
}

// runAct runs the workflow on a pull request of the current branch. The gates
// fail, and so must the job.
func runAct(t *testing.T, act, project, api string) string {
	t.Helper()
	sha := func(ref string) string { return strings.TrimSpace(command(t, project, "git", "rev-parse", ref)) }
	side := func(ref string) map[string]any {
		return map[string]any{"ref": ref, "sha": sha(ref), "repo": map[string]any{"full_name": "reprise-ci/reprise"}}
	}
	event, err := json.Marshal(map[string]any{
		"action": "synchronize", "number": 7,
		"pull_request": map[string]any{"number": 7, "base": side("main"), "head": side("change")},
		"repository":   map[string]any{"full_name": "reprise-ci/reprise", "default_branch": "main"},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventFile := filepath.Join(t.TempDir(), "event.json")
	write(t, eventFile, string(event))
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, act, "pull_request", "-W", ".github/workflows/replay.yml",
		"-P", "ubuntu-latest=-self-hosted", "-e", eventFile, "-s", "GITHUB_TOKEN=ghs_standin", "--env", "GITHUB_API_URL="+api)
	cmd.Dir = project
	cmd.Env = environment(t)
	out, err := cmd.CombinedOutput()
	log := string(out)
	if err == nil {
		t.Errorf("the job passed, although a gate must fail:\n%s", log)
	}
	if !strings.Contains(log, "Job failed") || !strings.Contains(log, "FAIL  shop") {
		t.Fatalf("the workflow did not get as far as the verdict: %v\n%s", err, log)
	}
	return log
}
