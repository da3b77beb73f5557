package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// session is one visitor: a client with a connection of its own that does one
// thing after the other.
type session struct {
	base   string
	host   string
	key    []byte
	number int
	random *rand.Rand
	pause  time.Duration
	client *http.Client
	seen   map[string]int // answers by "GET /v1/orders 200"
}

// play sends the requests of the session. Every kind of visitor comes along in
// turn.
func (s *session) play(ctx context.Context) error {
	s.seen = make(map[string]int)
	visitors := []func(context.Context) error{s.shop, s.browse, s.shop, s.backOffice, s.shop, s.member, s.shop, s.mistakes}
	return visitors[s.number%len(visitors)](ctx)
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// read decodes the body into v.
func (a answer) read(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return fmt.Errorf("read %.60q: %w", a.body, err)
	}
	return nil
}

// send sends one request and expects a status. route names it in the count.
func (s *session) send(ctx context.Context, want int, route, method, target string, header http.Header, body any) (answer, error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string: // as it is, for bodies that are wrong
		reader = bytes.NewReader([]byte(b))
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+target, reader)
	if err != nil {
		return answer{}, err
	}
	req.Host = s.host
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", method, target, err)
	}
	s.seen[fmt.Sprintf("%s %s %d", method, route, resp.StatusCode)]++
	if resp.StatusCode != want {
		return answer{}, fmt.Errorf("%s %s: answered %d, not %d: %.200s", method, target, resp.StatusCode, want, data)
	}
	time.Sleep(s.pause)
	return answer{resp.StatusCode, resp.Header, data}, nil
}

// get sends a GET without a body.
func (s *session) get(ctx context.Context, want int, route, target string) (answer, error) {
	return s.send(ctx, want, route, http.MethodGet, target, nil, nil)
}
