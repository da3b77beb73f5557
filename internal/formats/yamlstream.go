package formats

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// lines reads a text file line by line; a line longer than the bound of a
// record comes back cut.
type lines struct {
	s      *source
	number int
	over   bool // the last line was cut
}

// next returns a line with its end, or io.EOF.
func (l *lines) next() ([]byte, error) {
	var line []byte
	l.over = false
	for {
		part, err := l.s.r.ReadSlice('\n')
		if int64(len(line)) <= l.s.opts.MaxRecord {
			line = append(line, part...)
		} else {
			l.over = true
		}
		if err == nil || err == io.EOF && len(line) > 0 {
			l.number++
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// yamlDocuments calls read with every document of a YAML stream, one at a
// time, and the line where it starts. Documents above the bound are reported.
func yamlDocuments(s *source, read func(at place, text []byte) error) error {
	l := &lines{s: s}
	var text []byte
	at := place{line: 1}
	over := false
	flush := func() error {
		doc := text
		text = nil
		switch {
		case over:
			over = false
			return s.unreadable(at, "the record is over %d bytes", s.opts.MaxRecord)
		case len(bytes.TrimSpace(doc)) == 0:
			return nil
		}
		return read(at, doc)
	}
	for {
		line, err := l.next()
		if err == io.EOF {
			return flush()
		}
		if err != nil {
			return s.rest(place{line: l.number}, err)
		}
		if isDocumentMark(line) {
			if err := flush(); err != nil {
				return err
			}
			at = place{line: l.number + 1}
			continue
		}
		if over = over || int64(len(text)+len(line)) > s.opts.MaxRecord; !over {
			text = append(text, line...)
		}
	}
}

func isDocumentMark(line []byte) bool {
	line = bytes.TrimRight(line, " \r\n")
	return string(line) == "---" || bytes.HasPrefix(line, []byte("--- ")) || string(line) == "..."
}

// yamlItems calls read with every item of the list under a key at the start of
// a line, one at a time.
func yamlItems(s *source, key string, read func(at place, text []byte) error) error {
	l := &lines{s: s}
	var text []byte
	var at place
	indent := -1 // of the list, once its first item is there
	inList, over := false, false
	flush := func() error {
		item := text
		text = nil
		switch {
		case over:
			over = false
			return s.unreadable(at, "the record is over %d bytes", s.opts.MaxRecord)
		case len(item) == 0:
			return nil
		}
		return read(at, item)
	}
	for {
		line, err := l.next()
		if err == io.EOF {
			return flush()
		}
		if err != nil {
			return s.rest(place{line: l.number}, err)
		}
		trimmed := bytes.TrimLeft(line, " ")
		depth := len(line) - len(trimmed)
		blank := len(bytes.TrimSpace(trimmed)) == 0
		switch {
		case !inList:
			inList = bytes.HasPrefix(line, []byte(key+":"))
			continue
		case blank:
		case bytes.HasPrefix(trimmed, []byte("-")) && !isDocumentMark(line) && (indent < 0 || depth == indent):
			if err := flush(); err != nil {
				return err
			}
			indent, at = depth, place{line: l.number}
		case depth == 0: // another key
			if err := flush(); err != nil {
				return err
			}
			inList, indent = false, -1
			continue
		}
		if over = over || int64(len(text)+len(line)) > s.opts.MaxRecord; !over && indent >= 0 {
			text = append(text, line...)
		}
	}
}

// decodeYAML reads one document and turns the errors of the library, which
// hold parts of the text, into a phrase without values.
func decodeYAML(text []byte, v any) error {
	err := yaml.Unmarshal(text, v)
	var wrong *yaml.TypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return fmt.Errorf("%d values are not of the right type", len(wrong.Errors))
	}
	return errors.New("not YAML")
}
