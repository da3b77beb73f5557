package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Event is what started the run, as far as the runner tells. Every field may
// be empty: act knows little, and a plain terminal knows nothing.
type Event struct {
	// Name is the event's, "pull_request" or "schedule"; empty outside of
	// GitHub Actions.
	Name  string
	Owner string
	Repo  string
	// Pull is the number of the pull request, or 0.
	Pull int
	// Base and Head are the two sides, where the event has two. Head is the
	// commit that was pushed, never the merge commit that GITHUB_SHA names.
	Base, Head Side
	// Fork says that head lives in another repository than the run.
	Fork bool
	// Run and Attempt identify the run; both grow.
	Run, Attempt int64
	// RunURL is the page of the run.
	RunURL string
	// Act says that the run is one of act's, on a developer's machine.
	Act bool
	// APIURL is the address of the API, without a slash at the end.
	APIURL string
	// Comment is set for issue_comment.
	Comment *Comment
	// Upstream is set for workflow_run: the run that this one follows.
	Upstream *Upstream
}

// Side is one side of a comparison.
type Side struct{ SHA, Ref, Repo string }

// Comment is a comment that started a run.
type Comment struct {
	ID     int64
	Body   string
	Author string
	Action string // created, edited or deleted
	// OnPull says that it stands on a pull request, not on an issue.
	OnPull bool
}

// Upstream is the run that a workflow_run event reports.
type Upstream struct {
	ID         int64
	Attempt    int64
	URL        string
	Event      string
	Conclusion string
	Head       Side
}

// The events that reprise treats in their own way; any other replays against
// the merge base and posts no comment.
const (
	EventPullRequest       = "pull_request"
	EventPullRequestTarget = "pull_request_target"
	EventMergeGroup        = "merge_group"
	EventPush              = "push"
	EventWorkflowDispatch  = "workflow_dispatch"
	EventSchedule          = "schedule"
	EventIssueComment      = "issue_comment"
	EventWorkflowRun       = "workflow_run"
)

// payloadLimit is the size that an event file may have; GitHub caps payloads
// at 25 MB.
const payloadLimit = 26 << 20

// payload is what is read of an event file. Pointers tell absent from empty.
type payload struct {
	Action      string `json:"action"`
	Number      int    `json:"number"`
	PullRequest *struct {
		Number int         `json:"number"`
		Base   payloadSide `json:"base"`
		Head   payloadSide `json:"head"`
	} `json:"pull_request"`
	MergeGroup *struct {
		BaseSHA string `json:"base_sha"`
		BaseRef string `json:"base_ref"`
		HeadSHA string `json:"head_sha"`
		HeadRef string `json:"head_ref"`
	} `json:"merge_group"`
	Before string `json:"before"`
	After  string `json:"after"`
	Inputs map[string]any
	Issue  *struct {
		Number      int             `json:"number"`
		PullRequest json.RawMessage `json:"pull_request"`
	} `json:"issue"`
	Comment *struct {
		ID   int64  `json:"id"`
		Body string `json:"body"`
		User struct {
			Login string `json:"login"`
		} `json:"user"`
	} `json:"comment"`
	WorkflowRun *struct {
		ID             int64  `json:"id"`
		Attempt        int64  `json:"run_attempt"`
		URL            string `json:"html_url"`
		Event          string `json:"event"`
		Conclusion     string `json:"conclusion"`
		HeadSHA        string `json:"head_sha"`
		HeadBranch     string `json:"head_branch"`
		HeadRepository *struct {
			FullName string `json:"full_name"`
		} `json:"head_repository"`
	} `json:"workflow_run"`
}

type payloadSide struct {
	SHA  string `json:"sha"`
	Ref  string `json:"ref"`
	Repo *struct {
		FullName string `json:"full_name"`
	} `json:"repo"` // null when a fork was deleted
}

func (s payloadSide) side() Side {
	out := Side{SHA: s.SHA, Ref: s.Ref}
	if s.Repo != nil {
		out.Repo = s.Repo.FullName
	}
	return out
}

// ReadEvent reads the event from the environment and from the file that it
// names. Outside of GitHub Actions it returns an empty event. An error means
// that the event file cannot be read; the event holds what the environment
// tells even then.
func ReadEvent(getenv func(string) string) (*Event, error) {
	e := &Event{
		Name:   getenv("GITHUB_EVENT_NAME"),
		Act:    getenv("ACT") == "true",
		APIURL: strings.TrimRight(getenv("GITHUB_API_URL"), "/"),
		Head:   Side{SHA: getenv("GITHUB_SHA"), Ref: getenv("GITHUB_HEAD_REF"), Repo: getenv("GITHUB_REPOSITORY")},
		Base:   Side{Ref: getenv("GITHUB_BASE_REF"), Repo: getenv("GITHUB_REPOSITORY")},
	}
	if e.APIURL == "" {
		e.APIURL = "https://api.github.com"
	}
	e.Owner, e.Repo, _ = strings.Cut(getenv("GITHUB_REPOSITORY"), "/")
	e.Run, _ = strconv.ParseInt(getenv("GITHUB_RUN_ID"), 10, 64)
	e.Attempt, _ = strconv.ParseInt(getenv("GITHUB_RUN_ATTEMPT"), 10, 64)
	if server := getenv("GITHUB_SERVER_URL"); server != "" && e.Run > 0 && e.Repo != "" && !e.Act {
		e.RunURL = fmt.Sprintf("%s/%s/%s/actions/runs/%d", strings.TrimRight(server, "/"), url.PathEscape(e.Owner), url.PathEscape(e.Repo), e.Run)
		if e.Attempt > 1 {
			e.RunURL += fmt.Sprintf("/attempts/%d", e.Attempt)
		}
	}
	e.Pull = pullOfRef(getenv("GITHUB_REF"))

	p, err := readPayload(getenv("GITHUB_EVENT_PATH"))
	if err != nil {
		return e, err
	}
	e.apply(p)
	return e, nil
}

// readPayload reads an event file; no path means no payload.
func readPayload(path string) (*payload, error) {
	if path == "" {
		return &payload{}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, payloadLimit+1))
	if err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	if len(data) > payloadLimit {
		return nil, fmt.Errorf("read event: %s is larger than %d bytes", path, payloadLimit)
	}
	p := new(payload)
	if len(strings.TrimSpace(string(data))) == 0 {
		return p, nil // act without an event file
	}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("read event %s: %w", path, err)
	}
	return p, nil
}

// apply takes over what the payload knows better than the environment.
func (e *Event) apply(p *payload) {
	here := e.Owner + "/" + e.Repo
	switch {
	case p.PullRequest != nil:
		e.Pull = first(p.PullRequest.Number, p.Number, e.Pull)
		base, head := p.PullRequest.Base.side(), p.PullRequest.Head.side()
		if base.SHA != "" {
			e.Base = base
		}
		if head.SHA != "" {
			e.Head = head
			// A deleted fork has no repository any more: still a fork.
			e.Fork = head.Repo == "" || !strings.EqualFold(head.Repo, first(base.Repo, here))
		}
	case p.MergeGroup != nil:
		g := p.MergeGroup
		e.Base = Side{SHA: g.BaseSHA, Ref: strings.TrimPrefix(g.BaseRef, "refs/heads/"), Repo: here}
		e.Head = Side{SHA: g.HeadSHA, Ref: strings.TrimPrefix(g.HeadRef, "refs/heads/"), Repo: here}
		e.Pull = 0 // a group may hold many
	case e.Name == EventPush:
		// An all-zero id stands for a branch that was just made.
		if strings.Trim(p.Before, "0") != "" {
			e.Base.SHA = p.Before
		}
		e.Head.SHA = first(p.After, e.Head.SHA)
	case e.Name == EventWorkflowDispatch:
		if s, ok := p.Inputs["pr-number"].(string); ok {
			e.Pull, _ = strconv.Atoi(strings.TrimSpace(s))
		}
	}
	if p.Comment != nil {
		e.Comment = &Comment{ID: p.Comment.ID, Body: p.Comment.Body, Author: p.Comment.User.Login, Action: p.Action}
		if p.Issue != nil {
			e.Comment.OnPull = len(p.Issue.PullRequest) > 0 && string(p.Issue.PullRequest) != "null"
			if e.Comment.OnPull {
				e.Pull = p.Issue.Number
			}
		}
	}
	if w := p.WorkflowRun; w != nil {
		e.Upstream = &Upstream{ID: w.ID, Attempt: w.Attempt, URL: w.URL, Event: w.Event, Conclusion: w.Conclusion, Head: Side{SHA: w.HeadSHA, Ref: w.HeadBranch}}
		if w.HeadRepository != nil {
			e.Upstream.Head.Repo = w.HeadRepository.FullName
		}
		e.Fork = !strings.EqualFold(e.Upstream.Head.Repo, here)
		// The pull request must come from the API, not from an artifact.
		e.Pull = 0
	}
}

var pullRef = regexp.MustCompile(`^refs/pull/(\d+)/(merge|head)$`)

func pullOfRef(ref string) int {
	if m := pullRef.FindStringSubmatch(ref); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

func first[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

// ErrUnsafeFork is returned by [Event.Check] for code of strangers with the
// rights of the repository.
var ErrUnsafeFork = errors.New("pull_request_target would run the code of a fork with this repository's token and secrets; use pull_request for the replay and workflow_run for the comment (docs/github-action.md)")

// Check refuses events for which a replay must not run.
func (e *Event) Check() error {
	if e.Name == EventPullRequestTarget && e.Fork {
		return ErrUnsafeFork
	}
	return nil
}
