package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/reprise-ci/reprise/internal/report"
)

// The files of a report.
const (
	fileJSON     = "report.json"
	fileMarkdown = "report.md"
	fileHTML     = "report.html"
	fileJUnit    = "junit.xml"
)

// tell writes the report to every place that wants it. It does all it can and
// returns what failed.
func tell(ctx context.Context, s Surroundings, p *project, forge *forge, doc *report.Document) error {
	files, errs := writeReport(p.OutputDir, doc, forge.runURL())
	if err := report.WriteTerminal(s.Stdout, doc, report.TerminalOptions{Width: s.Width, Color: s.Terminal, Files: files}); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, forge.tell(ctx, p, doc)...)...)
}

// writeReport writes the four files and returns their paths.
func writeReport(dir string, doc *report.Document, runURL string) (files []string, errs []error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, []error{fmt.Errorf("make output-dir: %w", err)}
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{fileJSON, doc.WriteJSON},
		{fileMarkdown, func(w io.Writer) error { return doc.WriteMarkdown(w, report.MarkdownOptions{RunURL: runURL}) }},
		{fileHTML, func(w io.Writer) error { return doc.WriteHTML(w, report.HTMLOptions{RunURL: runURL}) }},
		{fileJUnit, doc.WriteJUnit},
	} {
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
			continue
		}
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("write the report: %w", err))
			continue
		}
		files = append(files, path)
	}
	return files, errs
}
