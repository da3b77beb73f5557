package formats

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type wireMockStub struct {
	Name     string          `json:"name"`
	Priority int             `json:"priority"`
	Index    int             `json:"insertionIndex"`
	Scenario string          `json:"scenarioName"`
	State    string          `json:"requiredScenarioState"`
	Request  wireMockRequest `json:"request"`
	Response struct {
		Status       int                        `json:"status"`
		Headers      map[string]json.RawMessage `json:"headers"`
		Body         *string                    `json:"body"`
		JSONBody     json.RawMessage            `json:"jsonBody"`
		Base64Body   *string                    `json:"base64Body"`
		BodyFile     string                     `json:"bodyFileName"`
		Delay        float64                    `json:"fixedDelayMilliseconds"`
		Distribution json.RawMessage            `json:"delayDistribution"`
		Dribble      json.RawMessage            `json:"chunkedDribbleDelay"`
		Fault        string                     `json:"fault"`
		Proxy        string                     `json:"proxyBaseUrl"`
		Transformers []string                   `json:"transformers"`
	} `json:"response"`
}

type wireMockRequest struct {
	Host            json.RawMessage            `json:"host"`
	Method          string                     `json:"method"`
	URL             string                     `json:"url"`
	URLPattern      string                     `json:"urlPattern"`
	URLPath         string                     `json:"urlPath"`
	URLPathPattern  string                     `json:"urlPathPattern"`
	URLPathTemplate string                     `json:"urlPathTemplate"`
	Headers         map[string]json.RawMessage `json:"headers"`
	Query           map[string]json.RawMessage `json:"queryParameters"`
	Body            []json.RawMessage          `json:"bodyPatterns"`
	// Conditions that a rule has no place for.
	Path      map[string]json.RawMessage `json:"pathParameters"`
	Form      map[string]json.RawMessage `json:"formParameters"`
	Cookies   map[string]json.RawMessage `json:"cookies"`
	Basic     json.RawMessage            `json:"basicAuthCredentials"`
	Multipart []json.RawMessage          `json:"multipartPatterns"`
	Custom    json.RawMessage            `json:"customMatcher"`
	ClientIP  json.RawMessage            `json:"clientIp"`
}

// readWireMock reads mappings: one stub, a list, or {"mappings": [...]}.
func readWireMock(s *source, emit func(ranked) error) error {
	data, err := s.readAll()
	if err != nil {
		return s.rest(place{}, err)
	}
	var file struct {
		Mappings []json.RawMessage `json:"mappings"`
	}
	var list []json.RawMessage
	switch {
	case json.Unmarshal(data, &list) == nil:
	case json.Unmarshal(data, &file) == nil && file.Mappings != nil:
		list = file.Mappings
	case json.Valid(data):
		list = []json.RawMessage{data}
	default:
		return s.unreadable(place{}, "not JSON")
	}
	// Of stubs with the same priority WireMock asks the newest first.
	slices.Reverse(list)
	for i, raw := range list {
		at := place{line: len(list) - i} // the number of the stub
		var stub wireMockStub
		err := json.Unmarshal(raw, &stub)
		if err != nil {
			err = errors.New("a value is not of the right type")
		}
		var rule ranked
		if err == nil {
			rule, err = stub.rule(s, at)
		}
		if err != nil {
			if err := s.unreadable(at, "%v", err); err != nil {
				return err
			}
			continue
		}
		if err := emit(rule); err != nil {
			return err
		}
	}
	return nil
}

func (stub *wireMockStub) rule(s *source, at place) (ranked, error) {
	rule := ranked{Rule: Rule{Name: stub.Name}, rank: stub.Priority, newest: -stub.Index}
	if rule.rank == 0 {
		rule.rank = 5 // WireMock's default
	}
	if stub.Scenario != "" && stub.State != "" && stub.State != "Started" {
		return rule, errors.New("a rule has no state; only the first answer of a scenario is imported")
	}
	if err := stub.Request.match(s, at, &rule.Match); err != nil {
		return rule, err
	}
	r := &stub.Response
	switch {
	case r.Fault != "":
		return rule, fmt.Errorf("a rule has no fault (%s); use fault settings of the mock", clipName(r.Fault))
	case r.Proxy != "":
		return rule, errors.New("a mock never calls a dependency, as proxyBaseUrl asks")
	}
	rule.Answer.Status = r.Status
	coding := ""
	for name, raw := range r.Headers {
		if strings.EqualFold(name, "Content-Encoding") {
			coding = strictText(raw)
		}
		var values []string
		if json.Unmarshal(raw, &values) != nil {
			values = []string{strictText(raw)}
		}
		rule.Answer.addHeader(name, values...)
	}
	if err := stub.body(s, &rule.Answer, coding); err != nil {
		return rule, err
	}
	if r.Delay > 0 && r.Delay < 1e9 {
		rule.Answer.Delay = time.Duration(r.Delay * float64(time.Millisecond))
	}
	if len(r.Distribution) > 0 || len(r.Dribble) > 0 {
		if err := s.note(at, "only a fixed delay has a place in a rule"); err != nil {
			return rule, err
		}
	}
	if len(r.Transformers) > 0 {
		if err := s.note(at, "transformers have no place in a rule; the body is answered as it stands"); err != nil {
			return rule, err
		}
	}
	return rule, nil
}

func (stub *wireMockStub) body(s *source, a *RuleAnswer, coding string) error {
	r := &stub.Response
	switch {
	case len(r.JSONBody) > 0:
		return a.setBody(r.JSONBody, "")
	case r.Body != nil:
		return a.setBody([]byte(*r.Body), "")
	case r.Base64Body != nil:
		data, err := base64.StdEncoding.DecodeString(*r.Base64Body)
		if err != nil {
			return errors.New("base64Body is not base64")
		}
		return a.setBody(data, coding)
	case r.BodyFile != "":
		data, err := beside(filepath.Dir(s.folder), filepath.Join("__files", r.BodyFile), s.opts.MaxRecord)
		if err != nil {
			return errors.New("the file of bodyFileName cannot be read")
		}
		return a.setBody(data, coding)
	}
	return nil
}

func (r *wireMockRequest) match(s *source, at place, m *RuleMatch) error {
	if r.Method != "" && r.Method != "ANY" {
		m.Method = []string{r.Method}
	}
	given := map[string]bool{
		"pathParameters": len(r.Path) > 0, "formParameters": len(r.Form) > 0, "cookies": len(r.Cookies) > 0, "basicAuthCredentials": len(r.Basic) > 0,
		"multipartPatterns": len(r.Multipart) > 0, "customMatcher": len(r.Custom) > 0, "clientIp": len(r.ClientIP) > 0,
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if given[name] {
			return errCondition(name)
		}
	}
	if len(r.Host) > 0 {
		pattern, err := wireMockPattern(r.Host)
		if err != nil || strings.HasPrefix(pattern, "/") {
			return errCondition("on host")
		}
		m.Host = pattern
	}
	if err := r.matchURL(s, at, m); err != nil {
		return err
	}
	for _, part := range []struct {
		from map[string]json.RawMessage
		to   *map[string]string
	}{{r.Query, &m.Query}, {r.Headers, &m.Header}} {
		for name, raw := range part.from {
			pattern, err := wireMockPattern(raw)
			if err != nil {
				return err
			}
			if *part.to == nil {
				*part.to = map[string]string{}
			}
			(*part.to)[name] = pattern
		}
	}
	for _, raw := range r.Body {
		if err := wireMockBody(raw, m); err != nil {
			return err
		}
	}
	return nil
}

func (r *wireMockRequest) matchURL(s *source, at place, m *RuleMatch) error {
	pattern := r.URLPathPattern
	switch {
	case r.URL != "":
		path, query, _ := strings.Cut(r.URL, "?")
		m.Path, m.ExactQuery = path, true // WireMock compares the whole of it
		for pair := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			if name == "" {
				continue
			}
			if m.Query == nil {
				m.Query = map[string]string{}
			}
			m.Query[unescape(name)] = whole(unescape(value))
		}
		return nil
	case r.URLPath != "":
		m.Path = r.URLPath
		return nil
	case r.URLPathTemplate != "":
		m.Path = r.URLPathTemplate
		return nil
	case r.URLPattern != "":
		if strings.Contains(r.URLPattern, `\?`) {
			return errCondition("urlPattern with a query")
		}
		pattern = r.URLPattern
	}
	if pattern == "" {
		return nil
	}
	template, changed, err := pathTemplate(pattern)
	if err != nil {
		return err
	}
	m.Path = template
	if changed {
		return s.note(at, "the path pattern became the template %s", template)
	}
	return nil
}

// wireMockPattern reads {"equalTo": …} and its kin.
func wireMockPattern(raw json.RawMessage) (string, error) {
	var operators map[string]json.RawMessage
	if err := json.Unmarshal(raw, &operators); err != nil {
		return whole(strictText(raw)), nil
	}
	for _, name := range slices.Sorted(maps.Keys(operators)) {
		value := operators[name]
		switch name {
		case "equalTo":
			return whole(strictText(value)), nil
		case "contains":
			return globExpression("*" + strictText(value) + "*"), nil
		case "matches":
			return expression(strictText(value))
		case "hasExactly", "includes": // of the values of a name
			var each []json.RawMessage
			if json.Unmarshal(value, &each) != nil || len(each) != 1 || bytes.Contains(value[1:], []byte(`":[`)) {
				return "", errCondition(name + " of several values")
			}
			return wireMockPattern(each[0])
		case "caseInsensitive":
			continue
		default:
			return "", errCondition(name)
		}
	}
	return "", errCondition("without an operator")
}

func wireMockBody(raw json.RawMessage, m *RuleMatch) error {
	var operators map[string]json.RawMessage
	if err := json.Unmarshal(raw, &operators); err != nil {
		return errCondition("on the body")
	}
	add := func(more map[string]string) {
		if m.Body == nil {
			m.Body = map[string]string{}
		}
		for k, v := range more {
			m.Body[k] = v
		}
	}
	if value, ok := operators["equalToJson"]; ok {
		text := []byte(value)
		var quoted string
		if json.Unmarshal(value, &quoted) == nil {
			text = []byte(quoted)
		}
		conditions, err := jsonConditions(text)
		if err == nil {
			add(conditions)
		}
		return err
	}
	if value, ok := operators["matchesJsonPath"]; ok {
		address, pattern := strictText(value), "/.*/"
		var detailed map[string]json.RawMessage
		if json.Unmarshal(value, &detailed) == nil {
			address = strictText(detailed["expression"])
			delete(detailed, "expression")
			rest, _ := json.Marshal(detailed)
			var err error
			if pattern, err = wireMockPattern(rest); err != nil {
				return err
			}
		}
		address, ok := jsonPathAddress(address)
		if !ok {
			return errCondition("matchesJsonPath with more than a path")
		}
		add(map[string]string{address: pattern})
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(operators)) {
		if name != "caseInsensitive" { // says how another one is meant
			return errCondition(name + " on the body")
		}
	}
	return errCondition("on the body")
}
