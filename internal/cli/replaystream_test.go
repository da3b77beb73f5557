package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
	"github.com/reprise-ci/reprise/internal/transform"
)

type unchanged struct{}

func (unchanged) Redact(*traffic.Exchange) ([]traffic.Redaction, error) { return nil, nil }
func (unchanged) Describe() snapshot.RedactionInfo {
	return snapshot.RedactionInfo{Version: "none", KeyID: "none"}
}

// packed writes exchanges to a packed snapshot.
func packed(t *testing.T, path string, exchanges []*traffic.Exchange) string {
	t.Helper()
	w, err := snapshot.NewWriter(path, unchanged{}, snapshot.Options{Service: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range exchanges {
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStreamedSnapshot replays a packed snapshot that is read in small windows:
// each visitor signs in and has to send the token that this service gave, and
// the bodies that were recorded.
func TestStreamedSnapshot(t *testing.T) {
	const visitors, each = 40, 5
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "s.rpk")
	w, err := snapshot.NewWriter(path, unchanged{}, snapshot.Options{Service: "shop", Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range visitors * each {
		visitor, step := i%visitors, i/visitors
		x := &traffic.Exchange{
			ID: fmt.Sprintf("%04d", i), Lane: traffic.Lane(fmt.Sprintf("%04d", i)), Direction: traffic.Inbound, Start: start.Add(time.Duration(i) * time.Millisecond),
			Duration: 100 * time.Microsecond, Origin: traffic.Origin{Connection: fmt.Sprint(visitor)},
			Request:  traffic.Request{Method: "POST", Scheme: "http", Authority: "shop.example", Target: "/login", Proto: "HTTP/1.1"},
			Response: &traffic.Response{Status: 200, Proto: "HTTP/1.1", Header: traffic.Header{{Name: "Content-Type", Value: "application/json"}}},
		}
		token := fmt.Sprintf("tok-recorded-%08d", visitor)
		if step == 0 {
			x.Response.Body = traffic.NewBody(fmt.Appendf(nil, `{"access_token":%q}`, token), x.Response.Header)
		} else {
			x.Request.Target = fmt.Sprintf("/notes/%d", visitor)
			x.Request.Header.Add("Authorization", "Bearer "+token)
			x.Request.Body = traffic.NewBody([]byte(strings.Repeat("x", 1000*step)), x.Request.Header)
		}
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}

	for _, copies := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d copies", copies), func(t *testing.T) {
			var mu sync.Mutex
			next, bytes := 0, 0
			given := map[string]string{} // token -> visitor that first sent it
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if r.URL.Path == "/login" {
					next++
					w.Header().Set("Content-Type", "application/json")
					fmt.Fprintf(w, `{"access_token":"tok-live-%08d"}`, next)
					return
				}
				token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				owner, known := given[token]
				if !strings.HasPrefix(token, "tok-live-") || known && owner != r.URL.Path {
					w.WriteHeader(http.StatusUnauthorized)
				}
				given[token] = r.URL.Path
				n, _ := io.Copy(io.Discard, r.Body)
				bytes += int(n)
			}))
			defer s.Close()

			source := &streamedSnapshot{path: path, keep: func(*traffic.Exchange) bool { return true }, most: 2 * visitors}
			streamed, err := replay.NewStreamed(source, replay.Options{Timeout: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			plan, err := streamed.Plan(t.Context(), replay.Load{Speed: 4, Copies: copies})
			if err != nil {
				t.Fatal(err)
			}
			result, err := streamed.Drive(t.Context(), replay.Target{Arm: "target", Addr: s.Listener.Addr().String()}, plan, nil)
			if err != nil {
				t.Fatal(err)
			}
			all, endpoints := result.Overview()
			if int(all.Status[200]) != copies*visitors*each || len(all.Failures) > 0 || len(endpoints) != 2 {
				t.Errorf("answers %v, failures %v, endpoints %v", all.Status, result.Errors, endpoints)
			}
			if want := copies * visitors * 1000 * (1 + 2 + 3 + 4); bytes != want {
				t.Errorf("%d bytes of bodies, want %d", bytes, want)
			}
			if len(given) != copies*visitors {
				t.Errorf("%d tokens, want one for each of %d visitors in %d copies", len(given), visitors, copies)
			}
		})
	}
}

// TestWhatStreams: large packed snapshots are streamed, unless something needs
// all of the recording.
func TestWhatStreams(t *testing.T) {
	dir := t.TempDir()
	gets := func(name string, n int) string {
		var exchanges []*traffic.Exchange
		for i := range n {
			id := fmt.Sprint(i)
			exchanges = append(exchanges, &traffic.Exchange{ID: id, Lane: traffic.Lane(id), Direction: traffic.Inbound, Start: time.Unix(int64(i), 0), Request: traffic.Request{Method: "GET", Target: "/"}})
		}
		return packed(t, filepath.Join(dir, name), exchanges)
	}
	path, small := gets("s.rpk", wholeExchanges+1), gets("few.rpk", 1)
	tests := []struct {
		why   string
		path  string
		flags replayFlags
		want  bool
		note  string // what needs all of it
	}{
		{"many exchanges", path, replayFlags{}, true, ""},
		{"copies at a rate", path, replayFlags{load: replay.Load{Rate: 5, Copies: 3}}, true, ""},
		{"copies that are shifted", path, replayFlags{load: replay.Load{Copies: 3}}, true, ""},
		{"connections by session", path, replayFlags{load: replay.Load{Churn: true}}, false, "--churn"},
		{"a search for capacity", path, replayFlags{capacity: true}, true, ""},
		{"a search for capacity with copies, which have its rates", path, replayFlags{capacity: true, load: replay.Load{Copies: 3}}, true, ""},
		{"a search for capacity with connections by session", path, replayFlags{capacity: true, load: replay.Load{Churn: true}}, false, "--churn"},
		{"a directory", dir, replayFlags{}, false, ""},
		{"few exchanges", small, replayFlags{}, false, ""},
		{"nothing there", filepath.Join(dir, "none"), replayFlags{}, false, ""},
	}
	for _, tt := range tests {
		got, note, err := streams(tt.path, tt.flags)
		if err != nil || got != tt.want || (note == "") != (tt.note == "") {
			t.Errorf("%s: %v, %q, %v", tt.why, got, note, err)
		}
		if tt.note != "" && (!strings.Contains(note, "all 10001 inbound exchanges") || !strings.Contains(note, "because "+tt.note+" needs them")) {
			t.Errorf("%s: %q", tt.why, note)
		}
	}
}

// TestStreamedTokens: what becomes of the tokens is said of the first requests,
// and of how many.
func TestStreamedTokens(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)
	token := func(i int) string {
		b64 := base64.RawURLEncoding.EncodeToString
		return b64([]byte(`{"alg":"HS256"}`)) + "." + b64(fmt.Appendf(nil, `{"sub":"user-%d","exp":%d}`, i, now.Unix()+60)) + "." + b64([]byte("signature"))
	}
	visits := func(n, withToken int) (exchanges []*traffic.Exchange) {
		for i := range n {
			id := fmt.Sprintf("%05d", i)
			x := &traffic.Exchange{ID: id, Lane: traffic.Lane(id), Direction: traffic.Inbound, Start: now.Add(time.Duration(i) * time.Millisecond), Request: traffic.Request{Method: "GET", Target: "/"}}
			if i < withToken {
				x.Request.Header.Add("Authorization", "Bearer "+token(i))
			}
			exchanges = append(exchanges, x)
		}
		return exchanges
	}
	tests := []struct {
		why       string
		exchanges []*traffic.Exchange
		want      string
	}{
		{"more than is looked at", visits(lookExchanges+1, lookExchanges+1), "in the first 4096 requests: 4096 tokens in requests: 4096 expired since the recording"},
		{"as many as are looked at", visits(lookExchanges, 3), "3 tokens in requests: 3 expired since the recording"},
		{"none in sight", visits(lookExchanges+1, 0), "in the first 4096 requests: no tokens in requests"},
	}
	for _, tt := range tests {
		s := &streamedSnapshot{
			path: packed(t, filepath.Join(t.TempDir(), "s.rpk"), tt.exchanges), keep: func(*traffic.Exchange) bool { return true },
			opts: transform.Options{Now: func() time.Time { return now.Add(24 * time.Hour) }},
		}
		if got, err := s.tokens(); err != nil || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, %v", tt.why, got, err)
		}
	}
}

// TestStreamedConversation: what the server of a WebSocket said comes back in a
// later message and in a later request, whether the recording is streamed or in
// memory.
func TestStreamedConversation(t *testing.T) {
	start := time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)
	frame := func(text string, client bool) []byte { return messages.AppendFrame(nil, 0x81, []byte(text), client) }
	var exchanges []*traffic.Exchange
	for visitor := range 6 {
		ticket := fmt.Sprintf("tkt-recorded-%04d", visitor)
		at := start.Add(time.Duration(visitor) * 40 * time.Millisecond)
		talk := &traffic.Exchange{
			ID: fmt.Sprintf("%d-talk", visitor), Direction: traffic.Inbound, Start: at, Duration: 5 * time.Millisecond,
			Request: traffic.Request{Method: "GET", Scheme: "http", Authority: "shop.example", Target: "/talk", Proto: "HTTP/1.1", Header: traffic.Header{
				{Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"}, {Name: "Sec-WebSocket-Version", Value: "13"}, {Name: "Sec-WebSocket-Key", Value: "AAAAAAAAAAAAAAAAAAAAAA=="},
			}},
			Response: &traffic.Response{Status: 101, Proto: "HTTP/1.1", Header: traffic.Header{{Name: "Upgrade", Value: "websocket"}}},
		}
		talk.Request.Body = traffic.NewBody(append(frame(`{"hello":1}`, true), frame(fmt.Sprintf(`{"ticket":%q}`, ticket), true)...), nil)
		talk.Response.Body = traffic.NewBody(append(frame(fmt.Sprintf(`{"ticket":%q}`, ticket), false), frame(`{"ok":true}`, false)...), nil)
		use := &traffic.Exchange{
			ID: fmt.Sprintf("%d-use", visitor), Direction: traffic.Inbound, Start: at.Add(20 * time.Millisecond), Duration: time.Millisecond,
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "shop.example", Target: "/tickets/" + ticket, Proto: "HTTP/1.1"},
			Response: &traffic.Response{Status: 200, Proto: "HTTP/1.1"},
		}
		for _, x := range []*traffic.Exchange{talk, use} {
			x.Lane = traffic.Lane(x.ID)
			exchanges = append(exchanges, x)
		}
	}
	path := packed(t, filepath.Join(t.TempDir(), "s.rpk"), exchanges)
	for _, most := range []int{1, 3, 100} {
		desk := &ticketDesk{given: map[string]string{}}
		s := httptest.NewServer(desk)
		source := &streamedSnapshot{path: path, keep: func(*traffic.Exchange) bool { return true }, most: most}
		streamed, err := replay.NewStreamed(source, replay.Options{Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := streamed.Plan(t.Context(), replay.Load{})
		if err != nil {
			t.Fatal(err)
		}
		result, err := streamed.Drive(t.Context(), replay.Target{Arm: "target", Addr: s.Listener.Addr().String()}, plan, nil)
		s.Close()
		if err != nil {
			t.Fatal(err)
		}
		all, _ := result.Overview()
		if all.Status[101] != 6 || all.Status[200] != 6 || len(desk.refused) > 0 {
			t.Errorf("windows of %d: answers %v, failures %v, refused %q", most, all.Status, result.Errors, desk.refused)
		}
	}
}

// ticketDesk hands a ticket to whoever talks to it, and wants it back twice: in
// the next message, and in a request.
type ticketDesk struct {
	mu      sync.Mutex
	given   map[string]string // ticket -> what it was used for
	refused []string
}

func (d *ticketDesk) use(ticket, what string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.given[ticket]; !ok {
		d.refused = append(d.refused, what+" "+ticket)
		return false
	}
	d.given[ticket] += what
	return true
}

func (d *ticketDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if ticket, ok := strings.CutPrefix(r.URL.Path, "/tickets/"); ok {
		if !d.use(ticket, "request") {
			w.WriteHeader(http.StatusNotFound)
		}
		return
	}
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	if _, _, err := c.Read(r.Context()); err != nil {
		return
	}
	d.mu.Lock()
	ticket := fmt.Sprintf("tkt-live-%08d", len(d.given))
	d.given[ticket] = ""
	d.mu.Unlock()
	if c.Write(r.Context(), websocket.MessageText, fmt.Appendf(nil, `{"ticket":%q}`, ticket)) != nil {
		return
	}
	_, said, err := c.Read(r.Context())
	if err != nil {
		return
	}
	var back struct{ Ticket string }
	ok := json.Unmarshal(said, &back) == nil && d.use(back.Ticket, "message")
	_ = c.Write(r.Context(), websocket.MessageText, fmt.Appendf(nil, `{"ok":%v}`, ok)) // who left misses it
	_, _, _ = c.Read(r.Context())                                                      // until the client closes
}

var _ replay.Recording = (*streamedSnapshot)(nil)
