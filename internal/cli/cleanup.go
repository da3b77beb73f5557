package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/cluster"
	"github.com/reprise-ci/reprise/internal/pipeline"
	"github.com/reprise-ci/reprise/internal/source"
	"github.com/reprise-ci/reprise/internal/workdir"
)

func newCleanup(s Surroundings) *cobra.Command {
	return &cobra.Command{
		Use:   "cleanup",
		Short: "Remove what a killed run left behind",
		Long: `Remove the clusters, processes, worktrees and directories that runs of reprise
left behind when they were killed. Runs that are still going on are left alone,
and so is everything that reprise did not make.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cleanUp(cmd.Context(), s, cmd.ErrOrStderr())
		},
	}
}

// cleanUp goes through what every ended run wrote down before it made it.
func cleanUp(ctx context.Context, s Surroundings, out io.Writer) error {
	dirs, err := workdir.Abandoned(tempDir(s))
	if err != nil {
		return err
	}
	removed := 0
	var errs []error
	if _, err := exec.LookPath("docker"); err == nil { // without it there can be no cluster
		names, err := cluster.Sweep(ctx, s.Environ, time.Now(), false)
		for _, name := range names {
			removed++
			fmt.Fprintln(out, "removed cluster", name)
		}
		errs = append(errs, err)
	}
	for _, dir := range dirs {
		entries, err := dir.Entries()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		failed := false
		for _, e := range entries {
			what, err := removeEntry(ctx, s, dir, e)
			if err != nil {
				errs, failed = append(errs, err), true
			} else if what != "" {
				removed++
				fmt.Fprintln(out, "removed", what)
			}
		}
		if !failed {
			errs = append(errs, dir.Remove())
		}
	}
	if removed == 0 {
		fmt.Fprintln(out, "nothing to remove")
	}
	return errors.Join(errs...)
}

// removeEntry removes one thing and says what it was, "" when it was gone.
func removeEntry(ctx context.Context, s Surroundings, dir *workdir.Dir, e workdir.Entry) (string, error) {
	switch e.Kind {
	case workdir.Group:
		if workdir.KillGroup(e.Value) {
			return "process group " + e.Value, nil
		}
	case workdir.Namespaces:
		var left pipeline.LeftNamespaces
		if err := json.Unmarshal([]byte(e.Value), &left); err != nil {
			return "", fmt.Errorf("read the record of namespaces: %w", err)
		}
		return "the namespaces of run " + left.Run + " in context " + left.Context, left.Remove(ctx, s.Environ)
	case workdir.Worktree:
		repo, err := source.Open(ctx, e.Value, s.Environ)
		if errors.Is(err, source.ErrNotRepository) || errors.Is(err, os.ErrNotExist) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		trees, err := repo.Prune(ctx, dir.Path())
		if len(trees) > 0 {
			return "worktree " + trees[0], err
		}
		return "", err
	}
	return "", nil
}

// tempDir is where the directories of runs live.
func tempDir(s Surroundings) string {
	for _, name := range []string{"RUNNER_TEMP", "TMPDIR"} {
		if dir := s.env(name); dir != "" {
			return dir
		}
	}
	return "/tmp"
}
