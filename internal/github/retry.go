package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Bounds of retrying.
const (
	attempts       = 4
	requestTimeout = 30 * time.Second
	retryBudget    = 60 * time.Second // of waiting, for one request
)

// retrying repeats requests that GitHub asks to repeat or that broke on its
// side. A creation whose answer got lost is not repeated here, because it may
// have happened: [Client.Upsert] looks first.
type retrying struct {
	next  http.RoundTripper
	sleep func(context.Context, time.Duration) error
}

func (r *retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	var waited time.Duration
	for attempt := 1; ; attempt++ {
		try := req
		if attempt > 1 && req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			try = req.Clone(req.Context())
			try.Body = body
		}
		resp, err := r.once(try)
		pause, again := delay(req.Method, resp, err, attempt)
		if !again || attempt == attempts || waited+pause > retryBudget || req.Body != nil && req.GetBody == nil {
			return resp, err
		}
		if resp != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
			resp.Body.Close()
		}
		waited += pause
		if err := r.sleep(req.Context(), pause); err != nil {
			return nil, err
		}
	}
}

// once sends a request with its own time limit, which ends with the body.
func (r *retrying) once(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), requestTimeout)
	resp, err := r.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &closing{resp.Body, cancel}
	return resp, nil
}

type closing struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *closing) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// delay decides whether to try again and after how long.
func delay(method string, resp *http.Response, err error, attempt int) (time.Duration, bool) {
	backoff := time.Second << (attempt - 1)
	if err != nil {
		return backoff, method != http.MethodPost && !errors.Is(err, context.Canceled)
	}
	asked, given := retryAfter(resp.Header.Get("Retry-After"))
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		if given {
			return asked, true
		}
		return backoff, true
	case resp.StatusCode == http.StatusForbidden:
		// A secondary rate limit says how long to wait; a missing permission
		// does not go away by waiting.
		return asked, given
	case resp.StatusCode >= 500:
		if given {
			backoff = asked
		}
		return backoff, method != http.MethodPost
	}
	return 0, false
}

// retryAfter reads a number of seconds; GitHub sends no dates.
func retryAfter(value string) (time.Duration, bool) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 24*3600 {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}

// wait sleeps unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait to try again: %w", ctx.Err())
	case <-t.C:
		return nil
	}
}
