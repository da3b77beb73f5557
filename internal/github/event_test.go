package github_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/reprise-ci/reprise/internal/github"
)

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(k string) string { return m[k] }
}

// runner is the environment of a GitHub runner, with changes.
func runner(pairs ...string) func(string) string {
	base := []string{"GITHUB_ACTIONS", "true", "GITHUB_REPOSITORY", "acme/shop", "GITHUB_RUN_ID", "8123", "GITHUB_RUN_ATTEMPT", "1",
		"GITHUB_SERVER_URL", "https://github.com", "GITHUB_API_URL", "https://api.github.com", "GITHUB_SHA", "merge0"}
	return env(append(base, pairs...)...)
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const samePull = `{"action":"synchronize","number":7,"pull_request":{"number":7,
 "base":{"sha":"b1","ref":"main","repo":{"full_name":"acme/shop"}},"head":{"sha":"h1","ref":"fix","repo":{"full_name":"Acme/Shop"}}}}`

const forkPull = `{"action":"opened","number":8,"pull_request":{"number":8,
 "base":{"sha":"b1","ref":"main","repo":{"full_name":"acme/shop"}},"head":{"sha":"h1","ref":"fix","repo":{"full_name":"eve/shop"}}}}`

func TestReadEvent(t *testing.T) {
	shop := "acme/shop"
	for _, c := range []struct {
		reason  string
		env     []string
		payload string
		want    github.Event
	}{
		{"a pull request: its head, not the merge commit", []string{"GITHUB_EVENT_NAME", "pull_request", "GITHUB_REF", "refs/pull/7/merge"}, samePull,
			github.Event{Name: "pull_request", Pull: 7, Base: github.Side{SHA: "b1", Ref: "main", Repo: shop}, Head: github.Side{SHA: "h1", Ref: "fix", Repo: "Acme/Shop"}}},
		{"a fork", []string{"GITHUB_EVENT_NAME", "pull_request"}, forkPull,
			github.Event{Name: "pull_request", Pull: 8, Fork: true, Base: github.Side{SHA: "b1", Ref: "main", Repo: shop}, Head: github.Side{SHA: "h1", Ref: "fix", Repo: "eve/shop"}}},
		{"a fork that was deleted has no repository", []string{"GITHUB_EVENT_NAME", "pull_request"}, `{"pull_request":{"number":8,"base":{"sha":"b1"},"head":{"sha":"h1","repo":null}}}`,
			github.Event{Name: "pull_request", Pull: 8, Fork: true, Base: github.Side{SHA: "b1"}, Head: github.Side{SHA: "h1"}}},
		{"a merge group has both sides and no pull request", []string{"GITHUB_EVENT_NAME", "merge_group"}, `{"merge_group":{"base_sha":"b2","base_ref":"refs/heads/main","head_sha":"h2","head_ref":"refs/heads/gh-readonly-queue/main/pr-7-b2"}}`,
			github.Event{Name: "merge_group", Base: github.Side{SHA: "b2", Ref: "main", Repo: shop}, Head: github.Side{SHA: "h2", Ref: "gh-readonly-queue/main/pr-7-b2", Repo: shop}}},
		{"a push", []string{"GITHUB_EVENT_NAME", "push"}, `{"before":"b3","after":"h3"}`,
			github.Event{Name: "push", Base: github.Side{SHA: "b3", Repo: shop}, Head: github.Side{SHA: "h3", Repo: shop}}},
		{"the first push of a branch has nothing before it", []string{"GITHUB_EVENT_NAME", "push"}, `{"before":"0000000000000000000000000000000000000000","after":"h3"}`,
			github.Event{Name: "push", Base: github.Side{Repo: shop}, Head: github.Side{SHA: "h3", Repo: shop}}},
		{"by hand, for a pull request", []string{"GITHUB_EVENT_NAME", "workflow_dispatch"}, `{"inputs":{"pr-number":" 12 "}}`,
			github.Event{Name: "workflow_dispatch", Pull: 12, Base: github.Side{Repo: shop}, Head: github.Side{SHA: "merge0", Repo: shop}}},
		{"nightly", []string{"GITHUB_EVENT_NAME", "schedule"}, `{"schedule":"0 3 * * *"}`,
			github.Event{Name: "schedule", Base: github.Side{Repo: shop}, Head: github.Side{SHA: "merge0", Repo: shop}}},
		{"a comment on a pull request", []string{"GITHUB_EVENT_NAME", "issue_comment"}, `{"action":"created","issue":{"number":9,"pull_request":{"url":"x"}},"comment":{"id":9007199254740993,"body":"/reprise run","user":{"login":"mona"}}}`,
			github.Event{Name: "issue_comment", Pull: 9, Base: github.Side{Repo: shop}, Head: github.Side{SHA: "merge0", Repo: shop},
				Comment: &github.Comment{ID: 9007199254740993, Body: "/reprise run", Author: "mona", Action: "created", OnPull: true}}},
		{"a comment on an issue", []string{"GITHUB_EVENT_NAME", "issue_comment"}, `{"action":"created","issue":{"number":9},"comment":{"id":1,"body":"x","user":{"login":"mona"}}}`,
			github.Event{Name: "issue_comment", Base: github.Side{Repo: shop}, Head: github.Side{SHA: "merge0", Repo: shop}, Comment: &github.Comment{ID: 1, Body: "x", Author: "mona", Action: "created"}}},
		{"after another workflow: the pull request is not believed", []string{"GITHUB_EVENT_NAME", "workflow_run"}, `{"workflow_run":{"id":55,"run_attempt":2,"html_url":"https://github.com/acme/shop/actions/runs/55","event":"pull_request","conclusion":"failure","head_sha":"h5","head_branch":"fix","head_repository":{"full_name":"eve/shop"},"pull_requests":[{"number":1}]}}`,
			github.Event{Name: "workflow_run", Fork: true, Base: github.Side{Repo: shop}, Head: github.Side{SHA: "merge0", Repo: shop},
				Upstream: &github.Upstream{ID: 55, Attempt: 2, URL: "https://github.com/acme/shop/actions/runs/55", Event: "pull_request", Conclusion: "failure", Head: github.Side{SHA: "h5", Ref: "fix", Repo: "eve/shop"}}}},
		{"no payload: the number is in the ref", []string{"GITHUB_EVENT_NAME", "pull_request", "GITHUB_REF", "refs/pull/31/merge", "GITHUB_BASE_REF", "main", "GITHUB_HEAD_REF", "fix"}, `{}`,
			github.Event{Name: "pull_request", Pull: 31, Base: github.Side{Ref: "main", Repo: shop}, Head: github.Side{SHA: "merge0", Ref: "fix", Repo: shop}}},
		{"act without a payload writes a broken ref", []string{"GITHUB_EVENT_NAME", "pull_request", "GITHUB_REF", "refs/pull/%!f(<nil>)/merge"}, ``,
			github.Event{Name: "pull_request", Base: github.Side{Repo: shop}, Head: github.Side{SHA: "merge0", Repo: shop}}},
		{"an event we do not know", []string{"GITHUB_EVENT_NAME", "release"}, `{"action":"published","release":{"id":1}}`,
			github.Event{Name: "release", Base: github.Side{Repo: shop}, Head: github.Side{SHA: "merge0", Repo: shop}}},
	} {
		c.want.Owner, c.want.Repo, c.want.Run, c.want.Attempt = "acme", "shop", 8123, 1
		c.want.RunURL, c.want.APIURL = "https://github.com/acme/shop/actions/runs/8123", "https://api.github.com"
		got, err := github.ReadEvent(runner(append(c.env, "GITHUB_EVENT_PATH", file(t, c.payload))...))
		if err != nil {
			t.Errorf("%s: %v", c.reason, err)
		}
		if diff := cmp.Diff(&c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

func TestReadEventOutsideOfActions(t *testing.T) {
	got, err := github.ReadEvent(env())
	if err != nil || got.Name != "" || got.Pull != 0 || got.Check() != nil {
		t.Errorf("event %+v, error %v", got, err)
	}
}

func TestReadEventKeepsWhatItKnows(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none.json"), file(t, "{"), file(t, `{"number":"seven"}`)} {
		got, err := github.ReadEvent(runner("GITHUB_EVENT_NAME", "pull_request", "GITHUB_REF", "refs/pull/3/merge", "GITHUB_EVENT_PATH", path))
		if err == nil || got == nil || got.Pull != 3 || got.Owner != "acme" {
			t.Errorf("event %+v, error %v", got, err)
		}
	}
}

func TestCheckRefusesForksWithRights(t *testing.T) {
	for _, c := range []struct {
		name, payload string
		want          error
	}{
		{"pull_request_target", forkPull, github.ErrUnsafeFork},
		{"pull_request_target", samePull, nil},
		{"pull_request", forkPull, nil},
	} {
		e, err := github.ReadEvent(runner("GITHUB_EVENT_NAME", c.name, "GITHUB_EVENT_PATH", file(t, c.payload)))
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Check(); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzReadEvent(f *testing.F) {
	for _, s := range []string{"", "{}", samePull, forkPull, `{"workflow_run":{}}`, `{"comment":{},"issue":{"pull_request":null}}`, `{"merge_group":{}}`, `{"inputs":{"pr-number":1}}`, `[]`} {
		f.Add("pull_request", s)
		f.Add("push", s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name, text string) {
		path := filepath.Join(dir, "event.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		e, _ := github.ReadEvent(runner("GITHUB_EVENT_NAME", name, "GITHUB_EVENT_PATH", path))
		if e == nil {
			t.Fatal("no event")
		}
		github.PlanComment(github.CommentAuto, e, true, true)
	})
}

func TestPlanComment(t *testing.T) {
	pull := github.Event{Name: "pull_request", Pull: 7, APIURL: "https://api.github.com"}
	with := func(change func(*github.Event)) *github.Event {
		e := pull
		change(&e)
		return &e
	}
	for _, c := range []struct {
		reason        string
		mode          github.CommentMode
		event         *github.Event
		worth, failed bool
		want          string
	}{
		{"something to say", "auto", &pull, true, false, "post"},
		{"a failure", "auto", &pull, false, true, "post"},
		{"nothing to say brings an old comment up to date", "auto", &pull, false, false, "update"},
		{"always", "always", &pull, false, false, "post"},
		{"on failure only", "on-failure", &pull, true, false, "update"},
		{"on failure", "on-failure", &pull, true, true, "post"},
		{"never", "never", &pull, true, true, "no"},
		{"a merge group", "always", with(func(e *github.Event) { e.Name = "merge_group" }), true, true, "no"},
		{"a push", "always", with(func(e *github.Event) { e.Name = "push" }), true, true, "no"},
		{"no pull request", "always", with(func(e *github.Event) { e.Pull = 0 }), true, true, "no"},
		{"a terminal", "always", &github.Event{}, true, true, "no"},
		{"act does not write to github.com", "auto", with(func(e *github.Event) { e.Act = true }), true, true, "no"},
		{"act when asked", "always", with(func(e *github.Event) { e.Act = true }), true, true, "post"},
		{"act with another API", "auto", with(func(e *github.Event) { e.Act, e.APIURL = true, "http://127.0.0.1:4000" }), true, true, "post"},
		{"act with GitHub's own cloud", "auto", with(func(e *github.Event) { e.Act, e.APIURL = true, "https://api.acme.ghe.com" }), true, true, "no"},
	} {
		p := github.PlanComment(c.mode, c.event, c.worth, c.failed)
		got := "no"
		if p.Post {
			got = "post"
			if p.OnlyUpdate {
				got = "update"
			}
		}
		if got != c.want || (got == "no") != (p.Why != "") {
			t.Errorf("%s: %+v, want %s", c.reason, p, c.want)
		}
	}
}
