package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/cli"
	"github.com/reprise-ci/reprise/internal/report"
)

// TestMain lets the test binary be the command "reprise" for the tests, so that
// nothing has to be built first. REPRISE_BIN names a binary to be used instead.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"reprise": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		os.Exit(cli.Run(ctx, os.Args[1:], cli.System()))
	}})
}

// everything reports whether the tests that take minutes are wanted too.
func everything() bool { return os.Getenv("REPRISE_E2E") != "" }

// TestRegressionsAreFound runs the example against itself with each patch, as
// local processes, and wants exactly the findings that the patch names.
func TestRegressionsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the service")
	}
	for _, r := range regressions(t) {
		t.Run(r.name, func(t *testing.T) {
			// Latency is measured with the machine to itself: parallel tests
			// begin when the others have ended.
			var args []string
			switch {
			case r.slows() && !everything():
				t.Skip("measures for a minute; set REPRISE_E2E=1 to do so")
			case r.slows() && slices.Contains(demonstrated(t), r.name):
				t.Skip("TestDemo measures it")
			case !r.slows() && !(r.name == "harmless" && everything()):
				args = []string{"--latency-off"}
				t.Parallel()
			}
			if r.chaos != "" {
				args = append(args, "--fail-on", "response,outbound,crash,fragility")
			}
			repository := newRepository(t, r)
			d := checkMeasured(t, r.expect, func() (*report.Document, int) { return run(t, repository, args...) })
			if r.name == repeating {
				waitsLonger(t, d)
			}
		})
	}
}

// newRepository makes a repository whose main branch is the example, and whose
// current branch has the given patches on top.
func newRepository(t *testing.T, patches ...regression) string {
	t.Helper()
	dir := t.TempDir()
	copyShop(t, dir)
	if err := os.CopyFS(filepath.Join(dir, "snapshots", "shop"), os.DirFS("../../snapshots/shop")); err != nil {
		t.Fatal(err)
	}
	for _, p := range patches {
		if p.chaos != "" {
			chaos(t, dir, p.chaos)
		}
	}
	git := func(args ...string) { command(t, dir, "git", args...) }
	git("init", "-q", "-b", "main")
	git("config", "user.name", "test")
	git("config", "user.email", "test@example.com")
	git("add", "-A")
	git("commit", "-qm", "The shop as it is")
	git("switch", "-qc", "change")
	for _, p := range patches {
		git("apply", p.path)
	}
	git("commit", "-qam", "The shop with a change", "--allow-empty")
	return dir
}

// chaos adds a fault to the configuration of the example.
func chaos(t *testing.T, dir, fault string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "examples", "shop", "reprise.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, "\nchaos:\n  faults:\n    - %s\n", fault); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// run runs reprise in a repository and returns its report and exit code.
func run(t *testing.T, repository string, args ...string) (*report.Document, int) {
	t.Helper()
	return runInto(t, repository, filepath.Join(t.TempDir(), "out"), args...)
}

// runInto is run with a directory for what it writes.
func runInto(t *testing.T, repository, out string, args ...string) (*report.Document, int) {
	t.Helper()
	args = append([]string{
		"run", "--config", "examples/shop/reprise.yaml", "--target", "process",
		"--base-ref", "main", "--output-dir", out, "--seed", "1", "--comment", "never",
	}, args...)
	log, code := reprise(t, repository, args...)
	f, err := os.Open(filepath.Join(out, "report.json"))
	if err != nil {
		t.Fatalf("%v; exit code %d\n%s", err, code, log)
	}
	defer f.Close()
	document, err := report.ReadJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"report.json", "report.md", "report.html", "junit.xml"} {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
		for _, value := range personalValues(t) {
			if strings.Contains(string(text), value) {
				t.Errorf("%s holds %q", name, value)
			}
		}
	}
	if t.Failed() || document.Verdict == analysis.Error || code > 1 {
		t.Logf("exit code %d\n%s", code, log)
	}
	return document, code
}

// reprise runs the command in dir and returns all it printed, and its exit code.
func reprise(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	name := os.Getenv("REPRISE_BIN")
	if name == "" {
		name = "reprise"
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = environment(t)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// environment is that of the tests without what would make reprise believe
// that it runs as an action.
func environment(t *testing.T) []string {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		for _, prefix := range []string{"GITHUB_", "INPUT_", "ACTIONS_", "RUNNER_", "REPRISE_", "ACT=", "CI="} {
			if strings.HasPrefix(e, prefix) {
				return true
			}
		}
		return false
	})
	return append(env, "TMPDIR="+t.TempDir(), "GOWORK=off", "GOFLAGS=", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
}

// check wants what deviations looks for.
func check(t *testing.T, d *report.Document, code int, expect []expectation) {
	t.Helper()
	wrong, _ := deviations(d, code, expect)
	for _, w := range wrong {
		t.Error(w)
	}
	if t.Failed() {
		for _, f := range d.Findings {
			t.Logf("%s", describe(f))
		}
	}
}

// checkMeasured is check for runs that measure latency. A verdict on latency may
// err in one run of a hundred, and several tests measure, so where a run is as
// expected but for latency, what counts is a second one.
func checkMeasured(t *testing.T, expect []expectation, once func() (*report.Document, int)) *report.Document {
	t.Helper()
	d, code := once()
	if wrong, latency := deviations(d, code, expect); len(wrong) > 0 && latency {
		t.Logf("measured once more, because of:\n%s", strings.Join(wrong, "\n"))
		d, code = once()
	}
	check(t, d, code, expect)
	return d
}

// deviations tells how a report differs from one finding with cause head for
// each expectation and no other, no finding at all where none is expected, and
// the verdict and the exit code that follow; and whether only findings of what
// is measured differ.
func deviations(d *report.Document, code int, expect []expectation) (wrong []string, latency bool) {
	left := slices.Clone(expect)
	gates := false
	latency = true
	for _, f := range d.Findings {
		gates = gates || f.Gates
		if f.Cause != analysis.CauseHead && len(expect) > 0 {
			continue
		}
		i := slices.IndexFunc(left, func(e expectation) bool { return f.Cause == analysis.CauseHead && e.matches(f) })
		if i < 0 {
			wrong = append(wrong, "not expected: "+describe(f))
			latency = latency && measured(f.Kind)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, e := range left {
		wrong = append(wrong, "missing: "+e.String())
		latency = latency && measured(e.Kind)
	}
	wantCode, wantVerdict := 0, analysis.Pass
	if slices.ContainsFunc(expect, func(e expectation) bool { return e.Kind != analysis.KindLatency }) {
		wantCode, wantVerdict = 1, analysis.Fail
	}
	if d.Verdict != wantVerdict || code != wantCode || gates != (wantCode == 1) {
		wrong = append(wrong, fmt.Sprintf("verdict %s (%s), exit code %d, gates %v; want %s and %d", d.Verdict, d.Reason, code, gates, wantVerdict, wantCode))
		latency = false
	}
	return wrong, latency
}

// measured are the kinds of findings that may err by chance.
func measured(kind analysis.Kind) bool {
	return kind == analysis.KindLatency || kind == analysis.KindResource
}

func describe(f analysis.Finding) string {
	return fmt.Sprintf("%s %s cause=%s change=%s endpoint=%q call=%q address=%q %d of %d: %s (recorded %q base %q head %q), %d consequences",
		f.ID, f.Kind, f.Cause, f.Change, f.Endpoint, f.Call, f.Address, f.Count, f.Of, f.Detail, f.Recorded, f.Base, f.Head, len(f.Consequences))
}
