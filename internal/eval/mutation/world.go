package mutation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/command"
	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/eval/diffy"
	"github.com/reprise-ci/reprise/internal/pipeline"
)

// World is a repository whose only commit is the example, and its recording.
// It is for one run at a time.
type World struct {
	dir     string
	environ []string
	binary  string // of the example as it is; "" when it is not built yet
}

const (
	shopDir     = "examples/shop"
	snapshotDir = "snapshots/shop"
)

// NewWorld copies the example and its recording from the repository at root.
// With a setup, base has that change too, and the traffic is recorded anew,
// which takes a while. Whoever gets a world closes it.
func NewWorld(ctx context.Context, root string, setup *Mutation) (*World, error) {
	dir, err := os.MkdirTemp("", "reprise-mutation-")
	if err != nil {
		return nil, fmt.Errorf("make a world: %w", err)
	}
	// The user's own settings of Git and Go have no say here.
	w := &World{dir: dir, environ: append(slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "GITHUB_") || strings.HasPrefix(e, "GIT_")
	}), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GOWORK=off", "GOFLAGS=")}
	if err := w.fill(ctx, root, setup); err != nil {
		return nil, errors.Join(fmt.Errorf("make a world: %w", err), w.Close())
	}
	return w, nil
}

// Close removes the world.
func (w *World) Close() error { return os.RemoveAll(w.dir) }

func (w *World) shop() string { return filepath.Join(w.dir, shopDir) }

func (w *World) fill(ctx context.Context, root string, setup *Mutation) error {
	for _, dir := range []string{shopDir, snapshotDir} {
		if err := os.CopyFS(filepath.Join(w.dir, dir), os.DirFS(filepath.Join(root, dir))); err != nil {
			return err
		}
	}
	if setup != nil {
		if err := setup.Apply(w.shop()); err != nil {
			return err
		}
		if err := w.record(ctx, root); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"config", "user.name", "eval"}, {"config", "user.email", "eval@example.com"},
		{"add", "-A"}, {"commit", "-qm", "The shop as it is"},
	} {
		if err := w.run(ctx, w.dir, nil, "git", args...); err != nil {
			return err
		}
	}
	return nil
}

// record makes the recording of a changed example, with the script that made
// the one in the repository.
func (w *World) record(ctx context.Context, root string) error {
	binary := filepath.Join(w.dir, "reprise")
	if err := w.run(ctx, root, nil, "go", "build", "-o", binary, "./cmd/reprise"); err != nil {
		return err
	}
	defer os.Remove(binary)
	port, err := freePorts()
	if err != nil {
		return err
	}
	return w.run(ctx, w.shop(), []string{"REPRISE=" + binary, "SHOP_PORTS=" + strconv.Itoa(port)}, "./record.sh")
}

// freePorts returns the first of some ports in a row that nobody uses now.
func freePorts() (int, error) {
	const row = 8
	for first := 20000; first < 30000; first += row {
		free := true
		for port := first; port < first+row && free; port++ {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return first, nil
		}
	}
	return 0, errors.New("no ports are free")
}

func (w *World) run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	return command.Run(ctx, command.Command{
		Argv: append([]string{name}, args...), Dir: dir, Env: append(slices.Clone(w.environ), env...),
	})
}

// Judged is what became of one change.
type Judged struct {
	Result analysis.Result
	Diffy  []diffy.Place // what Diffy's rule says of the same answers
	Took   time.Duration
}

// Judge lets reprise judge a change of the example, as local processes and
// without measuring latency. A nil mutation judges the example against itself.
func (w *World) Judge(ctx context.Context, m *Mutation, seed int64) (_ Judged, err error) {
	if m != nil {
		undo, err := w.save(*m)
		if err != nil {
			return Judged{}, err
		}
		defer func() { err = errors.Join(err, undo()) }()
		if err := m.Apply(w.shop()); err != nil {
			return Judged{}, err
		}
	}
	o, err := w.options(seed)
	if err != nil {
		return Judged{}, err
	}
	if m == nil { // nothing to be built twice
		if o.Build.Command, err = w.built(ctx, o.Build.Command); err != nil {
			return Judged{}, err
		}
	}
	started := time.Now()
	outcome, err := pipeline.Run(ctx, o, silent{})
	if err != nil {
		return Judged{}, err
	}
	return Judged{outcome.Result, diffy.Reports(outcome.Seen, o.Analysis.Router), time.Since(started)}, nil
}

// built builds the example once and returns a command that takes what was
// built.
func (w *World) built(ctx context.Context, command string) (string, error) {
	if w.binary == "" {
		if err := w.run(ctx, w.shop(), nil, "sh", "-c", command); err != nil {
			return "", err
		}
		w.binary = filepath.Join(w.dir, ".git", "shop")
		if err := os.Rename(filepath.Join(w.shop(), "out", "shop"), w.binary); err != nil {
			return "", fmt.Errorf("keep what was built: %w", err)
		}
	}
	return "mkdir -p out && cp " + w.binary + " out/shop", nil
}

// save keeps what a mutation is going to change.
func (w *World) save(m Mutation) (undo func() error, err error) {
	before := make(map[string][]byte)
	for _, e := range m.Edits {
		file := filepath.Join(w.shop(), filepath.FromSlash(e.File))
		if before[file], err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return func() error {
		var errs []error
		for file, data := range before {
			errs = append(errs, os.WriteFile(file, data, 0o644))
		}
		return errors.Join(errs...)
	}, nil
}

// options are those of the example's own configuration.
func (w *World) options(seed int64) (pipeline.Options, error) {
	c, err := config.Load(filepath.Join(w.shop(), config.FileName))
	if err != nil {
		return pipeline.Options{}, err
	}
	c.Target, c.BaseRef, c.Latency.Off, c.Seed = config.TargetProcess, "main", true, seed
	c.Snapshot, c.OutputDir = filepath.Join(w.dir, snapshotDir), filepath.Join(w.dir, ".git", "out")
	c.Mock.Descriptors = filepath.Join(w.shop(), c.Mock.Descriptors)
	if err := c.Validate(); err != nil {
		return pipeline.Options{}, err
	}
	key := make([]byte, 32)
	rand.Read(key)
	return c.Pipeline(config.Place{
		Dir: w.shop(), TempDir: os.TempDir(), Environ: w.environ, Now: time.Now, RedactKey: key,
		Getenv: func(string) string { return "" },
	})
}

// silent is the progress of a run that nobody watches.
type silent struct{}

func (silent) Stage(string) func(error) { return func(error) {} }
func (silent) Note(string, ...any)      {}

var _ pipeline.Progress = silent{}
