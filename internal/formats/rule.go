package formats

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Rule answers a call of the service, as mock rules in reprise.yaml do: written
// as YAML it is one.
type Rule struct {
	Name   string     `yaml:"name,omitempty"`
	Match  RuleMatch  `yaml:"match"`
	Answer RuleAnswer `yaml:"answer"`
}

// RuleMatch says which calls a rule answers; what is empty matches all. A
// pattern between slashes is a regular expression, any other a whole value.
type RuleMatch struct {
	Method []string          `yaml:"method,omitempty,flow"`
	Host   string            `yaml:"host,omitempty"` // * stands for any part
	Path   string            `yaml:"path,omitempty"` // a template: /v1/orders/{id}, /files/{rest...}
	Query  map[string]string `yaml:"query,omitempty"`
	Header map[string]string `yaml:"header,omitempty"`
	Body   map[string]string `yaml:"body,omitempty"` // by address within the JSON
	// ExactQuery asks that the query has no other names than Query.
	ExactQuery bool `yaml:"exact-query,omitempty"`
}

// RuleAnswer is what a rule answers. Header values and Body are templates;
// braces of the source are escaped in them.
type RuleAnswer struct {
	Status int                       `yaml:"status,omitempty"`
	Header map[string]traffic.Values `yaml:"header,omitempty"`
	Body   string                    `yaml:"body,omitempty"`
	Delay  time.Duration             `yaml:"delay,omitempty"`
}

// ReadRules imports mock rules of WireMock, Hoverfly and mountebank from files,
// folders or patterns, in the order in which they are to be asked. A stub with
// a condition that a rule cannot hold is left out and reported, since a rule
// without it would answer too much; what only the answer loses is noted.
// Imported in the counts are rules.
func ReadRules(ctx context.Context, paths []string, opts Options) ([]Rule, Counts, error) {
	if err := opts.Validate(); err != nil {
		return nil, Counts{}, fmt.Errorf("import rules: %w", err)
	}
	opts.MaxRecord = cmp.Or(opts.MaxRecord, DefaultMaxRecord)
	files, err := expand(paths)
	if err != nil {
		return nil, Counts{}, fmt.Errorf("import rules: %w", err)
	}
	im := &importer{opts: opts}
	var rules []ranked
	for _, file := range files {
		found, err := im.ruleFile(ctx, file, len(paths) == len(files))
		if err != nil {
			return nil, im.counts, fmt.Errorf("import rules: %w", err)
		}
		rules = append(rules, found...)
	}
	if im.counts.Files == 0 {
		return nil, im.counts, fmt.Errorf("import rules: none of the %d files holds rules of a known format", len(files))
	}
	slices.SortStableFunc(rules, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.newest, b.newest))
	})
	out := make([]Rule, len(rules))
	for i, r := range rules {
		out[i] = r.Rule
	}
	return out, im.counts, nil
}

// ranked is a rule with the priority that the source gives it, and its age
// among those of the same priority. Lower is first.
type ranked struct {
	Rule
	rank, newest int
}

func (im *importer) ruleFile(ctx context.Context, path string, named bool) (rules []ranked, err error) {
	s, format, closeFile, err := im.openSource(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeFile()) }()
	read := map[Format]func(*source, func(ranked) error) error{WireMock: readWireMock, Hoverfly: readHoverfly, Mountebank: readMountebank}[format]
	if read == nil {
		if named {
			return nil, fmt.Errorf("%s: no rules of a known format", path)
		}
		return nil, nil
	}
	im.counts.Files++
	err = read(s, func(r ranked) error {
		im.counts.Found++
		im.counts.Imported++
		rules = append(rules, r)
		return ctx.Err()
	})
	return rules, err
}

// errCondition is a condition that a rule cannot hold.
type errCondition string

func (e errCondition) Error() string { return "the condition " + string(e) + " has no place in a rule" }

// whole makes a pattern of a value, so that one between slashes is not taken
// for a regular expression.
func whole(value string) string {
	if len(value) >= 2 && value[0] == '/' && value[len(value)-1] == '/' {
		return matching("^" + regexp.QuoteMeta(value) + "$")
	}
	return value
}

func matching(expression string) string { return "/" + expression + "/" }

// expression checks a regular expression of another dialect and anchors it.
func expression(re string) (string, error) {
	re = "^(?:" + re + ")$"
	if _, err := regexp.Compile(re); err != nil {
		return "", errCondition("of a regular expression that Go cannot read")
	}
	return matching(re), nil
}

// globExpression makes a regular expression of a glob in which * stands for
// anything.
func globExpression(glob string) string {
	parts := strings.Split(glob, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return matching("^" + strings.Join(parts, ".*") + "$")
}

// pathTemplate makes a template of a regular expression over a path, segment by
// segment: what is plain stays, what is not becomes a place that takes any
// segment. changed says that there is such a place.
func pathTemplate(re string) (template string, changed bool, err error) {
	re = strings.TrimSuffix(strings.TrimPrefix(re, "^"), "$")
	// The slash within a class would cut it in two.
	segments := strings.Split(strings.ReplaceAll(strings.ReplaceAll(re, `\/`, "/"), "[^/]", `[^x]`), "/")
	if segments[0] != "" || len(segments) == 1 {
		return "", false, errCondition("on a path that is no list of segments")
	}
	for i, segment := range segments {
		plain := strings.NewReplacer(`\.`, "\x00", `\-`, "-").Replace(segment)
		if !strings.ContainsAny(plain, `.\[](){}+*?|^$`) {
			segments[i] = strings.ReplaceAll(plain, "\x00", ".")
			continue
		}
		changed = true
		if _, err := regexp.Compile(segment); err != nil || strings.Contains(segment, "|") && !strings.Contains(segment, "(") {
			return "", false, errCondition("on a path that is no list of segments")
		}
		segments[i] = fmt.Sprintf("{p%d}", i)
		if i == len(segments)-1 && strings.HasPrefix(segment, ".") {
			segments[i] = "{rest...}"
		}
	}
	return strings.Join(segments, "/"), changed, nil
}

// jsonConditions lists the leaves of a JSON value as conditions by address.
func jsonConditions(text []byte) (map[string]string, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, errCondition("of a JSON body that cannot be read")
	}
	out := map[string]string{}
	var walk func(at traffic.Path, v any) error
	walk = func(at traffic.Path, v any) error {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				if err := walk(at.Child(name), member); err != nil {
					return err
				}
			}
		case []any:
			for i, member := range v {
				if err := walk(at.Elem(i), member); err != nil {
					return err
				}
			}
		default:
			if at.Len() == 0 {
				return errCondition("of a body that is one value")
			}
			out[at.String()] = whole(jsonText(v))
		}
		if len(out) > 1000 {
			return errCondition("of a body with over 1000 values")
		}
		return nil
	}
	return out, walk(traffic.Path{}, v)
}

func jsonText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// literal escapes what a template would take for an action.
func literal(s string) string { return strings.ReplaceAll(s, "{{", `{{"{{"}}`) }

// setBody puts a body into an answer, if it is text once its content coding is
// undone. Some tools undo it and leave the field that names it.
func (a *RuleAnswer) setBody(body []byte, coding string) error {
	if coding != "" && !utf8.Valid(body) {
		plain, err := traffic.Body{Raw: body, Coding: strings.ToLower(coding)}.Decoded()
		if err != nil {
			return errors.New("the content coding of the body cannot be undone")
		}
		body = plain
	}
	if !utf8.Valid(body) {
		return errors.New("a binary body has no place in a rule")
	}
	a.Body = literal(string(body))
	return nil
}

// addHeader adds a field; length and coding of the source's wire are left out.
func (a *RuleAnswer) addHeader(name string, values ...string) {
	switch strings.ToLower(name) {
	case "content-length", "transfer-encoding", "connection", "content-encoding":
		return
	}
	if a.Header == nil {
		a.Header = map[string]traffic.Values{}
	}
	for _, value := range values {
		a.Header[name] = append(a.Header[name], literal(value))
	}
}

// readAll reads a file that holds one JSON value.
func (s *source) readAll() ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(s.r, s.opts.MaxRecord+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > s.opts.MaxRecord {
		return nil, fmt.Errorf("the file is over %d bytes", s.opts.MaxRecord)
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), nil
}

// strictText reads a JSON value that may be a string or a number.
func strictText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(bytes.TrimSpace(raw))
}
