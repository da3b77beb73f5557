package command_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/command"
)

var path = "PATH=" + os.Getenv("PATH")

func TestRunKeepsTheLastWords(t *testing.T) {
	tests := []struct {
		script, want string
		reason       string
	}{
		{"echo first; echo why >&2; exit 3", "sh: exit status 3: why", "the last line says why"},
		{"exit 4", "sh: exit status 4", "silence is not padded"},
	}
	for _, tt := range tests {
		err := command.Run(t.Context(), command.Command{Argv: []string{"sh", "-c", tt.script}, Env: []string{path}})
		var failed *command.Error
		if !errors.As(err, &failed) || err.Error() != tt.want {
			t.Errorf("%s: %v, want %q", tt.reason, err, tt.want)
		}
	}
}

func TestMissingTool(t *testing.T) {
	err := command.Run(t.Context(), command.Command{Argv: []string{"no-such-tool-here"}})
	if !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a missing tool gives %v", err)
	}
	if err := command.Run(t.Context(), command.Command{}); err == nil {
		t.Error("an empty command ran")
	}
}

func TestEnvironmentIsComplete(t *testing.T) {
	t.Setenv("LEAKED", "yes")
	out, err := command.Output(t.Context(), command.Command{Argv: []string{"sh", "-c", "echo $LEAKED$GIVEN"}, Env: []string{path, "GIVEN=given"}})
	if err != nil || string(out) != "given\n" {
		t.Errorf("the tool saw %q, %v", out, err)
	}
}

// A tool that starts children of its own must not leave them behind, however
// it ends.
func TestGroupEnds(t *testing.T) {
	tests := []struct{ name, script, reason string }{
		{"cancelled", "sleep 60 & echo $!; wait", "the context ends first"},
		{"deaf", "trap '' TERM; sleep 60 & echo $!; wait", "the tool ignores SIGTERM"},
		{"orphaned", "sleep 60 >/dev/null 2>&1 & echo $!", "the tool ends and its child does not"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &lines{seen: make(chan string, 1)}
			p, err := command.Start(ctx, command.Command{
				Argv: []string{"sh", "-c", tt.script}, Env: []string{path}, Out: out, Grace: 200 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			child, err := strconv.Atoi(<-out.seen)
			if err != nil {
				t.Fatal(err)
			}
			if tt.name != "orphaned" {
				cancel()
				if err := p.Wait(); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: Wait gives %v", tt.reason, err)
				}
			} else if err := p.Wait(); err != nil {
				t.Errorf("%s: %v", tt.reason, err)
			}
			waitGone(t, child)
		})
	}
}

// waitGone waits until a process is dead or a zombie that its new parent has
// yet to collect.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 200 {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil && syscall.Kill(pid, 0) != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("child %d still lives", pid)
}

// lines hands out the first line written to it.
type lines struct {
	buf  bytes.Buffer
	seen chan string
	done bool
}

func (l *lines) Write(p []byte) (int, error) {
	l.buf.Write(p)
	if line, _, ok := strings.Cut(l.buf.String(), "\n"); ok && !l.done {
		l.done = true
		l.seen <- line
	}
	return len(p), nil
}

func TestTailIsBounded(t *testing.T) {
	p, err := command.Start(t.Context(), command.Command{Argv: []string{"sh", "-c", "seq 1 5000; echo end; exit 1"}, Env: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil || !strings.HasSuffix(err.Error(), ": end") {
		t.Errorf("Wait gives %v", err)
	}
	if n := len(p.Tail()); n > 8<<10 {
		t.Errorf("the tail holds %d bytes", n)
	}
}
