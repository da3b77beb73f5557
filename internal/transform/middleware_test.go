package transform_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

var _ replay.Rewriter = (*transform.Middleware)(nil)

// served is a rewriter with its program.
type served struct {
	*transform.Middleware
	*transform.Program
}

func serve(in io.Writer, out io.Reader, patience time.Duration) *served {
	p := transform.NewProgram(in, out, patience)
	return &served{p.Wrap(transform.NewRewriter(nil, transform.Options{}), ""), p}
}

// program runs f as a middleware program would run: a line in, any lines out.
func program(t *testing.T, patience time.Duration, f func(text string) []string) (*served, func() []string) {
	t.Helper()
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	var mu sync.Mutex
	var seen []string
	go func() {
		defer outWrite.Close()
		lines := bufio.NewScanner(inRead)
		lines.Buffer(nil, 1<<24)
		for lines.Scan() {
			data, err := hex.DecodeString(lines.Text())
			if err != nil {
				t.Errorf("line %q: %v", lines.Text(), err)
			}
			mu.Lock()
			seen = append(seen, string(data))
			mu.Unlock()
			for _, out := range f(string(data)) {
				fmt.Fprintln(outWrite, hex.EncodeToString([]byte(out)))
			}
		}
	}()
	m := serve(inWrite, outRead, patience)
	t.Cleanup(func() { m.Close(); inWrite.Close() })
	return m, func() []string { mu.Lock(); defer mu.Unlock(); return append([]string(nil), seen...) }
}

func TestMiddlewareChangesRequests(t *testing.T) {
	m, seen := program(t, 10*time.Second, func(text string) []string {
		return []string{"not a message", strings.NewReplacer("old-token", "new", "/a", "/changed", "hello", "goodbye!").Replace(text)}
	})
	c := new(talk).ask("POST", "/a?b=1", "hello", "Host: shop.example", "X-Token: old-token", "content-length: 5").answer("recorded", "X-Answer: 1")
	c.exchanges[0].Request.Trailer = lines([]string{"X-Sum: 1"})
	before := c.exchanges[0].Clone()
	got := m.Request(c.exchanges[0])
	want := &traffic.Request{
		Method: "POST", Scheme: "http", Authority: "shop.example", Target: "/changed?b=1",
		Header: lines([]string{"Host: shop.example", "X-Token: new", "content-length: 5"}),
		Body:   traffic.Body{Raw: []byte("goodbye!"), Size: 8}, Trailer: lines([]string{"X-Sum: 1"}),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, c.exchanges[0]); diff != "" {
		t.Errorf("the recorded exchange was changed:\n%s", diff)
	}
	m.Observe(c.exchanges[0], &traffic.Exchange{Start: epoch, Duration: time.Millisecond, Response: answer(201, "live", "X-Answer: 2")})
	m.Request(c.exchanges[0]) // so that the answers before it have arrived
	first := fmt.Sprintf("1 x0 %d 0\nPOST /a?b=1 HTTP/1.1\r\nHost: shop.example\r\nX-Token: old-token\r\ncontent-length: 5\r\n\r\nhello", epoch.UnixNano())
	wantSeen := []string{
		first,
		fmt.Sprintf("2 x0 %d 10000000\nHTTP/1.1 200 \r\nX-Answer: 1\r\nContent-Length: 8\r\n\r\nrecorded", epoch.UnixNano()),
		fmt.Sprintf("3 x0 %d 1000000\nHTTP/1.1 201 \r\nX-Answer: 2\r\nContent-Length: 4\r\n\r\nlive", epoch.UnixNano()),
		first,
	}
	if diff := cmp.Diff(wantSeen, seen()); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if m.Left() != 0 {
		t.Errorf("%d requests left", m.Left())
	}
}

func TestMiddlewareThatFails(t *testing.T) {
	tests := []struct {
		why      string
		patience time.Duration
		program  func(string) []string
	}{
		{"says nothing", 20 * time.Millisecond, func(string) []string { return nil }},
		{"answers for another request", 20 * time.Millisecond, func(text string) []string { return []string{strings.Replace(text, "1 x0", "1 x9", 1)} }},
		{"returns no request", 10 * time.Second, func(string) []string { return []string{"1 x0 0 0\nnonsense"} }},
		{"returns a broken header", 10 * time.Second, func(string) []string { return []string{"1 x0 0 0\nGET / HTTP/1.1\r\nbroken\r\n\r\n"} }},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			m, _ := program(t, tt.patience, tt.program)
			c := new(talk).ask("GET", "/", "")
			if got := m.Request(c.exchanges[0]); got != &c.exchanges[0].Request || m.Left() != 1 {
				t.Errorf("%+v, %d left", got, m.Left())
			}
		})
	}
	t.Run("closed", func(t *testing.T) {
		m, _ := program(t, time.Hour, func(string) []string { return nil })
		m.Close()
		c := new(talk).ask("GET", "/", "").answer("")
		if got := m.Request(c.exchanges[0]); got != &c.exchanges[0].Request || m.Left() != 1 {
			t.Errorf("%+v, %d left", got, m.Left())
		}
		m.Observe(c.exchanges[0], c.exchanges[0])
	})
	t.Run("ends", func(t *testing.T) {
		m := serve(io.Discard, strings.NewReader(""), time.Hour)
		defer m.Close()
		c := new(talk).ask("GET", "/", "")
		if got := m.Request(c.exchanges[0]); got != &c.exchanges[0].Request || m.Left() != 1 {
			t.Errorf("%+v, %d left", got, m.Left())
		}
	})
}
