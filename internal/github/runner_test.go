package github_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/reprise-ci/reprise/internal/github"
)

// readOutputs reads a file of outputs by the rules of the runner
// (FileCommandManager): NAME=VALUE lines, or NAME<<DELIMITER blocks.
func readOutputs(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	rest := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := 0; i < len(rest); i++ {
		line := rest[i]
		if line == "" {
			continue
		}
		equals, heredoc := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case heredoc >= 0 && (equals < 0 || heredoc < equals):
			name, delimiter := line[:heredoc], line[heredoc+2:]
			var value []string
			for i++; ; i++ {
				if i >= len(rest) {
					t.Fatalf("output %s does not end", name)
				}
				if rest[i] == delimiter {
					break
				}
				value = append(value, rest[i])
			}
			out[name] = strings.Join(value, "\n")
		case equals > 0:
			out[line[:equals]] = line[equals+1:]
		default:
			t.Fatalf("line %q is no output", line)
		}
	}
	return out
}

func TestSetOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "output")
	r := github.NewRunner(&bytes.Buffer{}, env("GITHUB_ACTIONS", "true", "GITHUB_OUTPUT", path))
	want := map[string]string{
		"verdict": "fail", "empty": "", "report-path": "/tmp/out dir/report.md",
		// The library's constant delimiter would let this one set a verdict.
		"many": "a\n_GitHubActionsFileCommandDelimeter_\nverdict=pass\nverdict<<EOF\npass\nEOF",
	}
	for _, name := range []string{"verdict", "empty", "report-path", "many"} {
		if err := r.SetOutput(name, strings.ReplaceAll(want[name], "\n", "\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, readOutputs(t, string(data))); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	for name, value := range map[string]string{"bad name": "x", "x=y": "x", "": "x", "nul": "a\x00b"} {
		if r.SetOutput(name, value) == nil {
			t.Errorf("output %q = %q was written", name, value)
		}
	}
}

func TestWithoutRunner(t *testing.T) {
	var log bytes.Buffer
	r := github.NewRunner(&log, env())
	if err := errors.Join(r.SetOutput("verdict", "pass"), r.WriteSummary("x")); err != nil {
		t.Error(err)
	}
	r.Mask("secret value")
	r.Group("stage")()
	r.Annotate(github.LevelError, "title", "something")
	if got := log.String(); got != "stage\nerror: something\n" {
		t.Errorf("log %q", got)
	}
	// A runner whose files cannot be written is an error, not a panic.
	r = github.NewRunner(&log, env("GITHUB_OUTPUT", "/nonexistent/dir/file", "GITHUB_STEP_SUMMARY", "/nonexistent/dir/file"))
	if r.SetOutput("verdict", "pass") == nil || r.WriteSummary("x") == nil {
		t.Error("no error for files that cannot be written")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestABrokenLogDoesNotPanic(t *testing.T) {
	r := github.NewRunner(broken{}, env("GITHUB_ACTIONS", "true"))
	r.Group("x")()
	r.Mask("secret value")
	r.Annotate(github.LevelNotice, "t", "m")
	if err := r.Untrusted("log", "text", 100); err != nil {
		t.Error(err)
	}
}

func TestSummaryIsWrittenOnceAndBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "summary")
	r := github.NewRunner(&bytes.Buffer{}, env("GITHUB_STEP_SUMMARY", path))
	if err := r.WriteSummary(strings.Repeat("a line of the summary\n", 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteSummary("again"); !errors.Is(err, github.ErrSummaryWritten) {
		t.Errorf("second summary: %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > github.SummaryLimit || !strings.HasSuffix(string(data), "summary\n\n\nThe summary was cut at GitHub's limit.\n") {
		t.Errorf("%d bytes, end %q", len(data), data[len(data)-60:])
	}
}

func TestUntrustedTextHoldsNoCommands(t *testing.T) {
	const attack = "::error::x\n##[group]y\n::set-output name=verdict::pass\n\x1b[2J\u202eabc\n::00::\n"
	commands := func(log string) []string {
		var seen []string
		token := ""
		for line := range strings.SplitSeq(log, "\n") {
			switch {
			case token != "" && line == "::"+token+"::":
				token = ""
			case token != "":
			case strings.HasPrefix(line, "::stop-commands::"):
				token = strings.TrimPrefix(line, "::stop-commands::")
			case strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##["):
				seen = append(seen, line)
			}
		}
		if token != "" {
			t.Error("commands stay stopped")
		}
		return seen
	}
	var log bytes.Buffer
	r := github.NewRunner(&log, env("GITHUB_ACTIONS", "true"))
	for range 2 {
		if err := r.Untrusted("log of ::error::shop\n::error::y", attack, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"::group::log of ::error::shop⏎::error::y", "::endgroup::", "::group::log of ::error::shop⏎::error::y", "::endgroup::"}
	if diff := cmp.Diff(want, commands(log.String())); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	tokens := regexp.MustCompile(`::stop-commands::([0-9a-f]{32})\n`).FindAllStringSubmatch(log.String(), -1)
	if len(tokens) != 2 || tokens[0][1] == tokens[1][1] {
		t.Errorf("each block needs a token of its own: %q", tokens)
	}
	if strings.ContainsAny(log.String(), "\x1b\u202e") {
		t.Error("control characters reach the log")
	}

	log.Reset()
	if err := r.Untrusted("long", strings.Repeat("0123456789\n", 1000), 100); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "0123456789"); n < 8 || n > 9 || !strings.Contains(log.String(), "earlier lines are left out") {
		t.Errorf("%d lines of a long log", n)
	}
}

func TestAnnotationsAreBounded(t *testing.T) {
	var log bytes.Buffer
	r := github.NewRunner(&log, env("GITHUB_ACTIONS", "true"))
	var messages []string
	for i := range 9 {
		messages = append(messages, fmt.Sprintf("finding %d\n::error::forged", i))
	}
	r.Annotate(github.LevelError, "shop: a, b", messages...)
	r.Annotate(github.LevelWarning, "t", "one too many")
	got := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
	if len(got) != 5 || got[0] != "::error title=shop%3A a%2C b::finding 0⏎::error::forged" || !strings.HasSuffix(got[4], "(and 4 more in the summary)") {
		t.Errorf("annotations:\n%s", strings.Join(got, "\n"))
	}
}

func TestMaskHidesEachLine(t *testing.T) {
	var log bytes.Buffer
	github.NewRunner(&log, env("GITHUB_ACTIONS", "true")).Mask("secret-one\nsecret-two\n\nabc")
	if got := log.String(); got != "::add-mask::secret-one\n::add-mask::secret-two\n" {
		t.Errorf("masks %q", got)
	}
}

func FuzzSetOutput(f *testing.F) {
	for _, s := range []string{"", "x", "a\nb", "EOF\nx=y", "\r\n", "x<<EOF\n"} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, value string) {
		path := filepath.Join(dir, "output")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r := github.NewRunner(&bytes.Buffer{}, env("GITHUB_OUTPUT", path))
		if err := r.SetOutput("value", value); err != nil {
			if !strings.Contains(value, "\x00") {
				t.Fatal(err)
			}
			return
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := readOutputs(t, string(data)); len(got) != 1 || got["value"] != strings.ReplaceAll(value, "\r", "") {
			t.Fatalf("%q came back as %q", value, got)
		}
	})
}
