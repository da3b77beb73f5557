package formats_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/formats"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// readRules imports rules and checks that the mock takes them as they are
// written.
func readRules(t *testing.T, name, text string) ([]formats.Rule, []string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "mappings")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var issues []string
	rules, counts, err := formats.ReadRules(t.Context(), []string{path}, formats.Options{Report: func(i formats.Issue) { issues = append(issues, i.Reason) }})
	if err != nil {
		t.Fatal(err)
	}
	if counts.Found != counts.Imported+counts.Unreadable || counts.Imported != len(rules) {
		t.Errorf("the counts do not balance: %+v", counts)
	}
	written, err := yaml.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	var taken []mock.Rule
	d := yaml.NewDecoder(bytes.NewReader(written))
	d.KnownFields(true)
	if err := d.Decode(&taken); err != nil && len(rules) > 0 {
		t.Fatalf("the mock cannot read %s: %v", written, err)
	}
	if err := (mock.Options{Rules: taken}).Validate(); err != nil {
		t.Errorf("the mock refuses %s: %v", written, err)
	}
	return rules, issues
}

func TestWireMockMappings(t *testing.T) {
	tests := []struct {
		reason, stub string
		want         *formats.Rule
		issues       []string
	}{
		{"a charge with conditions on everything",
			`{"name":"charge","priority":2,"request":{"method":"POST","urlPath":"/charge","host":{"equalTo":"pay.local"},"queryParameters":{"v":{"equalTo":"2"}},"headers":{"X-Key":{"matches":"k[0-9]+"},"Accept":{"contains":"json"}},
			"bodyPatterns":[{"equalToJson":"{\"cur\":\"usd\",\"n\":[1]}","ignoreExtraElements":true},{"matchesJsonPath":{"expression":"$.card.id","equalTo":"c1"}}]},
			"response":{"status":201,"jsonBody":{"ok":true},"fixedDelayMilliseconds":25,"headers":{"Content-Type":"application/json","Set-Cookie":["a=1","b=2"],"Content-Length":"3"}}}`,
			&formats.Rule{Name: "charge",
				Match: formats.RuleMatch{Method: []string{"POST"}, Host: "pay.local", Path: "/charge", Query: map[string]string{"v": "2"},
					Header: map[string]string{"X-Key": "/^(?:k[0-9]+)$/", "Accept": "/^.*json.*$/"}, Body: map[string]string{"cur": "usd", "n[0]": "1", "card.id": "c1"}},
				Answer: formats.RuleAnswer{Status: 201, Body: `{"ok":true}`, Delay: 25 * time.Millisecond, Header: map[string]traffic.Values{"Content-Type": {"application/json"}, "Set-Cookie": {"a=1", "b=2"}}}}, nil},
		{"a query in the URL, and braces in the body", `{"request":{"method":"ANY","url":"/a?x=1%202"},"response":{"status":200,"body":"{{a}} /b/"}}`,
			&formats.Rule{Match: formats.RuleMatch{Path: "/a", Query: map[string]string{"x": "1 2"}, ExactQuery: true}, Answer: formats.RuleAnswer{Status: 200, Body: `{{"{{"}}a}} /b/`}}, nil},
		{"a URL without a query matches only without one", `{"request":{"url":"/a"},"response":{}}`, &formats.Rule{Match: formats.RuleMatch{Path: "/a", ExactQuery: true}}, nil},
		{"unless parameters are asked for beside it", `{"request":{"urlPath":"/a","queryParameters":{"x":{"equalTo":"1"}}},"response":{}}`, &formats.Rule{Match: formats.RuleMatch{Path: "/a", Query: map[string]string{"x": "1"}}}, nil},
		{"a pattern over segments", `{"request":{"urlPathPattern":"/v1\\.0/users/[0-9]+/.*"},"response":{}}`,
			&formats.Rule{Match: formats.RuleMatch{Path: "/v1.0/users/{p3}/{rest...}"}}, []string{"the path pattern became the template /v1.0/users/{p3}/{rest...}"}},
		{"a pattern over anything", `{"request":{"urlPattern":"/a(/b)?"},"response":{}}`, nil, []string{"the condition on a path that is no list of segments has no place in a rule"}},
		{"a condition that has no place", `{"request":{"url":"/","bodyPatterns":[{"equalToXml":"<a/>"}]},"response":{}}`, nil, []string{"the condition equalToXml on the body has no place in a rule"}},
		{"a missing field as a condition", `{"request":{"url":"/","headers":{"X":{"absent":true}}},"response":{}}`, nil, []string{"the condition absent has no place in a rule"}},
		{"a fault", `{"request":{"url":"/"},"response":{"fault":"EMPTY_RESPONSE"}}`, nil, []string{`a rule has no fault ("EMPTY_RESPONSE"); use fault settings of the mock`}},
		{"a later state", `{"scenarioName":"s","requiredScenarioState":"2","request":{"url":"/"},"response":{}}`, nil, []string{"a rule has no state; only the first answer of a scenario is imported"}},
		{"a binary body", `{"request":{"url":"/"},"response":{"base64Body":"/w=="}}`, nil, []string{"a binary body has no place in a rule"}},
		{"a body outside", `{"request":{"url":"/"},"response":{"bodyFileName":"../../secret"}}`, nil, []string{"the file of bodyFileName cannot be read"}},
		{"a wrong type", `{"request":{"url":7},"response":{}}`, nil, []string{"a value is not of the right type"}},
	}
	for _, test := range tests {
		rules, issues := readRules(t, "a.json", test.stub)
		var want []formats.Rule
		if test.want != nil {
			want = []formats.Rule{*test.want}
		} else {
			want = []formats.Rule{}
		}
		if d := cmp.Diff(want, rules); d != "" {
			t.Errorf("%s: %s", test.reason, d)
		}
		if d := cmp.Diff(test.issues, issues); d != "" {
			t.Errorf("%s: issues %s", test.reason, d)
		}
	}
}

func TestImportOfWireMocksOwnRecording(t *testing.T) {
	var issues []string
	rules, counts, err := formats.ReadRules(t.Context(), []string{"testdata/wiremock"}, formats.Options{Report: func(i formats.Issue) { issues = append(issues, i.Reason) }})
	if err != nil || counts.Found != 8 || counts.Files != 8 {
		t.Fatalf("%+v, %v", counts, err)
	}
	var got []string
	for _, r := range rules {
		got = append(got, strings.Join(r.Match.Method, "")+" "+r.Match.Path)
	}
	if d := cmp.Diff([]string{"GET /missing", "POST /orders", "GET /gzip", "GET /chunked", "HEAD /large", "GET /large"}, got); d != "" {
		t.Error(d)
	}
	if r := rules[1]; r.Match.Body["sku"] != "7" || r.Answer.Status != 201 || r.Answer.Body != `{"got":"{\"sku\":7}"}` || r.Match.Header["Content-Type"] == "" {
		t.Errorf("%+v", r)
	}
	if d := cmp.Diff([]string{"the condition binaryEqualTo on the body has no place in a rule", "the condition equalTo on the body has no place in a rule"}, issues); d != "" {
		t.Error(d)
	}
}

func TestWireMockOrder(t *testing.T) {
	rules, _ := readRules(t, "a.json", `{"mappings":[{"name":"old","request":{"url":"/"},"response":{}},{"name":"last","priority":9,"request":{"url":"/"},"response":{}},{"name":"new","request":{"url":"/"},"response":{}},{"name":"first","priority":1,"request":{"url":"/"},"response":{}}]}`)
	var names []string
	for _, r := range rules {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "first new old last" {
		t.Errorf("order %s", got)
	}
}

// TestRulesThatTheToolsRecorded reads what mountebank and Hoverfly themselves
// wrote of the calls of testdata/make. Bodies that are no JSON have no place in
// a rule; requests without one must not be taken for such.
func TestRulesThatTheToolsRecorded(t *testing.T) {
	for _, test := range []struct {
		file   string
		issues []string
	}{
		{"mountebank.json", []string{"the condition deepEquals on body has no place in a rule", "the condition deepEquals on body has no place in a rule"}},
		{"hoverfly.json", []string{`the condition "exact" on the body has no place in a rule`, `the condition "exact" on the body has no place in a rule`}},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", test.file))
		if err != nil {
			t.Fatal(err)
		}
		rules, issues := readRules(t, test.file, string(text))
		var got []string
		for _, r := range rules {
			got = append(got, fmt.Sprintf("%v %s %v %v -> %d %d bytes", r.Match.Method, r.Match.Path, r.Match.Query, r.Match.Body, r.Answer.Status, len(r.Answer.Body)))
		}
		want := []string{
			"[GET] /missing map[x:1 y: ] map[] -> 404 19 bytes",
			"[POST] /orders map[] map[sku:7] -> 201 21 bytes",
			"[GET] /gzip map[] map[] -> 200 717 bytes",
			"[GET] /chunked map[] map[] -> 200 24 bytes",
			"[HEAD] /large map[] map[] -> 200 0 bytes",
			"[GET] /large map[] map[] -> 200 65536 bytes",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", test.file, d)
		}
		if d := cmp.Diff(test.issues, issues); d != "" {
			t.Errorf("%s: %s", test.file, d)
		}
	}
}

func TestHoverflySimulation(t *testing.T) {
	rules, issues := readRules(t, "a.json", `{"data":{"pairs":[{"request":{
		"method":[{"matcher":"exact","value":"POST"}],"destination":[{"matcher":"exact","value":"pay.local:8080"}],"path":[{"matcher":"glob","value":"/charge/*"}],
		"query":{"v":[{"matcher":"exact","value":"2"}]},"body":[{"matcher":"jsonPartial","value":"{\"cur\":\"usd\"}"}],"requiresState":{"sequence:1":"1"}},
		"response":{"status":200,"body":"e30=","encodedBody":true,"headers":{"Content-Type":["application/json"]},"fixedDelay":25}},
		{"request":{"requiresState":{"sequence:1":"2"}},"response":{"status":200}},
		{"request":{"body":[{"matcher":"xpath","value":"/a"}]},"response":{"status":200}},
		{"request":{"path":"/v4"},"response":{"status":200}},
		{"request":{"scheme":[{"matcher":"exact","value":"http"}],"body":[{"matcher":"form","value":{"a":[{"matcher":"exact","value":"1"}],"b c":[{"matcher":"glob","value":"x*"}]}}]},"response":{"status":204}},
		{"request":{"path":[{"matcher":"exact","value":"/a","doMatch":{"matcher":"exact","value":"b"}}]},"response":{"status":200}},
		{"request":{"query":{"x":[{"matcher":"array","value":["1","2"]}]}},"response":{"status":200}},
		{"request":{},"response":{"status":200,"body":"/w==","encodedBody":true,"headers":{"Content-Encoding":["gzip"]}}}]},"meta":{"schemaVersion":"v5.3"}}`)
	want := []formats.Rule{{
		Match:  formats.RuleMatch{Method: []string{"POST"}, Host: "pay.local", Path: "/charge/{rest...}", Query: map[string]string{"v": "2"}, Body: map[string]string{"cur": "usd"}},
		Answer: formats.RuleAnswer{Status: 200, Body: "{}", Header: map[string]traffic.Values{"Content-Type": {"application/json"}}, Delay: 25 * time.Millisecond},
	}, {
		Match:  formats.RuleMatch{Body: map[string]string{"a": "1", `["b c"]`: "/^x.*$/"}},
		Answer: formats.RuleAnswer{Status: 204},
	}}
	if d := cmp.Diff(want, rules); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{
		"the path pattern became the template /charge/{rest...}", "a rule has no state; only the first answer of a sequence is imported",
		`the condition "xpath" on the body has no place in a rule`, "a value is not of the right type; simulations older than version 5 are not read",
		"the condition that is chained to another has no place in a rule", "the condition array has no place in a rule",
		"the content coding of the body cannot be undone",
	}, issues); d != "" {
		t.Error(d)
	}
}

func TestMountebankImposters(t *testing.T) {
	rules, issues := readRules(t, "a.json", `{"imposters":[{"port":4545,"protocol":"http","name":"users.local","stubs":[{
		"predicates":[{"deepEquals":{"method":"GET","path":"/u/7","query":{"full":"1"}}},{"exists":{"headers":{"X-Key":true}}}],
		"responses":[{"is":{"statusCode":"200","headers":{"Content-Type":"application/json"},"body":{"n":1}},"behaviors":[{"wait":12},{"decorate":"x"}]},{"is":{"body":"2"}}]},
		{"predicates":[{"startsWith":{"path":"/files/"}}],"responses":[{"is":{"body":"file"}}]},
		{"predicates":[{"or":[]}],"responses":[{"is":{}}]},{"responses":[{"proxy":{"to":"http://x"}}]}]},{"protocol":"tcp","stubs":[{}]}]}`)
	want := []formats.Rule{
		{Name: "users.local", Match: formats.RuleMatch{Method: []string{"GET"}, Host: "users.local", Path: "/u/7", Query: map[string]string{"full": "1"}, Header: map[string]string{"X-Key": "/.*/"}},
			Answer: formats.RuleAnswer{Status: 200, Body: `{"n":1}`, Header: map[string]traffic.Values{"Content-Type": {"application/json"}}, Delay: 12 * time.Millisecond}},
		{Name: "users.local", Match: formats.RuleMatch{Host: "users.local", Path: "/files/{rest...}"}, Answer: formats.RuleAnswer{Body: "file"}},
	}
	if d := cmp.Diff(want, rules); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{
		"a rule has one answer; 1 more of the circle are left out", `the behavior "decorate" has no place in a rule`, "the condition or has no place in a rule",
		`only answers of kind "is" have a place in a rule`, `an imposter of protocol "tcp" is not HTTP`,
	}, issues); d != "" {
		t.Error(d)
	}
}

func TestWireMockExport(t *testing.T) {
	call := func(id, target, answer string) *traffic.Exchange {
		x := &traffic.Exchange{ID: id, Direction: traffic.Outbound, FirstByte: 5 * time.Millisecond}
		x.Request = traffic.Request{Method: "POST", Scheme: "http", Authority: "pay.local:80", Target: target, Header: traffic.Header{{Name: "Content-Type", Value: "application/json"}}}
		x.Request.Body = traffic.NewBody([]byte(`{"a":1}`), x.Request.Header)
		x.Response = &traffic.Response{Status: 200, Header: traffic.Header{{Name: "X", Value: "1"}, {Name: "Set-Cookie", Value: "a"}, {Name: "Set-Cookie", Value: "b"}}}
		x.Response.Body = traffic.NewBody([]byte(answer), x.Response.Header)
		return x
	}
	all := []*traffic.Exchange{call("out-1", "/a?x=1", "one"), call("out-2", "/b", "\xff"), call("out-3", "/a?x=1", "two"), {ID: "out-4", Direction: traffic.Outbound}, {ID: "in-1", Direction: traffic.Inbound}}
	var b bytes.Buffer
	var issues []string
	err := formats.WriteWireMock(&b, func() iter.Seq2[*traffic.Exchange, error] {
		return func(yield func(*traffic.Exchange, error) bool) {
			for _, x := range all {
				if !yield(x, nil) {
					return
				}
			}
		}
	}, func(i formats.Issue) { issues = append(issues, i.File+": "+i.Reason) })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"out-4: wiremock mappings hold no calls without a response"}, issues); d != "" {
		t.Error(d)
	}
	var file struct {
		Mappings []struct {
			Name, RequiredScenarioState, NewScenarioState string
			Response                                      struct{ Body, Base64Body string }
		}
	}
	if err := json.Unmarshal(b.Bytes(), &file); err != nil || len(file.Mappings) != 3 {
		t.Fatalf("%s: %v", b.String(), err)
	}
	if m := file.Mappings; m[0].RequiredScenarioState != "Started" || m[0].NewScenarioState != "turn 2" || m[2].RequiredScenarioState != "turn 2" || m[2].NewScenarioState != "" || m[1].RequiredScenarioState != "" || m[1].Response.Base64Body != "/w==" {
		t.Errorf("%+v", m)
	}
	// What was written can be read again, as far as rules go.
	rules, _ := readRules(t, "b.json", b.String())
	if len(rules) != 1 || rules[0].Match.Host != "pay.local" || rules[0].Answer.Body != "one" || rules[0].Match.Body["a"] != "1" {
		t.Errorf("%+v", rules)
	}
}

func FuzzRules(f *testing.F) {
	f.Add(`{"mappings":[{"request":{"urlPathPattern":"/[/]+/x|y","bodyPatterns":[{"equalToJson":{"a":[[]]}}]},"response":{"body":"{{"}}]}`)
	f.Add(`{"data":{"pairs":[{"request":{"path":[{"matcher":"glob","value":"/**"}],"body":[{"matcher":"json","value":"1"}]},"response":{}}]}}`)
	f.Add(`{"imposters":[{"protocol":"http","stubs":[{"predicates":[{"matches":{"path":"^/(.$"}}],"responses":[{"is":{"statusCode":"x"}}]}]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "a.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		rules, counts, err := formats.ReadRules(t.Context(), []string{path}, formats.Options{})
		if err == nil && (counts.Found != counts.Imported+counts.Unreadable || counts.Imported != len(rules)) {
			t.Fatalf("the counts do not balance: %+v", counts)
		}
	})
}
