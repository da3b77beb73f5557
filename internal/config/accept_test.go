package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// What is accepted reaches the judgement of the next run as it was written.
func TestAcceptsReachTheJudgement(t *testing.T) {
	dir := t.TempDir()
	address, err := traffic.ParsePattern("response.body.items[].price")
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	want := []analysis.Accept{
		{Address: address, Kind: analysis.KindResponse, Change: analysis.ChangeStatus, Endpoint: "GET /v1/orders/{id}",
			Reason: "prices: texts from v2 on # really", Author: "Mona", Date: day, Expires: day.AddDate(0, 1, 0)},
		{Kind: analysis.KindResponse, Change: analysis.ChangeStatus, Endpoint: "*", Broad: true, Reason: "no address", Date: day},
	}
	for _, a := range want {
		if err := config.AddAccept(dir, a); err != nil {
			t.Fatal(err)
		}
	}
	c := config.Default()
	c.Target, c.Process.Command = config.TargetProcess, "./service"
	o, err := c.Pipeline(config.Place{Dir: dir, Getenv: os.Getenv, Now: func() time.Time { return day }, RedactKey: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	got := o.Analysis.Accepts
	if len(got) != len(want) || !o.Analysis.Now.Equal(day) {
		t.Fatalf("%d accepts at %s", len(got), o.Analysis.Now)
	}
	for i := range want {
		if got[i].Address.String() != want[i].Address.String() || got[i].Kind != want[i].Kind || got[i].Change != want[i].Change ||
			got[i].Endpoint != want[i].Endpoint || got[i].Broad != want[i].Broad || got[i].Reason != want[i].Reason ||
			got[i].Author != want[i].Author || !got[i].Date.Equal(want[i].Date) || !got[i].Expires.Equal(want[i].Expires) {
			t.Errorf("%d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

// A file that people wrote is added to only where that keeps it what it was.
func TestAddAcceptKeepsTheFile(t *testing.T) {
	add := analysis.Accept{Kind: analysis.KindResponse, Change: analysis.ChangeStatus, Endpoint: "GET /a", Reason: "r"}
	for _, c := range []struct{ reason, file, mistake string }{
		{"comments stay", "version: 1\n# why\naccept:\n", ""},
		{"the list is not last", "accept: []\nversion: 1\n", "reprise.accept.yaml"},
		{"a newer version", "version: 2\naccept:\n", "version 2 is not known"},
		{"too broad", "version: 1\naccept:\n  - {endpoint: \"*\", kind: response, change: status, reason: r}\n", "broad: true"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, config.AcceptFileName)
		if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		err := config.AddAccept(dir, add)
		after, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		switch {
		case c.mistake == "":
			if err != nil || !strings.HasPrefix(string(after), c.file) {
				t.Errorf("%s: %v\n%s", c.reason, err, after)
			}
		case err == nil || !strings.Contains(err.Error(), c.mistake) || string(after) != c.file:
			t.Errorf("%s: %v\n%s", c.reason, err, after)
		}
	}
}

// What has lapsed is taken out, and everything else stays as people wrote it.
func TestPruneAccepts(t *testing.T) {
	const keep = "  # texts\n  - endpoint: GET /b\n    kind: response\n    change: type\n    reason: kept # for now\n"
	const gone = "  # old\n  - endpoint: GET /a\n    kind: response\n    change: status\n    reason: gone\n"
	drop := []analysis.Lapsed{{Kind: analysis.KindResponse, Change: analysis.ChangeStatus, Endpoint: "GET /a", Reason: "gone"}}
	for _, c := range []struct {
		reason, file, want string
		pruned             int
	}{
		{"the first of two", "version: 1\naccept:\n" + gone + keep, "version: 1\naccept:\n" + keep, 1},
		{"the last of two", "version: 1\naccept:\n" + keep + gone, "version: 1\naccept:\n" + keep, 1},
		{"the only one", "version: 1\naccept:\n" + gone, "version: 1\naccept:\n", 1},
		{"none of these", "version: 1\naccept:\n" + keep, "version: 1\naccept:\n" + keep, 0},
		{"the same twice", "version: 1\naccept:\n" + gone + gone + keep, "version: 1\naccept:\n" + keep, 2},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, config.AcceptFileName)
		if err := os.WriteFile(path, []byte(c.file), 0o644); err != nil {
			t.Fatal(err)
		}
		pruned, err := config.PruneAccepts(dir, drop)
		if data, _ := os.ReadFile(path); err != nil || pruned != c.pruned || string(data) != c.want {
			t.Errorf("%s: %d pruned, %v:\n%s", c.reason, pruned, err, data)
		}
	}
	// A list on one line is left to people.
	dir := t.TempDir()
	line := "version: 1\naccept: [{endpoint: GET /a, kind: response, change: status, reason: gone}, {endpoint: GET /b, kind: response, change: status, reason: kept}]\n"
	if err := os.WriteFile(filepath.Join(dir, config.AcceptFileName), []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := config.PruneAccepts(dir, drop); err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("a list on one line: %v", err)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, config.AcceptFileName)); string(data) != line {
		t.Errorf("it was changed: %s", data)
	}
}
