package conformance

import (
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tool runs a program that must be installed and returns what it prints,
// whatever its exit code.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	out, _ := exec.CommandContext(t.Context(), name, args...).CombinedOutput() // the output tells more than the code
	return string(out)
}

// figures picks from the summary of h2load what does not depend on speed.
var figures = regexp.MustCompile(`(?m)^(requests: .*|status codes: .*)$|\) data$`)

// h2load gets the same answers from the mock as from the real server, over
// many streams of few connections.
func TestLoadOfHTTP2(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) { loadHTTP2(t, scheme) })
	}
}

func loadHTTP2(t *testing.T, scheme string) {
	load := func(addr string) []string {
		origin := scheme + "://" + addr
		if scheme == "https" {
			_, port, _ := strings.Cut(addr, ":")
			origin = "https://" + host + ":" + port
		}
		out := tool(t, "h2load", "-n", "400", "-c", "4", "-m", "20", "--no-tls-proto=h2c", origin+"/plain?a=1", origin+"/chunked")
		found := figures.FindAllString(out, -1)
		if !strings.Contains(out, " 400 succeeded") {
			t.Fatalf("h2load: %.2000s", out)
		}
		return found
	}
	var r *recording
	if scheme == "https" {
		addr, root := realServerTLS(t)
		r = record(t, addr, root)
	} else {
		r = record(t, realServer(t))
	}
	want := load(r.addr)
	m, addr := r.replay(t)
	if diff := cmp.Diff(want, load(addr)); diff != "" {
		t.Errorf("real server (-), mock (+):\n%s", diff)
	}
	if a := m.Account(1); a.Err != nil || a.Matched != 400 || a.Unused != 0 {
		t.Errorf("account: %+v", a)
	}
}

// failed are the cases of h2spec that a server does not pass.
var failed = regexp.MustCompile(`(?m)^\s*× .*$`)

// h2spec finds no more to complain of in the mock than in the server of
// net/http, from which its answers are recorded. It judges by its patience too,
// so that only what it says again counts. It is not built here, for it takes the
// test ten seconds a server:
//
//	go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1
func TestSpecOfHTTP2(t *testing.T) {
	check := func(addr string) []string {
		name, port, _ := strings.Cut(addr, ":")
		out := tool(t, "h2spec", "--host", name, "--port", port, "--path", "/plain", "--timeout", "2")
		if !strings.Contains(out, " tests, ") {
			t.Fatalf("h2spec: %.2000s", out)
		}
		t.Log(strings.TrimSpace(out[strings.LastIndex(out, "Finished"):]))
		return failed.FindAllString(out, -1)
	}
	server := realServer(t)
	want := check(server)
	r := record(t, server)
	get(t, "http://"+r.addr+"/plain")
	_, addr := r.replay(t)
	left := check(addr)
	for range 3 {
		if left = slices.DeleteFunc(left, func(c string) bool { return slices.Contains(want, c) }); len(left) == 0 {
			return
		}
		again := check(addr)
		left = slices.DeleteFunc(left, func(c string) bool { return !slices.Contains(again, c) })
	}
	t.Errorf("the real server passes, the mock does not: %q", left)
}

// get makes one call over HTTP/2, so that there is something to answer from.
func get(t *testing.T, url string) {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
