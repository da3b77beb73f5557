package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
)

const shop = "../../examples/shop"

// regression is one patch of examples/shop/regressions.
type regression struct {
	name   string // "lost-call"
	path   string // absolute
	expect []expectation
	chaos  string // what goes wrong with a dependency while it is looked for; "" for nothing
}

// slows reports whether the report must show a change of latency.
func (r regression) slows() bool {
	return slices.ContainsFunc(r.expect, func(e expectation) bool { return e.Kind == analysis.KindLatency })
}

// regressions reads all patches.
func regressions(t *testing.T) []regression {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(shop, "regressions", "*.patch"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no patches in %s: %v", shop, err)
	}
	var list []regression
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		expect, err := parseExpectations(string(data))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if path, err = filepath.Abs(path); err != nil {
			t.Fatal(err)
		}
		chaos := ""
		for line := range strings.Lines(string(data)) {
			if fault, ok := strings.CutPrefix(line, "# chaos: "); ok {
				chaos = strings.TrimSpace(fault)
			}
		}
		list = append(list, regression{strings.TrimSuffix(filepath.Base(path), ".patch"), path, expect, chaos})
	}
	return list
}

// TestEveryKindOfRegressionIsThere keeps the list whole: the documentation
// promises one patch of each.
func TestEveryKindOfRegressionIsThere(t *testing.T) {
	var names []string
	for _, r := range regressions(t) {
		names = append(names, r.name)
	}
	want := []string{
		"changed-argument", "changed-message", "constant-id", "error-on-input", "field-missing", "harmless",
		"lost-call", "n-plus-one", "new-host", "no-retry", "slower-25", "type-changed",
	}
	if !slices.Equal(names, want) {
		t.Errorf("patches: %q, want %q", names, want)
	}
}

// TestRegressionsApplyAndBuild applies each patch to the example as it is now.
func TestRegressionsApplyAndBuild(t *testing.T) {
	for _, r := range regressions(t) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			repository := t.TempDir()
			copyShop(t, repository)
			command(t, repository, "git", "init", "-q")
			command(t, repository, "git", "apply", r.path)
			// -trimpath, so that packages that the patch leaves alone come from
			// the build cache; several packages, so that nothing is linked.
			command(t, filepath.Join(repository, "examples", "shop"), "go", "build", "-trimpath", "./...")
		})
	}
}

// copyShop copies the example to its place below a repository's root.
func copyShop(t *testing.T, repository string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(repository, "examples", "shop"), os.DirFS(shop)); err != nil {
		t.Fatal(err)
	}
}

// command runs a tool in dir and fails the test with its output.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	return commandContext(t, t.Context(), dir, name, args...)
}

func commandContext(t *testing.T, ctx context.Context, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	// The user's Git settings and workspaces must not change the outcome.
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
