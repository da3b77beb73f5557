package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	gh "github.com/google/go-github/v60/github"
)

// CommentLimit is how many characters GitHub takes in a comment.
const CommentLimit = 65_536

// Report is a comment to post.
type Report struct {
	Pull int
	// Key tells the comments of several reports on one pull request apart,
	// such as those of a matrix.
	Key string
	// Body is Markdown, without the marker.
	Body string
	// HeadSHA, Run and Attempt say what the report is about, so that an older
	// run does not overwrite a newer report.
	HeadSHA      string
	Run, Attempt int64
	// OnlyUpdate leaves a pull request without a comment alone.
	OnlyUpdate bool
}

// Outcome is what became of a comment.
type Outcome string

// The outcomes.
const (
	Created   Outcome = "created"
	Updated   Outcome = "updated"
	Unchanged Outcome = "unchanged" // it said the same already
	Skipped   Outcome = "skipped"   // a newer run has reported, or nothing was worth a comment
)

// Posted is where the comment is.
type Posted struct {
	Outcome Outcome
	ID      int64
	URL     string
	// Removed counts later comments with the same key that were deleted.
	Removed int
}

// Upsert makes the pull request show the report in one comment: the oldest of
// ours with the same key is edited, later ones are removed, and a new one is
// made when there is none. Refusals are [*PermissionError].
func (c *Client) Upsert(ctx context.Context, r Report) (Posted, error) {
	body := marker(r) + "\n" + r.Body
	if n := utf8.RuneCountInString(body); n > CommentLimit {
		return Posted{}, fmt.Errorf("comment on pull request %d: %d characters, GitHub takes %d", r.Pull, n, CommentLimit)
	}
	for attempt := 1; ; attempt++ {
		posted, err := c.upsert(ctx, r, body)
		// A creation that failed on GitHub's side may have happened: look
		// again before making another one.
		if err == nil || attempt == 2 || status(err) < 500 && !errors.Is(err, errLost) {
			return posted, err
		}
	}
}

var errLost = errors.New("no answer")

func (c *Client) upsert(ctx context.Context, r Report, body string) (Posted, error) {
	mine, err := c.find(ctx, r.Pull, r.Key)
	if err != nil {
		return Posted{}, err
	}
	for len(mine) > 0 {
		old := mine[0]
		posted := Posted{ID: old.GetID(), URL: old.GetHTMLURL()}
		if state := parseMarker(old.GetBody()); newer(state, r) {
			posted.Outcome = Skipped
			return posted, nil
		}
		if strings.ReplaceAll(old.GetBody(), "\r\n", "\n") == body {
			posted.Outcome = Unchanged
			posted.Removed = c.remove(ctx, mine[1:])
			return posted, nil
		}
		_, _, err := c.api.Issues.EditComment(ctx, c.owner, c.repo, old.GetID(), &gh.IssueComment{Body: &body})
		switch status(err) {
		case http.StatusNotFound, http.StatusForbidden:
			// Deleted meanwhile, or not ours after all: try the next one.
			mine = mine[1:]
			continue
		}
		if err != nil {
			return Posted{}, explain("update the comment", err)
		}
		posted.Outcome = Updated
		posted.Removed = c.remove(ctx, mine[1:])
		return posted, nil
	}
	if r.OnlyUpdate {
		return Posted{Outcome: Skipped}, nil
	}
	made, _, err := c.api.Issues.CreateComment(ctx, c.owner, c.repo, r.Pull, &gh.IssueComment{Body: &body})
	if err != nil {
		if status(err) == 0 && ctx.Err() == nil {
			err = errors.Join(errLost, err)
		}
		return Posted{}, explain("create a comment", err)
	}
	return Posted{Outcome: Created, ID: made.GetID(), URL: made.GetHTMLURL()}, nil
}

// find returns our comments with the key, the oldest first, from all pages.
func (c *Client) find(ctx context.Context, pull int, key string) ([]*gh.IssueComment, error) {
	var mine []*gh.IssueComment
	opts := &gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: 100}}
	for {
		comments, resp, err := c.api.Issues.ListComments(ctx, c.owner, c.repo, pull, opts)
		if err != nil {
			return nil, explain(fmt.Sprintf("list the comments of pull request %d", pull), err)
		}
		for _, comment := range comments {
			if state := parseMarker(comment.GetBody()); state.found && state.key == markerKey(key) && c.wrote(ctx, comment) {
				mine = append(mine, comment)
			}
		}
		if resp.NextPage == 0 {
			return mine, nil
		}
		opts.Page = resp.NextPage
	}
}

// wrote reports whether a comment is ours: anyone can write our marker.
func (c *Client) wrote(ctx context.Context, comment *gh.IssueComment) bool {
	login := comment.GetUser().GetLogin()
	if me := c.me(ctx); me != workflowLogin {
		return login == me
	}
	// The workflow's token is one of an app, and the name of another app's
	// token cannot be asked for; apps have accounts that no person can use.
	return login == workflowLogin || comment.GetUser().GetType() == "Bot"
}

// remove deletes later comments, as far as it can.
func (c *Client) remove(ctx context.Context, later []*gh.IssueComment) int {
	n := 0
	for _, comment := range later {
		if _, err := c.api.Issues.DeleteComment(ctx, c.owner, c.repo, comment.GetID()); err == nil {
			n++
		}
	}
	return n
}

// The hidden first line by which a comment is found again. Its values are
// escaped, so that none of them can end it.
var markerLine = regexp.MustCompile(`^<!-- reprise:report key=([^ ]*) v=1(?: sha=([0-9a-f]*))?(?: run=(\d+)\.(\d+))? -->`)

func marker(r Report) string {
	sha := r.HeadSHA
	if len(sha) > 40 || strings.Trim(sha, "0123456789abcdef") != "" {
		sha = ""
	}
	return fmt.Sprintf("<!-- reprise:report key=%s v=1 sha=%s run=%d.%d -->", markerKey(r.Key), sha, max(0, r.Run), max(0, r.Attempt))
}

// markerKey writes a key so that it can stand in an HTML comment.
func markerKey(key string) string {
	if key == "" {
		return "default"
	}
	escaped := strings.ReplaceAll(url.QueryEscape(key), "--", "%2D%2D")
	if len(escaped) > 100 {
		sum := sha256.Sum256([]byte(key))
		return "sha256." + hex.EncodeToString(sum[:16])
	}
	return escaped
}

type markerState struct {
	found        bool
	key, sha     string
	run, attempt int64
}

func parseMarker(body string) markerState {
	m := markerLine.FindStringSubmatch(body)
	if m == nil {
		return markerState{}
	}
	s := markerState{found: true, key: m[1], sha: m[2]}
	s.run, _ = strconv.ParseInt(m[3], 10, 64)
	s.attempt, _ = strconv.ParseInt(m[4], 10, 64)
	return s
}

// newer reports whether the comment is of a later run than the report.
func newer(s markerState, r Report) bool {
	if s.run != r.Run {
		return s.run > r.Run
	}
	return s.attempt > r.Attempt
}
