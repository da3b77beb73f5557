package conformance

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

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
		{Method: "GET", Target: "/br", Header: map[string]string{"Accept-Encoding": "br"}},
		{Method: "GET", Target: "/zstd", Header: map[string]string{"Accept-Encoding": "zstd"}},
		{Method: "GET", Target: "/none"},
		{Method: "GET", Target: "/file", Header: map[string]string{"Range": "bytes=10-19"}},
		{Method: "GET", Target: "/file", Header: map[string]string{"Range": "bytes=20-29"}},
		{Method: "GET", Target: "/file", Header: map[string]string{"If-None-Match": `"v1"`}},
		{Method: "GET", Target: "/file", Header: map[string]string{"Range": "bytes=200-"}}, // not satisfiable
		{Method: "HEAD", Target: "/file"},
		{Method: "GET", Target: "/trailer"},
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
		{Method: "POST", Target: "/echo", Header: map[string]string{"Content-Type": "text/plain", "Expect": "100-continue"}, Body: body(big)},
		{Method: "POST", Target: "/graphql", Header: map[string]string{"Content-Type": "application/json"}, Body: body(`{"operationName":"One","query":"query One($id: ID!) { item(id: $id) { name } }","variables":{"id":"7"}}`)},
		{Method: "POST", Target: "/graphql", Header: map[string]string{"Content-Type": "application/json"}, Body: body(`{"operationName":"One","query":"query One($id: ID!) { item(id: $id) { name } }","variables":{"id":"8"}}`)},
		{Method: "POST", Target: "/", Header: map[string]string{"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.GetItem"}, Body: body(`{"TableName":"t","Key":{"id":{"S":"1"}}}`)},
		{Method: "POST", Target: "/", Header: map[string]string{"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.ListTables"}, Body: body(`{}`)},
		{Method: "GET", Target: "/short"}, // breaks off
		{Method: "GET", Target: "/plain?a=after"},
	}
}

// realServer answers in all the ways that the calls are after, and returns its
// address.
func realServer(t *testing.T) string {
	s := newRealServer(t)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	return s.Listener.Addr().String()
}

// realServerTLS is the same over TLS, with HTTP/2 and HTTP/1.1 by ALPN. It also
// returns the root that its certificate is signed by.
func realServerTLS(t *testing.T) (string, *x509.Certificate) {
	s := newRealServer(t)
	ca, root := newRoot(t)
	s.EnableHTTP2 = true
	s.TLS = ca.ServerConfig(host)
	s.StartTLS()
	return s.Listener.Addr().String(), root
}

// newRealServer returns the server before its start.
func newRealServer(t *testing.T) *httptest.Server {
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
	for _, coding := range []string{"br", "zstd"} {
		mux.HandleFunc("/"+coding, func(w http.ResponseWriter, r *http.Request) {
			data, err := traffic.Encode([]byte(strings.Repeat("long ", 1000)), coding)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Encoding", coding)
			w.Header().Set("Content-Type", "text/plain")
			w.Write(data)
		})
	}
	mux.HandleFunc("/trailer", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		text(w, "with a trailer")
		w.Header().Set("X-Sum", "14")
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		text(w, "ten bytes.")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/graphql", func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Variables map[string]any }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"data":{"item":{"name":"item %v"}}}`, asked.Variables["id"])
	})
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		fmt.Fprintf(w, `{"Target":%q}`, r.Header.Get("X-Amz-Target"))
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
	s := httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	return s
}

// run makes the calls with a client program, which trusts the certificates in
// the file roots, if any is named.
func run(t *testing.T, calls []clientCall, roots string, argv ...string) string {
	t.Helper()
	input, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(input)
	if roots != "" {
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+roots, "NODE_EXTRA_CA_CERTS="+roots)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, stderr.String())
	}
	return string(out)
}
