package action

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/github-action.md")

// order lists the keys of a mapping of action.yml as they stand there.
func order(t *testing.T, section string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), "action.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var names []string
	top := doc.Content[0].Content
	for i := 0; i < len(top); i += 2 {
		if top[i].Value == section {
			for j := 0; j < len(top[i+1].Content); j += 2 {
				names = append(names, top[i+1].Content[j].Value)
			}
		}
	}
	return names
}

// TestTablesAreThoseOfTheAction keeps the page and action.yml in step.
func TestTablesAreThoseOfTheAction(t *testing.T) {
	a := readAction(t)
	inputs := "| input | default | meaning |\n|:--|:--|:--|\n"
	for _, name := range order(t, "inputs") {
		def, meaning := *a.Inputs[name].Default, a.Inputs[name].Description
		if m := regexp.MustCompile(` \(default ([^)]*)\)$`).FindStringSubmatch(meaning); m != nil {
			def, meaning = m[1], strings.TrimSuffix(meaning, m[0])
		}
		if def != "" {
			def = "`" + def + "`"
		}
		inputs += "| `" + name + "` | " + def + " | " + meaning + " |\n"
	}
	outputs := "| output | meaning |\n|:--|:--|\n"
	for _, name := range order(t, "outputs") {
		outputs += "| `" + name + "` | " + a.Outputs[name].Description + " |\n"
	}

	path := filepath.Join(root(t), "docs/github-action.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := string(page)
	for section, table := range map[string]string{"inputs": inputs, "outputs": outputs} {
		open, end := "<!-- "+section+" -->\n", "<!-- /"+section+" -->"
		before, rest, ok := strings.Cut(want, open)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("docs/github-action.md has no place for the %s", section)
		}
		want = before + open + table + end + after
	}
	if want == string(page) {
		return
	}
	if !*update {
		t.Fatal("the tables of docs/github-action.md are not those of action.yml; run go test ./internal/action -update")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestWorkflowsUseTheActionAsItIs reads the project's workflows and those of
// the documents: inputs and outputs that they name exist, other actions are
// pinned by commit, and no script holds an expression.
func TestWorkflowsUseTheActionAsItIs(t *testing.T) {
	a := readAction(t)
	texts := map[string]string{}
	files, err := filepath.Glob(filepath.Join(root(t), ".github/workflows/*.yml"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d workflows, error %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(f)] = string(data)
	}
	page, err := os.ReadFile(filepath.Join(root(t), "docs/github-action.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
		texts["docs/github-action.md, block "+string(rune('1'+i))] = string(m[1])
	}
	pinned := regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40}$`)
	uses := 0
	for name, text := range texts {
		var w struct {
			Permissions map[string]string
			Jobs        map[string]struct {
				Steps []struct {
					ID, Uses, Run string
					With          map[string]any
				}
			}
		}
		if err := yaml.NewDecoder(bytes.NewReader([]byte(text))).Decode(&w); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, job := range w.Jobs {
			for _, s := range job.Steps {
				ours := s.Uses == "./" || strings.HasPrefix(s.Uses, "reprise-ci/reprise@")
				switch {
				case ours:
					uses++
					for input := range s.With {
						if _, ok := a.Inputs[input]; !ok {
							t.Errorf("%s gives the input %s, which there is not", name, input)
						}
					}
					for _, m := range regexp.MustCompile(`steps\.`+regexp.QuoteMeta(s.ID)+`\.outputs\.([a-z-]+)`).FindAllStringSubmatch(text, -1) {
						if _, ok := a.Outputs[m[1]]; s.ID != "" && !ok {
							t.Errorf("%s reads the output %s, which there is not", name, m[1])
						}
					}
				case s.Uses != "" && !strings.HasPrefix(s.Uses, "./") && !pinned.MatchString(s.Uses):
					t.Errorf("%s uses %s, which is not pinned by commit", name, s.Uses)
				case strings.Contains(s.Run, "${{"):
					t.Errorf("%s: an expression in a script is an injection: %s", name, s.Run)
				}
			}
		}
		if strings.Contains(text, "\non:") && !strings.Contains(text, "\npermissions: {}\n") {
			t.Errorf("%s does not drop the permissions that it has by default", name)
		}
	}
	if uses < 6 {
		t.Errorf("the action is used %d times only: the test looks at the wrong places", uses)
	}
}
