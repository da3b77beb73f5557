package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// Client speaks to the API of GitHub about one repository.
type Client struct {
	api   *gh.Client
	owner string
	repo  string
	login string // who we are; "" until it was asked
}

// ClientOptions shape a [Client].
type ClientOptions struct {
	// APIURL is the address of the API: https://api.github.com,
	// https://HOST/api/v3 on an own server.
	APIURL      string
	Owner, Repo string
	Token       string
	// Transport is http.DefaultTransport if nil.
	Transport http.RoundTripper
	// Sleep waits between attempts; a timer if nil.
	Sleep func(context.Context, time.Duration) error
}

// ErrNoToken is returned by [NewClient] without a token.
var ErrNoToken = errors.New("no token: give the input github-token, or GITHUB_TOKEN in the environment")

// NewClient returns a client for one repository. Every request ends within 30
// seconds, and waiting between attempts takes at most 60 seconds a request.
func NewClient(opts ClientOptions) (*Client, error) {
	if opts.Token == "" {
		return nil, ErrNoToken
	}
	if opts.Owner == "" || opts.Repo == "" {
		return nil, errors.New("no repository: GITHUB_REPOSITORY must be owner/name")
	}
	base, err := url.Parse(strings.TrimRight(opts.APIURL, "/") + "/")
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil {
		return nil, fmt.Errorf("GITHUB_API_URL %q is not an http(s) address", cut(opts.APIURL))
	}
	next := opts.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	sleep := opts.Sleep
	if sleep == nil {
		sleep = wait
	}
	client := &http.Client{
		Transport: &retrying{next: &authorized{next: next, host: base.Host, token: opts.Token}, sleep: sleep},
		Timeout:   attempts*requestTimeout + retryBudget,
	}
	api := gh.NewClient(client)
	// WithEnterpriseURLs would append /api/v3 to an address that has none;
	// GITHUB_API_URL is complete as it is.
	api.BaseURL = base
	return &Client{api: api, owner: opts.Owner, repo: opts.Repo}, nil
}

// authorized adds the token to requests for the API itself and to no other: a
// redirect must not carry it away.
type authorized struct {
	next  http.RoundTripper
	host  string
	token string
}

func (a *authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == a.host {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	return a.next.RoundTrip(req)
}

// PermissionError is a refusal because the token may not do what was asked.
type PermissionError struct {
	Doing  string // "create a comment"
	Status int
	Err    error
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("%s: the token may not (status %d)", e.Doing, e.Status)
}

// Unwrap returns the answer of GitHub.
func (e *PermissionError) Unwrap() error { return e.Err }

// Hint says how to mend it.
func (e *PermissionError) Hint(event *Event) string {
	if event != nil && event.Fork {
		return "The token of a pull request from a fork may only read. Let a second workflow, on workflow_run, post the comment: docs/github-action.md has the pair. The report is in the step summary."
	}
	return "Add to the job: permissions: { contents: read, pull-requests: write }. The report is in the step summary."
}

// explain names what was being done, and tells refusals from other errors.
func explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	var answer *gh.ErrorResponse
	if errors.As(err, &answer) && answer.Response != nil {
		switch answer.Response.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return &PermissionError{doing, answer.Response.StatusCode, err}
		}
	}
	var limited *gh.RateLimitError
	if errors.As(err, &limited) {
		return fmt.Errorf("%s: the token's rate limit is used up until %s: %w", doing, limited.Rate.Reset.UTC().Format(time.RFC3339), err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func status(err error) int {
	var answer *gh.ErrorResponse
	if errors.As(err, &answer) && answer.Response != nil {
		return answer.Response.StatusCode
	}
	return 0
}

// me returns the login that the token comments as, or "" when the API does not
// tell: tokens of an app, the one of the workflow among them, may not ask.
func (c *Client) me(ctx context.Context) string {
	if c.login == "" {
		c.login = workflowLogin
		if user, _, err := c.api.Users.Get(ctx, ""); err == nil {
			c.login = user.GetLogin()
		}
	}
	return c.login
}

// workflowLogin is who GITHUB_TOKEN comments as.
const workflowLogin = "github-actions[bot]"
