package mock_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// clientCall is one call that every client makes.
type clientCall struct {
	Method string            `json:"method"`
	Target string            `json:"target"`
	Header map[string]string `json:"header,omitempty"`
	Body   *string           `json:"body,omitempty"`
}

func conformanceCalls() []clientCall {
	body := func(s string) *string { return &s }
	big := strings.Repeat("0123456789abcdef", 20000)
	return []clientCall{
		{Method: "GET", Target: "/plain?b=2&a=1"},
		{Method: "GET", Target: "/plain?a=1&b=2"}, // the same call
		{Method: "HEAD", Target: "/plain"},
		{Method: "GET", Target: "/chunked"},
		{Method: "GET", Target: "/gzip", Header: map[string]string{"Accept-Encoding": "gzip"}},
		{Method: "GET", Target: "/gzip", Header: map[string]string{"Accept-Encoding": "identity"}},
		{Method: "GET", Target: "/none"},
		{Method: "GET", Target: "/file", Header: map[string]string{"Range": "bytes=10-19"}},
		{Method: "GET", Target: "/file", Header: map[string]string{"Range": "bytes=20-29"}},
		{Method: "GET", Target: "/file", Header: map[string]string{"If-None-Match": `"v1"`}},
		{Method: "GET", Target: "/moved"},
		{Method: "GET", Target: "/cookies"},
		{Method: "GET", Target: "/broken"},
		{Method: "POST", Target: "/echo", Header: map[string]string{"Content-Type": "application/json"}, Body: body(`{"b":1,"a":[1,2,{"c":null}]}`)},
		{Method: "POST", Target: "/echo", Header: map[string]string{"Content-Type": "text/plain"}, Body: body(big)},
		{Method: "POST", Target: "/echo", Header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, Body: body("x=1&y=%26")},
		{Method: "PUT", Target: "/echo/with%2Fslash/%C3%A9", Header: map[string]string{"Content-Type": "application/octet-stream"}, Body: body("\x01\x02")},
		{Method: "DELETE", Target: "/echo"},
		{Method: "PATCH", Target: "/echo", Header: map[string]string{"Content-Type": "application/merge-patch+json"}, Body: body(`{}`)},
		{Method: "OPTIONS", Target: "/echo"},
	}
}

// realServer answers in all the ways that the calls are after.
func realServer(t *testing.T) string {
	mux := http.NewServeMux()
	text := func(w http.ResponseWriter, s string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, s) // the client says what it got
	}
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) { text(w, "plain "+r.URL.Query().Get("a")) })
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			text(w, strings.Repeat(fmt.Sprint(i), 3000))
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			data, err := traffic.Encode([]byte(strings.Repeat("long ", 1000)), "gzip")
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "text/plain")
			w.Write(data)
			return
		}
		text(w, strings.Repeat("long ", 1000))
	})
	mux.HandleFunc("/none", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "a.txt", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), strings.NewReader(strings.Repeat("0123456789", 10)))
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/plain", http.StatusFound) })
	mux.HandleFunc("/cookies", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
		http.SetCookie(w, &http.Cookie{Name: "b", Value: "2", HttpOnly: true})
		text(w, "")
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		text(w, fmt.Sprintf("%s %s %s %d %.100s", r.Method, r.URL.EscapedPath(), r.Header.Get("Content-Type"), len(data), data))
	})
	mux.Handle("/echo/", http.StripPrefix("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { text(w, r.Method+" "+r.URL.EscapedPath()) })))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// run makes the calls with a client program.
func run(t *testing.T, calls []clientCall, argv ...string) string {
	t.Helper()
	input, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, stderr.String())
	}
	return string(out)
}

// curl makes the calls with one run of curl, so that it keeps its connection.
func curl(t *testing.T, calls []clientCall, addr string) string {
	t.Helper()
	args := []string{"curl", "--silent", "--show-error"}
	for i, c := range calls {
		if i > 0 {
			args = append(args, "--next", "--silent", "--show-error")
		}
		args = append(args, "--include", "--http1.1", "--max-time", "20", "http://"+addr+c.Target)
		if c.Method == "HEAD" {
			args = append(args, "--head")
		} else {
			args = append(args, "--request", c.Method)
		}
		for name, value := range c.Header {
			args = append(args, "--header", name+": "+value)
		}
		if c.Body != nil { // from files: the long one is no argument, and curl asks to go on before it sends it
			file := filepath.Join(t.TempDir(), "body")
			if err := os.WriteFile(file, []byte(*c.Body), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--data-binary", "@"+file)
		}
	}
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v: %.2000s", err, out)
	}
	return string(out)
}

// What the clients of other makes see from the mock is what they saw from the
// real server, field by field.
func TestConformanceOfClients(t *testing.T) {
	clients := []struct {
		name, program string
		run           func(t *testing.T, addr string) string
	}{
		{"Python's http.client", "python3", func(t *testing.T, addr string) string {
			return run(t, conformanceCalls(), "python3", "testdata/client.py", addr)
		}},
		{"Node's fetch", "node", func(t *testing.T, addr string) string {
			return run(t, conformanceCalls(), "node", "testdata/client.mjs", addr)
		}},
		{"curl", "curl", func(t *testing.T, addr string) string { return curl(t, conformanceCalls(), addr) }},
	}
	for _, tt := range clients {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.program); err != nil {
				t.Skipf("%s is not installed", tt.program)
			}
			rec := record(t, realServer(t))
			want := tt.run(t, rec.addr())
			recorded := rec.recorded("127.0.0.1:1") // the only port recorded for the host
			if n := len(conformanceCalls()); len(recorded) != n {
				t.Fatalf("%d calls were recorded, want %d", len(recorded), n)
			}
			s := start(t, recorded, mock.Options{})
			s.BeginPass(1)
			s.Enter(1, "a")
			got := tt.run(t, s.addr)
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("real server (-), mock (+):\n%s", diff)
			}
			if a := s.balanced(1); a.Tiers[traffic.TierExact] != len(recorded) || a.Live != len(recorded) {
				t.Errorf("account: %+v", a)
			}
		})
	}
}
