package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// entryParser reads one entry of a route file, line by line.
type entryParser struct {
	source blobSource
	lines  [][]byte
	next   int // index of the line to read
}

// parseExchange reads the entry text, which starts with its "### " line. The
// number of the failing line, from 0, comes back with an error.
func parseExchange(text []byte, direction traffic.Direction, source blobSource) (x *traffic.Exchange, at int, err error) {
	p := &entryParser{source: source, lines: bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))}
	x = &traffic.Exchange{Direction: direction}
	err = p.exchange(x)
	return x, max(p.next-1, 0), err
}

// peek returns the line to be read; ok is false at the end.
func (p *entryParser) peek() (string, bool) {
	if p.next >= len(p.lines) {
		return "", false
	}
	return string(p.lines[p.next]), true
}

// take returns what follows prefix on the next line, if it has that prefix.
func (p *entryParser) take(prefix string) (string, bool) {
	if p.next >= len(p.lines) {
		return "", false
	}
	rest, ok := bytes.CutPrefix(p.lines[p.next], []byte(prefix))
	if ok {
		p.next++
	}
	return string(rest), ok
}

func (p *entryParser) exchange(x *traffic.Exchange) error {
	first, ok := p.take(entryPrefix)
	if !ok {
		return errors.New("an exchange starts with ###, its id and its start")
	}
	var err error
	if x.ID, x.Start, err = parseEntryLine(first); err != nil {
		return err
	}
	if x.Direction == traffic.Inbound {
		x.Lane = traffic.Lane(x.ID)
	}
	for {
		l, ok := p.peek()
		p.next++
		if !ok {
			return errors.New("the request is missing")
		}
		if l == "" {
			break
		}
		key, value, ok := strings.Cut(l, ": ")
		if !ok {
			return errors.New("key: value expected")
		}
		if err := p.setField(x, key, value); err != nil {
			return err
		}
	}
	l, ok := p.take(requestPrefix + " ")
	if !ok {
		p.next++
		return errors.New("the request is missing: a line that starts with >")
	}
	if err := parseRequestLine(l, &x.Request); err != nil {
		return err
	}
	r := &x.Request
	if r.Header, r.Trailer, r.Body, err = p.message(requestPrefix); err != nil {
		return err
	}
	if err := p.response(x); err != nil {
		return err
	}
	if p.next < len(p.lines) {
		p.next++
		return errors.New("unexpected line after the end of the exchange")
	}
	return nil
}

func (p *entryParser) response(x *traffic.Exchange) error {
	if p.next == len(p.lines) {
		return nil
	}
	if l, _ := p.peek(); l != "" {
		return nil // reported by the caller as an unexpected line
	}
	p.next++
	l, ok := p.take(responsePrefix + " ")
	if !ok {
		p.next++
		return errors.New("a response starts with <, its status and protocol")
	}
	parts, err := tokens(l)
	if err != nil {
		return err
	}
	if len(parts) != 2 {
		return errors.New("a response starts with <, its status and protocol")
	}
	r := &traffic.Response{Proto: parts[1]}
	if r.Status, err = strconv.Atoi(parts[0]); err != nil {
		return fmt.Errorf("status %q is not a number", parts[0])
	}
	x.Response = r
	r.Header, r.Trailer, r.Body, err = p.message(responsePrefix)
	return err
}

// parseEntryLine reads what follows "### ".
func parseEntryLine(s string) (id string, start time.Time, err error) {
	id, when, ok := strings.Cut(s, " ")
	if !ok || !validID.MatchString(id) {
		return "", start, errors.New("an exchange starts with ###, its id and its start")
	}
	start, err = time.Parse(time.RFC3339Nano, when)
	if err != nil || start.Location() != time.UTC {
		return "", start, fmt.Errorf("start %q must be a time such as 2026-01-02T15:04:05Z", when)
	}
	return id, start, nil
}

func (p *entryParser) setField(x *traffic.Exchange, key, value string) error {
	switch key {
	case "match":
		m, err := parseMatch(value)
		x.Match = m
		return err
	case "near":
		return parseNear(value, x.Match)
	case "differs":
		return parseDiffers(value, x.Match)
	}
	text, err := parseLine(value)
	if err != nil {
		return err
	}
	switch key {
	case "lane":
		x.Lane = traffic.Lane(text)
	case "recorded":
		x.Recorded = text
	case "first-byte":
		x.FirstByte, err = parseSpan(text)
	case "duration":
		x.Duration, err = parseSpan(text)
	case "failure":
		x.Failure = traffic.Failure(text)
	case "incomplete":
		x.Incomplete = append(x.Incomplete, text)
	case "source":
		x.Origin.Source = text
	case "connection":
		x.Origin.Connection = text
	case "certainty":
		x.Origin.Certainty = traffic.Certainty(text)
	default:
		err = fmt.Errorf("unknown key %q", key)
	}
	return err
}

func parseSpan(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 12.5ms", s)
	}
	return d, nil
}

// message reads header lines, a body and trailer lines.
func (p *entryParser) message(mark string) (header, trailer traffic.Header, body traffic.Body, err error) {
	if header, err = p.fields(mark + " "); err != nil {
		return header, trailer, body, err
	}
	body = traffic.NewBody(nil, header)
	if l, ok := p.take("body: "); ok {
		directive, err := parseBodyLine(l)
		if err != nil {
			return header, trailer, body, err
		}
		start := p.next
		for p.next < len(p.lines) && bytes.HasPrefix(p.lines[p.next], []byte(bodyPrefix)) {
			p.next++
		}
		shown := make([][]byte, 0, p.next-start)
		for _, l := range p.lines[start:p.next] {
			shown = append(shown, l[len(bodyPrefix):])
		}
		if inline := directive.form != formEmpty && directive.form != formFile; inline != (len(shown) > 0) {
			return header, trailer, body, errors.New("the lines of a body must follow it, indented by two spaces")
		}
		if body, err = directive.body(bytes.Join(shown, []byte("\n")), header, p.source); err != nil {
			p.next = start
			return header, trailer, body, err
		}
	}
	trailer, err = p.fields(mark + trailerMark + " ")
	return header, trailer, body, err
}

func (p *entryParser) fields(prefix string) (traffic.Header, error) {
	var header traffic.Header
	for {
		l, ok := p.take(prefix)
		if !ok {
			return header, nil
		}
		f, err := parseField(l)
		if err != nil {
			return header, err
		}
		header = append(header, f)
	}
}
