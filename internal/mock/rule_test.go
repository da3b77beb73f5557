package mock_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

const someRules = `
version: 1
rules:
  - name: flags
    match:
      method: [GET]
      host: "flags.*"
      path: /v1/flags/{name}
      query: {env: "/^(test|dev)$/"}
    answer:
      header: {X-Flag: "{{.path.name}}"}
      json: {name: "{{.path.name}}", env: "{{.query.env}}", on: true, n: 3}
  - match:
      method: [post]
      host: mail
      path: /send/{rest...}
      header: {X-Kind: urgent}
      body: {"to[0].address": "/@example\\.org$/", request.body.count: "2"}
    answer:
      status: 202
      body: 'queued {{.body.subject}} for {{json .body.to}} at {{.path.rest}}'
  - name: whole
    match: {host: search, path: /find, query: {q: a}, exact-query: true}
    answer: {body: found}
  - name: always
    override: true
    match: {host: dep, path: /recorded}
    answer: {status: 418, delay: 20ms}
`

func TestRules(t *testing.T) {
	rules, err := mock.ReadRules("rules.yaml", strings.NewReader(someRules))
	if err != nil {
		t.Fatal(err)
	}
	var rec recording
	rec.call("a", "GET", "http://dep/recorded", "", response(200, "recorded"))
	rec.call("a", "GET", "http://flags.example/v1/flags/known?env=test", "", response(200, "recorded"))
	s := start(t, rec.exchanges, mock.Options{Rules: rules})
	s.BeginPass(1)
	s.Enter(1, "a")
	client := s.proxied()
	mail := `{"to":[{"address":"a@example.org"}],"subject":"hi","count":2.0}`
	tests := []struct {
		reason, method, url, body string
		header                    []string
		status                    int
		want                      string
		tier                      traffic.Tier
	}{
		{"captured and quoted values", "GET", "http://flags.example/v1/flags/blue%20one?env=dev", "", nil, 200, `{"env":"dev","n":3,"name":"blue one","on":true}` + "\n", traffic.TierRule},
		{"another value in the query", "GET", "http://flags.example/v1/flags/x?env=prod", "", nil, mock.StatusMiss, "", traffic.TierMiss},
		{"one segment too many", "GET", "http://flags.example/v1/flags/x/y?env=dev", "", nil, mock.StatusMiss, "", traffic.TierMiss},
		{"a recorded call wins over a rule", "GET", "http://flags.example/v1/flags/known?env=test", "", nil, 200, "recorded", traffic.TierExact},
		{"unless the rule says so", "GET", "http://dep/recorded", "", nil, 418, "", traffic.TierRule},
		{"addresses in the body, header, rest of the path", "POST", "http://mail/send/a/b", mail, []string{"X-Kind", "urgent"}, 202, `queued hi for [{"address":"a@example.org"}] at a/b`, traffic.TierRule},
		{"a header that is missing", "POST", "http://mail/send/a/b", mail, nil, mock.StatusMiss, "", traffic.TierMiss},
		{"a query of just these names", "GET", "http://search/find?q=a", "", nil, 200, "found", traffic.TierRule},
		{"and no more of them", "GET", "http://search/find?q=a&page=2", "", nil, mock.StatusMiss, "", traffic.TierMiss},
		{"another value in the body", "POST", "http://mail/send/a/b", strings.Replace(mail, "2.0", "3", 1), []string{"X-Kind", "urgent"}, mock.StatusMiss, "", traffic.TierMiss},
	}
	for i, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			got := send(t, client, tt.method, tt.url, tt.body, tt.header...)
			if got.StatusCode != tt.status || got.body != tt.want && tt.status != mock.StatusMiss {
				t.Errorf("got %d %q, want %d %q", got.StatusCode, got.body, tt.status, tt.want)
			}
			x := s.Calls(1)[i]
			if x.Match.Tier != tt.tier {
				t.Errorf("tier %s, want %s", x.Match.Tier, tt.tier)
			}
			if tt.status == 418 && x.Duration < 20*time.Millisecond {
				t.Errorf("the delayed answer took %v", x.Duration)
			}
		})
	}
	if a := s.balanced(1); a.Tiers[traffic.TierRule] != 4 || a.Extra != 4 || a.Missed != 5 || a.Unused != 1 {
		t.Errorf("account: %+v", a)
	}
}

func TestRulesFile(t *testing.T) {
	rules, err := mock.ReadRules("rules.yaml", strings.NewReader(someRules))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := mock.WriteRules(&b, rules); err != nil {
		t.Fatal(err)
	}
	again, err := mock.ReadRules("again.yaml", &b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rules, again); diff != "" {
		t.Errorf("written and read again:\n%s", diff)
	}
	tests := []struct{ reason, file, want string }{
		{"no version", "rules: []", "rules.yaml: version: 0 is not known; this reprise reads version 1"},
		{"an unknown key", "version: 1\nrules:\n  - mach: {}\n", "rules.yaml: line 3: mach is not a key of Rule"},
		{"a wrong type", "version: 1\nrules:\n  - answer: {status: many}\n", "rules.yaml: line 3: cannot unmarshal !!str `many` into int"},
		{"not YAML", "version: [", "rules.yaml: line 1: did not find expected node content"},
		{"a bad expression", "version: 1\nrules:\n  - match: {query: {a: '/(/'}}\n", "rules.yaml: mock rule \"rule 1\": match.query.a: error parsing regexp: missing closing ): `(`"},
		{"a bad template", "version: 1\nrules:\n  - name: x\n    answer: {body: '{{.a'}\n", "rules.yaml: mock rule \"x\": answer.body: template: body:1: unclosed action"},
		{"a relative path", "version: 1\nrules:\n  - match: {path: a}\n", `rules.yaml: mock rule "rule 1": match.path "a" must start with /`},
		{"two bodies", "version: 1\nrules:\n  - answer: {body: a, json: 1}\n", `rules.yaml: mock rule "rule 1": answer has both body and json; keep one`},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if _, err := mock.ReadRules("rules.yaml", strings.NewReader(tt.file)); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// The rules that the documentation shows can be read.
func TestRulesOfTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/mock.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(page), "```yaml\n")
	example, _, ended := strings.Cut(example, "```")
	if !ok || !ended {
		t.Fatal("docs/mock.md shows no rules")
	}
	rules, err := mock.ReadRules("docs/mock.md", strings.NewReader(example))
	if err != nil || len(rules) != 1 {
		t.Fatalf("%d rules: %v", len(rules), err)
	}
	s := start(t, nil, mock.Options{Rules: rules})
	got := send(t, s.proxied(), "GET", "http://flags.example/v1/flags/blue?env=dev", `{"user":{"id":7}}`, "Accept", "application/json")
	if got.StatusCode != 200 || got.Header.Get("X-Flag") != "blue" || got.body != `{"name":"blue","on":true}`+"\n" {
		t.Errorf("got %d %q %s", got.StatusCode, got.Header.Get("X-Flag"), got.body)
	}
}

func FuzzReadRules(f *testing.F) {
	f.Add(someRules)
	f.Add("version: 1\nrules: [{match: {body: {'a[': b}}}]")
	f.Fuzz(func(t *testing.T, s string) {
		rules, err := mock.ReadRules("x", strings.NewReader(s))
		if err != nil {
			return
		}
		if err := (mock.Options{Rules: rules}).Validate(); err != nil {
			t.Errorf("read without an error, but not valid: %v", err)
		}
	})
}

// A fault comes and goes by the seed alone, whatever the order of calls.
func TestFaults(t *testing.T) {
	var rec recording
	body := strings.Repeat("x", 4000)
	for range 40 {
		rec.call("a", "GET", "http://dep/x", "", response(200, body))
		rec.call("b", "GET", "http://dep/x", "", response(200, body))
		rec.call("a", "GET", "http://solid/x", "", response(200, body))
	}
	run := func(faults *mock.Faults, lanes ...traffic.Lane) (seen map[string]int, a mock.Account) {
		s := start(t, rec.exchanges, mock.Options{})
		if err := s.SetFaults(1, faults); err != nil {
			t.Fatal(err)
		}
		client := s.proxied()
		client.Transport.(*http.Transport).DisableKeepAlives = true // a client tries again on a connection that it kept
		seen = map[string]int{}
		for range 20 {
			for _, l := range lanes {
				for _, host := range []string{"dep", "solid"} {
					req, err := http.NewRequest("GET", "http://"+host+"/x", nil)
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("Traceparent", mark(1, l)[1])
					began := time.Now()
					resp, err := client.Do(req)
					key := string(l) + " " + host + " "
					switch {
					case err != nil:
						key += "no answer"
					default:
						got, err := io.ReadAll(resp.Body)
						resp.Body.Close()
						key += resp.Status
						if err != nil || len(got) != len(body) && resp.StatusCode == 200 {
							key += " broken"
						}
					}
					if k := faults.Faults[0].Kind; (k == mock.FaultDelay || k == mock.FaultDrip) && time.Since(began) > 30*time.Millisecond {
						key += " late"
					}
					seen[key]++
				}
			}
		}
		return seen, s.balanced(1)
	}
	tests := []struct {
		reason string
		fault  mock.Fault
		want   string // what a touched call looks like
	}{
		{"a server error", mock.Fault{Kind: mock.FaultStatus, Status: 502}, "502 Bad Gateway"},
		{"a reset", mock.Fault{Kind: mock.FaultReset}, "no answer"},
		{"no answer", mock.Fault{Kind: mock.FaultEmpty}, "no answer"},
		{"half an answer", mock.Fault{Kind: mock.FaultTruncate}, "200 OK broken"},
		{"a late answer", mock.Fault{Kind: mock.FaultDelay, Delay: 40 * time.Millisecond}, "200 OK late"},
		{"a slow answer", mock.Fault{Kind: mock.FaultDrip, Rate: 40000}, "200 OK late"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			tt.fault.Dependency, tt.fault.Share = "de*", 0.4
			faults := &mock.Faults{Seed: 7, Faults: []mock.Fault{tt.fault}}
			first, a := run(faults, "a", "b")
			again, _ := run(faults, "b", "a")
			touched := func(seen map[string]int, lane, host string) int { return seen[lane+" "+host+" "+tt.want] }
			for _, lane := range []string{"a", "b"} {
				if n := touched(first, lane, "dep"); n < 2 || n > 18 {
					t.Errorf("lane %s: %d of 20 calls touched: %v", lane, n, first)
				}
				// A machine that is busy may make other calls late as well.
				if tt.fault.Kind != mock.FaultDelay && tt.fault.Kind != mock.FaultDrip && touched(first, lane, "dep") != touched(again, lane, "dep") {
					t.Errorf("lane %s: %v in one order, %v in another", lane, first, again)
				}
			}
			if tt.fault.Kind != mock.FaultDelay && tt.fault.Kind != mock.FaultDrip && touched(first, "a", "solid") != 0 {
				t.Errorf("another dependency was touched: %v", first)
			}
			if a.Matched+a.Extra != a.Live {
				t.Errorf("account: %+v", a)
			}
		})
	}
	for _, bad := range []mock.Fault{{Dependency: "x", Kind: "boom"}, {Dependency: "", Kind: mock.FaultReset}, {Dependency: "[", Kind: mock.FaultReset}, {Dependency: "x", Kind: mock.FaultReset, Share: 2}} {
		if err := (&mock.Faults{Faults: []mock.Fault{bad}}).Validate(); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestFaultOfTLS(t *testing.T) {
	s := start(t, nil, mock.Options{})
	s.BeginPass(1)
	if err := s.SetFaults(1, &mock.Faults{Faults: []mock.Fault{{Dependency: "broken.example", Kind: mock.FaultTLS, Share: 1}}}); err != nil {
		t.Fatal(err)
	}
	if resp, err := s.resolved().Get("https://broken.example/"); err == nil {
		t.Errorf("status %d, want a failed handshake", resp.StatusCode)
		resp.Body.Close()
	}
	if got := send(t, s.resolved(), "GET", "https://whole.example/", ""); got.StatusCode != mock.StatusMiss {
		t.Errorf("status %d of another host", got.StatusCode)
	}
	// The client hears of the refusal a little before it is noted.
	for end := time.Now().Add(5 * time.Second); len(s.Refusals()) == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if r := s.Refusals(); len(r) != 1 || r[0].Name != "broken.example" {
		t.Errorf("evidence: %+v", r)
	}
}

func TestExplain(t *testing.T) {
	var rec recording
	rec.inbound("in-1", "/orders", `{}`)
	rec.call("in-1", "POST", "http://payments/v1/charge", `{"amount":2000,"key":"`+uuidA+`"}`, response(201, `{"id":"ch_1"}`))
	s := start(t, rec.exchanges, mock.Options{Arm: "head"})
	s.BeginPass(1)
	s.Enter(1, "in-1")
	send(t, s.proxied(), "POST", "http://payments/v1/charge", `{"amount":2000,"key":"`+uuidB+`"}`)
	send(t, s.proxied(), "POST", "http://payments/v1/charge", `{"amount":2100,"key":"`+uuidC+`"}`)
	want := []string{`HIT classed  head-1-out-000001
  call     POST http://payments/v1/charge
  lane     in-1 (found by only-active)
  answer   that of out-0001
  looked for
    exact       lane in-1                 no recorded call
    classed     lane in-1                 1 recorded call
    exact       lane background           no recorded call
    classed     lane background           no recorded call
    exact       lane boot                 no recorded call
    classed     lane boot                 no recorded call
    other-lane  all lanes                 no recorded call
  not as recorded, and allowed to differ
      request.body.key: recorded "` + uuidA + `", live "` + uuidB + `"  (both uuid)
`, `MISS  head-1-out-000002
  call     POST http://payments/v1/charge
  lane     in-1 (found by only-active)
  reason   the nearest recorded call differs in 2 places: request.body.amount is "2100", recorded was "2000"
  looked for
    exact       lane in-1                 no recorded call
    classed     lane in-1                 no recorded call
    exact       lane background           no recorded call
    classed     lane background           no recorded call
    exact       lane boot                 no recorded call
    classed     lane boot                 no recorded call
    other-lane  all lanes                 no recorded call
    fuzzy       the same path             off (mock.fuzzy)
  nearest recorded calls
    out-0001  score 0.94
      request.body.amount: recorded "2000", live "2100"
      request.body.key: recorded "` + uuidA + `", live "` + uuidC + `"  (both uuid)
  a rule that would answer it, for the file of mock.rules
    - name: answer POST /v1/charge
      match:
        method: [POST]
        host: payments
        path: /v1/charge
      answer:
        status: 201
        header:
          Content-Type: application/json
        body: '{"id":"ch_1"}'
`}
	for i, id := range []string{"head-1-out-000001", "head-1-out-000002"} {
		e, ok := s.Explain(id)
		if !ok {
			t.Fatalf("no call %s", id)
		}
		var b strings.Builder
		if err := e.Write(&b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[i], b.String()); diff != "" {
			t.Errorf("explanation of %s (-want +got):\n%s", id, diff)
		}
		if i == 1 { // the rule is ready to paste
			if _, err := mock.ReadRules("pasted", strings.NewReader("version: 1\nrules:\n"+e.Rule)); err != nil {
				t.Error(err)
			}
		}
	}
	if _, ok := s.Explain("head-9-out-000001"); ok {
		t.Error("a call that nobody made is explained")
	}
}
