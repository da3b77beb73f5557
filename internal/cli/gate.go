package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/github"
)

func newGate(s Surroundings) *cobra.Command {
	return &cobra.Command{
		Use:   "gate",
		Short: "Decide whether a comment on a pull request may start a run",
		Long: `Decide whether a comment such as "/reprise run 9f2c1ab" may start a run. The
commenter must be allowed to push; on a pull request from a fork the comment
must name the commit, so that no other one can be pushed before the run.

It answers the comment with a reaction and sets the outputs proceed, head-sha
and pull-request. Comments that are no command are left alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := newForge(s)
			if err != nil {
				return badInput(err)
			}
			return f.gate(cmd.Context())
		},
	}
}

// gate sets the outputs on every way out: a job that reads none must not run.
func (f *forge) gate(ctx context.Context) error {
	head, err := f.authorize(ctx)
	for _, o := range gateOutputs(head, f.event.Pull) {
		err = errors.Join(err, f.runner.SetOutput(o[0], o[1]))
	}
	return err
}

func gateOutputs(head github.Side, pull int) [][2]string {
	outputs := [][2]string{{"proceed", "false"}, {"head-sha", ""}, {"pull-request", ""}}
	if head.SHA != "" {
		outputs = [][2]string{{"proceed", "true"}, {"head-sha", head.SHA}, {"pull-request", strconv.Itoa(pull)}}
	}
	return outputs
}

// authorize returns the head to run, or none when nothing is to be run.
func (f *forge) authorize(ctx context.Context) (github.Side, error) {
	if f.event.Comment == nil {
		return github.Side{}, badInput(fmt.Errorf("gate: the event %q is no comment; start it on issue_comment", f.event.Name))
	}
	cmd, ok := github.ParseCommand(f.event.Comment.Body)
	if !ok || !f.event.Comment.OnPull {
		return github.Side{}, nil
	}
	client, err := f.client()
	if err != nil {
		return github.Side{}, badInput(err)
	}
	head, err := client.Authorize(ctx, f.event, cmd)
	reaction := github.ReactionSeen
	if errors.Is(err, github.ErrNotAllowed) {
		// A refusal is an answer, not a failure of the job.
		f.runner.Annotate(github.LevelWarning, "reprise: not run", err.Error())
		head, err, reaction = github.Side{}, nil, github.ReactionNo
	}
	if err != nil {
		return github.Side{}, err
	}
	if err := client.React(ctx, f.event.Comment.ID, reaction); err != nil {
		f.runner.Print("No reaction: %v", err)
	}
	return head, nil
}
