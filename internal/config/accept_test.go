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
