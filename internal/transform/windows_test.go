package transform_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// replayed sends the requests of a recording one after the other with answers
// that live gives, and returns the requests. Learning is by windows of size, or
// of everything at once when size is 0.
func replayed(t *testing.T, exchanges []*traffic.Exchange, size int, live func(*traffic.Exchange) *traffic.Response) []string {
	t.Helper()
	var sent []string
	send := func(rw *transform.Rewriter, window []*traffic.Exchange, watch func(string) bool) {
		for _, x := range window {
			req := rw.Request(x)
			sent = append(sent, fmt.Sprintf("%s %s %s %s", req.Method, req.Target, req.Header, req.Body.Raw))
			if watch(x.ID) {
				rw.Observe(x, &traffic.Exchange{ID: "live-" + x.ID, Recorded: x.ID, Request: *req, Response: live(x)})
			}
		}
	}
	if size == 0 {
		b, err := transform.Learn(exchanges, transform.Options{})
		if err != nil {
			t.Fatal(err)
		}
		send(transform.NewRewriter(b, transform.Options{}), exchanges, func(string) bool { return true })
		return sent
	}
	w, err := transform.NewWindows(transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := transform.NewRewriter(nil, transform.Options{})
	for part := range slices.Chunk(exchanges, size) {
		if window, b := w.Next(part); window != nil {
			send(first.With(b), window, b.Watches)
		}
	}
	for window, b := w.Rest(); window != nil; window, b = w.Rest() {
		send(first.With(b), window, b.Watches)
	}
	return sent
}

// TestWindowsLearnTheSame: a conversation that is read in windows is rewritten
// as one that is read at once, however small the windows, as long as a value is
// first used in the window after that where it came from.
func TestWindowsLearnTheSame(t *testing.T) {
	var c talk
	js := jsonType
	c.ask("POST", "/v1/login", "").answer(`{"access_token":"tok-1234567890abcdef"}`, js, "Set-Cookie: sid=abc123def456; Path=/")
	c.ask("GET", "/v1/orders", "", "Authorization: Bearer tok-1234567890abcdef", "Cookie: sid=abc123def456").answer(`{"orders":[{"id":"ord_8f3k2a91"}]}`, js)
	c.ask("GET", "/v1/orders/ord_8f3k2a91", "", "Authorization: Bearer tok-1234567890abcdef").answer(`{"id":"ord_8f3k2a91","etag":"5d8c72a5edda8d6a"}`, js)
	for i := range 9 { // what was bound once is followed for good
		c.ask("PUT", "/v1/orders/ord_8f3k2a91", fmt.Sprintf(`{"n":%d,"client":"own-77aa88bb99"}`, i), js,
			"Authorization: Bearer tok-1234567890abcdef", "If-Match: 5d8c72a5edda8d6a", "Cookie: sid=abc123def456").answer(`{"client":"own-77aa88bb99"}`, js)
	}
	c.ask("GET", "/v1/report?at="+epoch.Add(12*time.Second).Format(time.RFC3339), "").answer(`{}`, js)
	live := func(x *traffic.Exchange) *traffic.Response {
		switch x.ID {
		case "x0":
			return answer(200, `{"access_token":"tok-live567890abcdef"}`, js, "Set-Cookie: sid=zyx987wvu654; Path=/", "Set-Cookie: extra=1; Path=/")
		case "x1":
			return answer(200, `{"orders":[{"id":"ord_zz91k3b7"}]}`, js)
		case "x2":
			return answer(200, `{"id":"ord_zz91k3b7","etag":"0123456789abcdef"}`, js)
		}
		return answer(200, `{"client":"own-other88bb99"}`, js)
	}
	want := replayed(t, c.exchanges, 0, live)
	if want[5] == replayed(t, c.exchanges, 0, func(x *traffic.Exchange) *traffic.Response { return x.Response })[5] {
		t.Fatal("nothing was rewritten")
	}
	drop := len(want) - 1 // its date moves with the clock of this test
	for _, size := range []int{1, 2, 3, 5, 100} {
		if diff := cmp.Diff(want[:drop], replayed(t, c.exchanges, size, live)[:drop]); diff != "" {
			t.Errorf("windows of %d: at once -, in windows +\n%s", size, diff)
		}
	}
	if got := replayed(t, c.exchanges, 4, live)[drop]; got == fmt.Sprintf("GET %s %s ", c.exchanges[drop].Request.Target, c.exchanges[drop].Request.Header) {
		t.Errorf("a date beside its request does not follow the clock: %s", got)
	}
}

// TestWindowsForget: however long a recording is, what is remembered of it is
// bounded, and what is still in use is not forgotten.
func TestWindowsForget(t *testing.T) {
	w, err := transform.NewWindows(transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const each, windows, identities, browsers = 40, 60, 1000, 300
	w.Remember(identities, browsers)
	last := transform.NewRewriter(nil, transform.Options{})
	n := 0
	next := func(number int) []*traffic.Exchange {
		var c talk
		for i := range each {
			id := fmt.Sprintf("%d-%d", number, i)
			x := &traffic.Exchange{ID: id, Lane: traffic.Lane(id), Start: epoch.Add(time.Duration(n) * time.Millisecond), Direction: traffic.Inbound}
			x.Request = traffic.Request{Method: "GET", Target: fmt.Sprintf("/v1/things/thing-%08d", n), Header: lines([]string{"Authorization: Bearer tok-1234567890abcdef", fmt.Sprintf("Cookie: sid=browser%08d", n)})}
			x.Response = answer(200, `{"access_token":"tok-1234567890abcdef"}`, jsonType)
			if number > 0 || i > 0 {
				x.Response = answer(200, `{}`, jsonType)
			} else {
				x.Request.Header = nil // signs in
			}
			c.exchanges = append(c.exchanges, x)
			n++
		}
		return c.exchanges
	}
	for number := range windows {
		window, b := w.Next(next(number))
		if window == nil {
			continue
		}
		last = last.With(b)
		if window[0].ID == "0-0" {
			last.Observe(window[0], &traffic.Exchange{ID: "live", Response: answer(200, `{"access_token":"tok-live567890abcdef"}`, jsonType)})
		}
		if got := last.Request(window[each-1]).Header.Get("Authorization"); got != "Bearer tok-live567890abcdef" {
			t.Fatalf("window of %s: %s", window[0].ID, got)
		}
		if known, seen := w.Remembered(); known > identities+6*each || seen > browsers+3*each {
			t.Fatalf("%d identities and %d browsers are remembered", known, seen)
		}
	}
}
