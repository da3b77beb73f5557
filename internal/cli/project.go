package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/config"
)

// project is a configuration and the directory that it speaks of.
type project struct {
	*config.Config
	dir string // absolute; what the file calls "."
}

// settings are the flags of a command that stand for keys of the
// configuration.
type settings struct {
	file string
	keys []config.Key
}

// addSettings gives a command --config and a flag for each of the keys that
// want says; nil wants all of them.
func addSettings(cmd *cobra.Command, want func(path string) bool) *settings {
	st := &settings{}
	cmd.Flags().StringVar(&st.file, "config", "", "configuration file ("+config.FileName+" if there is one)")
	for _, key := range config.Keys() {
		if want != nil && !want(key.Path) {
			continue
		}
		st.keys = append(st.keys, key)
		usage := strings.ReplaceAll(key.Doc, "`", "'")
		switch {
		case key.Bool:
			cmd.Flags().Bool(key.Flag(), key.Default == "true", usage)
		case key.List:
			var list []string
			if key.Default != "" {
				list = strings.Split(key.Default, ",")
			}
			cmd.Flags().StringArray(key.Flag(), list, usage+" (repeat the flag, or separate by commas)")
		default:
			cmd.Flags().String(key.Flag(), key.Default, usage)
		}
	}
	return st
}

// load reads the file, then lets the inputs of the action and then the flags
// have their say, and validates the whole. Paths that are not part of the
// versions under test become absolute: those of the file start from its
// directory, those of flags and inputs from the working directory.
func (st *settings) load(cmd *cobra.Command, s Surroundings, input func(name string) string) (*project, error) {
	return st.loadWith(cmd, s, input, func(*config.Config) error { return nil })
}

// loadWith is load with a last word before the whole is validated.
func (st *settings) loadWith(cmd *cobra.Command, s Surroundings, input func(name string) string, last func(*config.Config) error) (*project, error) {
	if st.file == "" {
		st.file = input("config")
	}
	p, err := st.read(s)
	if err != nil {
		return nil, badInput(err)
	}
	p.absolute(p.dir, func(string) bool { return true })
	given := map[string]bool{}
	var mistakes []error
	assign := func(key config.Key, as string, values ...string) {
		given[key.Path] = true
		if err := p.Assign(key.Path, values...); err != nil {
			mistakes = append(mistakes, &config.Mistake{Key: as, Why: err.Error()})
		}
	}
	for _, key := range st.keys {
		if value := input(key.Flag()); value != "" {
			assign(key, "input "+key.Flag(), splitValues(key, value)...)
		}
		if flag := cmd.Flags().Lookup(key.Flag()); flag != nil && flag.Changed {
			if key.List {
				list, err := cmd.Flags().GetStringArray(key.Flag())
				if err != nil {
					return nil, err
				}
				assign(key, "--"+key.Flag(), splitValues(key, strings.Join(list, "\n"))...)
			} else {
				assign(key, "--"+key.Flag(), flag.Value.String())
			}
		}
	}
	p.absolute(s.Dir, func(key string) bool { return given[key] })
	mistakes = append(mistakes, last(p.Config))
	if err := errors.Join(append(mistakes, p.Validate())...); err != nil {
		return nil, badInput(err)
	}
	return p, nil
}

// read finds and reads the file. Without one, the defaults speak of the
// working directory.
func (st *settings) read(s Surroundings) (*project, error) {
	path := st.file
	if path == "" {
		path = config.FileName
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.Dir, path)
	}
	name := path
	if rel, err := filepath.Rel(s.Dir, path); err == nil && !strings.HasPrefix(rel, "..") {
		name = rel
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && st.file == "" {
		return &project{config.Default(), s.Dir}, nil
	}
	if err != nil {
		return nil, &config.Mistake{Key: "--config", Why: fmt.Sprintf("%s cannot be read: %v", name, errors.Unwrap(err))}
	}
	c, err := config.Parse(name, data)
	if err != nil {
		return nil, err
	}
	return &project{c, filepath.Dir(path)}, nil
}

// absolute roots the paths of what lies outside the versions under test.
func (p *project) absolute(dir string, which func(key string) bool) {
	for key, path := range map[string]*string{
		"snapshot": &p.Snapshot, "output-dir": &p.OutputDir, "mock.rules": &p.Mock.Rules, "mock.descriptors": &p.Mock.Descriptors, "kubeconfig": &p.Kubeconfig,
	} {
		if which(key) && *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
}

// splitValues splits the text of a flag or input: lists have one value a line
// or, as words of a few, separated by commas.
func splitValues(key config.Key, text string) []string {
	if !key.List {
		return []string{strings.TrimSpace(text)}
	}
	var values []string
	for line := range strings.Lines(text) {
		parts := []string{line}
		if key.Path == "fail-on" || key.Path == "routes" || key.Path == "values" {
			parts = strings.Split(line, ",")
		}
		for _, part := range parts {
			if part = strings.TrimSpace(part); part != "" {
				values = append(values, part)
			}
		}
	}
	return values
}

// findSnapshot returns the configured snapshot, or the only one below
// snapshots/ of the project or the working directory.
func (p *project) findSnapshot(s Surroundings) (string, error) {
	if p.Snapshot != "" {
		return p.Snapshot, nil
	}
	var found []string
	for _, dir := range []string{p.dir, s.Dir} {
		entries, err := os.ReadDir(filepath.Join(dir, "snapshots"))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() || filepath.Ext(e.Name()) == ".rpk" {
				found = append(found, filepath.Join(dir, "snapshots", e.Name()))
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", p.Mistake("snapshot", "missing; there is none under snapshots/, so record one with reprise record")
	}
	names := make([]string, len(found))
	for i, path := range found {
		names[i] = filepath.Base(path)
	}
	return "", p.Mistake("snapshot", "missing; snapshots/ holds several (%s), so name one", strings.Join(names, ", "))
}

// neitherChartNorCommand lets a command that deploys nothing pass validation.
func neitherChartNorCommand(c *config.Config) error {
	c.Target, c.Process.Command = config.TargetProcess, "(nothing)"
	return nil
}
