// Package report turns what a run found out into what people and programs
// read: JSON, Markdown (the comment on the pull request and the step summary),
// HTML, JUnit XML and a terminal. It renders and decides nothing: every verdict
// it prints was reached in package analysis.
//
// All renderers are functions of one [Document] and take no clock, so that the
// same document always gives the same bytes. Everything in a document may stem
// from recorded traffic and is treated as hostile: each output has one escaping
// function per context ([Code], [Fence], [Text], [Line], html/template,
// encoding/xml), and nothing else may write a value.
package report

import (
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// SchemaV1 is the value of Document.Schema; docs/report.schema.json describes
// it.
const SchemaV1 = "reprise.report/v1"

// Document is one report: the result of the analysis and what it was about.
type Document struct {
	Schema string `json:"schema"`
	analysis.Result
	// Service is the name of the service under test.
	Service  string   `json:"service"`
	Base     Commit   `json:"base"`
	Head     Commit   `json:"head"`
	Snapshot Snapshot `json:"snapshot"`
	Run      Run      `json:"run"`
	// Failure is set when the verdict is error: what broke, and where.
	Failure *Failure `json:"failure,omitempty"`
	// Load is set when an open load was sent.
	Load *Load `json:"load,omitempty"`
}

// Commit names one side of the comparison.
type Commit struct {
	SHA string `json:"sha"`
	Ref string `json:"ref"`
}

// Snapshot names what was replayed.
type Snapshot struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	// RecordedAt is when its first exchange was recorded.
	RecordedAt time.Time `json:"recorded_at"`
	Exchanges  int       `json:"exchanges"` // inbound and outbound
	// Redacted counts the values that were replaced before it was stored.
	Redacted int `json:"redacted,omitempty"`
}

// Run says how the result came about.
type Run struct {
	Target    string    `json:"target"` // kind, kubernetes or process
	Seed      int64     `json:"seed"`
	Rounds    int       `json:"rounds"`
	StartedAt time.Time `json:"started_at"`
	Stages    []Stage   `json:"stages"`
	// FailOn lists the kinds of findings that fail the check.
	FailOn []string `json:"fail_on,omitempty"`
	// Version is that of reprise.
	Version string `json:"version,omitempty"`
	// Notes are facts about the environment that a reader should weigh, one
	// short sentence each ("2 of 4 processors were busy at the start").
	Notes []string `json:"notes,omitempty"`
	// Bindings are the values of requests that came from live answers, or moved
	// with the clock, the most frequent first.
	Bindings []Binding `json:"bindings,omitempty"`
}

// Binding is a pair of places whose values are the same: what requests of one
// endpoint hold at To is what an answer of another held at From. Answer and
// From are empty for dates that follow the client's clock.
type Binding struct {
	Answer  string `json:"answer,omitempty"`
	From    string `json:"from,omitempty"`
	Request string `json:"request"`
	To      string `json:"to"`
	Times   int    `json:"times"`
	Pinned  bool   `json:"pinned,omitempty"` // by a rule, not learned
}

// Stage is one step of the run and how long it took. Stages may overlap.
type Stage struct {
	Name string `json:"name"`
	// Start counts from StartedAt.
	Start   float64 `json:"start,omitempty"`
	Seconds float64 `json:"seconds"`
	// Error is why the stage failed.
	Error string `json:"error,omitempty"`
}

// Failure is why a run has no result.
type Failure struct {
	// Class is configuration, infrastructure, service or cancelled.
	Class string `json:"class"`
	Stage string `json:"stage,omitempty"`
	// Message is one line; Hint says how to mend it.
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Evidence is what a person needs to see: an event, a container's state,
	// the last log lines.
	Evidence []string `json:"evidence,omitempty"`
}

// The classes of failures.
const (
	FailureConfiguration  = "configuration"
	FailureInfrastructure = "infrastructure"
	FailureService        = "service" // base itself does not run
	FailureCancelled      = "cancelled"
)
