package formats

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// jsonPathAddress turns "$.a.b[0]" into an address, if it is no more than one.
func jsonPathAddress(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "$.")
	if !ok {
		return "", false
	}
	address, err := traffic.ParsePath(strings.ReplaceAll(strings.ReplaceAll(rest, "['", `["`), "']", `"]`))
	return address.String(), err == nil
}

type hoverflyMatcher struct {
	Matcher string          `json:"matcher"`
	Value   json.RawMessage `json:"value"`
	Then    json.RawMessage `json:"doMatch"`
}

type hoverflyPair struct {
	Request struct {
		Path        []hoverflyMatcher            `json:"path"`
		Method      []hoverflyMatcher            `json:"method"`
		Destination []hoverflyMatcher            `json:"destination"`
		Body        []hoverflyMatcher            `json:"body"`
		Headers     map[string][]hoverflyMatcher `json:"headers"`
		Query       map[string][]hoverflyMatcher `json:"query"`
		State       map[string]string            `json:"requiresState"`
	} `json:"request"`
	Response struct {
		Status    int                 `json:"status"`
		Body      string              `json:"body"`
		BodyFile  string              `json:"bodyFile"`
		Encoded   bool                `json:"encodedBody"`
		Headers   map[string][]string `json:"headers"`
		Templated bool                `json:"templated"`
		Delay     float64             `json:"fixedDelay"`
		LogNormal json.RawMessage     `json:"logNormalDelay"`
	} `json:"response"`
}

// readHoverfly reads simulations of version 5.
func readHoverfly(s *source, emit func(ranked) error) error {
	data, err := s.readAll()
	if err != nil {
		return s.rest(place{}, err)
	}
	var file struct {
		Data struct {
			Pairs []json.RawMessage `json:"pairs"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return s.unreadable(place{}, "not a simulation")
	}
	for i, raw := range file.Data.Pairs {
		at := place{line: i + 1} // the number of the pair
		var pair hoverflyPair
		var rule ranked
		err := json.Unmarshal(raw, &pair)
		if err != nil {
			err = errors.New("a value is not of the right type; simulations older than version 5 are not read")
		} else {
			rule, err = pair.rule(s, at)
		}
		if err == nil {
			err = emit(rule)
		} else {
			err = s.unreadable(at, "%v", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *hoverflyPair) rule(s *source, at place) (rule ranked, err error) {
	q, m := &p.Request, &rule.Match
	for name, state := range q.State {
		if !strings.HasPrefix(name, "sequence:") || state != "1" {
			return rule, errors.New("a rule has no state; only the first answer of a sequence is imported")
		}
	}
	var method string
	if method, err = hoverflyValue(q.Method, "method"); err != nil {
		return rule, err
	}
	if method != "" {
		m.Method = []string{method}
	}
	if len(q.Destination) > 0 {
		if d := q.Destination[0]; len(q.Destination) > 1 || d.Matcher != "exact" && d.Matcher != "glob" {
			return rule, errCondition("on destination")
		}
		m.Host, _ = traffic.SplitAuthority(strictText(q.Destination[0].Value))
	}
	if err = p.matchPath(s, at, m); err != nil {
		return rule, err
	}
	for _, part := range []struct {
		from map[string][]hoverflyMatcher
		to   *map[string]string
	}{{q.Query, &m.Query}, {q.Headers, &m.Header}} {
		for name, matchers := range part.from {
			if len(matchers) == 0 {
				continue
			}
			if *part.to == nil {
				*part.to = map[string]string{}
			}
			if (*part.to)[name], err = hoverflyPattern(matchers); err != nil {
				return rule, err
			}
		}
	}
	for _, b := range q.Body {
		if b.Matcher != "json" && b.Matcher != "jsonPartial" || len(b.Then) > 0 && string(b.Then) != "null" {
			return rule, errCondition(b.Matcher + " on the body")
		}
		if m.Body, err = jsonConditions([]byte(strictText(b.Value))); err != nil {
			return rule, err
		}
	}
	return rule, p.answer(s, at, &rule.Answer)
}

func (p *hoverflyPair) answer(s *source, at place, a *RuleAnswer) error {
	r := &p.Response
	a.Status = r.Status
	for name, values := range r.Headers {
		a.addHeader(name, values...)
	}
	body := []byte(r.Body)
	var err error
	switch {
	case r.BodyFile != "":
		if body, err = beside(s.folder, r.BodyFile, s.opts.MaxRecord); err != nil {
			return errors.New("the file of bodyFile cannot be read")
		}
	case r.Encoded:
		if body, err = base64.StdEncoding.DecodeString(r.Body); err != nil {
			return errors.New("the body is not base64")
		}
	}
	if err := a.setBody(body); err != nil {
		return err
	}
	if r.Delay > 0 && r.Delay < 1e9 {
		a.Delay = time.Duration(r.Delay * float64(time.Millisecond))
	}
	if r.Templated {
		return s.note(at, "templates have no place in a rule; the body is answered as it stands")
	}
	if len(r.LogNormal) > 0 && string(r.LogNormal) != "null" {
		return s.note(at, "only a fixed delay has a place in a rule")
	}
	return nil
}

func (p *hoverflyPair) matchPath(s *source, at place, m *RuleMatch) error {
	if len(p.Request.Path) == 0 {
		return nil
	}
	if len(p.Request.Path) > 1 {
		return errCondition("of several matchers on path")
	}
	value := strictText(p.Request.Path[0].Value)
	var changed bool
	var err error
	switch p.Request.Path[0].Matcher {
	case "exact":
		m.Path = value
	case "glob":
		m.Path, changed, err = pathTemplate(strings.NewReplacer(".", `\.`, "*", ".*").Replace(value))
	case "regex":
		m.Path, changed, err = pathTemplate(value)
	default:
		return errCondition(p.Request.Path[0].Matcher + " on path")
	}
	if err == nil && changed {
		err = s.note(at, "the path pattern became the template %s", m.Path)
	}
	return err
}

func hoverflyValue(matchers []hoverflyMatcher, what string) (string, error) {
	switch {
	case len(matchers) == 0:
		return "", nil
	case len(matchers) > 1 || matchers[0].Matcher != "exact":
		if len(matchers) == 1 && matchers[0].Matcher == "glob" && strictText(matchers[0].Value) == "*" {
			return "", nil
		}
		return "", errCondition("on " + what)
	}
	return strictText(matchers[0].Value), nil
}

func hoverflyPattern(matchers []hoverflyMatcher) (string, error) {
	if len(matchers) > 1 {
		return "", errCondition("of several matchers")
	}
	value := strictText(matchers[0].Value)
	switch matchers[0].Matcher {
	case "exact":
		return whole(value), nil
	case "glob":
		return globExpression(value), nil
	case "regex":
		return expression(value)
	}
	return "", errCondition(matchers[0].Matcher)
}

type mountebankImposter struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Stubs    []struct {
		Predicates []map[string]json.RawMessage `json:"predicates"`
		Responses  []struct {
			Is *struct {
				Status  json.RawMessage            `json:"statusCode"`
				Headers map[string]json.RawMessage `json:"headers"`
				Body    json.RawMessage            `json:"body"`
				Mode    string                     `json:"_mode"`
			} `json:"is"`
			Behaviors json.RawMessage `json:"behaviors"`
			Legacy    json.RawMessage `json:"_behaviors"`
		} `json:"responses"`
	} `json:"stubs"`
}

// readMountebank reads imposters. A rule has no port: calls are told apart by
// the other conditions, and by host where the imposter's name is one.
func readMountebank(s *source, emit func(ranked) error) error {
	data, err := s.readAll()
	if err != nil {
		return s.rest(place{}, err)
	}
	var file struct {
		Imposters []mountebankImposter `json:"imposters"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return s.unreadable(place{}, "a value is not of the right type")
	}
	if file.Imposters == nil {
		var one mountebankImposter
		if err := json.Unmarshal(data, &one); err != nil {
			return s.unreadable(place{}, "a value is not of the right type")
		}
		file.Imposters = []mountebankImposter{one}
	}
	number := 0
	for _, imposter := range file.Imposters {
		for i := range imposter.Stubs {
			number++
			at := place{line: number} // the number of the stub
			rule, err := imposter.rule(s, at, i)
			if err == nil {
				err = emit(rule)
			} else {
				err = s.unreadable(at, "%v", err)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (im *mountebankImposter) rule(s *source, at place, i int) (rule ranked, err error) {
	if im.Protocol != "http" && im.Protocol != "https" {
		return rule, fmt.Errorf("an imposter of protocol %s is not HTTP", clipName(im.Protocol))
	}
	rule.Name = im.Name
	if strings.Contains(im.Name, ".") && !strings.ContainsAny(im.Name, " /") {
		rule.Match.Host, _ = traffic.SplitAuthority(im.Name)
	}
	stub := &im.Stubs[i]
	for _, predicate := range stub.Predicates {
		if err := mountebankPredicate(predicate, &rule.Match); err != nil {
			return rule, err
		}
	}
	if len(stub.Responses) == 0 || stub.Responses[0].Is == nil {
		return rule, errors.New("only answers of kind \"is\" have a place in a rule")
	}
	if n := len(stub.Responses) - 1; n > 0 {
		if err := s.note(at, "a rule has one answer; %d more of the circle are left out", n); err != nil {
			return rule, err
		}
	}
	first := &stub.Responses[0]
	a := &rule.Answer
	if text := strictText(first.Is.Status); text != "" {
		if _, err := fmt.Sscanf(text, "%d", &a.Status); err != nil {
			return rule, errors.New("statusCode is not a number")
		}
	}
	for name, raw := range first.Is.Headers {
		var values []string
		if json.Unmarshal(raw, &values) != nil {
			values = []string{strictText(raw)}
		}
		a.addHeader(name, values...)
	}
	body := []byte(strictText(first.Is.Body))
	if first.Is.Mode == "binary" {
		if body, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
			return rule, errors.New("the body is not base64")
		}
	}
	if err := a.setBody(body); err != nil {
		return rule, err
	}
	for _, raw := range []json.RawMessage{first.Behaviors, first.Legacy} {
		if err := mountebankBehaviors(s, at, raw, a); err != nil {
			return rule, err
		}
	}
	return rule, nil
}

func mountebankBehaviors(s *source, at place, raw json.RawMessage, a *RuleAnswer) error {
	var list []map[string]json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		var one map[string]json.RawMessage
		if json.Unmarshal(raw, &one) != nil {
			return nil
		}
		list = []map[string]json.RawMessage{one}
	}
	for _, behavior := range list {
		for name, value := range behavior {
			var wait float64
			if name == "wait" && json.Unmarshal(value, &wait) == nil && wait >= 0 && wait < 1e9 {
				a.Delay = time.Duration(wait * float64(time.Millisecond))
				continue
			}
			if err := s.note(at, "the behavior %s has no place in a rule", clipName(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func mountebankPredicate(predicate map[string]json.RawMessage, m *RuleMatch) error {
	for name := range predicate {
		switch name {
		case "caseSensitive", "keyCaseSensitive", "equals", "deepEquals", "contains", "startsWith", "endsWith", "matches", "exists":
		default:
			return errCondition(name)
		}
	}
	for kind, raw := range predicate {
		if kind == "caseSensitive" || kind == "keyCaseSensitive" {
			continue
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return errCondition(kind)
		}
		for field, value := range fields {
			if err := mountebankField(kind, field, value, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func mountebankField(kind, field string, value json.RawMessage, m *RuleMatch) error {
	exact := kind == "equals" || kind == "deepEquals"
	switch field {
	case "method":
		if !exact {
			return errCondition(kind + " on method")
		}
		m.Method = []string{strictText(value)}
		return nil
	case "path":
		return mountebankPath(kind, strictText(value), m)
	case "query", "headers":
		var values map[string]json.RawMessage
		if json.Unmarshal(value, &values) != nil {
			return errCondition(kind + " on " + field)
		}
		to := &m.Query
		if field == "headers" {
			to = &m.Header
		}
		for name, raw := range values {
			pattern, err := mountebankPattern(kind, strictText(raw))
			if err != nil {
				return err
			}
			if *to == nil {
				*to = map[string]string{}
			}
			(*to)[name] = pattern
		}
		return nil
	case "body":
		var object map[string]json.RawMessage
		text := []byte(strictText(value))
		if !exact || json.Unmarshal(text, &object) != nil {
			return errCondition(kind + " on body")
		}
		conditions, err := jsonConditions(text)
		m.Body = conditions
		return err
	}
	return errCondition("on " + field)
}

func mountebankPath(kind, value string, m *RuleMatch) error {
	var err error
	switch kind {
	case "equals", "deepEquals":
		m.Path = value
	case "startsWith":
		if !strings.HasSuffix(value, "/") {
			return errCondition("startsWith on a part of a path segment")
		}
		m.Path = value + "{rest...}"
	case "matches":
		if !strings.HasPrefix(value, "^") || !strings.HasSuffix(value, "$") {
			return errCondition("matches on a part of the path")
		}
		m.Path, _, err = pathTemplate(value)
	default:
		return errCondition(kind + " on path")
	}
	return err
}

func mountebankPattern(kind, value string) (string, error) {
	switch kind {
	case "equals", "deepEquals":
		return whole(value), nil
	case "contains":
		return globExpression("*" + value + "*"), nil
	case "startsWith":
		return globExpression(value + "*"), nil
	case "endsWith":
		return globExpression("*" + value), nil
	case "matches":
		return expression(".*(?:" + value + ").*")
	case "exists":
		if value == "true" {
			return "/.*/", nil
		}
	}
	return "", errCondition(kind)
}
