package mutation

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/traffic"
)

const root = "../../.."

// source reads a file of the example.
func source(file string) (string, error) {
	data, err := os.ReadFile(filepath.Join(root, shopDir, file))
	return string(data), err
}

// Every mutation fits the example as it is now, with the setup that it needs,
// and asks for what a report can hold.
func TestMutationsFitTheExample(t *testing.T) {
	setups, err := Setups()
	if err != nil {
		t.Fatal(err)
	}
	for read, least := range map[string]int{"faults": 44, "harmless": 22} {
		list, err := readAll(read)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) < least {
			t.Errorf("%d %s, want %d", len(list), read, least)
		}
		for _, m := range list {
			base := source
			if m.Setup != "" {
				i := slices.IndexFunc(setups, func(s Mutation) bool { return s.Name == m.Setup })
				if i < 0 {
					t.Fatalf("%s: there is no setup %q", m.Name, m.Setup)
				}
				changed, err := setups[i].edit(source)
				if err != nil {
					t.Fatal(err)
				}
				base = func(file string) (string, error) {
					if text, ok := changed[file]; ok {
						return text, nil
					}
					return source(file)
				}
			}
			if _, err := m.edit(base); err != nil {
				t.Error(err)
			}
			for _, e := range append(m.Expect, m.Also...) {
				for _, a := range e.Addresses {
					if _, err := traffic.ParsePattern(a); err != nil {
						t.Errorf("%s: %v", m.Name, err)
					}
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	m, err := parse(strings.Join([]string{
		"# Totals are texts,", "# since yesterday.", "# class: type",
		`# expect: kind=response change=type|value endpoint="GET /v1/orders" address=response.body.total`, "",
		"@@ internal/api/orders.go", " before", "-old", "+new", "+more", "@@ main.go", "-", "+x", "",
	}, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Edit{{"internal/api/orders.go", "before\nold", "before\nnew\nmore"}, {"main.go", "", "x"}}
	if !slices.Equal(m.Edits, want) || m.About != "Totals are texts, since yesterday." || m.Class != "type" {
		t.Errorf("%+v", m)
	}
	f := analysis.Finding{Kind: "response", Cause: analysis.CauseHead, Change: "value", Endpoint: "GET /v1/orders", Address: "response.body.total"}
	if len(m.Expect) != 1 || !m.Expect[0].Matches(f) {
		t.Errorf("%v does not match %+v", m.Expect, f)
	}
	f.Cause = analysis.CauseSnapshot
	if m.Expect[0].Matches(f) {
		t.Error("a finding that blames the recording is taken for the expected one")
	}
	for reason, text := range map[string]string{
		"no edit changes nothing":           "# words\n",
		"a stray line is lost otherwise":    "words\n@@ a\n-b\n",
		"an edit has only lines of a diff":  "@@ a\nb\n",
		"a misspelt key would be forgotten": "# expect: kind=response at=x\n@@ a\n-b\n",
	} {
		if _, err := parse(text); err == nil {
			t.Errorf("%s: no error", reason)
		}
	}
}

// An edit that does not fit exactly once is an error and leaves the file alone.
func TestApplyNeedsOnePlace(t *testing.T) {
	for reason, text := range map[string]string{"no place": "b", "two places": "aa"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "x")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		m := Mutation{Name: "m", Edits: []Edit{{"x", "a", "c"}}}
		if err := m.Apply(dir); err == nil {
			t.Errorf("%s: no error", reason)
		}
		if data, _ := os.ReadFile(file); string(data) != text {
			t.Errorf("%s: the file is %q now", reason, data)
		}
	}
}
