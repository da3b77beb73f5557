package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Endpoint is where an agent's control API is reached.
type Endpoint struct {
	Addr  string `json:"addr"` // host:port
	Token string `json:"token"`
}

// client calls a control API.
type client struct {
	at      Endpoint
	http    *http.Client
	hurried chan struct{} // closed by hurry
	hurry   func()
}

func newClient(at Endpoint) client {
	hurried := make(chan struct{})
	return client{at: at, hurried: hurried, hurry: sync.OnceFunc(func() { close(hurried) }), http: &http.Client{Transport: &http.Transport{
		// No proxy from the environment: the API is in the cluster or on
		// loopback.
		Proxy:               nil,
		MaxIdleConnsPerHost: 64,
		DisableCompression:  true,
	}}}
}

// do sends a request and returns the body of a good answer, which the caller
// closes.
func (c client) do(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	resp, err := c.answer(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// answer sends a request and returns a good answer, whose body the caller closes.
func (c client) answer(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.at.Addr+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.at.Token)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	if resp.Header.Get("Server") != serverName {
		resp.Body.Close()
		return nil, fmt.Errorf("ask the agent: something else answers at %s", c.at.Addr)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return nil, &RemoteError{strings.TrimSpace(string(text))}
	}
	return resp, nil
}

// pauses lie between the attempts at a call that may be repeated.
var pauses = []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second}

// Hurry says that a call whose connection fails from now on is not worth
// repeating: the agent may be on its way out. It may be called many times.
func (c client) Hurry() { c.hurry() }

// again repeats a call whose connection failed. It is for calls that may reach
// the agent twice; what the agent itself says is final.
func (c client) again(ctx context.Context, call func() error) error {
	for attempt := 0; ; attempt++ {
		err := call()
		var remote *RemoteError
		if err == nil || errors.As(err, &remote) || attempt == len(pauses) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-c.hurried:
			return err
		case <-time.After(pauses[attempt]):
		}
	}
}

// get reads an answer into out; it may ask several times.
func (c client) get(ctx context.Context, path string, out any) error {
	return c.again(ctx, func() error { return c.call(ctx, http.MethodGet, path, nil, out) })
}

// call sends in as JSON (nothing if nil) and reads the answer into out (which
// may be nil).
func (c client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("ask the agent: %w", err)
		}
		body = bytes.NewReader(data)
	}
	answer, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if out == nil {
		// Reading to the end lets the connection be used again.
		_, err = io.Copy(io.Discard, answer)
		return err
	}
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

// Reach waits until the agent can open a TCP connection to each address. A
// Service's address leads nowhere for a moment after its pods are ready.
func (c client) Reach(ctx context.Context, addresses ...string) error {
	if len(addresses) == 0 {
		return nil
	}
	return c.again(ctx, func() error { return c.call(ctx, http.MethodPost, "/v1/reach", addresses, nil) })
}

// load streams settings and exchanges to the agent.
func (c client) load(ctx context.Context, settings any, recorded iter.Seq2[*traffic.Exchange, error], out any) error {
	r, w := io.Pipe()
	go func() {
		s := NewStreamWriter(w)
		err := s.settings(settings)
		if err == nil {
			err = s.Close(send(s, recorded))
		}
		w.CloseWithError(err)
	}()
	answer, err := c.do(ctx, http.MethodPost, "/v1/load", r)
	r.Close() // ends the writer when the agent refused early
	if err != nil {
		return fmt.Errorf("load the snapshot: %w", err)
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("load the snapshot: read the agent's answer: %w", err)
	}
	return nil
}

// send writes exchanges until they end or one is an error, which it returns.
func send(s *StreamWriter, recorded iter.Seq2[*traffic.Exchange, error]) error {
	for x, err := range recorded {
		if err != nil {
			return err
		}
		if err := s.Exchange(x); err != nil {
			return err
		}
	}
	return nil
}

// Healthy waits until the agent answers, asking every 50 ms and giving each
// question 3 s, for 2 min or until ctx ends.
func Healthy(ctx context.Context, at Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c := newClient(at)
	defer c.http.CloseIdleConnections()
	ask := func() error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		return c.call(ctx, http.MethodGet, "/healthz", nil, nil)
	}
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the agent at %s does not answer: %w", at.Addr, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// List turns a slice into what the load methods take.
func List(xs []*traffic.Exchange) iter.Seq2[*traffic.Exchange, error] {
	return func(yield func(*traffic.Exchange, error) bool) {
		for _, x := range xs {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// post sends in as JSON and returns the body of the answer, which the caller
// closes.
func (c client) post(ctx context.Context, path string, in any) (io.ReadCloser, error) {
	data, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	return c.do(ctx, http.MethodPost, path, bytes.NewReader(data))
}
