package github_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/github"
)

func TestReadInputs(t *testing.T) {
	given, err := github.ReadInputs(env(
		"INPUT_SERVICE", " shop ", "INPUT_VALUES", "a.yaml\n\n  b.yaml\r\n", "INPUT_FAIL-ON", "response, crash\noutbound",
		"INPUT_TIMEOUT", "15m", "INPUT_LATENCY-MAX-ROUNDS", "12", "INPUT_TARGET", "process", "INPUT_SNAPSHOT", "", "INPUT_COMMENT_KEY", "leg-1",
	), github.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(github.Flags(given), " ")
	// comment-key came with an underscore, as from a shell that drops hyphens.
	want := "--service=shop --target=process --fail-on=response --fail-on=crash --fail-on=outbound --values=a.yaml --values=b.yaml --latency-max-rounds=12 --timeout=15m --comment-key=leg-1"
	if got != want {
		t.Errorf("flags\n%s, want\n%s", got, want)
	}
}

func TestReadInputsSaysAllMistakes(t *testing.T) {
	given, err := github.ReadInputs(env(
		"INPUT_FAIL-ON", "respnse", "INPUT_TARGET", "Kind", "INPUT_TIMEOUT", "15", "INPUT_LATENCY-MAX-ROUNDS", "-1", "INPUT_SERVICE", "a\nb",
		"INPUT_KEEP", "sometimes", "INPUT_SNAPSHOT", "a\x00b", "INPUT_SEED", "7",
	), github.Inputs())
	want := []string{
		`input fail-on: "respnse" is not one of response, outbound, crash, fragility, latency, resource, inconclusive, assisted, never; did you mean "response"?`,
		`input keep: "sometimes" is not one of never, on-failure, always`,
		`input latency-max-rounds: "-1" is not a whole number, as in 12`,
		`input service: has more than one line; give one value`,
		`input snapshot: holds a control character; remove it`,
		`input target: "Kind" is not one of kind, kubernetes, process; did you mean "kind"?`,
		`input timeout: "15" is not a duration, as in 90s or 15m`,
	}
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(err.Error(), "\n")
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("mistakes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if flags := github.Flags(given); !slices.Equal(flags, []string{"--seed=7"}) {
		t.Errorf("the input that is right is lost: %q", flags)
	}
}

func TestToken(t *testing.T) {
	for _, c := range []struct {
		reason string
		env    func(string) string
		want   string
	}{
		{"the input wins", env("REPRISE_GITHUB_TOKEN", "input", "GITHUB_TOKEN", "environment"), "input"},
		{"act gives an empty input", env("REPRISE_GITHUB_TOKEN", " ", "GITHUB_TOKEN", "environment\n"), "environment"},
		{"none", env(), ""},
	} {
		if got := github.Token(c.env); got != c.want {
			t.Errorf("%s: %q", c.reason, got)
		}
	}
}

func FuzzReadInputs(f *testing.F) {
	for _, s := range []string{"", "kind", "a\nb", "10%", "15m", "-1", "\x00", strings.Repeat("x", 500), "respnse, never"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		given, err := github.ReadInputs(func(string) string { return value }, github.Inputs())
		for _, flag := range github.Flags(given) {
			if !strings.HasPrefix(flag, "--") || strings.ContainsAny(flag, "\x00\n") {
				t.Errorf("flag %q", flag)
			}
		}
		if err != nil && strings.Contains(err.Error(), "\x00") {
			t.Errorf("error holds what it refuses: %q", err)
		}
	})
}
