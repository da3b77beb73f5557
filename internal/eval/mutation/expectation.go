package mutation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
)

// Expectation describes a finding with cause head. What is empty demands
// nothing; an endpoint of "*" is any.
type Expectation struct {
	Kind      analysis.Kind
	Changes   []string // one of them
	Endpoint  string
	Addresses []string // one of them; names of headers in any case
	Call      string
}

// Matches reports whether a finding is the one described.
func (e Expectation) Matches(f analysis.Finding) bool {
	return f.Cause == analysis.CauseHead && f.Kind == e.Kind &&
		(len(e.Changes) == 0 || slices.Contains(e.Changes, string(f.Change))) &&
		(e.Endpoint == "" || e.Endpoint == "*" || e.Endpoint == f.Endpoint) &&
		(e.Call == "" || e.Call == f.Call) &&
		e.at(f.Address)
}

// at reports whether an address is one of those described.
func (e Expectation) at(address string) bool {
	return len(e.Addresses) == 0 || slices.ContainsFunc(e.Addresses, func(a string) bool { return strings.EqualFold(a, address) })
}

// follows reports whether a consequence is the one described. The address of a
// consequence in a call begins with the call.
func (e Expectation) follows(c analysis.Consequence) bool {
	address := strings.TrimSpace(strings.TrimPrefix(c.Address, e.Call))
	return (len(e.Changes) == 0 || slices.Contains(e.Changes, string(c.Change))) &&
		(e.Endpoint == "" || e.Endpoint == "*" || e.Endpoint == c.Endpoint) && e.at(address)
}

// String is the description as it is written in a file.
func (e Expectation) String() string {
	text := "kind=" + string(e.Kind)
	for _, part := range []struct{ key, value string }{
		{"change", strings.Join(e.Changes, "|")}, {"endpoint", e.Endpoint}, {"call", e.Call}, {"address", strings.Join(e.Addresses, "|")},
	} {
		if strings.Contains(part.value, " ") {
			part.value = strconv.Quote(part.value)
		}
		if part.value != "" {
			text += " " + part.key + "=" + part.value
		}
	}
	return text
}

// ParseExpectation reads pairs such as kind=outbound endpoint="GET /v1/orders".
// Values that stand for one another are parted by |; a value with a blank in it
// is quoted.
func ParseExpectation(text string) (Expectation, error) {
	var e Expectation
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		key, rest, ok := strings.Cut(text, "=")
		if !ok {
			return e, fmt.Errorf("%q is not a key=value", text)
		}
		value, after, _ := strings.Cut(rest, " ")
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			value, _ = strconv.Unquote(quoted)
			after = rest[len(quoted):]
		}
		switch text = after; key {
		case "kind":
			e.Kind = analysis.Kind(value)
		case "change":
			e.Changes = strings.Split(value, "|")
		case "endpoint":
			e.Endpoint = value
		case "address":
			e.Addresses = strings.Split(value, "|")
		case "call":
			e.Call = value
		default:
			return e, fmt.Errorf("unknown key %q", key)
		}
	}
	if e.Kind == "" {
		return e, fmt.Errorf("it names no kind")
	}
	return e, nil
}
