package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// TestBrokenHeadIsAFinding wants a verdict, and not an error of the run, for a
// change that cannot be built or does not start.
func TestBrokenHeadIsAFinding(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the service")
	}
	for name, row := range map[string]struct{ old, new, reason string }{
		"does not build":   {"func main() {", "func main() { undefined()", "does not build"},
		"ends at once":     {"cfg, err := readConfig(getenv)", "cfg, err := readConfig(func(string) string { return \"\" })", "did not become ready"},
		"ends when called": {"Now:       time.Now,\n\t})", "Now:       time.Now,\n\t})\n\thandler = dying(handler)", "ended"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repository := newRepository(t)
			edit(t, filepath.Join(repository, "examples", "shop", "main.go"), row.old, row.new)
			if strings.Contains(row.new, "dying") {
				write(t, filepath.Join(repository, "examples", "shop", "dying.go"), `package main

import (
	"net/http"
	"os"
)

func dying(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/quote" {
			os.Exit(7)
		}
		next.ServeHTTP(w, r)
	})
}
`)
			}
			command(t, repository, "git", "add", "-A")
			command(t, repository, "git", "commit", "-qm", "Break the shop")
			document, code := run(t, repository, "--latency-off")
			if document.Verdict != analysis.Fail || code != 1 {
				t.Errorf("verdict %s (%s), exit code %d", document.Verdict, document.Reason, code)
			}
			found := false
			for _, f := range document.Findings {
				found = found || f.Kind == analysis.KindCrash && f.Cause == analysis.CauseHead && f.Gates &&
					strings.Contains(f.Head+" "+f.Detail, row.reason)
				t.Log(describe(f))
			}
			if !found {
				t.Errorf("no crash says %q", row.reason)
			}
		})
	}
}

// TestReportHidesWhatTheServiceKnows changes personal data that the service
// holds itself, so that no recorder ever saw it: the report must show that
// names changed, and no name. Every run of these tests looks for names; this
// one has them right where the findings are.
func TestReportHidesWhatTheServiceKnows(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the service")
	}
	repository := newRepository(t)
	edit(t, filepath.Join(repository, "examples", "shop", "internal", "api", "orders.go"),
		"Customer:  customer{Name: o.Customer.Name,", "Customer:  customer{Name: o.Customer.Name + \" Senior\",")
	edit(t, filepath.Join(repository, "examples", "shop", "internal", "api", "me.go"), "Email:  c.Email", "Email:  c.Email + \".example.com\"")
	command(t, repository, "git", "commit", "-qam", "Change names and addresses")
	document, code := run(t, repository, "--latency-off")
	check(t, document, code, []expectation{
		{Kind: analysis.KindResponse, Change: analysis.ChangeValue, Endpoint: "GET /v1/orders/{id}", Address: "response.body.customer.name"},
		{Kind: analysis.KindResponse, Change: analysis.ChangeValue, Endpoint: "POST /v1/orders", Address: "response.body.customer.name"},
		{Kind: analysis.KindResponse, Change: analysis.ChangeValue, Endpoint: "GET /v1/me", Address: "response.body.email"},
	})
}

// edit replaces a text that occurs once.
func edit(t *testing.T, path, old, new string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), old); n != 1 {
		t.Fatalf("%s holds %q %d times", path, old, n)
	}
	write(t, path, strings.Replace(string(data), old, new, 1))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
