package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

type unchanged struct{}

func (unchanged) Redact(*traffic.Exchange) ([]traffic.Redaction, error) { return nil, nil }
func (unchanged) Describe() snapshot.RedactionInfo {
	return snapshot.RedactionInfo{Version: "none", KeyID: "none"}
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
	plan, err := streamed.Plan(t.Context(), replay.Load{Speed: 4})
	if err != nil {
		t.Fatal(err)
	}
	result, err := streamed.Drive(t.Context(), replay.Target{Arm: "target", Addr: s.Listener.Addr().String()}, plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, endpoints := result.Overview()
	if all.Status[200] != visitors*each || len(all.Failures) > 0 || len(endpoints) != 2 {
		t.Errorf("answers %v, failures %v, endpoints %v", all.Status, result.Errors, endpoints)
	}
	if want := visitors * 1000 * (1 + 2 + 3 + 4); bytes != want {
		t.Errorf("%d bytes of bodies, want %d", bytes, want)
	}
	if len(given) != visitors {
		t.Errorf("%d tokens, want one for each of %d visitors", len(given), visitors)
	}
}

// TestWhatStreams: large packed snapshots are streamed, unless something needs
// all of the recording.
func TestWhatStreams(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.rpk")
	w, err := snapshot.NewWriter(path, unchanged{}, snapshot.Options{Service: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range wholeExchanges + 1 {
		id := fmt.Sprint(i)
		if err := w.Add(&traffic.Exchange{ID: id, Lane: traffic.Lane(id), Direction: traffic.Inbound, Start: time.Unix(int64(i), 0), Request: traffic.Request{Method: "GET", Target: "/"}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		why    string
		path   string
		flags  replayFlags
		sample float64
		want   bool
	}{
		{"many exchanges", path, replayFlags{}, 0, true},
		{"copies at a rate", path, replayFlags{load: replay.Load{Rate: 5, Copies: 3}}, 1, true},
		{"copies that are shifted", path, replayFlags{load: replay.Load{Copies: 3}}, 0, false},
		{"connections by session", path, replayFlags{load: replay.Load{Churn: true}}, 0, false},
		{"a search for capacity", path, replayFlags{capacity: true}, 0, false},
		{"a sample of the sessions", path, replayFlags{}, 0.5, false},
		{"a directory", dir, replayFlags{}, 0, false},
		{"nothing there", filepath.Join(dir, "none"), replayFlags{}, 0, false},
	}
	for _, tt := range tests {
		if got, err := streams(tt.path, tt.flags, tt.sample); err != nil || got != tt.want {
			t.Errorf("%s: %v, %v", tt.why, got, err)
		}
	}
}

var _ replay.Recording = (*streamedSnapshot)(nil)
