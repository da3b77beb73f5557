package report_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/reprise-ci/reprise/internal/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with testdata/name, or writes it there with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run go test with -update to write it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

// renderers are all ways out of a document.
func renderers(s sample) map[string]func(io.Writer) error {
	return map[string]func(io.Writer) error{
		".json": s.doc.WriteJSON,
		".md":   func(w io.Writer) error { return s.doc.WriteMarkdown(w, s.md) },
		".html": func(w io.Writer) error { return s.doc.WriteHTML(w, report.HTMLOptions{RunURL: s.md.RunURL}) },
		".xml":  s.doc.WriteJUnit,
		".txt": func(w io.Writer) error {
			return report.WriteTerminal(w, s.doc, report.TerminalOptions{Width: 100, Files: []string{"out/report.html"}})
		},
	}
}

func render(t *testing.T, write func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for _, s := range samples() {
		for ext, write := range renderers(s) {
			t.Run(s.name+ext, func(t *testing.T) {
				got := render(t, write)
				if again := render(t, write); !bytes.Equal(got, again) {
					t.Error("two renderings of one document differ")
				}
				// Pages are long and alike: three of them are kept.
				if ext != ".html" || slices.Contains([]string{"clean", "findings", "infrastructure"}, s.name) {
					golden(t, s.name+ext, got)
				}
			})
		}
	}
}
