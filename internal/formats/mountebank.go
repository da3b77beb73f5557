package formats

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

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
	coding := ""
	for name, raw := range first.Is.Headers {
		if strings.EqualFold(name, "Content-Encoding") {
			coding = strictText(raw)
		}
		var values []string
		if json.Unmarshal(raw, &values) != nil {
			values = []string{strictText(raw)}
		}
		a.addHeader(name, values...)
	}
	body := []byte(strictText(first.Is.Body))
	var compact bytes.Buffer
	if len(first.Is.Body) > 0 && first.Is.Body[0] != '"' && json.Compact(&compact, body) == nil {
		body = compact.Bytes() // a JSON body stands as JSON, indented like the file
	}
	if first.Is.Mode == "binary" {
		if body, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
			return rule, errors.New("the body is not base64")
		}
	}
	if err := a.setBody(body, coding); err != nil {
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
		if exact && len(text) == 0 {
			return nil // what mountebank writes of requests without a body
		}
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
