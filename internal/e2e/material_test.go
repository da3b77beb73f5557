package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// TestMaterial imports what other people's tools recorded of the example
// (testdata/material/make.sh), and replays it against the example, which must
// answer as it did and make the calls that it made.
func TestMaterial(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the service")
	}
	if everything() {
		t.Skip("nothing of it needs more than make test, which runs it")
	}
	for _, row := range []struct {
		name  string
		files []string
		rules string // recorded by a mock, for calls to inventory
		calls int    // recorded ones
		ruled int    // calls that rules answer
		bound int    // calls that no rule answers, since they hold the id of an order
	}{
		{name: "goreplay", files: []string{"shop.gor.gz", "out.flows.gz", "shipping.pcap.gz"}, calls: 52},
		{name: "har", files: []string{"in.har.gz", "out.har.gz", "shipping.pcap.gz"}, calls: 52},
		{name: "mitmproxy", files: []string{"in.flows.gz", "out.flows.gz", "shipping.pcap.gz"}, calls: 52},
		{name: "tcpdump", files: []string{"shop.pcap.gz", "payments.flows.gz"}, calls: 52},
		{name: "go-vcr", files: []string{"shop.gor.gz", "cassette.yaml", "shipping.pcap.gz"}, calls: 52},
		{name: "wiremock", files: []string{"shop.gor.gz", "payments.flows.gz", "shipping.pcap.gz"}, rules: "wiremock", calls: 28, ruled: 20, bound: 4},
		{name: "mountebank", files: []string{"shop.gor.gz", "payments.flows.gz", "shipping.pcap.gz"}, rules: "mountebank.json", calls: 28, ruled: 24},
		{name: "hoverfly", files: []string{"shop.gor.gz", "payments.flows.gz", "shipping.pcap.gz"}, rules: "hoverfly.json", calls: 28, ruled: 20, bound: 4},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			repository := newRepository(t)
			snapshot := filepath.Join(t.TempDir(), "material")
			args := []string{"import", "--config", "examples/shop/reprise.yaml", "--snapshot", snapshot, "--host", "shop.example.com", "--strict"}
			for _, name := range row.files {
				args = append(args, material(t, name))
			}
			log, code := reprise(t, repository, args...)
			if found := regexp.MustCompile(`(\d+) inbound and (\d+) outbound`).FindStringSubmatch(log); code != 0 || found == nil || found[1] != "67" || found[2] != strconv.Itoa(row.calls) {
				t.Fatalf("exit code %d, want 67 inbound and %d outbound exchanges:\n%s", code, row.calls, log)
			}
			args = []string{"--snapshot", snapshot, "--latency-off"}
			if row.rules != "" {
				rules := filepath.Join(t.TempDir(), "rules.yaml")
				if log, code := reprise(t, repository, "import", material(t, row.rules), "--rules", rules); code != 0 {
					t.Fatalf("exit code %d\n%s", code, log)
				}
				args = append(args, "--mock-rules", rules)
			}
			document, code := run(t, repository, args...)
			if document.Verdict != analysis.Pass || code != 0 || document.Replayed != 67 {
				t.Errorf("verdict %s (%s), exit code %d, %d replayed", document.Verdict, document.Reason, code, document.Replayed)
			}
			for _, f := range document.Findings {
				t.Errorf("found %s", describe(f))
			}
			for arm, a := range document.Mock {
				if a.Recorded != row.calls || a.Matched != row.calls || a.Extra != row.ruled || a.Missed != row.bound {
					t.Errorf("%s: %d recorded, %d matched, %d by rules, %d missed; want %d, all matched, %d and %d: %+v",
						arm, a.Recorded, a.Matched, a.Extra, a.Missed, row.calls, row.ruled, row.bound, a.Misses)
				}
			}
		})
	}
}

// material returns the path of a file that make.sh made.
func material(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata/material", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(path, "/")
}
