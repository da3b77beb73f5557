// Package mutation breaks the example in many small ways, lets the whole of
// reprise judge each, and tells what was found.
//
// The faults and the harmless rewrites lie in files beside the code. They were
// written down from the example and the documents before the judge was looked
// at, and are not to be changed to suit it: only where the example changes
// under them.
package mutation

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed faults harmless setups
var files embed.FS

// Mutation is one change of the example's source.
type Mutation struct {
	Name  string
	About string // what it does, for people
	Class string // the kind of fault, in the words of the list it came from
	// Setup names a change that base has as well, where the example alone has
	// nothing to be broken; "" for none.
	Setup string
	// Expect are the findings that must be there, none for a harmless rewrite.
	// Also are findings that may be there beside them.
	Expect, Also []Expectation
	Edits        []Edit
}

// Edit replaces the only occurrence of Old in a file.
type Edit struct {
	File     string // below the example's directory
	Old, New string
}

// Faults returns the seeded faults by name.
func Faults() ([]Mutation, error) { return readAll("faults") }

// Harmless returns the rewrites that change nothing that matters, by name.
func Harmless() ([]Mutation, error) { return readAll("harmless") }

// Setups returns what a base may need before it can be broken, by name.
func Setups() ([]Mutation, error) { return readAll("setups") }

func readAll(dir string) ([]Mutation, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	var list []Mutation
	for _, e := range entries {
		data, err := fs.ReadFile(files, path.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		m, err := parse(string(data))
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", dir, e.Name(), err)
		}
		m.Name = strings.TrimSuffix(e.Name(), ".txt")
		if dir == "faults" && (len(m.Expect) == 0 || m.Class == "") {
			return nil, fmt.Errorf("%s/%s: a fault says its class and what must be found", dir, e.Name())
		}
		list = append(list, m)
	}
	return list, nil
}

// parse reads a mutation: lines of comment, some of which have a key, then
// edits. An edit begins with "@@ FILE"; its lines are those of a diff without
// line numbers.
func parse(text string) (Mutation, error) {
	var m Mutation
	var about []string
	var edits []*edit
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		comment, isComment := strings.CutPrefix(line, "# ")
		file, begins := strings.CutPrefix(line, "@@ ")
		switch {
		case begins:
			edits = append(edits, &edit{file: file})
		case len(edits) > 0:
			if err := edits[len(edits)-1].add(line); err != nil {
				return m, fmt.Errorf("line %d: %w", n+1, err)
			}
		case isComment:
			known, err := m.set(comment)
			if err != nil {
				return m, fmt.Errorf("line %d: %w", n+1, err)
			}
			if !known {
				about = append(about, comment)
			}
		case line != "":
			return m, fmt.Errorf("line %d: %q is neither a comment nor part of an edit", n+1, line)
		}
	}
	m.About = strings.Join(about, " ")
	for _, e := range edits {
		m.Edits = append(m.Edits, Edit{e.file, strings.Join(e.old, "\n"), strings.Join(e.new, "\n")})
	}
	if len(m.Edits) == 0 {
		return m, fmt.Errorf("it changes nothing")
	}
	return m, nil
}

// set takes a line of comment that has a key.
func (m *Mutation) set(line string) (known bool, err error) {
	key, value, _ := strings.Cut(line, ": ")
	switch key {
	case "class":
		m.Class = value
	case "setup":
		m.Setup = value
	case "expect", "also":
		e, err := ParseExpectation(value)
		if err != nil {
			return true, err
		}
		if key == "expect" {
			m.Expect = append(m.Expect, e)
		} else {
			m.Also = append(m.Also, e)
		}
	default:
		return false, nil
	}
	return true, nil
}

type edit struct {
	file     string
	old, new []string
}

func (e *edit) add(line string) error {
	if line == "" {
		return nil
	}
	switch text := line[1:]; line[0] {
	case '-':
		e.old = append(e.old, text)
	case '+':
		e.new = append(e.new, text)
	case ' ':
		e.old, e.new = append(e.old, text), append(e.new, text)
	default:
		return fmt.Errorf("%q begins with neither -, + nor a space", line)
	}
	return nil
}

// Apply changes the example in dir. Nothing is written unless all edits fit.
func (m Mutation) Apply(dir string) error {
	changed, err := m.edit(func(file string) (string, error) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file)))
		return string(data), err
	})
	if err != nil {
		return err
	}
	for file, text := range changed {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(file)), []byte(text), 0o644); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

// edit returns the files that change, as they read afterwards.
func (m Mutation) edit(read func(file string) (string, error)) (map[string]string, error) {
	changed := make(map[string]string)
	for _, e := range m.Edits {
		text, known := changed[e.File]
		if !known {
			var err error
			if text, err = read(e.File); err != nil {
				return nil, fmt.Errorf("%s: %w", m.Name, err)
			}
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return nil, fmt.Errorf("%s: %s has %d places that read %q, not one", m.Name, e.File, n, e.Old)
		}
		changed[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	return changed, nil
}
