package formats

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// WriteWireMock writes the outbound exchanges as one file of WireMock mappings
// ({"mappings": […]}). It goes through the exchanges twice, since calls that
// are repeated become a scenario, one state a time, as WireMock's own recorder
// writes them. report, which may be nil, receives what a mapping cannot hold.
func WriteWireMock(w io.Writer, exchanges func() iter.Seq2[*traffic.Exchange, error], report func(Issue)) error {
	if report == nil {
		report = func(Issue) {}
	}
	times := map[uint64]int{}
	for x, err := range exchanges() {
		if err != nil {
			return fmt.Errorf("write wiremock: %w", err)
		}
		if x.Direction == traffic.Outbound && x.Response != nil {
			times[callHash(x)]++
		}
	}
	if _, err := io.WriteString(w, "{\"mappings\":["); err != nil {
		return fmt.Errorf("write wiremock: %w", err)
	}
	turns := map[uint64]int{}
	written := 0
	for x, err := range exchanges() {
		if err != nil {
			return fmt.Errorf("write wiremock: %w", err)
		}
		if x.Direction != traffic.Outbound {
			continue
		}
		if x.Response == nil {
			report(Issue{File: x.ID, Reason: "wiremock mappings hold no calls without a response", Unreadable: true})
			continue
		}
		hash := callHash(x)
		stub := wireMockOf(x, report)
		if times[hash] > 1 {
			turns[hash]++
			wireMockState(stub, hash, turns[hash], times[hash])
		}
		data, err := json.Marshal(stub)
		if err != nil {
			return fmt.Errorf("write wiremock: %s: %w", x.ID, err)
		}
		separator := ",\n"
		if written == 0 {
			separator = "\n"
		}
		written++
		if _, err := io.WriteString(w, separator+string(data)); err != nil {
			return fmt.Errorf("write wiremock: %w", err)
		}
	}
	if _, err := fmt.Fprintf(w, "\n],\"meta\":{\"total\":%d}}\n", written); err != nil {
		return fmt.Errorf("write wiremock: %w", err)
	}
	return nil
}

// callHash is equal for calls that the same mapping would answer.
func callHash(x *traffic.Exchange) uint64 {
	h := fnv.New64a()
	for _, s := range []string{x.Request.Method, x.Request.Host(), x.Request.Target} {
		_, _ = io.WriteString(h, s)
		_, _ = h.Write([]byte{0})
	}
	body, _ := x.Request.Body.Decoded()
	_, _ = h.Write(body)
	return h.Sum64()
}

// wireMockState makes a mapping the turn-th of several. The last one stays.
func wireMockState(stub map[string]any, hash uint64, turn, of int) {
	state := func(n int) string {
		if n == 1 {
			return "Started"
		}
		return fmt.Sprintf("turn %d", n)
	}
	stub["scenarioName"] = fmt.Sprintf("call %016x", hash)
	stub["requiredScenarioState"] = state(turn)
	if turn < of {
		stub["newScenarioState"] = state(turn + 1)
	}
}

func wireMockOf(x *traffic.Exchange, report func(Issue)) map[string]any {
	r, a := &x.Request, x.Response
	request := map[string]any{"method": r.Method, "urlPath": r.Path(), "host": map[string]any{"equalTo": r.Host()}}
	query := map[string]any{}
	for name, values := range r.Query() {
		if len(values) == 1 {
			query[name] = map[string]any{"equalTo": values[0]}
			continue
		}
		var each []any
		for _, v := range values {
			each = append(each, map[string]any{"equalTo": v})
		}
		query[name] = map[string]any{"hasExactly": each}
	}
	if len(query) > 0 {
		request["queryParameters"] = query
	}
	if body, err := r.Body.Decoded(); err == nil && len(body) > 0 {
		request["bodyPatterns"] = []any{wireMockBodyPattern(r, body)}
	}
	response := map[string]any{"status": a.Status}
	headers := map[string]any{}
	for _, f := range a.Header.WithoutHopByHop() {
		switch name := strings.ToLower(f.Name); {
		case name == "content-encoding" || name == "content-length" || strings.HasPrefix(name, ":"):
			continue
		}
		if before, ok := headers[f.Name].([]string); ok {
			headers[f.Name] = append(before, f.Value)
		} else {
			headers[f.Name] = []string{f.Value}
		}
	}
	for name, values := range maps.Clone(headers) {
		if v := values.([]string); len(v) == 1 {
			headers[name] = v[0]
		}
	}
	if len(headers) > 0 {
		response["headers"] = headers
	}
	body, err := a.Body.Decoded()
	if err != nil {
		report(Issue{File: x.ID, Reason: "the response body cannot be decoded; it is written as far as it can"})
	}
	if a.Body.Truncated {
		report(Issue{File: x.ID, Reason: "wiremock cannot say that a body is truncated"})
	}
	if len(a.Trailer) > 0 {
		report(Issue{File: x.ID, Reason: "wiremock holds no trailers"})
	}
	switch {
	case utf8.Valid(body):
		response["body"] = string(body)
	default:
		response["base64Body"] = base64.StdEncoding.EncodeToString(body)
	}
	if ms := x.FirstByte.Milliseconds(); ms > 0 {
		response["fixedDelayMilliseconds"] = ms
	}
	return map[string]any{"name": x.ID, "request": request, "response": response, "persistent": true}
}

func wireMockBodyPattern(r *traffic.Request, body []byte) map[string]any {
	switch {
	case traffic.IsJSON(traffic.MediaType(r.Header)) && json.Valid(body):
		return map[string]any{"equalToJson": string(body)}
	case utf8.Valid(body):
		return map[string]any{"equalTo": string(body)}
	}
	return map[string]any{"binaryEqualTo": base64.StdEncoding.EncodeToString(body)}
}
