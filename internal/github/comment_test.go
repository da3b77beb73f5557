package github_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/github"
	"github.com/reprise-ci/reprise/internal/github/githubtest"
)

// stand is a stand-in of GitHub with a client for it that never really sleeps.
type stand struct {
	*githubtest.Server
	client *github.Client
	url    string
	mu     sync.Mutex
	slept  []time.Duration
}

func newStand(t *testing.T, login string) *stand {
	t.Helper()
	s := &stand{Server: githubtest.New(githubtest.Options{Owner: "acme", Repo: "shop", Token: "t0ken", Login: login})}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	t.Cleanup(func() {
		if m := s.Mistakes(); len(m) > 0 {
			t.Errorf("requests that GitHub would not understand: %q", m)
		}
	})
	s.url = web.URL
	var err error
	s.client, err = github.NewClient(github.ClientOptions{APIURL: web.URL, Owner: "acme", Repo: "shop", Token: "t0ken", Sleep: func(ctx context.Context, d time.Duration) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.slept = append(s.slept, d)
		return ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func report(body string, run int64) github.Report {
	return github.Report{Pull: 7, Key: "shop/main", Body: body, HeadSHA: "9f2c1ab4", Run: run, Attempt: 1}
}

func (s *stand) upsert(t *testing.T, r github.Report, want github.Outcome) github.Posted {
	t.Helper()
	posted, err := s.client.Upsert(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if posted.Outcome != want {
		t.Fatalf("%s, want %s", posted.Outcome, want)
	}
	return posted
}

func TestOneCommentIsEditedInPlace(t *testing.T) {
	s := newStand(t, "")
	first := s.upsert(t, report("one", 1), github.Created)
	s.upsert(t, report("one", 1), github.Unchanged)
	second := s.upsert(t, report("two", 2), github.Updated)
	if first.ID != second.ID || second.URL == "" {
		t.Errorf("comments %+v and %+v", first, second)
	}
	got := s.Comments()
	if len(got) != 1 || got[0].Edits != 1 || got[0].Body != "<!-- reprise:report key=shop%2Fmain v=1 sha=9f2c1ab4 run=2.1 -->\ntwo" {
		t.Errorf("comments %+v", got)
	}
}

func TestTheCommentIsFoundOnAnyPage(t *testing.T) {
	s := newStand(t, "")
	for i := range 130 {
		s.Seed(7, fmt.Sprintf("user%d", i), "User", "hello")
	}
	s.upsert(t, report("one", 1), github.Created)
	for i := range 120 {
		s.Seed(7, fmt.Sprintf("user%d", i), "User", "hello again")
	}
	s.upsert(t, report("two", 2), github.Updated)
	if n := len(s.Comments()); n != 251 {
		t.Errorf("%d comments", n)
	}
}

func TestForeignCommentsAreLeftAlone(t *testing.T) {
	marker := "<!-- reprise:report key=shop%2Fmain v=1 sha= run=0.0 -->\n"
	for _, c := range []struct {
		reason            string
		login             string
		author, kind      string
		body              string
		wantNewComment    bool
		wantForeignIntact bool
	}{
		{"a person who copied our marker", "", "eve", "User", marker + "x", true, true},
		{"the marker is not at the start", "", "github-actions[bot]", "Bot", "quote:\n" + marker, true, true},
		{"another key that begins like ours", "", "github-actions[bot]", "Bot", strings.Replace(marker, "main", "main2", 1) + "x", true, true},
		{"our own under a personal token", "release-robot", "release-robot", "User", marker + "x", false, false},
		{"the workflow's, under a personal token", "release-robot", "github-actions[bot]", "Bot", marker + "x", true, true},
		{"another app's: the edit is refused, so a new one is made", "", "other[bot]", "Bot", marker + "x", true, true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			s := newStand(t, c.login)
			s.Seed(7, c.author, c.kind, c.body)
			if _, err := s.client.Upsert(t.Context(), report("new", 1)); err != nil {
				t.Fatal(err)
			}
			got := s.Comments()
			if (len(got) == 2) != c.wantNewComment || (got[0].Body == c.body) != c.wantForeignIntact {
				t.Errorf("comments %+v", got)
			}
		})
	}
}

func TestLaterDuplicatesAreRemoved(t *testing.T) {
	s := newStand(t, "")
	s.upsert(t, report("one", 1), github.Created)
	body := s.Comments()[0].Body
	s.Seed(7, "github-actions[bot]", "Bot", body)
	s.Seed(7, "github-actions[bot]", "Bot", body)
	if posted := s.upsert(t, report("two", 2), github.Updated); posted.Removed != 2 {
		t.Errorf("%+v", posted)
	}
	if got := s.Comments(); len(got) != 1 || !strings.HasSuffix(got[0].Body, "two") {
		t.Errorf("comments %+v", got)
	}
}

func TestANewerReportIsKept(t *testing.T) {
	s := newStand(t, "")
	s.upsert(t, report("newer", 20), github.Created)
	s.upsert(t, report("older", 9), github.Skipped)
	again := report("again", 20)
	again.Attempt = 2
	s.upsert(t, again, github.Updated)
	s.upsert(t, report("first attempt", 20), github.Skipped)
	if got := s.Comments(); !strings.HasSuffix(got[0].Body, "again") {
		t.Errorf("comments %+v", got)
	}
}

func TestKeysKeepReportsApart(t *testing.T) {
	s := newStand(t, "")
	keys := []string{"", "a", "a b", "a-->b", "--><script>", strings.Repeat("long ", 100), strings.Repeat("long ", 101), "a\nb", "default2"}
	for _, k := range keys {
		r := report("one", 1)
		r.Key = k
		s.upsert(t, r, github.Created)
		r.Body, r.Run = "two", 2
		s.upsert(t, r, github.Updated)
	}
	got := s.Comments()
	if len(got) != len(keys) {
		t.Fatalf("%d comments for %d keys", len(got), len(keys))
	}
	for _, c := range got {
		line, rest, _ := strings.Cut(c.Body, "\n")
		if rest != "two" || strings.Count(line, "-->") != 1 || strings.ContainsAny(line[4:len(line)-3], "<>\n") {
			t.Errorf("marker %q", line)
		}
	}
}

func TestOnlyUpdate(t *testing.T) {
	s := newStand(t, "")
	r := report("clean", 1)
	r.OnlyUpdate = true
	s.upsert(t, r, github.Skipped)
	if len(s.Comments()) != 0 {
		t.Error("a comment was made")
	}
	s.upsert(t, report("bad", 1), github.Created)
	r.Run = 2
	s.upsert(t, r, github.Updated)
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		reason string
		fault  githubtest.Fault
	}{
		{"no right to write", githubtest.Fault{Method: "POST", Status: http.StatusForbidden}},
		{"no right to read", githubtest.Fault{Method: "GET", Path: "/comments", Status: http.StatusForbidden}},
		{"a token that is none", githubtest.Fault{Status: http.StatusUnauthorized}},
	} {
		s := newStand(t, "")
		s.Fail(c.fault)
		_, err := s.client.Upsert(t.Context(), report("x", 1))
		var refused *github.PermissionError
		if !errors.As(err, &refused) {
			t.Fatalf("%s: %v", c.reason, err)
		}
		if h := refused.Hint(&github.Event{}); !strings.Contains(h, "pull-requests: write") {
			t.Errorf("%s: hint %q", c.reason, h)
		}
		if h := refused.Hint(&github.Event{Fork: true}); !strings.Contains(h, "workflow_run") {
			t.Errorf("%s: hint for forks %q", c.reason, h)
		}
		if len(s.slept) > 0 || len(s.Requests()) > 2 {
			t.Errorf("%s: tried again: %q", c.reason, s.Requests())
		}
	}
}

func TestRetries(t *testing.T) {
	after := func(s string) map[string]string { return map[string]string{"Retry-After": s} }
	for _, c := range []struct {
		reason string
		fault  githubtest.Fault
		fails  bool
		slept  []time.Duration
	}{
		{"too many requests, with a time", githubtest.Fault{Method: "POST", Status: 429, Header: after("7"), Times: 2}, false, []time.Duration{7 * time.Second, 7 * time.Second}},
		{"a secondary limit is a 403 with a time", githubtest.Fault{Method: "POST", Status: 403, Header: after("3"), Times: 1}, false, []time.Duration{3 * time.Second}},
		{"GitHub is down for a moment", githubtest.Fault{Method: "GET", Status: 502, Times: 2}, false, []time.Duration{time.Second, 2 * time.Second}},
		{"longer than we wait", githubtest.Fault{Method: "GET", Status: 503, Header: after("61")}, true, nil},
		{"all in all longer than we wait", githubtest.Fault{Method: "GET", Status: 503, Header: after("25")}, true, []time.Duration{25 * time.Second, 25 * time.Second}},
		{"never comes back", githubtest.Fault{Method: "GET", Status: 500}, true, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
		{"a body that is refused stays refused", githubtest.Fault{Method: "POST", Status: 422}, true, nil},
	} {
		t.Run(c.reason, func(t *testing.T) {
			s := newStand(t, "")
			s.Fail(c.fault)
			_, err := s.client.Upsert(t.Context(), report("x", 1))
			if (err != nil) != c.fails {
				t.Fatalf("error %v", err)
			}
			// Upsert looks a second time when GitHub broke.
			if got := fmt.Sprint(s.slept); got != fmt.Sprint(c.slept) && got != fmt.Sprint(append(c.slept, c.slept...)) {
				t.Errorf("slept %v, want %v", s.slept, c.slept)
			}
			if n := len(s.Comments()); !c.fails && n != 1 {
				t.Errorf("%d comments", n)
			}
		})
	}
}

// A creation whose answer got lost must not make a second comment.
func TestALostAnswerMakesNoDuplicate(t *testing.T) {
	s := newStand(t, "")
	s.Fail(githubtest.Fault{Method: "POST", Status: 502, Times: 1, Applied: true})
	s.upsert(t, report("x", 1), github.Unchanged)
	if n := len(s.Comments()); n != 1 {
		t.Errorf("%d comments", n)
	}
}

func TestDeletedWhileWeLooked(t *testing.T) {
	s := newStand(t, "")
	s.upsert(t, report("one", 1), github.Created)
	s.Fail(githubtest.Fault{Method: "PATCH", Status: http.StatusNotFound, Times: 1})
	s.upsert(t, report("two", 2), github.Created)
}

func TestTooLongIsNotSent(t *testing.T) {
	s := newStand(t, "")
	_, err := s.client.Upsert(t.Context(), report(strings.Repeat("x", github.CommentLimit), 1))
	if err == nil || !strings.Contains(err.Error(), "GitHub takes 65536") || len(s.Requests()) != 0 {
		t.Errorf("error %v, requests %q", err, s.Requests())
	}
}

func TestCancelled(t *testing.T) {
	s := newStand(t, "")
	s.Fail(githubtest.Fault{Status: 502})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.client.Upsert(ctx, report("x", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// The token must not follow a redirect to another host.
func TestTheTokenStaysAtHome(t *testing.T) {
	var seen []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusNotFound)
	}))
	defer elsewhere.Close()
	home := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer home.Close()
	c, err := github.NewClient(github.ClientOptions{APIURL: home.URL, Owner: "acme", Repo: "shop", Token: "t0ken"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Upsert(t.Context(), report("x", 1)); err == nil {
		t.Error("no error")
	}
	if len(seen) == 0 || strings.Join(seen, "") != "" {
		t.Errorf("Authorization elsewhere: %q", seen)
	}
}

func TestNewClientRefuses(t *testing.T) {
	for _, o := range []github.ClientOptions{
		{APIURL: "https://api.github.com", Owner: "a", Repo: "b"},
		{APIURL: "https://api.github.com", Token: "t"},
		{APIURL: "ftp://x", Owner: "a", Repo: "b", Token: "t"},
		{APIURL: "https://u:p@x", Owner: "a", Repo: "b", Token: "t"},
		{APIURL: "", Owner: "a", Repo: "b", Token: "t"},
	} {
		if _, err := github.NewClient(o); err == nil || strings.Contains(err.Error(), "t0ken") {
			t.Errorf("%+v: error %v", o, err)
		}
	}
}

func TestPullOf(t *testing.T) {
	s := newStand(t, "")
	s.AddPull(githubtest.Pull{Number: 4, HeadSHA: "old", HeadRef: "fix", HeadRepo: "eve/shop", BaseRef: "main"})
	s.AddPull(githubtest.Pull{Number: 5, HeadSHA: "h1", HeadRef: "fix", HeadRepo: "eve/shop", BaseRef: "main"})
	got, err := s.client.PullOf(t.Context(), &github.Upstream{Head: github.Side{SHA: "h1", Ref: "fix", Repo: "eve/shop"}})
	if err != nil || got != 5 {
		t.Errorf("pull request %d, error %v", got, err)
	}
	for _, head := range []github.Side{{SHA: "h2", Ref: "fix", Repo: "eve/shop"}, {SHA: "h1", Ref: "fix", Repo: "eve/other"}, {SHA: "h1", Ref: "fix"}, {}} {
		if _, err := s.client.PullOf(t.Context(), &github.Upstream{Head: head}); !errors.Is(err, github.ErrNoPull) {
			t.Errorf("%+v: %v", head, err)
		}
	}
}

func TestAuthorize(t *testing.T) {
	s := newStand(t, "")
	s.SetPermission("mona", "maintain")
	s.SetPermission("eve", "read")
	s.AddPull(githubtest.Pull{Number: 5, HeadSHA: "9f2c1ab4aa", HeadRef: "fix", HeadRepo: "eve/shop", BaseRef: "main"})
	s.AddPull(githubtest.Pull{Number: 6, HeadSHA: "41d7e02cbb", HeadRef: "own", HeadRepo: "acme/shop", BaseRef: "main"})
	comment := s.Seed(5, "mona", "User", "/reprise run")
	for _, c := range []struct {
		reason         string
		pull           int
		author, action string
		body           string
		ok             bool
	}{
		{"a maintainer who names the commit", 5, "mona", "created", "/reprise run 9f2c1ab\nplease", true},
		{"on a fork the commit must be named", 5, "mona", "created", "/reprise run", false},
		{"another commit was pushed meanwhile", 5, "mona", "created", "/reprise run 0000000", false},
		{"a branch of the repository itself", 6, "mona", "created", "/reprise run", true},
		{"someone who may only read", 6, "eve", "created", "/reprise run", false},
		{"someone unknown", 6, "mallory", "created", "/reprise run", false},
		{"an edited comment", 6, "mona", "edited", "/reprise run", false},
	} {
		cmd, found := github.ParseCommand(c.body)
		if !found {
			t.Fatalf("%s: %q is no command", c.reason, c.body)
		}
		e := &github.Event{Name: "issue_comment", Pull: c.pull, Comment: &github.Comment{ID: comment, Body: c.body, Author: c.author, Action: c.action, OnPull: true}}
		head, err := s.client.Authorize(t.Context(), e, cmd)
		if (err == nil) != c.ok || c.ok && head.SHA == "" || !c.ok && !errors.Is(err, github.ErrNotAllowed) {
			t.Errorf("%s: head %+v, error %v", c.reason, head, err)
		}
	}
	if err := s.client.React(t.Context(), comment, github.ReactionSeen); err != nil {
		t.Error(err)
	}
	if got := s.Reactions(); len(got) != 1 || got[0].Content != "eyes" {
		t.Errorf("reactions %+v", got)
	}
}

func TestParseCommand(t *testing.T) {
	for body, want := range map[string]bool{
		"/reprise run": true, "/reprise help": true, "  /reprise  run\t9f2c1ab \r\nmore": true,
		"please /reprise run": false, "/reprise": false, "/reprise run main": false, "/reprise run; rm": false, "/reprise delete": false, "": false, "> /reprise run": false,
	} {
		if _, got := github.ParseCommand(body); got != want {
			t.Errorf("%q: %v", body, got)
		}
	}
}
