package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/report"
)

// TestDemo runs what make demo runs. Its report must hold what the regressions
// in it promise, as if each were alone.
func TestDemo(t *testing.T) {
	if !everything() {
		t.Skip("measures for a minute; set REPRISE_E2E=1 to do so")
	}
	applied := demonstrated(t)
	var expect []expectation
	for _, r := range regressions(t) {
		if slices.Contains(applied, r.name) {
			expect = append(expect, r.expect...)
		}
	}
	binary := os.Getenv("REPRISE_BIN")
	if binary == "" {
		var err error
		if binary, err = exec.LookPath("reprise"); err != nil {
			t.Fatal(err)
		}
	}
	d := checkMeasured(t, expect, func() (*report.Document, int) { return demo(t, binary), 1 })
	if !slices.Contains(applied, repeating) {
		t.Fatalf("the demo shows %q; its repeated calls are what makes it wait", applied)
	}
	waitsLonger(t, d)
}

// demonstrated names the regressions that the demo applies.
func demonstrated(t *testing.T) []string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join(shop, "demo.sh"))
	if err != nil {
		t.Fatal(err)
	}
	defaults := regexp.MustCompile(`set -- (.*)`).FindSubmatch(script)
	if defaults == nil {
		t.Fatal("demo.sh names no regressions")
	}
	return strings.Fields(string(defaults[1]))
}

// demo runs the script and returns the report it leaves. The script ends well
// when a gate of the run failed: its report says so.
func demo(t *testing.T, binary string) *report.Document {
	t.Helper()
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(shop, "demo.sh"), binary, out)
	cmd.Env = environment(t)
	if log, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	data, err := os.ReadFile(filepath.Join(out, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := report.ReadJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return document
}
