// Package upstream calls the services that the shop depends on.
package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// StatusError is an answer that was not a success.
type StatusError struct {
	Method, URL string
	Status      int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: answered %d", e.Method, e.URL, e.Status)
}

// client sends and receives JSON.
type client struct {
	base    string
	headers http.Header // sent with every call
	http    *http.Client
}

// maxAnswer bounds what a dependency can make us read.
const maxAnswer = 1 << 20

// call sends in as JSON (nothing when it is nil) and reads the answer into out
// (which may be nil). An answer other than 2xx is a *StatusError. A question that
// was not answered in time is asked once more.
func (c *client) call(ctx context.Context, method, path string, header http.Header, in, out any) error {
	err := c.once(ctx, method, path, header, in, out)
	if method == http.MethodGet && passes(err) {
		return c.once(ctx, method, path, header, in, out)
	}
	return err
}

// passes reports whether a failure is one of time, which may be gone.
func passes(err error) bool {
	var failed *StatusError
	return errors.As(err, &failed) && failed.Status == http.StatusGatewayTimeout
}

// once is call without a second try.
func (c *client) once(ctx context.Context, method, path string, header http.Header, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "shop/1.4")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range []http.Header{c.headers, header, traceOf(ctx)} {
		for name, values := range h {
			req.Header[name] = values
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, c.base+path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return &StatusError{Method: method, URL: c.base + path, Status: resp.StatusCode}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, c.base+path, err)
	}
	return nil
}
