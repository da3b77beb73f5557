package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Mistake is one thing wrong with a configuration: where, what, and how to
// mend it.
type Mistake struct {
	File string // empty for flags and inputs
	Line int    // 0 when no line is to blame
	Key  string
	Why  string
}

// Error writes the mistake on one line.
func (m *Mistake) Error() string {
	where := m.Key
	if m.File != "" {
		where = m.File
		if m.Line > 0 {
			where += fmt.Sprintf(":%d", m.Line)
		}
		if m.Key != "" {
			where += ": " + m.Key
		}
	}
	return where + ": " + m.Why
}

// Load reads a file over the defaults. It returns all mistakes joined, each a
// *Mistake. A file that does not exist is an error that wraps
// [os.ErrNotExist].
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse is Load of data that was already read; name stands for the file in
// mistakes.
func Parse(name string, data []byte) (*Config, error) {
	c := Default()
	c.file, c.lines = name, map[string]int{}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, &Mistake{File: name, Why: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	if len(doc.Content) == 0 {
		return c, nil // an empty file
	}
	root := doc.Content[0]
	if err := errors.Join(unknown(name, root, reflect.TypeOf(*c), "")...); err != nil {
		return nil, err
	}
	locate(root, "", c.lines)
	if err := root.Decode(c); err != nil {
		return nil, decodeMistakes(name, err)
	}
	return c, nil
}

// locate records the line of every key below node.
func locate(node *yaml.Node, prefix string, lines map[string]int) {
	if node.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		path := prefix + node.Content[i].Value
		lines[path] = node.Content[i].Line
		locate(node.Content[i+1], path+".", lines)
	}
}

// decodeMistakes turns the decoder's errors into ours.
func decodeMistakes(name string, err error) error {
	var typeErr *yaml.TypeError
	if !errors.As(err, &typeErr) {
		return &Mistake{File: name, Why: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	var mistakes []error
	for _, text := range typeErr.Errors {
		m := &Mistake{File: name, Why: text}
		if n, _ := fmt.Sscanf(text, "line %d:", &m.Line); n == 1 {
			_, m.Why, _ = strings.Cut(text, ": ")
		}
		m.Why = strings.ReplaceAll(m.Why, "config.", "")
		mistakes = append(mistakes, m)
	}
	return errors.Join(mistakes...)
}

// unknown reports the keys of node that t has no field for.
func unknown(file string, node *yaml.Node, t reflect.Type, prefix string) []error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice && node.Kind == yaml.SequenceNode:
		var mistakes []error
		for i, item := range node.Content {
			mistakes = append(mistakes, unknown(file, item, t.Elem(), fmt.Sprintf("%s[%d].", strings.TrimSuffix(prefix, "."), i))...)
		}
		return mistakes
	case t.Kind() != reflect.Struct || node.Kind != yaml.MappingNode:
		return nil // the decoder says what is wrong with the type
	}
	fields := map[string]reflect.Type{}
	fieldsOf(t, fields)
	if len(fields) == 0 {
		return nil // a type that reads itself
	}
	var mistakes []error
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if ft, ok := fields[key.Value]; ok {
			mistakes = append(mistakes, unknown(file, node.Content[i+1], ft, prefix+key.Value+".")...)
			continue
		}
		mistakes = append(mistakes, &Mistake{
			File: file, Line: key.Line, Key: prefix + key.Value, Why: "unknown key; " + suggest(key.Value, prefix, fields),
		})
	}
	return mistakes
}

// fieldsOf collects the keys of a structure, those of inlined ones included.
func fieldsOf(t reflect.Type, fields map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		switch key, options, _ := strings.Cut(f.Tag.Get("yaml"), ","); {
		case options == "inline":
			fieldsOf(f.Type, fields)
		case key != "" && key != "-":
			fields[key] = f.Type
		}
	}
}

// suggest names the known key that is nearest to the unknown one.
func suggest(key, prefix string, fields map[string]reflect.Type) string {
	best, distance := "", len(key)
	for candidate := range fields {
		if d := editDistance(key, candidate); d < distance || d == distance && candidate < best {
			best, distance = candidate, d
		}
	}
	if best == "" || distance > (len(key)+2)/2 {
		return "docs/configuration.md lists the keys"
	}
	return fmt.Sprintf("did you mean %s%s?", prefix, best)
}

// editDistance is the Levenshtein distance of two short words.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
