package conformance

import (
	"crypto/sha256"
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
	run   func(t *testing.T, addr string) string
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

func clients() []client {
	list := []client{
		{name: "net/http", run: func(t *testing.T, addr string) string { return goClient(t, addr, false) }},
		{name: "net/http, HTTP/2", run: func(t *testing.T, addr string) string { return goClient(t, addr, true) }},
		{name: "curl", needs: []string{"curl"}, run: func(t *testing.T, addr string) string { return curl(t, conformanceCalls(), addr, "--http1.1") }},
		{name: "curl, HTTP/2", needs: []string{"curl"}, run: func(t *testing.T, addr string) string {
			var seen strings.Builder // one run each: some versions cannot use such a connection twice
			for _, call := range conformanceCalls() {
				out := curl(t, []clientCall{call}, addr, "--http2-prior-knowledge")
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
			name: "Python's " + module, needs: []string{python()}, check: []string{python(), "-c", "import " + module},
			run: func(t *testing.T, addr string) string {
				return run(t, conformanceCalls(), python(), "testdata/client.py", module, addr)
			},
		})
	}
	find := `require("node:module").createRequire(process.env.REPRISE_PEERS + "/")("undici")`
	for module, check := range map[string][]string{"fetch": nil, "undici": {"node", "-e", find}} {
		list = append(list, client{
			name: "Node's " + module, needs: []string{"node"}, check: check,
			run: func(t *testing.T, addr string) string {
				return run(t, conformanceCalls(), "node", "testdata/client.mjs", module, addr)
			},
		})
	}
	return list
}

// exitCode finds curl's code for a stream that broke off.
var exitCode = regexp.MustCompile(`\b92\b`)

// goClient makes the calls with net/http.
func goClient(t *testing.T, addr string, http2 bool) string {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, ExpectContinueTimeout: 5 * time.Second, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	defer transport.CloseIdleConnections()
	var seen strings.Builder
	for _, call := range conformanceCalls() {
		var body io.Reader
		if call.Body != nil {
			body = strings.NewReader(*call.Body)
		}
		req, err := http.NewRequestWithContext(t.Context(), call.Method, "http://"+addr+call.Target, body)
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
func curl(t *testing.T, calls []clientCall, addr, protocol string) string {
	t.Helper()
	args := []string{"curl"}
	for i, c := range calls {
		if i > 0 {
			args = append(args, "--next")
		}
		args = append(args, "--silent", "--include", "--noproxy", "*", protocol, "--max-time", "20",
			"--write-out", `\n=> %{http_version} %{exitcode} %{size_download}\n`, "http://"+addr+c.Target)
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
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			c.skip(t)
			real := realServer(t)
			r := record(t, real)
			want := c.run(t, r.addr)
			m, addr := r.replay(t)
			if n := len(conformanceCalls()); len(r.sink.exchanges) != n {
				t.Fatalf("%d calls were recorded, want %d:\n%.2000s", len(r.sink.exchanges), n, want)
			}
			got := c.run(t, addr)
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("real server (-), mock (+):\n%s", diff)
			}
			a := m.Account(1)
			if a.Err != nil || a.Tiers[traffic.TierExact] != len(r.sink.exchanges) || a.Live != len(r.sink.exchanges) {
				t.Errorf("account: %+v", a)
			}
		})
	}
}
