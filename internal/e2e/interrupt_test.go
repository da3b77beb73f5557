package e2e

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/report"
)

// TestInterruptedRunLeavesNothing sends SIGINT at several moments. Each time
// the run must end soon, tell what it knows, and leave no process, worktree or
// directory behind.
func TestInterruptedRunLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the service")
	}
	for _, moment := range []string{"check out base", "build base", "replay on head", "replay on control"} {
		t.Run(strings.ReplaceAll(moment, " ", "-"), func(t *testing.T) {
			t.Parallel()
			repository, out, temp := newRepository(t), t.TempDir(), t.TempDir()
			name := os.Getenv("REPRISE_BIN")
			if name == "" {
				name = "reprise"
			}
			cmd := exec.Command(name, "run", "--config", "examples/shop/reprise.yaml", "--target", "process",
				"--base-ref", "main", "--output-dir", out, "--comment", "never")
			cmd.Dir = repository
			cmd.Env = append(environment(t), "TMPDIR="+temp)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
			var log bytes.Buffer
			var interrupted time.Time
			lines := bufio.NewScanner(io.TeeReader(stderr, &log))
			for lines.Scan() {
				if interrupted.IsZero() && strings.HasPrefix(lines.Text(), moment) {
					interrupted = time.Now()
					if err := cmd.Process.Signal(os.Interrupt); err != nil {
						t.Error(err)
					}
				}
			}
			_ = cmd.Wait() // its exit code is checked below
			if interrupted.IsZero() {
				t.Fatalf("%q never came:\n%s", moment, log.String())
			}
			if took := time.Since(interrupted); took > 10*time.Second {
				t.Errorf("it took %v to end", took)
			}
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("exit code %d, want 130:\n%s", code, log.String())
			}
			data, err := os.ReadFile(filepath.Join(out, "report.json"))
			if err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			document, err := report.ReadJSON(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if document.Verdict != analysis.Error || len(document.Run.Stages) == 0 {
				t.Errorf("verdict %s with %d stages", document.Verdict, len(document.Run.Stages))
			}
			nothingLeft(t, repository, temp)
		})
	}
}

// nothingLeft looks for worktrees of the repository, files in the run's
// temporary directory, and processes that started from either.
func nothingLeft(t *testing.T, repository, temp string) {
	t.Helper()
	if trees := command(t, repository, "git", "worktree", "list"); strings.Count(trees, "\n") != 1 {
		t.Errorf("worktrees are left:\n%s", trees)
	}
	err := filepath.WalkDir(temp, func(path string, entry os.DirEntry, err error) error {
		if err == nil && path != temp && strings.Contains(entry.Name(), "reprise") {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range processes {
		exe, err := os.Readlink(link)
		if err == nil && (strings.HasPrefix(exe, repository) || strings.HasPrefix(exe, temp)) {
			t.Errorf("%s still runs %s", filepath.Dir(link), exe)
		}
	}
}
