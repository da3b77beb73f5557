// Package source finds the two versions to compare and checks them out: the
// head is the work tree as it stands, the base is the merge base with the
// target branch, in a git worktree of its own.
package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/reprise-ci/reprise/internal/command"
)

// Repository is a git work tree.
type Repository struct {
	root string
	env  []string
}

// Commit names a version.
type Commit struct {
	SHA string
	Ref string // what the user or the event called it; may be empty
	// Dirty says that the work tree has changes that are in no commit.
	Dirty bool
}

// ErrNotRepository is returned when a directory is in no git work tree.
var ErrNotRepository = errors.New("not a git repository")

// ErrNoMergeBase is wrapped when head and the base reference have no common
// ancestor here, which mostly means that the clone is shallow.
var ErrNoMergeBase = errors.New("no merge base")

// Open finds the repository that dir lies in. env is the environment for git.
func Open(ctx context.Context, dir string, env []string) (*Repository, error) {
	r := &Repository{root: dir, env: env}
	root, err := r.git(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		var failed *command.Error
		if errors.As(err, &failed) && strings.Contains(failed.Output, "not a git repository") {
			return nil, fmt.Errorf("%s: %w", dir, ErrNotRepository)
		}
		return nil, err
	}
	r.root = root
	return r, nil
}

// Root is the top directory of the work tree.
func (r *Repository) Root() string { return r.root }

// Head describes the work tree as it stands.
func (r *Repository) Head(ctx context.Context) (Commit, error) {
	sha, err := r.git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return Commit{}, fmt.Errorf("find the head commit: %w", err)
	}
	ref, _ := r.git(ctx, "symbolic-ref", "--short", "-q", "HEAD") // a detached head has none
	status, err := r.git(ctx, "status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return Commit{}, fmt.Errorf("look for changes: %w", err)
	}
	return Commit{SHA: sha, Ref: ref, Dirty: status != ""}, nil
}

// MergeBase returns the commit where head left ref. ref may be a branch, a tag
// or a commit; a branch that exists only on the remote "origin" is found there.
// Errors wrap [ErrNoMergeBase] when the history at hand does not reach back far
// enough.
func (r *Repository) MergeBase(ctx context.Context, ref string) (Commit, error) {
	target := ""
	for _, candidate := range []string{ref, "origin/" + ref} {
		if sha, err := r.git(ctx, "rev-parse", "--verify", "-q", candidate+"^{commit}"); err == nil {
			target = sha
			break
		}
	}
	if target == "" {
		return Commit{}, fmt.Errorf("base-ref %q is not here: %w", ref, r.explain(ctx))
	}
	sha, err := r.git(ctx, "merge-base", target, "HEAD")
	if err != nil {
		return Commit{}, fmt.Errorf("base-ref %q: %w", ref, r.explain(ctx))
	}
	return Commit{SHA: sha, Ref: ref}, nil
}

// DefaultBranch returns what the remote calls its default branch, or the first
// of main and master that exists, or "".
func (r *Repository) DefaultBranch(ctx context.Context) string {
	if ref, err := r.git(ctx, "symbolic-ref", "--short", "-q", "refs/remotes/origin/HEAD"); err == nil {
		return ref
	}
	for _, name := range []string{"main", "master", "origin/main", "origin/master"} {
		if _, err := r.git(ctx, "rev-parse", "--verify", "-q", name+"^{commit}"); err == nil {
			return name
		}
	}
	return ""
}

// explain says why history is missing and how to mend it.
func (r *Repository) explain(ctx context.Context) error {
	if shallow, err := r.git(ctx, "rev-parse", "--is-shallow-repository"); err == nil && shallow == "true" {
		return fmt.Errorf("%w: this clone is shallow; set fetch-depth: 0 for actions/checkout, or run git fetch --unshallow", ErrNoMergeBase)
	}
	return fmt.Errorf("%w: the branch is unknown or shares no history with HEAD; fetch it or name another base-ref", ErrNoMergeBase)
}

// Checkout makes a detached worktree of commit at dir, which must not exist,
// and returns the function that removes it again. That function may be called
// more than once and after ctx has ended.
func (r *Repository) Checkout(ctx context.Context, commit Commit, dir string) (remove func(context.Context) error, err error) {
	if _, err := r.git(ctx, "worktree", "add", "--detach", "--force", dir, commit.SHA); err != nil {
		return nil, fmt.Errorf("check out %.12s: %w", commit.SHA, err)
	}
	return func(ctx context.Context) error {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if _, err := r.git(ctx, "worktree", "remove", "--force", dir); err != nil {
			return fmt.Errorf("remove the worktree of base: %w", err)
		}
		return nil
	}, nil
}

// Prune removes the worktrees below dir that an ended run left registered, and
// returns their paths.
func (r *Repository) Prune(ctx context.Context, dir string) ([]string, error) {
	list, err := r.git(ctx, "worktree", "list", "--porcelain")
	if err != nil {
		return nil, fmt.Errorf("list worktrees: %w", err)
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	var removed []string
	for line := range strings.Lines(list) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "worktree ")
		if !ok || !within(dir, path) {
			continue
		}
		if _, err := r.git(ctx, "worktree", "remove", "--force", path); err != nil {
			return removed, fmt.Errorf("remove worktree %s: %w", path, err)
		}
		removed = append(removed, path)
	}
	return removed, nil
}

func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && !strings.HasPrefix(rel, "..")
}

func (r *Repository) git(ctx context.Context, args ...string) (string, error) {
	// core.hooksPath: a checkout must not run the repository's hooks.
	argv := append([]string{"git", "-C", r.root, "-c", "core.hooksPath=" + os.DevNull}, args...)
	out, err := command.Output(ctx, command.Command{Argv: argv, Env: r.env})
	return strings.TrimSpace(string(out)), err
}
