package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// AcceptFileName is the file beside the configuration that holds the changes
// that people agreed to.
const AcceptFileName = "reprise.accept.yaml"

// acceptHead begins a new file.
const acceptHead = `# Changes that were agreed to; reprise accept adds to this file.
version: 1
accept:
`

type acceptFile struct {
	Version int               `yaml:"version"`
	Accept  []analysis.Accept `yaml:"accept"`
}

// ReadAccepts reads the accepted changes of the project in dir. Without a file
// there are none.
func ReadAccepts(dir string) ([]analysis.Accept, error) {
	data, err := os.ReadFile(filepath.Join(dir, AcceptFileName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Mistake{Key: AcceptFileName, Why: "cannot be read: " + errors.Unwrap(err).Error()}
	}
	return parseAccepts(data)
}

func parseAccepts(data []byte) ([]analysis.Accept, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var file acceptFile
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, &Mistake{Key: AcceptFileName, Why: strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " ")}
	}
	if file.Version != 1 {
		return nil, &Mistake{Key: AcceptFileName, Why: fmt.Sprintf("version %d is not known; this reprise reads version 1", file.Version)}
	}
	for _, a := range file.Accept {
		if err := a.Validate(); err != nil {
			return nil, &Mistake{Key: AcceptFileName, Why: err.Error()}
		}
	}
	return file.Accept, nil
}

// AddAccept adds a change to the file of the project in dir. What stands there,
// comments included, stays as it is; when the result would not be valid, nothing
// is written.
func AddAccept(dir string, a analysis.Accept) error {
	path := filepath.Join(dir, AcceptFileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		data, err = []byte(acceptHead), nil
	}
	if err != nil {
		return &Mistake{Key: AcceptFileName, Why: "cannot be read: " + errors.Unwrap(err).Error()}
	}
	var item bytes.Buffer
	e := yaml.NewEncoder(&item)
	e.SetIndent(2)
	if err := errors.Join(e.Encode([]analysis.Accept{a}), e.Close()); err != nil {
		return fmt.Errorf("write %s: %w", AcceptFileName, err)
	}
	before := 0
	if !bytes.Equal(data, []byte(acceptHead)) {
		old, err := parseAccepts(data)
		if err != nil {
			return err
		}
		before = len(old)
	}
	data = append(bytes.TrimRight(data, "\n"), '\n')
	for line := range strings.Lines(item.String()) {
		data = append(append(data, "  "...), line...)
	}
	after, err := parseAccepts(data)
	if err == nil && len(after) != before+1 {
		err = &Mistake{Key: AcceptFileName, Why: "its list must come last and be indented by two spaces, to be added to"}
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// PruneAccepts takes acceptances out of the file of the project in dir and
// returns how many it found. What else stands there, comments included, stays
// as it is, except the comments right above an acceptance that goes.
func PruneAccepts(dir string, drop []analysis.Lapsed) (int, error) {
	path := filepath.Join(dir, AcceptFileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, &Mistake{Key: AcceptFileName, Why: "cannot be read: " + errors.Unwrap(err).Error()}
	}
	list, err := parseAccepts(data)
	if err != nil {
		return 0, err
	}
	items, err := acceptItems(data)
	if err != nil || len(items) != len(list) {
		return 0, &Mistake{Key: AcceptFileName, Why: "its list is not written one acceptance below the other; prune it by hand"}
	}
	lines := strings.SplitAfter(string(data), "\n")
	pruned := 0
	for i := len(items) - 1; i >= 0; i-- {
		if !slices.ContainsFunc(drop, func(d analysis.Lapsed) bool { return d.Is(list[i]) }) {
			continue
		}
		end := len(lines)
		if i+1 < len(items) {
			end = items[i+1]
		}
		lines = slices.Delete(lines, items[i], end)
		pruned++
	}
	after := []byte(strings.Join(lines, ""))
	if rest, err := parseAccepts(after); err != nil || len(rest) != len(list)-pruned {
		return 0, &Mistake{Key: AcceptFileName, Why: "it cannot be pruned without changing what else stands there; prune it by hand"}
	}
	if pruned == 0 {
		return 0, nil
	}
	return pruned, os.WriteFile(path, after, 0o644)
}

// acceptItems returns the lines, counted from zero, at which the acceptances of
// a file begin, with the comments right above them.
func acceptItems(data []byte) ([]int, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil || len(root.Content) == 0 {
		return nil, err
	}
	lines := strings.Split(string(data), "\n")
	var items []int
	top := root.Content[0].Content
	for i := 0; i+1 < len(top); i += 2 {
		if top[i].Value != "accept" {
			continue
		}
		for _, item := range top[i+1].Content {
			at := item.Line - 1
			for at > 0 && strings.HasPrefix(strings.TrimSpace(lines[at-1]), "#") {
				at--
			}
			items = append(items, at)
		}
	}
	return items, nil
}
