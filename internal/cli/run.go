package cli

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/cluster"
	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/pipeline"
	"github.com/reprise-ci/reprise/internal/report"
)

func newRun(s Surroundings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Replay a snapshot against base and head and report what changed",
		Long: `Build the merge base and the work tree, deploy both, stand in for their
dependencies with recorded answers, replay the snapshot against both, and report
what changed.

The report is written to output-dir as report.json, report.md, report.html and
junit.xml. In GitHub Actions it is also the comment of the pull request, the step
summary, the outputs and at most five annotations.

Exit codes: 0 the gates hold or the run could not tell, 1 a gate failed,
2 wrong configuration or input, 3 the infrastructure failed, 130 cancelled.`,
		Example: `  reprise run
  reprise run --target process --base-ref main --fail-on response,latency
  reprise run --config services/orders/reprise.yaml --keep on-failure`,
		Args: cobra.NoArgs,
	}
	st := addSettings(cmd, nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		forge, err := newForge(s)
		if err != nil {
			return badInput(err)
		}
		p, err := st.load(cmd, s, forge.input)
		if err != nil {
			return forge.refused(cmd.Context(), err)
		}
		return runOnce(cmd.Context(), s, p, forge)
	}
	return cmd
}

// runOnce does one run and tells everybody about it.
func runOnce(ctx context.Context, s Surroundings, p *project, forge *forge) error {
	opts, err := pipelineOptions(s, p, forge)
	if err != nil {
		return forge.refused(ctx, badInput(err))
	}
	progress := newProgress(s)
	cluster.Quiet(io.Discard) // Kubernetes' libraries talk to nobody in particular
	running, cancel := context.WithTimeout(ctx, time.Duration(p.Timeout))
	outcome, runErr := pipeline.Run(running, opts, progress)
	cancel()
	if err := progress.Close(); err != nil && runErr == nil {
		runErr = err
	}
	// What a cancelled run has seen is still told, for as long as a cancelled
	// job has.
	telling, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
	defer cancel()
	doc := newDocument(p, outcome, runErr)
	if runErr != nil && ctx.Err() == nil {
		printError(s.Stderr, runErr)
	}
	told := tell(telling, s, p, forge, doc)
	return errors.Join(told, exitError(ctx, doc, runErr))
}

// tellTime is how long the report may take once the run has ended.
const tellTime = 60 * time.Second

// exitError turns a document into the exit code; all has been said by then.
func exitError(ctx context.Context, doc *report.Document, runErr error) error {
	var broke *pipeline.Error
	switch {
	case doc.Verdict == analysis.Fail:
		return errSilent(exitGate)
	case doc.Verdict != analysis.Error:
		return nil
	case ctx.Err() != nil:
		return errSilent(exitCancelled)
	case errors.As(runErr, &broke) && broke.Input:
		return errSilent(exitConfig)
	}
	return errSilent(exitInfra)
}

// pipelineOptions composes a run.
func pipelineOptions(s Surroundings, p *project, forge *forge) (pipeline.Options, error) {
	snapshotPath, err := p.findSnapshot(s)
	if err != nil {
		return pipeline.Options{}, err
	}
	p.Snapshot = snapshotPath
	if p.Service == "" {
		p.Service = filepath.Base(snapshotPath)
	}
	if p.BaseRef == "" {
		p.BaseRef = forge.baseRef()
	}
	if p.NodeImage == "" {
		p.NodeImage = s.env("KIND_NODE_IMAGE")
	}
	if p.Seed == 0 {
		if p.Seed, err = drawSeed(); err != nil {
			return pipeline.Options{}, err
		}
	}
	// Nobody needs the key again: the pseudonyms of a report are only compared
	// with each other.
	redactKey := make([]byte, 32)
	if _, err := rand.Read(redactKey); err != nil {
		return pipeline.Options{}, fmt.Errorf("draw a key for pseudonyms: %w", err)
	}
	opts, err := p.Pipeline(config.Place{
		Dir: p.dir, TempDir: tempDir(s), Environ: s.Environ, Getenv: s.env, Now: time.Now, RedactKey: redactKey,
	})
	if err != nil {
		return pipeline.Options{}, err
	}
	opts.Version = version()
	return opts, opts.Validate()
}

// drawSeed returns a seed that is never 0, which stands for "draw one".
func drawSeed() (int64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("draw a seed: %w", err)
	}
	return int64(binary.BigEndian.Uint32(b[:])) + 1, nil
}
