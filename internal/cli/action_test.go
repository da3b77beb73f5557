package cli

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/github"
	"github.com/reprise-ci/reprise/internal/report"
)

// What the action promises, the command keeps: every input is a flag of run,
// and every output is set by it.
func TestActionAndCommandAgree(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "action.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var action struct{ Inputs, Outputs map[string]any }
	if err := yaml.Unmarshal(data, &action); err != nil {
		t.Fatal(err)
	}
	flags := newRun(Surroundings{}).Flags()
	for _, in := range github.Inputs() {
		if flags.Lookup(in.Name) == nil {
			t.Errorf("input %s is no flag of reprise run", in.Name)
		}
	}
	f := &forge{}
	var set []string
	for _, o := range gateOutputs(github.Side{}, 0) {
		set = append(set, o[0])
	}
	for _, o := range f.outputs(&project{Config: config.Default()}, &report.Document{}, github.Posted{}) {
		set = append(set, o[0])
	}
	slices.Sort(set)
	if promised := slices.Sorted(maps.Keys(action.Outputs)); !slices.Equal(promised, set) {
		t.Errorf("action.yml promises the outputs\n%q, the command sets\n%q", promised, set)
	}
}
