package compare_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// answer makes an exchange with a response. Header lines are "Name: value".
func answer(status int, body string, header ...string) *traffic.Exchange {
	h := lines(header)
	if !h.Has("Content-Type") {
		h.Add("Content-Type", "application/json")
	}
	return &traffic.Exchange{Response: &traffic.Response{Status: status, Header: h, Body: traffic.NewBody([]byte(body), h)}}
}

func lines(header []string) traffic.Header {
	var h traffic.Header
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func call(method, url, body string, header ...string) *traffic.Exchange {
	scheme, rest, _ := strings.Cut(url, "://")
	authority, target, _ := strings.Cut(rest, "/")
	h := lines(header)
	return &traffic.Exchange{Request: traffic.Request{
		Method: method, Scheme: scheme, Authority: authority, Target: "/" + target, Header: h, Body: traffic.NewBody([]byte(body), h),
	}}
}

func encoded(t *testing.T, body, coding string) *traffic.Exchange {
	t.Helper()
	raw, err := traffic.Encode([]byte(body), coding)
	if err != nil {
		t.Fatal(err)
	}
	return answer(200, string(raw), "Content-Encoding: "+coding)
}

// show writes differences as "change path: a -> b (note)".
func show(diffs []compare.Difference) []string {
	var out []string
	for _, d := range diffs {
		s := string(d.Change) + " " + d.Path.String() + ": " + d.A + " -> " + d.B
		if d.Note != "" {
			s += " (" + d.Note + ")"
		}
		out = append(out, s)
	}
	return out
}

func patterns(t *testing.T, list ...string) []traffic.Pattern {
	t.Helper()
	var out []traffic.Pattern
	for _, s := range list {
		p, err := traffic.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestResponses(t *testing.T) {
	text, html := "Content-Type: text/plain", "Content-Type: text/html; charset=utf-8"
	tests := []struct {
		name   string
		reason string
		a, b   *traffic.Exchange
		opts   compare.Options
		want   []string
	}{
		{"equal", "equal bytes need no look", answer(200, `{"a":1}`), answer(200, `{"a":1}`), compare.Options{}, nil},
		{"status", "a status is a number of its own", answer(200, `{}`), answer(500, `{}`), compare.Options{}, []string{"status response.status: 200 -> 500"}},
		{"key order", "members have no order", answer(200, `{"a":1,"b":[{"c":2,"d":3}]}`), answer(200, `{ "b":[{"d":3,"c":2}], "a":1}`), compare.Options{}, nil},
		{"header order and case", "fields have no order between names", answer(200, `{}`, "X-A: 1", "X-B: 2"), answer(200, `{}`, "x-b: 2", "x-a: 1"), compare.Options{}, nil},
		{"header value", "", answer(200, `{}`, "X-A: 1"), answer(200, `{}`, "X-A: 2"), compare.Options{}, []string{"value response.header.X-A: 1 -> 2"}},
		{"header lost and new", "", answer(200, `{}`, "X-A: 1"), answer(200, `{}`, "X-B: 1"), compare.Options{},
			[]string{"missing response.header.X-A: 1 -> ", "extra response.header.X-B:  -> 1"}},
		{"split header", "two lines equal one with a comma", answer(200, `{}`, "Vary: A", "Vary: B"), answer(200, `{}`, "Vary: A, B"), compare.Options{}, nil},
		{"second value", "values of a name keep their order", answer(200, `{}`, "Vary: A", "Vary: B"), answer(200, `{}`, "Vary: A", "Vary: C"), compare.Options{}, []string{"value response.header.Vary[1]: B -> C"}},
		{"date", "time passes", answer(200, `{}`, "Date: Mon, 23 Nov 2026 08:00:00 GMT"), answer(200, `{}`, "Date: Mon, 23 Nov 2026 08:00:01 GMT"), compare.Options{}, nil},
		{"broken date", "a Date that is no date is the service's fault", answer(200, `{}`, "Date: Mon, 23 Nov 2026 08:00:00 GMT"), answer(200, `{}`, "Date: yesterday"), compare.Options{}, []string{"extra response.header.Date:  -> yesterday"}},
		{"length follows the body", "the body is compared itself", answer(200, `{"a":1}`, "Content-Length: 7"), answer(200, `{"a":12}`, "Content-Length: 8"), compare.Options{}, []string{"value response.body.a: 1 -> 12"}},
		{"length alone", "answers to HEAD have a length and no body", answer(200, ``, "Content-Length: 7"), answer(200, ``, "Content-Length: 8"), compare.Options{}, []string{"value response.header.Content-Length: 7 -> 8"}},
		{"digest of other bytes", "a digest follows from the bytes, even where they mean the same", answer(200, `{"a":1,"b":2}`, `ETag: "1"`), answer(200, `{"b":2,"a":1}`, `ETag: "2"`), compare.Options{}, nil},
		{"digest of the same bytes", "then it is a change of its own", answer(200, `{"a":1}`, `ETag: "1"`), answer(200, `{"a":1}`, `ETag: "2"`), compare.Options{}, []string{`value response.header.Etag: "1" -> "2"`}},
		{"chunked", "how the body travels is no difference", answer(200, `{}`, "Transfer-Encoding: chunked"), answer(200, `{}`, "Content-Length: 2"), compare.Options{}, nil},
		{"media type spelling", "case and spaces mean nothing", answer(200, `{}`, "Content-Type: application/json; charset=utf-8"), answer(200, `{}`, "Content-Type: application/json;charset=UTF-8"), compare.Options{}, nil},
		{"cookie flag", "cookies are compared by attribute", answer(200, `{}`, "Set-Cookie: sid=1; Path=/; HttpOnly; Secure"), answer(200, `{}`, "Set-Cookie: sid=1; secure; path=/"), compare.Options{}, []string{"missing response.cookie.sid.httponly:  -> "}},
		{"cookie value", "", answer(200, `{}`, "Set-Cookie: sid=1"), answer(200, `{}`, "Set-Cookie: sid=2"), compare.Options{}, []string{"value response.cookie.sid: 1 -> 2"}},
		{"type", "a number that became a string", answer(200, `{"id":12}`), answer(200, `{"id":"12"}`), compare.Options{}, []string{`type response.body.id: 12 -> "12"`}},
		{"null", "null is a type", answer(200, `{"id":12}`), answer(200, `{"id":null}`), compare.Options{}, []string{`type response.body.id: 12 -> null`}},
		{"missing", "", answer(200, `{"a":1,"b":{"c":2}}`), answer(200, `{"a":1}`), compare.Options{}, []string{`missing response.body.b: {"c":2} -> `}},
		{"extra", "", answer(200, `{"a":1}`), answer(200, `{"a":1,"b":2}`), compare.Options{}, []string{`extra response.body.b:  -> 2`}},
		{"odd key", "every key has an address", answer(200, `{"a.b":1}`), answer(200, `{"a.b":2}`), compare.Options{}, []string{`value response.body["a.b"]: 1 -> 2`}},
		{"numbers by value", "spelling is no difference", answer(200, `[1, 1.0, 1e2, -0, 0.10]`), answer(200, `[1.0, 1, 100, 0, 1e-1]`), compare.Options{}, nil},
		{"large integers", "2^53+1 is not 2^53", answer(200, `{"id":9007199254740993}`), answer(200, `{"id":9007199254740992}`), compare.Options{}, []string{"value response.body.id: 9007199254740993 -> 9007199254740992"}},
		{"huge exponents", "", answer(200, `[1e999999999999]`), answer(200, `[1e999999999998]`), compare.Options{}, []string{"value response.body[0]: 1e999999999999 -> 1e999999999998"}},
		{"escapes", "the spelling of strings is no difference", answer(200, `{"k\u0065y":"\u00e9"}`), answer(200, `{"key":"é"}`), compare.Options{}, nil},
		{"array by index", "", answer(200, `[1,2,3]`), answer(200, `[1,5,3]`), compare.Options{}, []string{"value response.body[1]: 2 -> 5"}},
		{"array order", "the same elements", answer(200, `[1,2,3]`), answer(200, `[3,2,1]`), compare.Options{}, []string{"order response.body: [1,2,3] -> [3,2,1]"}},
		{"array lost element", "one lost element is one difference", answer(200, `[1,2,3,4]`), answer(200, `[1,3,4]`), compare.Options{}, []string{"length response.body: 4 -> 3 (missing [1] 2)"}},
		{"array by key", "id is evident", answer(200, `[{"id":1,"v":1},{"id":2,"v":2},{"id":3,"v":3}]`), answer(200, `[{"id":1,"v":1},{"id":3,"v":9}]`), compare.Options{},
			[]string{`length response.body: 3 -> 2 (missing [1] {"id":2,"v":2})`, "value response.body[2].v: 3 -> 9"}},
		{"array reordered and changed", "key finds the partner", answer(200, `[{"id":1,"v":1},{"id":2,"v":2}]`), answer(200, `[{"id":2,"v":2},{"id":1,"v":9}]`), compare.Options{},
			[]string{`order response.body: [{"id":1,"v":1},{"id":2,"v":2}] -> [{"id":2,"v":2},{"id":1,"v":9}]`, "value response.body[0].v: 1 -> 9"}},
		{"emptied array", "", answer(200, `{"items":[1,2]}`), answer(200, `{"items":[]}`), compare.Options{}, []string{"length response.body.items: 2 -> 0"}},
		{"body lost", "", answer(200, `{"a":1}`), answer(200, ``), compare.Options{}, []string{`missing response.body: {"a":1} -> `}},
		{"body became text", "an error page is another type", answer(200, `{"a":1}`), answer(200, `oops`, text), compare.Options{},
			[]string{"value response.header.Content-Type: application/json -> text/plain", "type response.body: json, 7 bytes -> text, 4 bytes"}},
		{"text by line", "", answer(200, "a\nb\nc\n", text), answer(200, "a\nx\nc\n", text), compare.Options{}, []string{"value response.body[1]: b -> x"}},
		{"one line of text", "a single line is a single value", answer(200, "hello", text), answer(200, "world", text), compare.Options{}, []string{"value response.body: hello -> world"}},
		{"json lines", "each line is an element", answer(200, "{\"a\":1}\n{\"a\":2}\n", "Content-Type: application/x-ndjson"), answer(200, "{\"a\":1}\n{\"a\":3}\n", "Content-Type: application/x-ndjson"), compare.Options{}, []string{"value response.body[1].a: 2 -> 3"}},
		{"form", "", answer(200, "a=1&b=x+y", "Content-Type: application/x-www-form-urlencoded"), answer(200, "b=x%20y&a=2", "Content-Type: application/x-www-form-urlencoded"), compare.Options{}, []string{"value response.body.a: 1 -> 2"}},
		{"binary length", "", answer(200, "\x00\x01", "Content-Type: image/png"), answer(200, "\x00\x01\x02", "Content-Type: image/png"), compare.Options{},
			[]string{"length response.body: 2 -> 3 (digests sha256:b413f47d13ee2fe6 and sha256:ae4b3280e56e2faf)"}},
		{"binary value", "", answer(200, "\x00\x01", "Content-Type: image/png"), answer(200, "\x00\x02", "Content-Type: image/png"), compare.Options{},
			[]string{"value response.body: sha256:b413f47d13ee2fe6 -> sha256:fcf0a6c700dd13e2"}},
		{"media type without structure", "html that is not read stays text", answer(200, "<p>a</p>", html), answer(200, "<p>a</p>", html), compare.Options{}, nil},
		{"no response", "a failure is a missing response", answer(200, `{}`), &traffic.Exchange{Failure: traffic.FailureReset}, compare.Options{}, []string{"missing response: 200 -> reset"}},
		{"both failed alike", "", &traffic.Exchange{Failure: traffic.FailureReset}, &traffic.Exchange{Failure: traffic.FailureReset}, compare.Options{}, nil},
		{"both failed otherwise", "", &traffic.Exchange{Failure: traffic.FailureReset}, &traffic.Exchange{Failure: traffic.FailureTimeout}, compare.Options{}, []string{"value response: reset -> timeout"}},
		{"nil exchanges", "absence is no panic", nil, answer(200, `{}`), compare.Options{}, []string{"extra response: no exchange -> 200"}},
		{"ignore", "a rule covers what is below", answer(200, `{"a":{"b":1},"c":1}`), answer(200, `{"a":{"b":2},"c":2}`), compare.Options{Ignore: patterns(t, "response.body.a")}, []string{"value response.body.c: 1 -> 2"}},
		{"unordered", "a set has no order", answer(200, `{"tags":["a","b"]}`), answer(200, `{"tags":["b","a"]}`), compare.Options{Unordered: patterns(t, "response.body.tags")}, nil},
		{"unordered changed", "what does not cancel out is paired", answer(200, `{"tags":["a","b","c"]}`), answer(200, `{"tags":["c","a","x"]}`), compare.Options{Unordered: patterns(t, "response.body.tags")}, []string{"value response.body.tags[1]: b -> x"}},
		{"tolerance", "near enough by rule", answer(200, `{"x":100,"y":100}`), answer(200, `{"x":100.5,"y":103}`), compare.Options{Tolerances: []compare.Tolerance{{Pattern: patterns(t, "response.body.*")[0], Relative: 0.01}}}, []string{"value response.body.y: 100 -> 103"}},
		{"limit", "what differs everywhere is cut", answer(200, `[1,2,3]`), answer(200, `[4,5,6]`), compare.Options{Limit: 2}, []string{"value response.body[0]: 1 -> 4", "value response.body[1]: 2 -> 5"}},
	}
	names := map[string]bool{}
	for _, tt := range tests {
		if names[tt.name] {
			t.Fatalf("two rows are named %q", tt.name)
		}
		names[tt.name] = true
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, show(compare.Responses(tt.a, tt.b, tt.opts))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestContentCodingIsNoDifferenceOfTheBody(t *testing.T) {
	const body = `{"name":"résumé","list":[1,2,3]}`
	for _, coding := range []string{"gzip", "br", "zstd", "deflate"} {
		t.Run(coding, func(t *testing.T) {
			got := show(compare.Responses(answer(200, body), encoded(t, body, coding), compare.Options{}))
			want := []string{"extra response.header.Content-Encoding:  -> " + coding}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			changed := encoded(t, strings.Replace(body, "3", "4", 1), coding)
			if diff := cmp.Diff([]string{"value response.body.list[2]: 3 -> 4"}, show(compare.Responses(encoded(t, body, coding), changed, compare.Options{}))); diff != "" {
				t.Errorf("inside the coding (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenCodingIsATypeChange(t *testing.T) {
	broken := answer(200, "this is not gzip", "Content-Encoding: gzip")
	got := compare.Responses(encoded(t, `{"a":1}`, "gzip"), broken, compare.Options{})
	if len(got) != 1 || got[0].Change != compare.Type || got[0].Path.String() != "response.body" || got[0].Note == "" {
		t.Errorf("got %v, want one type change of the body with the reason", show(got))
	}
}

func TestRequests(t *testing.T) {
	tests := []struct {
		name string
		a, b *traffic.Exchange
		want []string
	}{
		{"equal", call("GET", "http://inv/v1/stock/1", ""), call("GET", "http://inv/v1/stock/1", ""), nil},
		{"segment", call("GET", "http://inv/v1/stock/1", ""), call("GET", "http://inv/v1/stock/2", ""), []string{"value request.path[2]: 1 -> 2"}},
		{"another path", call("GET", "http://inv/v1", ""), call("GET", "http://inv/v1/stock", ""), []string{"value request.path: /v1 -> /v1/stock"}},
		{"query", call("GET", "http://inv/s?a=1&b=2", ""), call("GET", "http://inv/s?b=3&a=1&c=4", ""), []string{"value request.query.b: 2 -> 3", "extra request.query.c:  -> 4"}},
		{"repeated query", call("GET", "http://inv/s?a=1&a=2", ""), call("GET", "http://inv/s?a=1&a=3", ""), []string{"value request.query.a[1]: 2 -> 3"}},
		{"method", call("PUT", "http://inv/s", ""), call("POST", "http://inv/s", ""), []string{"value request.method: PUT -> POST"}},
		{"time left", call("POST", "http://ship/s.S/Track", "", "grpc-timeout: 2999978u"), call("POST", "http://ship/s.S/Track", "", "grpc-timeout: 10S"), nil},
		{"tracing", call("GET", "http://inv/s", "", "traceparent: 00-1", "User-Agent: a"), call("GET", "http://inv/s", "", "traceparent: 00-2", "User-Agent: b"), nil},
		{"header", call("GET", "http://inv/s", "", "X-Tenant: 1"), call("GET", "http://inv/s", ""), []string{"missing request.header.X-Tenant: 1 -> "}},
		{"cookie", call("GET", "http://inv/s", "", "Cookie: a=1; b=2"), call("GET", "http://inv/s", "", "Cookie: b=2; a=3"), []string{"value request.cookie.a: 1 -> 3"}},
		{"body", call("POST", "http://pay/c", `{"amount":2000}`), call("POST", "http://pay/c", `{"amount":2100}`), []string{"value request.body.amount: 2000 -> 2100"}},
		{"nil", nil, call("GET", "http://inv/s", ""), []string{"extra request:  -> GET http://inv/s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, show(compare.Requests(tt.a, tt.b, compare.Options{}))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTallyCountsRules(t *testing.T) {
	tally := new(compare.Tally)
	opts := compare.Options{Ignore: patterns(t, "response.body.a", "response.body.never"), Tally: tally}
	compare.Responses(answer(200, `{"a":1}`), answer(200, `{"a":2}`), opts)
	compare.Responses(answer(200, `{"a":1}`), answer(200, `{"a":3}`), opts)
	if got := tally.Count("ignore", opts.Ignore[0]); got != 2 {
		t.Errorf("the rule was applied twice, counted %d", got)
	}
	if got := tally.Count("ignore", opts.Ignore[1]); got != 0 {
		t.Errorf("the rule was never applied, counted %d", got)
	}
}

func TestOptionsValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts compare.Options
		want string // part of the error; "" for none
	}{
		{"zero", compare.Options{}, ""},
		{"everything", compare.Options{Ignore: patterns(t, "**")}, "hides everything"},
		{"negative limit", compare.Options{Limit: -1}, "negative"},
		{"empty tolerance", compare.Options{Tolerances: []compare.Tolerance{{Pattern: patterns(t, "response.body.x")[0]}}}, "zero"},
		{"negative tolerance", compare.Options{Tolerances: []compare.Tolerance{{Pattern: patterns(t, "response.body.x")[0], Absolute: -1}}}, "negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.opts.Validate()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
