package cli

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/cluster"
	"github.com/reprise-ci/reprise/internal/deploy"
	"github.com/reprise-ci/reprise/internal/pipeline"
	"github.com/reprise-ci/reprise/internal/process"
	"github.com/reprise-ci/reprise/internal/report"
)

// newDocument makes the report of an outcome. runErr is why the run broke, nil
// when it did not.
func newDocument(p *project, o *pipeline.Outcome, runErr error) *report.Document {
	doc := &report.Document{
		Schema:  report.SchemaV1,
		Result:  o.Result,
		Service: p.Service,
		Base:    report.Commit{SHA: o.Base.SHA, Ref: o.Base.Ref},
		Head:    report.Commit{SHA: o.Head.SHA, Ref: o.Head.Ref},
		Snapshot: report.Snapshot{
			Name: o.Recording.Name, Digest: o.Recording.Digest, RecordedAt: o.Recording.RecordedAt,
			Exchanges: o.Recording.Inbound + o.Recording.Outbound, Redacted: o.Recording.Redacted,
		},
		Run: report.Run{
			Target: o.Target, Seed: o.Seed, Rounds: o.Result.Latency.Rounds, StartedAt: o.StartedAt.UTC(),
			FailOn: p.FailOn, Version: version(), Notes: o.Notes,
		},
	}
	doc.Load = loadOf(o.Load)
	if o.Head.Dirty {
		doc.Run.Notes = append(doc.Run.Notes, "Head is the work tree with changes that are in no commit.")
	}
	for _, st := range o.Stages {
		doc.Run.Stages = append(doc.Run.Stages, report.Stage{
			Name: st.Name, Start: st.Started.Seconds(), Seconds: st.Took.Seconds(), Error: st.Failure,
		})
	}
	for _, l := range o.Learned {
		doc.Run.Bindings = append(doc.Run.Bindings, report.Binding{
			Answer: l.Answer, From: l.From.String(), Request: l.Request, To: l.To.String(), Times: l.Times, Pinned: l.Pinned,
		})
	}
	if runErr != nil {
		doc.Failure = failureOf(runErr)
	}
	return doc
}

// failureOf says what broke a run, and how to mend it.
func failureOf(err error) *report.Failure {
	f := &report.Failure{Class: report.FailureInfrastructure, Message: oneLine(err.Error())}
	var broke *pipeline.Error
	if errors.As(err, &broke) {
		f.Stage, f.Message = broke.Stage, oneLine(broke.Err.Error())
		if broke.Input {
			f.Class = report.FailureConfiguration
		}
	}
	var local *process.NotReadyError
	var pod *deploy.NotReadyError
	var unfit *cluster.PreflightError
	switch {
	case errors.Is(err, context.Canceled):
		f.Class, f.Message = report.FailureCancelled, "a signal ended the run"
	case errors.Is(err, context.DeadlineExceeded):
		f.Message, f.Hint = "the run took longer than its timeout", "raise timeout, or lower latency.budget"
	case errors.As(err, &local):
		f.Class, f.Evidence = report.FailureService, lastLines(local.Log, 20)
		f.Hint = "base itself does not start; the start command and the log say why"
	case errors.As(err, &pod):
		f.Class, f.Evidence = report.FailureService, append(pod.Events, pod.Log...)
		f.Hint = "base itself does not start; logs/ has its whole log and the events"
	case errors.As(err, &unfit):
		f.Message, f.Hint = unfit.Problem, unfit.Remedy
	}
	return f
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func lastLines(s string, n int) []string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[max(0, len(lines)-n):]
}

// verdictOf is a word for logs and outputs.
func verdictOf(doc *report.Document) string {
	if doc.Verdict == "" {
		return string(analysis.Error)
	}
	return string(doc.Verdict)
}

// loadOf is the load of a run, in figures.
func loadOf(l *pipeline.Load) *report.Load {
	if l == nil {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	out := &report.Load{Plan: l.Plan, Workers: l.Workers, Lost: l.Lost, LateMS: ms(l.Late)}
	for _, clock := range l.Clocks {
		out.ClocksAheadMS = append(out.ClocksAheadMS, ms(clock.Ahead))
		out.ClockErrorMS = max(out.ClockErrorMS, ms(clock.Within))
	}
	for _, a := range l.Arms {
		s := a.Summary
		arm := report.LoadArm{
			Arm: string(a.Arm), Requests: s.Requests, Unsent: a.Unsent, Skipped: a.Skipped, Rate: s.Rate,
			P50MS: ms(s.Response.Quantile(0.5)), P90MS: ms(s.Response.Quantile(0.9)), P99MS: ms(s.Response.Quantile(0.99)), MaxMS: ms(s.Response.Quantile(1)),
			LagP99MS: ms(s.Lag.Quantile(0.99)), Answers: map[string]int64{}, Reliable: s.Reliable,
		}
		for status, n := range s.Status {
			arm.Answers[strconv.Itoa(status)] = n
		}
		for kind, n := range s.Failures {
			arm.Answers[string(kind)] = n
		}
		out.Arms = append(out.Arms, arm)
	}
	return out
}
