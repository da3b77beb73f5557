package github

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Command is a comment that asks for a run: "/reprise run 9f2c1ab".
type Command struct {
	Verb string // run or help
	// SHA is the commit that the commenter has looked at, or a beginning of it.
	SHA string
}

var commandLine = regexp.MustCompile(`^/reprise[ \t]+(run|help)(?:[ \t]+([0-9a-f]{7,40}))?[ \t]*$`)

// ParseCommand reads the first line of a comment. Anything but a command
// reports false and deserves no answer.
func ParseCommand(body string) (Command, bool) {
	line, _, _ := strings.Cut(strings.ReplaceAll(body, "\r", ""), "\n")
	m := commandLine.FindStringSubmatch(strings.TrimSpace(line))
	if m == nil {
		return Command{}, false
	}
	return Command{Verb: m[1], SHA: m[2]}, true
}

// ErrNotAllowed is wrapped by errors of [Client.Authorize].
var ErrNotAllowed = errors.New("not allowed")

// Authorize decides whether a comment may start a run, and returns the head
// that the run must check out. It must be a new comment (an edited one could
// have been approved as another) of someone who may push. On a pull request
// from a fork it must name the commit, so that nobody can push another one
// between the comment and the run.
func (c *Client) Authorize(ctx context.Context, e *Event, cmd Command) (head Side, err error) {
	if e.Comment == nil || !e.Comment.OnPull || e.Comment.Action != "created" {
		return Side{}, fmt.Errorf("%w: only a new comment on a pull request starts a run", ErrNotAllowed)
	}
	may, err := c.MayWrite(ctx, e.Comment.Author)
	if err != nil {
		return Side{}, err
	}
	if !may {
		return Side{}, fmt.Errorf("%w: %s may not push to this repository", ErrNotAllowed, cut(e.Comment.Author))
	}
	base, head, err := c.PullHead(ctx, e.Pull)
	if err != nil {
		return Side{}, err
	}
	switch {
	case cmd.SHA != "" && !strings.HasPrefix(head.SHA, cmd.SHA):
		return Side{}, fmt.Errorf("%w: the head of the pull request is %.7s now; look at it and name it", ErrNotAllowed, head.SHA)
	case cmd.SHA == "" && !strings.EqualFold(head.Repo, base.Repo):
		return Side{}, fmt.Errorf("%w: on a pull request from a fork, name the commit that you have read: /reprise run %.7s", ErrNotAllowed, head.SHA)
	}
	return head, nil
}
