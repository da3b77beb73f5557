package transform

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Filter picks exchanges. All fields that are given must hold; All, Any and Not
// combine filters. The zero Filter picks everything.
type Filter struct {
	All []Filter `yaml:"all" json:"all,omitempty"`
	Any []Filter `yaml:"any" json:"any,omitempty"`
	Not *Filter  `yaml:"not" json:"not,omitempty"`

	// Endpoint is a method and route template such as "GET /v1/orders/{id}".
	Endpoint string `yaml:"endpoint" json:"endpoint,omitempty"`
	// Method is one method; case does not matter.
	Method string `yaml:"method" json:"method,omitempty"`
	// Path is a path without query, in which * stands for anything within a
	// segment and a trailing /** for everything below.
	Path string `yaml:"path" json:"path,omitempty"`
	// Status is a recorded status such as 404, a class such as 5xx, a range such
	// as 400-499, or "none" for exchanges without an answer.
	Status string `yaml:"status" json:"status,omitempty"`
	// Header is a request header that must be there; Value, if given, a regular
	// expression that one of its values must match.
	Header string `yaml:"header" json:"header,omitempty"`
	// At addresses a value of the exchange, such as request.body.kind or
	// response.header.X-Cache; Value must match it, if given.
	At *traffic.Pattern `yaml:"at" json:"at,omitempty"`
	// Value is the regular expression for Header or At.
	Value string `yaml:"value" json:"value,omitempty"`
	// After and Before bound the recorded start: After is included, Before not.
	After  time.Time `yaml:"after" json:"after,omitzero"`
	Before time.Time `yaml:"before" json:"before,omitzero"`
	// Lane is one lane.
	Lane traffic.Lane `yaml:"lane" json:"lane,omitempty"`
}

// matcher reports whether an exchange is picked.
type matcher = func(*traffic.Exchange) bool

// filterError says where in a filter the mistake is.
type filterError struct {
	at  string // ".any[1].status"
	why string
}

func (e *filterError) Error() string { return e.at + ": " + e.why }

// compile checks the filter; the error starts with the address of the mistake
// below it.
func (f *Filter) compile(router *traffic.Router) (matcher, error) {
	c := filterCompiler{router: router}
	m := c.filter(f, "")
	if c.err != nil {
		return nil, c.err
	}
	return m, nil
}

type filterCompiler struct {
	router *traffic.Router
	err    error // the first mistake
}

func (c *filterCompiler) fail(at, format string, args ...any) {
	if c.err == nil {
		c.err = &filterError{at, fmt.Sprintf(format, args...)}
	}
}

func (c *filterCompiler) filter(f *Filter, at string) matcher {
	var all []matcher
	add := func(m matcher) { all = append(all, m) }
	for i := range f.All {
		add(c.filter(&f.All[i], fmt.Sprintf("%s.all[%d]", at, i)))
	}
	if len(f.Any) > 0 {
		var any []matcher
		for i := range f.Any {
			any = append(any, c.filter(&f.Any[i], fmt.Sprintf("%s.any[%d]", at, i)))
		}
		add(func(x *traffic.Exchange) bool {
			return slices.ContainsFunc(any, func(m matcher) bool { return m(x) })
		})
	}
	if f.Not != nil {
		not := c.filter(f.Not, at+".not")
		add(func(x *traffic.Exchange) bool { return !not(x) })
	}
	if f.Endpoint != "" {
		if method, template, ok := strings.Cut(f.Endpoint, " "); !ok || method == "" || !strings.HasPrefix(template, "/") {
			c.fail(at+".endpoint", `%q must be a method and a path, as in "GET /v1/orders/{id}"`, f.Endpoint)
		}
		add(func(x *traffic.Exchange) bool { return c.router.Endpoint(&x.Request) == f.Endpoint })
	}
	if f.Method != "" {
		add(func(x *traffic.Exchange) bool { return strings.EqualFold(x.Request.Method, f.Method) })
	}
	if f.Path != "" {
		add(c.path(f.Path, at+".path"))
	}
	if f.Status != "" {
		add(c.status(f.Status, at+".status"))
	}
	if f.Value != "" && (f.Header == "") == (f.At == nil) {
		c.fail(at+".value", "needs exactly one of header and at beside it")
	}
	value, err := regexp.Compile(f.Value)
	if err != nil {
		c.fail(at+".value", "%v", err)
	}
	if f.Header != "" {
		add(func(x *traffic.Exchange) bool {
			return slices.ContainsFunc(x.Request.Header.Values(f.Header), value.MatchString)
		})
	}
	if f.At != nil {
		add(func(x *traffic.Exchange) bool { return holds(x, *f.At, value) })
	}
	if !f.After.IsZero() && !f.Before.IsZero() && !f.After.Before(f.Before) {
		c.fail(at+".before", "%s is not later than after", f.Before.Format(time.RFC3339))
	}
	if !f.After.IsZero() {
		add(func(x *traffic.Exchange) bool { return !x.Start.Before(f.After) })
	}
	if !f.Before.IsZero() {
		add(func(x *traffic.Exchange) bool { return x.Start.Before(f.Before) })
	}
	if f.Lane != "" {
		add(func(x *traffic.Exchange) bool { return x.Lane == f.Lane || traffic.Lane(x.ID) == f.Lane })
	}
	return func(x *traffic.Exchange) bool {
		return !slices.ContainsFunc(all, func(m matcher) bool { return !m(x) })
	}
}

func (c *filterCompiler) path(pattern, at string) matcher {
	below, deep := strings.CutSuffix(pattern, "/**")
	if _, err := path.Match(below, ""); err != nil || !strings.HasPrefix(pattern, "/") {
		c.fail(at, "%q is not a path pattern, such as /v1/orders/* or /v1/**", pattern)
	}
	depth := strings.Count(below, "/")
	return func(x *traffic.Exchange) bool {
		p := x.Request.Path()
		if deep {
			segments := strings.SplitAfterN(p, "/", depth+2)
			if len(segments) > depth+1 {
				p = strings.TrimSuffix(strings.Join(segments[:depth+1], ""), "/")
			}
		}
		ok, _ := path.Match(below, p)
		return ok
	}
}

func (c *filterCompiler) status(text, at string) matcher {
	if text == "none" {
		return func(x *traffic.Exchange) bool { return x.Response == nil }
	}
	from, to, err := statusRange(text)
	if err != nil {
		c.fail(at, `%q must be a status such as 404, a class such as 5xx, a range such as 400-499, or none`, text)
	}
	return func(x *traffic.Exchange) bool {
		return x.Response != nil && x.Response.Status >= from && x.Response.Status <= to
	}
}

func statusRange(text string) (from, to int, err error) {
	if class, ok := strings.CutSuffix(strings.ToLower(text), "xx"); ok && len(class) == 1 && class >= "1" && class <= "5" {
		from = int(class[0]-'0') * 100
		return from, from + 99, nil
	}
	low, high, ranged := strings.Cut(text, "-")
	if from, err = strconv.Atoi(strings.TrimSpace(low)); err != nil {
		return 0, 0, err
	}
	if !ranged {
		return from, from, nil
	}
	if to, err = strconv.Atoi(strings.TrimSpace(high)); err == nil && to < from {
		err = fmt.Errorf("range %s is empty", text)
	}
	return from, to, err
}

// holds reports whether a value at the addressed place matches.
func holds(x *traffic.Exchange, at traffic.Pattern, value *regexp.Regexp) bool {
	found := false
	check := func(s spot) {
		found = found || at.Matches(s.path) && value.MatchString(s.value)
	}
	rewriteRequest(nil, &x.Request, func(s spot) (string, bool) { check(s); return "", false })
	answerSpots(nil, x, check)
	return found
}
