package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/github"
	"github.com/reprise-ci/reprise/internal/report"
)

func newComment(s Surroundings) *cobra.Command {
	var file, key, mode string
	cmd := &cobra.Command{
		Use:   "comment",
		Short: "Post the report of an earlier run on its pull request",
		Long: `Post the report of an earlier run as the comment of its pull request. It is the
second half of a replay of pull requests from forks, whose own runs may not
write: a workflow on workflow_run downloads their report.json and calls this.

The report may come from a stranger. It is read by its schema and rendered
anew, and the pull request is found by the head of the run that made it.`,
		Example: `  reprise comment --report report.json`,
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&file, "report", "", "report.json of the earlier run")
	cmd.Flags().StringVar(&key, "comment-key", "", "separates the comments of several runs on one pull request; service and snapshot if empty")
	cmd.Flags().StringVar(&mode, "comment", "auto", "auto (when there is something to say or a comment exists), always, on-failure or never")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := newForge(s)
		if err != nil {
			return badInput(err)
		}
		if file == "" {
			file = s.env("REPRISE_REPORT")
		}
		for name, value := range map[string]*string{"comment": &mode, "comment-key": &key} {
			if given := f.input(name); given != "" && !cmd.Flags().Changed(name) {
				*value = given
			}
		}
		return f.commentLater(cmd.Context(), file, key, github.CommentMode(mode))
	}
	return cmd
}

// commentLater posts a report that another run wrote into a file.
func (f *forge) commentLater(ctx context.Context, file, key string, mode github.CommentMode) error {
	doc, err := readReport(f.s, file)
	if err != nil {
		return f.refused(ctx, badInput(err))
	}
	client, err := f.client()
	if err != nil {
		return f.refused(ctx, badInput(err))
	}
	up, err := f.upstream(ctx, client)
	if errors.Is(err, github.ErrNoPull) {
		// It was closed, or has a newer head by now.
		f.runner.Print("No comment: %v", err)
		return f.laterOutputs(doc, github.Posted{})
	}
	if err != nil {
		return f.refused(ctx, err)
	}
	failed := doc.Verdict == analysis.Fail || doc.Verdict == analysis.Error
	plan := github.PlanComment(mode, f.event, len(doc.Findings) > 0, failed)
	if !plan.Post {
		f.runner.Print("No comment: %s", plan.Why)
		return f.laterOutputs(doc, github.Posted{})
	}
	var body bytes.Buffer
	if err := doc.WriteMarkdown(&body, report.MarkdownOptions{RunURL: up.URL}); err != nil {
		return f.refused(ctx, err)
	}
	posted, err := client.Upsert(ctx, github.Report{
		Pull: f.event.Pull, Key: keyOf(key, doc), Body: body.String(), HeadSHA: up.Head.SHA,
		Run: up.ID, Attempt: up.Attempt, OnlyUpdate: plan.OnlyUpdate,
	})
	var refused *github.PermissionError
	if errors.As(err, &refused) {
		return f.refused(ctx, &failure{code: exitConfig, err: err, hint: "Add to the job: permissions: { actions: read, pull-requests: write }."})
	}
	if err != nil {
		return f.refused(ctx, fmt.Errorf("comment on the pull request: %w", err))
	}
	if posted.URL != "" {
		f.runner.Print("Comment %s: %s", posted.Outcome, posted.URL)
	}
	return f.laterOutputs(doc, posted)
}

// upstream returns the run that made the report, and sets the event's pull
// request: the one whose head that run worked on, or the one that this event
// itself names.
func (f *forge) upstream(ctx context.Context, client *github.Client) (up *github.Upstream, err error) {
	if up = f.event.Upstream; up != nil {
		f.event.Pull, err = client.PullOf(ctx, up)
		return up, err
	}
	if f.event.Pull == 0 {
		return nil, badInput(fmt.Errorf("comment: the event %q names no pull request; start it on workflow_run", f.event.Name))
	}
	return &github.Upstream{ID: f.event.Run, Attempt: f.event.Attempt, URL: f.event.RunURL, Head: f.event.Head}, nil
}

// keyOf is what tells the comments of one pull request apart.
func keyOf(key string, doc *report.Document) string {
	if key == "" {
		return doc.Service + "/" + doc.Snapshot.Name
	}
	return key
}

// readReport reads a report.json.
func readReport(s Surroundings, file string) (*report.Document, error) {
	if file == "" {
		return nil, errors.New("--report: missing; name the report.json of the earlier run")
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(s.Dir, file)
	}
	r, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--report: %w", err)
	}
	defer r.Close()
	doc, err := report.ReadJSON(r)
	if err != nil {
		return nil, fmt.Errorf("--report %s: %w", file, err)
	}
	return doc, nil
}

// laterOutputs sets the outputs of a comment that was made later.
func (f *forge) laterOutputs(doc *report.Document, posted github.Posted) error {
	id := ""
	if posted.ID != 0 {
		id = strconv.FormatInt(posted.ID, 10)
	}
	return errors.Join(
		f.runner.SetOutput("verdict", verdictOf(doc)),
		f.runner.SetOutput("comment-url", posted.URL),
		f.runner.SetOutput("comment-id", id),
	)
}
