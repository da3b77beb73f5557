package github

import (
	"net/url"
	"strings"
)

// CommentMode is the input comment.
type CommentMode string

// The modes.
const (
	CommentAuto      CommentMode = "auto"       // when there is something to say, or a comment to bring up to date
	CommentAlways    CommentMode = "always"     // on every pull request
	CommentOnFailure CommentMode = "on-failure" // when the check fails, or a comment to bring up to date
	CommentNever     CommentMode = "never"
)

// Plan is whether and how to comment.
type Plan struct {
	Post bool
	// OnlyUpdate edits a comment that is there, and makes none.
	OnlyUpdate bool
	// Why says in one sentence why there is no comment.
	Why string
}

// PlanComment decides on a comment. Worth says that a reader would want to
// know what the report says, failed that the check fails.
func PlanComment(mode CommentMode, e *Event, worth, failed bool) Plan {
	switch {
	case mode == CommentNever:
		return Plan{Why: "The input comment is never."}
	case e.Name == "":
		return Plan{Why: "Not a run of GitHub Actions."}
	case e.Name == EventMergeGroup:
		return Plan{Why: "A merge group has no pull request of its own."}
	case e.Name == EventPush || e.Name == EventSchedule:
		return Plan{Why: "The event " + e.Name + " has no pull request."}
	case e.Pull == 0:
		return Plan{Why: "The event names no pull request."}
	case e.Act && mode != CommentAlways && onGitHub(e.APIURL):
		return Plan{Why: "Runs of act post no comment to github.com unless the input comment is always."}
	}
	p := Plan{Post: true}
	switch mode {
	case CommentOnFailure:
		p.OnlyUpdate = !failed
	case CommentAlways:
	default:
		p.OnlyUpdate = !worth && !failed
	}
	return p
}

func onGitHub(api string) bool {
	u, err := url.Parse(api)
	if err != nil {
		return true
	}
	host := strings.ToLower(u.Hostname())
	return host == "" || host == "github.com" || strings.HasSuffix(host, ".github.com") || strings.HasSuffix(host, ".ghe.com")
}
