package mock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"text/template"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Rule answers calls that were never recorded, or that a recording answers
// wrongly.
type Rule struct {
	// Name is for reports; the place of the rule in its file if empty.
	Name  string     `yaml:"name,omitempty"`
	Match RuleMatch  `yaml:"match"`
	Reply RuleAnswer `yaml:"answer"`
	// Override lets the rule win over recorded calls. Without it the rule is
	// asked only when nothing recorded answers.
	Override bool `yaml:"override,omitempty"`
}

// RuleMatch says which calls a rule answers. What is empty matches all.
type RuleMatch struct {
	Method []string `yaml:"method,omitempty,flow"`
	// Host is a dependency without port; * stands for any part of it.
	Host string `yaml:"host,omitempty"`
	// Path is a template: /v1/orders/{id}; a last segment {rest...} takes all
	// that follows.
	Path string `yaml:"path,omitempty"`
	// Query and Header hold a pattern a name; Body one an address, as in
	// reports: request.body.customer.id, or customer.id for short. A pattern
	// between slashes is a regular expression, any other is the whole value.
	Query  map[string]string `yaml:"query,omitempty"`
	Header map[string]string `yaml:"header,omitempty"`
	Body   map[string]string `yaml:"body,omitempty"`
	// ExactQuery asks that there are no other names in the query than those of
	// Query: none at all where that is empty.
	ExactQuery bool `yaml:"exact-query,omitempty"`
}

// RuleAnswer is what a rule answers. Body, and the values of Header, are
// templates of text/template over .path, .query, .header and .body (the
// request's JSON), with the function json.
type RuleAnswer struct {
	Status int                       `yaml:"status,omitempty"` // 200 if zero
	Header map[string]traffic.Values `yaml:"header,omitempty"`
	Body   string                    `yaml:"body,omitempty"`
	// JSON is a body given as YAML. Strings in it are templates.
	JSON any `yaml:"json,omitempty"`
	// Delay is how long the answer takes.
	Delay time.Duration `yaml:"delay,omitempty"`
}

// rule is a Rule made ready.
type rule struct {
	Rule
	segments []string
	query    map[string]pattern
	header   map[string]pattern
	body     map[string]pattern
	fields   map[string][]*template.Template
	content  *template.Template
	answers  atomic.Int64 // given so far
}

// pattern is a whole value or a regular expression.
type pattern struct {
	value string
	re    *regexp.Regexp
}

func newPattern(s string) (pattern, error) {
	if len(s) < 2 || s[0] != '/' || s[len(s)-1] != '/' {
		return pattern{value: s}, nil
	}
	re, err := regexp.Compile(s[1 : len(s)-1])
	return pattern{re: re}, err
}

func (p pattern) matches(s string) bool {
	if p.re != nil {
		return p.re.MatchString(s)
	}
	return p.value == s
}

// UnusedRules names the rules that have answered no call since the mock was
// made.
func (m *Mock) UnusedRules() []string {
	var unused []string
	for _, r := range m.rules {
		if r.answers.Load() == 0 {
			unused = append(unused, r.Name)
		}
	}
	return unused
}

// compileRules makes rules ready. An error names the rule and the key.
func compileRules(rules []Rule) ([]*rule, error) {
	ready := make([]*rule, len(rules))
	for i, r := range rules {
		if r.Name == "" {
			r.Name = "rule " + strconv.Itoa(i+1)
		}
		c, err := compileRule(r)
		if err != nil {
			return nil, fmt.Errorf("mock rule %q: %w", r.Name, err)
		}
		ready[i] = c
	}
	return ready, nil
}

func compileRule(r Rule) (*rule, error) {
	c := &rule{Rule: r, fields: map[string][]*template.Template{}}
	if r.Match.Path != "" {
		if r.Match.Path[0] != '/' {
			return nil, fmt.Errorf("match.path %q must start with /", r.Match.Path)
		}
		c.segments = strings.Split(r.Match.Path[1:], "/")
	}
	if _, err := path.Match(r.Match.Host, ""); err != nil {
		return nil, fmt.Errorf("match.host %q cannot be read: %w", r.Match.Host, err)
	}
	if s := r.Reply.Status; s != 0 && (s < 200 || s > 599) {
		return nil, fmt.Errorf("answer.status %d must be between 200 and 599", s)
	}
	if r.Reply.JSON != nil && r.Reply.Body != "" {
		return nil, fmt.Errorf("answer has both body and json; keep one")
	}
	for _, set := range []struct {
		key  string
		from map[string]string
		to   *map[string]pattern
	}{{"query", r.Match.Query, &c.query}, {"header", r.Match.Header, &c.header}, {"body", r.Match.Body, &c.body}} {
		*set.to = map[string]pattern{}
		for name, s := range set.from {
			p, err := newPattern(s)
			if err != nil {
				return nil, fmt.Errorf("match.%s.%s: %w", set.key, name, err)
			}
			if set.key == "body" {
				address, err := traffic.ParsePath(strings.TrimPrefix(name, "request.body."))
				if err != nil {
					return nil, fmt.Errorf("match.body.%s: %w", name, err)
				}
				name = address.String()
			}
			(*set.to)[name] = p
		}
	}
	return c, c.templates()
}

func (c *rule) templates() error {
	parse := func(key, s string) (*template.Template, error) {
		t, err := template.New(key).Option("missingkey=zero").Funcs(template.FuncMap{"json": toJSON}).Parse(s)
		if err != nil {
			return nil, fmt.Errorf("answer.%s: %w", key, err)
		}
		return t, nil
	}
	for name, values := range c.Reply.Header {
		for _, value := range values {
			t, err := parse("header."+name, value)
			if err != nil {
				return err
			}
			c.fields[name] = append(c.fields[name], t)
		}
	}
	body := c.Reply.Body
	if c.Reply.JSON != nil {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // {{"a"}} and the like must stay what they are
		if err := e.Encode(c.Reply.JSON); err != nil {
			return fmt.Errorf("answer.json: %w", err)
		}
		body = b.String()
	}
	var err error
	c.content, err = parse("body", body)
	return err
}

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// matches reports whether the rule answers a call, and what its path template
// captured.
func (c *rule) matches(call *call) (captured map[string]string, ok bool) {
	req := call.req
	if len(c.Match.Method) > 0 && !slices.ContainsFunc(c.Match.Method, func(m string) bool { return strings.EqualFold(m, req.Method) }) {
		return nil, false
	}
	if c.Match.Host != "" {
		host, _ := traffic.SplitAuthority(call.dep)
		if ok, _ := path.Match(strings.ToLower(c.Match.Host), host); !ok && !strings.EqualFold(c.Match.Host, req.Host()) {
			return nil, false
		}
	}
	if captured, ok = c.path(req.Path()); !ok {
		return nil, false
	}
	query := req.Query()
	for name := range query {
		if _, asked := c.query[name]; c.Match.ExactQuery && !asked {
			return nil, false
		}
	}
	for name, p := range c.query {
		if !slices.ContainsFunc(query[name], p.matches) {
			return nil, false
		}
	}
	for name, p := range c.header {
		if !slices.ContainsFunc(req.Header.Values(name), p.matches) {
			return nil, false
		}
	}
	return captured, len(c.body) == 0 || c.matchesBody(call.form)
}

func (c *rule) path(p string) (captured map[string]string, ok bool) {
	captured = map[string]string{}
	if c.segments == nil {
		return captured, true
	}
	segments := strings.Split(strings.TrimPrefix(p, "/"), "/")
	for i, want := range c.segments {
		name, isName := strings.CutPrefix(want, "{")
		name = strings.TrimSuffix(name, "}")
		if rest, takesRest := strings.CutSuffix(name, "..."); isName && takesRest && i < len(segments) {
			captured[rest] = strings.Join(segments[i:], "/")
			return captured, true
		}
		if i >= len(segments) || !isName && want != segments[i] {
			return nil, false
		}
		if isName {
			captured[name] = unescape(segments[i])
		}
	}
	return captured, len(segments) == len(c.segments)
}

func (c *rule) matchesBody(f form) bool {
	found := 0
	done := map[string]bool{}
	check := func(path traffic.Path, value string) {
		address, ok := strings.CutPrefix(path.String(), "request.body.")
		if !ok {
			return
		}
		if p, ok := c.body[address]; ok && !done[address] && p.matches(value) {
			done[address] = true
			found++
		}
	}
	for _, l := range leavesOf(f) {
		check(l.path, l.value)
	}
	eachSource(f, check)
	return found == len(c.body)
}

// answer makes the answer to a call.
func (c *rule) answer(req *traffic.Request, captured map[string]string) (*traffic.Response, error) {
	data := map[string]any{"path": captured, "method": req.Method, "host": req.Host()}
	query, header := map[string]string{}, map[string]string{}
	for name, values := range req.Query() {
		query[name] = values[0]
	}
	for _, name := range req.Header.Names() {
		header[name] = req.Header.Get(name)
	}
	data["query"], data["header"] = query, header
	if plain, err := req.Body.Decoded(); err == nil && len(plain) > 0 {
		var body any
		d := json.NewDecoder(bytes.NewReader(plain))
		d.UseNumber()
		if d.Decode(&body) == nil {
			data["body"] = body
		} else {
			data["body"] = string(plain)
		}
	}
	var out bytes.Buffer
	if err := c.content.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("mock rule %q: %w", c.Name, err)
	}
	status := c.Reply.Status
	if status == 0 {
		status = 200
	}
	response := &traffic.Response{Status: status, Proto: "HTTP/1.1"}
	for name, values := range c.fields {
		for _, t := range values {
			var value strings.Builder
			if err := t.Execute(&value, data); err != nil {
				return nil, fmt.Errorf("mock rule %q: %w", c.Name, err)
			}
			response.Header.Add(name, value.String())
		}
	}
	slices.SortStableFunc(response.Header, func(a, b traffic.Field) int { return strings.Compare(a.Name, b.Name) })
	if c.Reply.JSON != nil && !response.Header.Has("Content-Type") {
		response.Header.Add("Content-Type", "application/json")
	}
	response.Header.Set("Content-Length", strconv.Itoa(out.Len()))
	response.Body = traffic.NewBody(out.Bytes(), response.Header)
	return response, nil
}
