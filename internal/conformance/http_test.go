package conformance

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// client is a program, or Go's own client, that makes the calls and writes
// down what it got.
type client struct {
	name  string
	needs []string // programs; the first one runs
	check []string // a command that fails where a library is missing
	proto string   // what it speaks
	// run makes the calls to an origin ("http://127.0.0.1:80"); roots is the file
	// of certificates that it trusts, empty for an origin without TLS.
	run func(t *testing.T, origin, roots string) string
}

// skip skips the test when something is missing, and says what.
func (c client) skip(t *testing.T) {
	t.Helper()
	for _, program := range c.needs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	if c.check != nil {
		if out, err := exec.Command(c.check[0], c.check[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s is not there: %v %s", c.name, err, regexp.MustCompile(`(?m)^\w*Error: .*$`).Find(out))
		}
	}
}

// python is the interpreter of the system, for which Debian packages its
// libraries, or else the first one.
func python() string {
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		return "/usr/bin/python3"
	}
	return "python3"
}

const (
	http1 = "HTTP/1.1"
	http2 = "HTTP/2.0"
)

// clients are those that this machine may have; over TLS, those that speak
// HTTP/2 choose it by ALPN.
func clients(secure bool) []client {
	prior := "--http2-prior-knowledge"
	if secure {
		prior = "--http2"
	}
	list := []client{
		{name: "net/http", proto: http1, run: func(t *testing.T, origin, roots string) string { return goClient(t, origin, roots, false) }},
		{name: "net/http, HTTP/2", proto: http2, run: func(t *testing.T, origin, roots string) string { return goClient(t, origin, roots, true) }},
		{name: "curl", proto: http1, needs: []string{"curl"}, run: func(t *testing.T, origin, roots string) string {
			return curl(t, conformanceCalls(), origin, roots, "--http1.1")
		}},
		{name: "curl, HTTP/2", proto: http2, needs: []string{"curl"}, run: func(t *testing.T, origin, roots string) string {
			var seen strings.Builder // one run each: some versions cannot use such a connection twice
			for _, call := range conformanceCalls() {
				out := curl(t, []clientCall{call}, origin, roots, prior)
				if call.Target == "/short" { // curl drops what it reads together with the end of a stream that broke off
					out = exitCode.FindString(out)
				}
				seen.WriteString(out)
			}
			return seen.String()
		}},
	}
	for _, module := range []string{"http.client", "urllib", "requests"} {
		list = append(list, client{
			name: "Python's " + module, proto: http1, needs: []string{python()}, check: []string{python(), "-c", "import " + module},
			run: func(t *testing.T, origin, roots string) string {
				return run(t, conformanceCalls(), roots, python(), "testdata/client.py", module, origin)
			},
		})
	}
	find := `require("node:module").createRequire(process.env.REPRISE_PEERS + "/")("undici")`
	node := func(name, module, proto string, check ...string) client {
		return client{
			name: "Node's " + name, proto: proto, needs: []string{"node"}, check: check,
			run: func(t *testing.T, origin, roots string) string {
				return run(t, conformanceCalls(), roots, "node", "testdata/client.mjs", module, origin)
			},
		}
	}
	list = append(list, node("fetch", "fetch", http1), node("undici", "undici", http1, "node", "-e", find))
	if secure { // by ALPN alone
		list = append(list, node("undici, HTTP/2", "undici-h2", http2, "node", "-e", find))
	}
	return list
}

// exitCode finds curl's code for a stream that broke off.
var exitCode = regexp.MustCompile(`\b92\b`)

// goClient makes the calls with net/http.
func goClient(t *testing.T, origin, roots string, http2 bool) string {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, ExpectContinueTimeout: 5 * time.Second, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	if roots != "" {
		data, err := os.ReadFile(roots)
		if err != nil {
			t.Fatal(err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(data)
		transport.Protocols.SetUnencryptedHTTP2(false)
		transport.Protocols.SetHTTP2(http2)
	}
	defer transport.CloseIdleConnections()
	var seen strings.Builder
	for _, call := range conformanceCalls() {
		var body io.Reader
		if call.Body != nil {
			body = strings.NewReader(*call.Body)
		}
		req, err := http.NewRequestWithContext(t.Context(), call.Method, origin+call.Target, body)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range call.Header {
			req.Header.Set(name, value)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s %s: %v", call.Method, call.Target, err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var fields []string
		for _, f := range append(traffic.HeaderFrom(resp.Header), traffic.HeaderFrom(resp.Trailer)...) {
			fields = append(fields, f.Name+": "+f.Value)
		}
		slices.Sort(fields)
		fmt.Fprintf(&seen, "%s %s %d %q %d %d %x broken off: %v\n", call.Method, call.Target, resp.StatusCode, fields, resp.ContentLength, len(got), sha256.Sum256(got), err != nil)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !http2 {
			t.Errorf("%s: %v", call.Target, err)
		}
	}
	return seen.String()
}

// curl makes the calls with one run of curl, so that it keeps its connection.
func curl(t *testing.T, calls []clientCall, origin, roots, protocol string) string {
	t.Helper()
	args := []string{"curl"}
	for i, c := range calls {
		if i > 0 {
			args = append(args, "--next")
		}
		args = append(args, "--silent", "--include", "--noproxy", "*", protocol, "--max-time", "20",
			"--write-out", `\n=> %{http_version} %{exitcode} %{size_download}\n`, origin+c.Target)
		if roots != "" {
			args = append(args, "--cacert", roots)
		}
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
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) { // the code is that of the last call
		t.Fatalf("curl: %v: %.2000s", err, out)
	}
	return sortedHeads(string(out))
}

// sortedHeads sorts the lines of each head: which field comes first says
// nothing, and the recorder does not keep those that frame a message.
func sortedHeads(out string) string {
	lines := strings.Split(out, "\n")
	for from := 0; from < len(lines); from++ {
		until := from
		for until < len(lines) && len(lines[until]) > 1 && strings.HasSuffix(lines[until], "\r") {
			until++
		}
		slices.Sort(lines[from:until])
		from = max(from, until)
	}
	return strings.Join(lines, "\n")
}

// What a client gets from the mock is what it got from the real server, field
// by field.
func TestClients(t *testing.T) {
	for _, c := range clients(false) {
		t.Run(c.name, func(t *testing.T) { c.test(t, "http") })
	}
}

// The same over TLS, where ALPN decides what is spoken.
func TestClientsOverTLS(t *testing.T) {
	for _, c := range clients(true) {
		t.Run(c.name, func(t *testing.T) { c.test(t, "https") })
	}
}

func (c client) test(t *testing.T, scheme string) {
	c.skip(t)
	var r *recording
	roots := ""
	if scheme == "https" {
		real, root := realServerTLS(t)
		r = record(t, real, root)
		roots = r.roots(t)
	} else {
		r = record(t, realServer(t))
	}
	origin := func(addr string) string {
		if scheme == "https" {
			_, port, _ := strings.Cut(addr, ":")
			return "https://" + host + ":" + port
		}
		return "http://" + addr
	}
	want := c.run(t, origin(r.addr), roots)
	m, addr := r.replay(t)
	if n := len(conformanceCalls()); len(r.sink.exchanges) != n {
		t.Fatalf("%d calls were recorded, want %d:\n%.2000s", len(r.sink.exchanges), n, want)
	}
	got := c.run(t, origin(addr), roots)
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("real server (-), mock (+):\n%s", diff)
	}
	a := m.Account(1)
	if a.Err != nil || a.Tiers[traffic.TierExact] != len(r.sink.exchanges) || a.Live != len(r.sink.exchanges) {
		t.Errorf("account: %+v", a)
	}
	for _, x := range m.Calls(1) {
		if x.Request.Scheme != scheme || x.Request.Proto != c.proto {
			t.Errorf("%s %s came by %s over %s, want %s over %s", x.Request.Method, x.Request.Target, x.Request.Proto, x.Request.Scheme, c.proto, scheme)
			break
		}
	}
}
