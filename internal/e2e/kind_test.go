package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/report"
)

// needsKind skips tests that need Docker, a static binary and minutes.
func needsKind(t *testing.T) {
	t.Helper()
	if !everything() {
		t.Skip("needs Docker and takes minutes; set REPRISE_E2E=1 and REPRISE_BIN, or run make e2e")
	}
	if os.Getenv("REPRISE_BIN") == "" {
		t.Fatal("REPRISE_BIN must name a static build of reprise: the pods run it")
	}
}

// TestKind does the whole job on a cluster: the same findings as with local
// processes, among them a call that only the cluster's names can show, one over
// gRPC, and what head alone fails at once a dependency goes wrong.
func TestKind(t *testing.T) {
	needsKind(t)
	before := dockerState(t)
	var picked []regression
	var expect []expectation
	for _, r := range regressions(t) {
		if slices.Contains([]string{"type-changed", "new-host", "changed-message", "no-retry"}, r.name) {
			picked = append(picked, r)
			expect = append(expect, r.expect...)
		}
	}
	repository := newRepository(t, picked...)
	document := checkMeasured(t, expect, func() (*report.Document, int) {
		return run(t, repository, "--target", "kind", "--latency-budget", "20s")
	})
	for arm, account := range document.Mock {
		if account.Recorded != account.Matched+account.Unused {
			t.Errorf("%s: recorded %d = matched %d + unused %d does not hold", arm, account.Recorded, account.Matched, account.Unused)
		}
		if n := account.Attributed["trace"]; n == 0 {
			t.Errorf("%s: no call was attributed by its trace: %v", arm, account.Attributed)
		}
	}
	for _, used := range document.Resources {
		if used.CPUSeconds <= 0 || used.PeakBytes <= 0 || used.Unavailable != "" {
			t.Errorf("%s: the node tells what pods use, and it came to %+v", used.Arm, used)
		}
		t.Logf("%s used %.2f s of processor time and %d MiB", used.Arm, used.CPUSeconds, used.PeakBytes>>20)
	}
	fragile(t, document)
	for _, s := range document.Run.Stages {
		t.Logf("%-24s %6.1f s", s.Name, s.Seconds)
	}
	if after := dockerState(t); !slices.Equal(before, after) {
		t.Errorf("Docker holds other things than before:\nbefore %q\nafter  %q", before, after)
	}
}

// TestKindInterrupted stops a run with SIGINT while the cluster is being made,
// and while requests are measured. Run and cluster must have ended within 10 s of
// the signal, by Docker's own clock; it must tell what it knows and leave nothing.
func TestKindInterrupted(t *testing.T) {
	needsKind(t)
	for _, row := range []interrupted{
		{"creating", "cluster: ", 3 * time.Second, "the node container exists, Kubernetes does not"},
		{"measuring", "replay on control", 4 * time.Second, "pods, forwardings and rounds are under way"},
	} {
		t.Run(row.name, func(t *testing.T) {
			late := row.run(t)
			if late != "" {
				t.Logf("%s; once more, because a machine that has other work may be that slow once", late)
				late = row.run(t)
			}
			if late != "" {
				t.Errorf("%s: %s", row.reason, late)
			}
		})
	}
}

// interrupted is a run that is stopped.
type interrupted struct {
	name, when string // a line of progress that starts so
	wait       time.Duration
	reason     string
}

// run stops a run, and returns what took longer than 10 s, "" for nothing.
func (row interrupted) run(t *testing.T) (late string) {
	t.Helper()
	const most = 10 * time.Second
	before := dockerState(t)
	repository, out, temp := newRepository(t), filepath.Join(t.TempDir(), "out"), t.TempDir()
	took, code := interrupt(t, repository, temp, row.when, row.wait,
		"run", "--config", "examples/shop/reprise.yaml", "--target", "kind", "--base-ref", "main", "--output-dir", out)
	ended := time.Now()
	signalled := ended.Add(-took)
	if took > most {
		late = fmt.Sprintf("the run took %v to end", took)
	}
	if code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	after := dockerState(t)
	for !slices.Equal(before, after) && time.Since(ended) < 2*time.Minute {
		time.Sleep(time.Second)
		after = dockerState(t)
	}
	if !slices.Equal(before, after) {
		t.Errorf("%s: Docker holds other things than before:\nbefore %q\nafter  %q", row.reason, before, after)
	}
	if gone := time.Since(signalled); gone > most {
		late = fmt.Sprintf("Docker had something left for %v", gone)
	}
	t.Logf("ended %v after the signal, nothing was left %v later", took.Round(100*time.Millisecond), time.Since(ended).Round(100*time.Millisecond))
	for _, died := range nodesDied(t, signalled) {
		t.Logf("the node ended %v after the signal", died.Sub(signalled).Round(100*time.Millisecond))
		if died.Sub(signalled) > most {
			late = fmt.Sprintf("the node took %v to end", died.Sub(signalled))
		}
	}
	leavesNothing(t, repository, temp)
	f, err := os.Open(filepath.Join(out, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	document, err := report.ReadJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	if document.Verdict != analysis.Error || document.Failure == nil || document.Failure.Class != report.FailureCancelled {
		t.Errorf("verdict %s, failure %+v", document.Verdict, document.Failure)
	}
	if row.name == "measuring" && document.Replayed == 0 {
		t.Error("what was known is not in the report")
	}
	return late
}

// nodesDied returns when containers of nodes ended since a moment, as Docker saw it.
func nodesDied(t *testing.T, since time.Time) []time.Time {
	t.Helper()
	unix := func(at time.Time) string { return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64) }
	var died []time.Time
	for line := range strings.Lines(command(t, ".", "docker", "events", "--since", unix(since), "--until", unix(time.Now()),
		"--filter", "type=container", "--filter", "event=die", "--format", "{{.TimeNano}} {{.Actor.Attributes.name}}")) {
		at, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		nano, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			t.Fatalf("docker events: %v", err)
		}
		if strings.HasSuffix(name, "-control-plane") {
			died = append(died, time.Unix(0, nano))
		}
	}
	return died
}

// TestProcessInterrupted is the same without a cluster.
func TestProcessInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the service")
	}
	repository, temp := newRepository(t), t.TempDir()
	took, code := interrupt(t, repository, temp, "replay on control", time.Second,
		"run", "--config", "examples/shop/reprise.yaml", "--target", "process", "--base-ref", "main", "--output-dir", filepath.Join(t.TempDir(), "out"))
	if took > 10*time.Second || code != 130 {
		t.Errorf("ended after %v with exit code %d", took, code)
	}
	leavesNothing(t, repository, temp)
}

// interrupt runs reprise until a line of its progress starts with when, waits a
// little longer, and sends SIGINT. It returns how long the end took from there.
func interrupt(t *testing.T, dir, temp, when string, wait time.Duration, args ...string) (time.Duration, int) {
	t.Helper()
	name := os.Getenv("REPRISE_BIN")
	if name == "" {
		name = "reprise"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(environment(t), "TMPDIR="+temp)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	var sent time.Time
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		if sent.IsZero() && strings.HasPrefix(strings.TrimSpace(lines.Text()), when) {
			time.Sleep(wait)
			sent = time.Now()
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // the exit code is what is wanted
	if sent.IsZero() {
		t.Fatalf("it ended before %q:\n%s", when, log.String())
	}
	took := time.Since(sent)
	if t.Failed() || cmd.ProcessState.ExitCode() != 130 {
		t.Log(log.String())
	}
	return took, cmd.ProcessState.ExitCode()
}

// leavesNothing wants no worktree of the repository but itself, and nothing in
// the run's parent directory.
func leavesNothing(t *testing.T, repository, temp string) {
	t.Helper()
	if list := command(t, repository, "git", "worktree", "list"); strings.Count(list, "\n") > 1 {
		t.Errorf("worktrees are left:\n%s", list)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "reprise-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range processes {
		environ, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(environ), "TMPDIR="+temp+"\x00") {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			t.Errorf("process left: %s %q", filepath.Dir(path), line)
		}
	}
}

// dockerState lists what a run could leave with Docker.
func dockerState(t *testing.T) []string {
	t.Helper()
	var state []string
	for _, args := range [][]string{
		{"ps", "--all", "--format", "container {{.Names}}"},
		{"network", "ls", "--format", "network {{.Name}}"},
		{"volume", "ls", "--format", "volume {{.Name}}"},
		{"images", "--format", "image {{.Repository}}:{{.Tag}}"},
	} {
		state = append(state, strings.Fields(strings.ReplaceAll(command(t, ".", "docker", args...), " ", "="))...)
	}
	slices.Sort(state)
	return state
}
