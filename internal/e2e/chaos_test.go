package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/report"
)

// TestEveryFaultShows lets calls to dependencies go wrong in each way that local
// processes can meet: base asks again, head does not, and the report must tell of
// each way where head fails. A name that does not exist needs a cluster.
func TestEveryFaultShows(t *testing.T) {
	if !everything() {
		t.Skip("runs the service several times; set REPRISE_E2E=1 to do so")
	}
	for name, row := range map[string]struct {
		faults []string
		shows  []string // in the words of the report
	}{
		"calls": {
			[]string{
				"{dependency: inventory, share: 0.2, kind: reset}", "{dependency: inventory, share: 0.25, kind: empty}",
				"{dependency: inventory, share: 0.3, kind: truncate}", "{dependency: api.payments.example, share: 0.1, kind: drip, rate: 1}",
			},
			[]string{"with connection reset", "with closed without an answer", "with body broken off", "with body at 1 bytes a second"},
		},
		// No call is seen of a handshake that fails.
		"handshakes": {[]string{"{dependency: api.payments.example, share: 0.3, kind: tls}"}, []string{"head fails where base survives"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repository := stubborn(t, row.faults)
			d, code := run(t, repository, "--latency-off", "--fail-on", "fragility")
			if d.Verdict != analysis.Fail || code != 1 || d.Chaos == nil {
				t.Errorf("verdict %s (%s), exit code %d", d.Verdict, d.Reason, code)
			}
			for _, want := range row.shows {
				if !tells(d, want) {
					t.Errorf("no finding tells of %q", want)
				}
			}
			for _, f := range d.Findings {
				t.Log(describe(f))
			}
		})
	}
}

// tells reports whether a finding of fragility has some words, and base survived
// what head answered badly.
func tells(d *report.Document, words string) bool {
	for _, f := range d.Findings {
		if f.Kind == analysis.KindFragility && strings.Contains(f.Detail, words) && strings.HasPrefix(f.Base, "20") && f.Head == "502" {
			return true
		}
	}
	return false
}

// fragile wants that head failed more often than base when dependencies went wrong,
// and that base answered well wherever a finding says that head did not.
func fragile(t *testing.T, d *report.Document) {
	t.Helper()
	switch c := d.Chaos; {
	case c == nil:
		t.Error("no dependency went wrong")
	case c.Requests == 0 || c.New == 0 || c.Head <= c.Base:
		t.Errorf("chaos %+v: head must fail at what base survives", *c)
	}
	for _, f := range d.Findings {
		if f.Kind == analysis.KindFragility && (!strings.HasPrefix(f.Base, "2") || !strings.HasPrefix(f.Head, "5")) {
			t.Errorf("base did not survive, or head did not fail: %s", describe(f))
		}
	}
}

// stubborn is a repository whose main branch asks a dependency up to five times,
// each time on a connection of its own, and whose change asks once.
func stubborn(t *testing.T, faults []string) string {
	t.Helper()
	dir := newRepository(t)
	git := func(args ...string) { command(t, dir, "git", args...) }
	client := filepath.Join(dir, "examples", "shop", "internal", "upstream", "client.go")
	git("switch", "-q", "main")
	edit(t, filepath.Join(dir, "examples", "shop", "main.go"), "client := &http.Client{Timeout: cfg.upstreamTimeout}",
		"client := &http.Client{Timeout: cfg.upstreamTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}")
	edit(t, client, "	if method == http.MethodGet && passes(err) {\n		return c.once(ctx, method, path, header, in, out)\n	}\n",
		"	for range 4 {\n		if !passes(err) {\n			break\n		}\n		err = c.once(ctx, method, path, header, in, out)\n	}\n")
	edit(t, client, "	return errors.As(err, &failed) && failed.Status == http.StatusGatewayTimeout", "	return err != nil && !errors.As(err, &failed)")
	config := filepath.Join(dir, "examples", "shop", "reprise.yaml")
	edit(t, config, "    TOKEN_KEY: key-of-the-replay\n", "    TOKEN_KEY: key-of-the-replay\n    UPSTREAM_TIMEOUT: 500ms\n")
	edit(t, config, "replay:\n", fmt.Sprintf("chaos:\n  seed: 7\n  faults: [%s]\nreplay:\n  keep: {any: [{endpoint: POST /v1/orders}, {endpoint: \"GET /v1/orders/{id}/summary\"}]}\n", strings.Join(faults, ", ")))
	git("commit", "-qam", "The shop that asks again")
	git("switch", "-q", "change")
	git("reset", "-q", "--hard", "main")
	edit(t, client, "for range 4 {", "for range 0 {")
	git("commit", "-qam", "The shop that asks once")
	return dir
}
