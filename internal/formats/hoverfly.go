package formats

import (
	"encoding/base64"
	"encoding/json"
	"errors"
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
		Scheme      []hoverflyMatcher            `json:"scheme"`
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
	if _, err = hoverflyValue(q.Scheme, "scheme"); err != nil { // the host tells enough
		return rule, err
	}
	if len(q.Destination) > 0 {
		if d := q.Destination[0]; len(q.Destination) > 1 || d.Matcher != "exact" && d.Matcher != "glob" || d.alone() != nil {
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
	if m.Body, err = hoverflyBody(q.Body); err != nil {
		return rule, err
	}
	return rule, p.answer(s, at, &rule.Answer)
}

// alone refuses the conditions that are further chained to a matcher.
func (m hoverflyMatcher) alone() error {
	if len(m.Then) > 0 && string(m.Then) != "null" {
		return errCondition("that is chained to another")
	}
	return nil
}

// hoverflyBody makes conditions of what Hoverfly writes when it captures: an
// exact text, which is empty for requests without a body, a JSON document or
// the fields of a form.
func hoverflyBody(matchers []hoverflyMatcher) (map[string]string, error) {
	var conditions map[string]string
	for _, b := range matchers {
		if err := b.alone(); err != nil {
			return nil, err
		}
		var err error
		switch text := strictText(b.Value); {
		case text == "" && (b.Matcher == "exact" || b.Matcher == "json"):
		case b.Matcher == "json" || b.Matcher == "jsonPartial":
			conditions, err = jsonConditions([]byte(text))
		case b.Matcher == "form":
			conditions, err = hoverflyForm(b.Value)
		default:
			err = errCondition(clipName(b.Matcher) + " on the body")
		}
		if err != nil {
			return nil, err
		}
	}
	return conditions, nil
}

func hoverflyForm(value json.RawMessage) (map[string]string, error) {
	var fields map[string][]hoverflyMatcher
	if err := json.Unmarshal(value, &fields); err != nil {
		return nil, errCondition("form on the body")
	}
	conditions := map[string]string{}
	for name, matchers := range fields {
		if len(matchers) == 0 {
			continue
		}
		pattern, err := hoverflyPattern(matchers)
		if err != nil {
			return nil, err
		}
		var at traffic.Path
		conditions[at.Child(name).String()] = pattern
	}
	return conditions, nil
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
	if err := a.setBody(body, traffic.HeaderFrom(r.Headers).Get("Content-Encoding")); err != nil {
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
	err := p.Request.Path[0].alone()
	if err != nil {
		return err
	}
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
	return strictText(matchers[0].Value), matchers[0].alone()
}

func hoverflyPattern(matchers []hoverflyMatcher) (string, error) {
	if len(matchers) > 1 {
		return "", errCondition("of several matchers")
	}
	if err := matchers[0].alone(); err != nil {
		return "", err
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
