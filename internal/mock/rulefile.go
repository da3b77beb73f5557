package mock

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ruleFile is the format of a file of rules.
type ruleFile struct {
	Version int    `yaml:"version"`
	Rules   []Rule `yaml:"rules"`
}

// ReadRules reads a file of rules. name stands for it in errors, which say the
// line:
//
//	version: 1
//	rules:
//	  - name: feature flags
//	    match:
//	      method: [GET]
//	      host: flags.example
//	      path: /v1/flags/{name}
//	    answer:
//	      json: {name: "{{.path.name}}", on: true}
func ReadRules(name string, r io.Reader) ([]Rule, error) {
	d := yaml.NewDecoder(r)
	d.KnownFields(true)
	var file ruleFile
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s", name, plainYAML(err))
	}
	if file.Version != 1 {
		return nil, fmt.Errorf("%s: version: %d is not known; this reprise reads version 1", name, file.Version)
	}
	if _, err := compileRules(file.Rules); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return file.Rules, nil
}

// plainYAML puts the decoder's errors into one line for people.
func plainYAML(err error) string {
	var mistakes *yaml.TypeError
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if errors.As(err, &mistakes) {
		text = strings.Join(mistakes.Errors, "; ")
	}
	return strings.NewReplacer("not found in type mock.", "is not a key of ", "field ", "").Replace(text)
}

// WriteRules writes rules as [ReadRules] reads them.
func WriteRules(w io.Writer, rules []Rule) error {
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(ruleFile{1, rules}); err != nil {
		return fmt.Errorf("write mock rules: %w", err)
	}
	return e.Close()
}
