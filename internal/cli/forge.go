package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/github"
	"github.com/reprise-ci/reprise/internal/report"
)

// forge is GitHub as a command sees it: what started the run, and the places
// where the report is shown. Outside of GitHub Actions it knows nothing and
// tells nobody.
type forge struct {
	s      Surroundings
	runner *github.Runner
	event  *github.Event
	given  map[string]string
}

// newForge reads the event and the inputs. Mistakes are the caller's input.
func newForge(s Surroundings) (*forge, error) {
	f := &forge{s: s, runner: github.NewRunner(s.Stderr, s.env), given: map[string]string{}}
	var err error
	if f.event, err = github.ReadEvent(s.env); err != nil {
		return nil, err
	}
	if !f.runner.Active() {
		return f, nil
	}
	if err := f.event.Check(); err != nil {
		return nil, err
	}
	given, err := github.ReadInputs(s.env, github.Inputs())
	if err != nil {
		return nil, err
	}
	for _, in := range given {
		f.given[in.Name] = strings.Join(in.Values, "\n")
	}
	return f, nil
}

// input returns what the workflow gave for an input, lists by line, or "".
func (f *forge) input(name string) string { return f.given[name] }

// baseRef is what the event calls the base of the change, or "".
func (f *forge) baseRef() string {
	if f.event.Base.SHA != "" {
		return f.event.Base.SHA
	}
	return f.event.Base.Ref
}

func (f *forge) runURL() string { return f.event.RunURL }

// refused tells the runner of an error of input, so that the outputs exist on
// every way out, and returns the error.
func (f *forge) refused(_ context.Context, err error) error {
	return errors.Join(err, f.runner.SetOutput("verdict", string(analysis.Error)))
}

// tell shows a report: summary, comment, outputs and annotations. It does all
// it can and returns what failed; a comment that may not be made is no
// failure.
func (f *forge) tell(ctx context.Context, p *project, doc *report.Document) []error {
	if !f.runner.Active() {
		return nil
	}
	var errs []error
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	posted, why, err := f.comment(ctx, p, doc)
	keep(err)
	if why != "" {
		f.runner.Print("No comment: %s", why)
	} else if posted.URL != "" {
		f.runner.Print("Comment %s: %s", posted.Outcome, posted.URL)
	}
	keep(f.summarize(doc, why))
	f.annotate(doc)
	for _, output := range f.outputs(p, doc, posted) {
		keep(f.runner.SetOutput(output[0], output[1]))
	}
	return errs
}

// comment posts the report. why says, in a sentence, why there is no comment.
func (f *forge) comment(ctx context.Context, p *project, doc *report.Document) (posted github.Posted, why string, err error) {
	failed := doc.Verdict == analysis.Fail || doc.Verdict == analysis.Error
	plan := github.PlanComment(github.CommentMode(p.Comment), f.event, len(doc.Findings) > 0, failed)
	if !plan.Post {
		return posted, plan.Why, nil
	}
	client, err := f.client()
	if errors.Is(err, github.ErrNoToken) {
		return posted, err.Error(), nil
	}
	if err != nil {
		return posted, "", err
	}
	var body bytes.Buffer
	if err := doc.WriteMarkdown(&body, report.MarkdownOptions{RunURL: f.runURL()}); err != nil {
		return posted, "", err
	}
	posted, err = client.Upsert(ctx, github.Report{
		Pull: f.event.Pull, Key: keyOf(p.CommentKey, doc), Body: body.String(), HeadSHA: f.event.Head.SHA,
		Run: f.event.Run, Attempt: f.event.Attempt, OnlyUpdate: plan.OnlyUpdate,
	})
	var refused *github.PermissionError
	if errors.As(err, &refused) {
		return posted, refused.Hint(f.event), nil
	}
	if err != nil {
		return posted, "", fmt.Errorf("comment on the pull request: %w", err)
	}
	return posted, "", nil
}

// client speaks to the repository of the run.
func (f *forge) client() (*github.Client, error) {
	return github.NewClient(github.ClientOptions{APIURL: f.event.APIURL, Owner: f.event.Owner, Repo: f.event.Repo, Token: github.Token(f.s.env)})
}

// summarize writes the step summary.
func (f *forge) summarize(doc *report.Document, note string) error {
	var body bytes.Buffer
	opts := report.MarkdownOptions{Budget: github.SummaryLimit, RunURL: f.runURL()}
	if note != "" {
		opts.Notes = []string{"No comment: " + note}
	}
	if err := doc.WriteMarkdown(&body, opts); err != nil {
		return err
	}
	return f.runner.WriteSummary(body.String())
}

// annotate marks what gates the check, or what broke the run.
func (f *forge) annotate(doc *report.Document) {
	if doc.Failure != nil {
		f.runner.Annotate(github.LevelError, "reprise: not measured", doc.Failure.Message)
		return
	}
	f.runner.Annotate(github.LevelError, "reprise: "+oneLine(doc.Service), doc.Annotations()...)
}

// outputs are set on every way out. None holds anything of the traffic.
func (f *forge) outputs(p *project, doc *report.Document, posted github.Posted) [][2]string {
	responses, slower := 0, 0
	for _, finding := range doc.Findings {
		switch {
		case finding.Kind == analysis.KindResponse && finding.Cause == analysis.CauseHead:
			responses++
		case finding.Change == analysis.ChangeSlower:
			slower++
		}
	}
	outputs := [][2]string{
		{"verdict", verdictOf(doc)},
		{"findings", strconv.Itoa(len(doc.Findings))},
		{"changed-responses", strconv.Itoa(responses)},
		{"slower-endpoints", strconv.Itoa(slower)},
		{"requests", strconv.Itoa(doc.Replayed)},
		{"output-dir", p.OutputDir},
		{"report-path", filepath.Join(p.OutputDir, fileMarkdown)},
		{"report-json-path", filepath.Join(p.OutputDir, fileJSON)},
		{"report-html-path", filepath.Join(p.OutputDir, fileHTML)},
		{"junit-path", filepath.Join(p.OutputDir, fileJUnit)},
		{"comment-url", posted.URL},
		{"comment-id", ""},
	}
	if posted.ID != 0 {
		outputs[len(outputs)-1][1] = strconv.FormatInt(posted.ID, 10)
	}
	return outputs
}
