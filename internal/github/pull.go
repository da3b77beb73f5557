package github

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"
)

// ErrNoPull is wrapped by errors of [Client.PullOf] when no open pull request
// has the commit as its head.
var ErrNoPull = errors.New("no open pull request has this head")

// PullOf finds the open pull request whose head is exactly the commit that an
// earlier run worked on. The number never comes from a file of that run, which
// a stranger may have written.
func (c *Client) PullOf(ctx context.Context, u *Upstream) (int, error) {
	owner, _, found := strings.Cut(u.Head.Repo, "/")
	if !found || u.Head.Ref == "" || u.Head.SHA == "" {
		return 0, fmt.Errorf("find the pull request of run %d: %w: the event names no head", u.ID, ErrNoPull)
	}
	opts := &gh.PullRequestListOptions{State: "open", Head: owner + ":" + u.Head.Ref, ListOptions: gh.ListOptions{PerPage: 100}}
	for {
		pulls, resp, err := c.api.PullRequests.List(ctx, c.owner, c.repo, opts)
		if err != nil {
			return 0, explain("list pull requests", err)
		}
		for _, p := range pulls {
			if p.GetHead().GetSHA() == u.Head.SHA && strings.EqualFold(p.GetHead().GetRepo().GetFullName(), u.Head.Repo) {
				return p.GetNumber(), nil
			}
		}
		if resp.NextPage == 0 {
			return 0, fmt.Errorf("find the pull request of run %d: %w", u.ID, ErrNoPull)
		}
		opts.Page = resp.NextPage
	}
}

// PullHead returns both sides of a pull request as they are now.
func (c *Client) PullHead(ctx context.Context, number int) (base, head Side, err error) {
	p, _, err := c.api.PullRequests.Get(ctx, c.owner, c.repo, number)
	if err != nil {
		return Side{}, Side{}, explain(fmt.Sprintf("read pull request %d", number), err)
	}
	side := func(b *gh.PullRequestBranch) Side {
		return Side{SHA: b.GetSHA(), Ref: b.GetRef(), Repo: b.GetRepo().GetFullName()}
	}
	return side(p.GetBase()), side(p.GetHead()), nil
}

// MayWrite reports whether a user may push to the repository: what a comment
// that starts a run must be backed by.
func (c *Client) MayWrite(ctx context.Context, user string) (bool, error) {
	level, _, err := c.api.Repositories.GetPermissionLevel(ctx, c.owner, c.repo, user)
	if err != nil {
		return false, explain("read the permission of the commenter", err)
	}
	return slices.Contains([]string{"admin", "maintain", "write"}, level.GetPermission()), nil
}

// The reactions that answer a command.
const (
	ReactionSeen = "eyes"
	ReactionYes  = "+1"
	ReactionNo   = "-1"
)

// React answers a comment with a reaction.
func (c *Client) React(ctx context.Context, comment int64, reaction string) error {
	_, _, err := c.api.Reactions.CreateIssueCommentReaction(ctx, c.owner, c.repo, comment, reaction)
	return explain("react to the comment", err)
}
