package action

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/github"
)

// seen is what the binary that the launcher became was given.
type seen struct {
	Args     []string
	Flags    []string
	Mistakes string
	Token    string
	Dir      string
	Signal   string
	PID      int
}

// TestMain lets this test binary play the part of reprise, so that the launcher
// starts a real program.
func TestMain(m *testing.M) {
	if out := os.Getenv("ACTION_TEST_OUT"); out != "" {
		os.Exit(play(out))
	}
	os.Exit(m.Run())
}

func play(out string) int {
	given, mistakes := github.ReadInputs(os.Getenv, github.Inputs())
	dir, _ := os.Getwd()
	s := seen{Args: os.Args[1:], Flags: github.Flags(given), Token: github.Token(os.Getenv), Dir: dir, PID: os.Getpid()}
	if mistakes != nil {
		s.Mistakes = mistakes.Error()
	}
	if ready := os.Getenv("ACTION_TEST_READY"); ready != "" {
		c := make(chan os.Signal, 1)
		signal.Notify(c, os.Interrupt, syscall.SIGTERM)
		if err := os.WriteFile(ready, nil, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 3
		}
		select {
		case got := <-c:
			s.Signal = got.String()
		case <-time.After(40 * time.Second):
		}
	}
	data, err := json.Marshal(s)
	if err == nil {
		err = appendLine(out, string(data))
	}
	runner := github.NewRunner(os.Stdout, os.Getenv)
	if verdict := os.Getenv("ACTION_TEST_VERDICT"); verdict != "" && s.Args[0] != "cleanup" {
		for _, o := range []string{"verdict=" + verdict, "report-path=/out/report.md", "comment-url=https://github.com/acme/shop/pull/1#issuecomment-1"} {
			name, value, _ := strings.Cut(o, "=")
			if err == nil {
				err = runner.SetOutput(name, value)
			}
		}
		if err == nil {
			err = runner.WriteSummary("### shop\n")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	if os.Getenv("ACTION_TEST_VERDICT") == "fail" && s.Args[0] != "cleanup" {
		return 1
	}
	return 0
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
