package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitProblem `xml:"failure,omitempty"`
	Error   *junitProblem `xml:"error,omitempty"`
	Skipped *junitProblem `xml:"skipped,omitempty"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes JUnit XML: a test case for each endpoint, which fails by
// the findings that gate and lists the others, and one for each kind that
// fail-on may name, skipped when it does not gate. A run that broke is one case
// with an error, never a failure.
func (d *Document) WriteJUnit(w io.Writer) error {
	out := junitSuites{Name: "reprise " + visible(d.Service, 80)}
	if d.Verdict == analysis.Error {
		out.Suites = append(out.Suites, junitSuite{Name: "run", Cases: []junitCase{d.junitError()}})
	} else {
		out.Suites = append(out.Suites, junitSuite{Name: "endpoints", Cases: d.junitEndpoints()},
			junitSuite{Name: "gates", Cases: d.junitGates()})
	}
	for i := range out.Suites {
		s := &out.Suites[i]
		for _, c := range s.Cases {
			s.Tests++
			switch {
			case c.Failure != nil:
				s.Failures++
			case c.Error != nil:
				s.Errors++
			case c.Skipped != nil:
				s.Skipped++
			}
		}
		out.Tests, out.Failures, out.Errors, out.Skipped = out.Tests+s.Tests, out.Failures+s.Failures, out.Errors+s.Errors, out.Skipped+s.Skipped
	}
	data, err := xml.MarshalIndent(out, "", "  ")
	if err == nil {
		_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, data)
	}
	if err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return nil
}

func (d *Document) junitError() junitCase {
	c := junitCase{Name: "run", Class: "reprise", Time: "0", Error: &junitProblem{Message: visible(d.failureMessage(), 400)}}
	if d.Failure != nil {
		c.Error.Type = visible(d.Failure.Class, 40)
		if d.Failure.Stage != "" {
			c.Name = visible(d.Failure.Stage, 60)
		}
		c.Error.Text = printable(strings.Join(append([]string{d.Failure.Hint}, tail(d.Failure.Evidence, 40)...), "\n"), 8000)
	}
	return c
}

func (d *Document) junitEndpoints() []junitCase {
	var names []string
	spent := map[string]float64{}
	for _, e := range d.Endpoints {
		names = append(names, e.Endpoint)
		if ms := e.P50.HeadMS; ms > 0 && !math.IsInf(ms, 0) {
			spent[e.Endpoint] = ms / 1000
		}
	}
	for _, f := range d.Findings {
		names = append(names, f.Endpoint)
	}
	slices.Sort(names)
	var cases []junitCase
	for _, name := range slices.Compact(names) {
		c := junitCase{Name: orDash(visible(name, 200)), Class: "endpoints", Time: fmt.Sprintf("%.6f", spent[name])}
		var gating, others []string
		for _, f := range d.Findings {
			switch {
			case f.Endpoint != name:
			case f.Gates:
				gating = append(gating, oneLine(f))
			default:
				others = append(others, oneLine(f))
			}
		}
		if len(gating) > 0 {
			c.Failure = &junitProblem{Message: gating[0], Type: "finding", Text: strings.Join(gating, "\n")}
		}
		c.Out = strings.Join(others, "\n")
		cases = append(cases, c)
	}
	return cases
}

func (d *Document) junitGates() []junitCase {
	var cases []junitCase
	for _, k := range kinds {
		c := junitCase{Name: string(k), Class: "gates", Time: "0"}
		var lines []string
		for _, f := range d.Findings {
			if f.Kind == k && f.Gates {
				lines = append(lines, oneLine(f))
			}
		}
		switch {
		case len(lines) > 0:
			c.Failure = &junitProblem{Message: count(len(lines), "finding"), Type: string(k), Text: strings.Join(lines, "\n")}
		case !slices.Contains(d.Run.FailOn, string(k)):
			c.Skipped = &junitProblem{Message: "fail-on does not name " + string(k)}
		}
		cases = append(cases, c)
	}
	for _, t := range d.Thresholds {
		c := junitCase{Name: visible(t.Threshold, 200), Class: "thresholds", Time: "0"}
		switch {
		case !t.Holds:
			c.Failure = &junitProblem{Message: thresholdLine(t), Type: "threshold"}
		case t.Unknown != "":
			c.Skipped = &junitProblem{Message: visible(t.Unknown, 200)}
		}
		cases = append(cases, c)
	}
	return cases
}

// thresholdLine is a threshold without markup: "p90 < 150ms does not hold: 212
// ms on GET /v1/orders".
func thresholdLine(t analysis.ThresholdResult) string {
	s := visible(t.Threshold, 100) + " " + thresholdWord(t)
	if t.Value != "" {
		s += ": " + visible(t.Value, 60)
		if t.Endpoint != "" {
			s += " on " + visible(t.Endpoint, 120)
		}
	}
	return s
}

// oneLine is a finding without markup: "F1 GET /v1/orders response.body.total
// changed its type: 12 -> "12" (3 of 40 requests)".
func oneLine(f analysis.Finding) string {
	s := strings.TrimSpace(visible(f.ID, 12) + " " + visible(f.Endpoint, 120))
	for _, part := range []string{f.Call, f.Address} {
		if part != "" {
			s += " " + visible(part, 160)
		}
	}
	s += " " + whatChanged(f)
	if f.Base != "" || f.Head != "" {
		s += ": " + orDash(visible(f.Base, 80)) + " → " + orDash(visible(f.Head, 80))
	} else if f.Detail != "" {
		s += ": " + visible(f.Detail, 200)
	}
	s += " (" + seen(f)
	if f.Cause != analysis.CauseHead {
		s += ", " + causeOf(f.Cause)
	}
	if f.Accepted != nil {
		s += ", accepted: " + visible(because(f.Accepted), 120)
	}
	return s + ")"
}

// Annotations returns the findings that gate and the thresholds that do not
// hold, one plain line each, most important first.
func (d *Document) Annotations() []string {
	var out []string
	for _, f := range d.Findings {
		if f.Gates {
			out = append(out, oneLine(f))
		}
	}
	for _, t := range d.broken() {
		out = append(out, thresholdLine(t))
	}
	return out
}
