package source_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/command"
	"github.com/reprise-ci/reprise/internal/source"
)

// gitEnv keeps the tests from the developer's own configuration.
var gitEnv = []string{
	"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1",
	"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org",
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := command.Output(t.Context(), command.Command{Argv: append([]string{"git", "-C", dir}, args...), Env: gitEnv})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// fork makes a repository with the commits base - main, and base - head on the
// branch "pr", which is checked out. It returns the directory and the SHA of
// base.
func fork(t *testing.T) (dir, base string) {
	t.Helper()
	dir = t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	commit := func(content string) {
		if err := os.WriteFile(filepath.Join(dir, "version"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		git(t, dir, "add", "version")
		git(t, dir, "commit", "-q", "-m", content)
	}
	commit("base")
	base = git(t, dir, "rev-parse", "HEAD")
	git(t, dir, "checkout", "-q", "-b", "pr")
	commit("head")
	git(t, dir, "checkout", "-q", "main")
	commit("main moved on")
	git(t, dir, "checkout", "-q", "pr")
	return dir, base
}

func TestMergeBaseIsCheckedOut(t *testing.T) {
	dir, want := fork(t)
	ctx := t.Context()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	repo, err := source.Open(ctx, filepath.Join(dir, "sub"), gitEnv)
	if err != nil {
		t.Fatal(err)
	}
	base, err := repo.MergeBase(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	if base.SHA != want {
		t.Errorf("the merge base is %s, want %s: where the branch began, not where main is now", base.SHA, want)
	}
	if got := repo.DefaultBranch(ctx); got != "main" {
		t.Errorf("the default branch is %q", got)
	}
	work := t.TempDir()
	tree := filepath.Join(work, "base")
	remove, err := repo.Checkout(ctx, base, tree)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(filepath.Join(tree, "version")); err != nil || string(content) != "base" {
		t.Errorf("the worktree holds %q, %v", content, err)
	}
	for range 2 { // teardown may run twice
		if err := remove(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if list := git(t, dir, "worktree", "list"); strings.Contains(list, tree) {
		t.Errorf("the worktree is still registered:\n%s", list)
	}
}

func TestHeadKnowsChanges(t *testing.T) {
	dir, _ := fork(t)
	repo, err := source.Open(t.Context(), dir, gitEnv)
	if err != nil {
		t.Fatal(err)
	}
	head, err := repo.Head(t.Context())
	if err != nil || head.Ref != "pr" || head.Dirty {
		t.Fatalf("Head = %+v, %v", head, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "version"), []byte("edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	if head, err = repo.Head(t.Context()); err != nil || !head.Dirty {
		t.Errorf("an edited file: Head = %+v, %v", head, err)
	}
}

func TestPruneRemovesOnlyItsOwn(t *testing.T) {
	dir, _ := fork(t)
	repo, err := source.Open(t.Context(), dir, gitEnv)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := t.TempDir(), t.TempDir()
	git(t, dir, "worktree", "add", "-q", "--detach", filepath.Join(ours, "base"))
	git(t, dir, "worktree", "add", "-q", "--detach", filepath.Join(theirs, "review"))
	removed, err := repo.Prune(t.Context(), ours)
	if err != nil || len(removed) != 1 {
		t.Fatalf("Prune removed %v, %v", removed, err)
	}
	if _, err := os.Stat(filepath.Join(theirs, "review", "version")); err != nil {
		t.Errorf("a worktree of somebody else is gone: %v", err)
	}
}

func TestMissingHistorySaysTheRemedy(t *testing.T) {
	dir, _ := fork(t)
	shallow := filepath.Join(t.TempDir(), "shallow")
	git(t, dir, "clone", "-q", "--depth", "1", "--branch", "pr", "file://"+dir, shallow)
	tests := []struct {
		dir, ref, want string
		reason         string
	}{
		{shallow, "main", "fetch-depth: 0", "a shallow clone has not even the branch"},
		{dir, "no-such-branch", "name another base-ref", "a full clone without the branch"},
	}
	for _, tt := range tests {
		repo, err := source.Open(t.Context(), tt.dir, gitEnv)
		if err != nil {
			t.Fatal(err)
		}
		_, err = repo.MergeBase(t.Context(), tt.ref)
		if !errors.Is(err, source.ErrNoMergeBase) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want the remedy %q", tt.reason, err, tt.want)
		}
	}
	if _, err := source.Open(t.Context(), t.TempDir(), gitEnv); !errors.Is(err, source.ErrNotRepository) {
		t.Errorf("outside a repository: %v", err)
	}
}
