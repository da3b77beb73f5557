package transform_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

var _ replay.Rewriter = (*transform.Rewriter)(nil)

var epoch = time.Date(2025, 11, 23, 8, 0, 0, 0, time.UTC)

// talk builds a recorded conversation, one exchange a second.
type talk struct{ exchanges []*traffic.Exchange }

// ask adds a request; header lines are "Name: value".
func (c *talk) ask(method, target, body string, header ...string) *talk {
	id := fmt.Sprintf("x%d", len(c.exchanges))
	x := &traffic.Exchange{
		ID: id, Lane: traffic.Lane(id), Direction: traffic.Inbound,
		Start: epoch.Add(time.Duration(len(c.exchanges)) * time.Second), Duration: 10 * time.Millisecond,
		Request: traffic.Request{Method: method, Scheme: "http", Authority: "shop.example", Target: target, Header: lines(header)},
	}
	x.Request.Body = traffic.NewBody([]byte(body), x.Request.Header)
	c.exchanges = append(c.exchanges, x)
	return c
}

// answer gives the last request its answer.
func (c *talk) answer(body string, header ...string) *talk {
	x := c.exchanges[len(c.exchanges)-1]
	x.Response = answer(200, body, header...)
	return c
}

func answer(status int, body string, header ...string) *traffic.Response {
	r := &traffic.Response{Status: status, Header: lines(header)}
	r.Body = traffic.NewBody([]byte(body), r.Header)
	return r
}

func lines(header []string) traffic.Header {
	var h traffic.Header
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

const jsonType = "Content-Type: application/json"

// TestBinding replays a first exchange with another answer and looks at what
// becomes of the second request.
func TestBinding(t *testing.T) {
	type request struct {
		target, body string
		header       []string
	}
	type reply struct {
		body   string
		header []string
	}
	js := func(body string, header ...string) reply { return reply{body, append(header, jsonType)} }
	tests := []struct {
		why            string
		first          string // target of the first request; /v1/orders when empty
		recorded, live reply
		give, want     request
	}{{
		why:      "an id from JSON in a path segment",
		recorded: js(`{"id":"ord_8f3k2a91"}`), live: js(`{"id":"ord_zz91k3b7"}`),
		give: request{target: "/v1/orders/ord_8f3k2a91/lines"}, want: request{target: "/v1/orders/ord_zz91k3b7/lines"},
	}, {
		why:      "a UUID in a query value, the others untouched to the byte",
		recorded: js(`{"session":"2f1c9a4e-7b60-4a0e-9c1d-0a1b2c3d4e5f"}`), live: js(`{"session":"aaaaaaaa-0000-4000-8000-000000000001"}`),
		give: request{target: "/v1/x?a=%7E+b&s=2f1c9a4e-7b60-4a0e-9c1d-0a1b2c3d4e5f&c"}, want: request{target: "/v1/x?a=%7E+b&s=aaaaaaaa-0000-4000-8000-000000000001&c"},
	}, {
		why:      "a bearer token, its scheme kept",
		recorded: js(`{"access_token":"tok-1234567890abcdef"}`), live: js(`{"access_token":"tok-fedcba0987654321"}`),
		give: request{target: "/", header: []string{"authorization: bearer tok-1234567890abcdef"}}, want: request{target: "/", header: []string{"authorization: bearer tok-fedcba0987654321"}},
	}, {
		why:      "a cookie among cookies",
		recorded: reply{header: []string{"Set-Cookie: sid=abc123def456; Path=/; HttpOnly"}}, live: reply{header: []string{"Set-Cookie: other=de; Path=/none", "Set-Cookie: sid=zyx987wvu654; Path=/"}},
		give: request{target: "/", header: []string{"Cookie: lang=en; sid=abc123def456; x=1"}}, want: request{target: "/", header: []string{"Cookie: lang=en; sid=zyx987wvu654; x=1"}},
	}, {
		why:      "an ETag with its quotes, in a list",
		recorded: reply{header: []string{`ETag: "5d8c72a5edda8d6a"`}}, live: reply{header: []string{`ETag: "0123456789abcdef"`}},
		give: request{target: "/", header: []string{`If-None-Match: W/"x", "5d8c72a5edda8d6a"`}}, want: request{target: "/", header: []string{`If-None-Match: W/"x", "0123456789abcdef"`}},
	}, {
		why:      "Location gives a short id of the same thing",
		recorded: reply{header: []string{"Location: /v1/orders/42"}}, live: reply{header: []string{"Location: http://other/v1/orders/97"}},
		give: request{target: "/v1/orders/42?verbose=42"}, want: request{target: "/v1/orders/97?verbose=42"},
	}, {
		why:      "Location gives an OAuth code and state",
		recorded: reply{header: []string{"Location: https://app.example/cb?code=SplxlOBeZQQYbYS6WxSbIA&state=af0ifjsldkj"}},
		live:     reply{header: []string{"Location: https://app.example/cb?code=QQQQlOBeZQQYbYS6WxSbII&state=bf1ifjsldkk"}},
		give:     request{target: "/cb?code=SplxlOBeZQQYbYS6WxSbIA&state=af0ifjsldkj"}, want: request{target: "/cb?code=QQQQlOBeZQQYbYS6WxSbII&state=bf1ifjsldkk"},
	}, {
		why:      "a JSON leaf, the rest of the text kept",
		recorded: js(`{"cart":{"id":"c-77aa88bb99"}}`), live: js(`{"cart":{"id":"c-11cc22dd33"}}`),
		give: request{target: "/", body: "{ \"b\": 1.50,\n \"cart\" : \"c-77aa88bb99\", \"a\": [\"\\u00e9\"] }", header: []string{jsonType}},
		want: request{target: "/", body: "{ \"b\": 1.50,\n \"cart\" : \"c-11cc22dd33\", \"a\": [\"\\u00e9\"] }", header: []string{jsonType}},
	}, {
		why:      "a number stays a number",
		recorded: js(`{"order_id":1234567890123}`), live: js(`{"order_id":9876543210987}`),
		give: request{target: "/", body: `{"ref":1234567890123,"text":"1234567890123"}`, header: []string{jsonType}},
		want: request{target: "/", body: `{"ref":9876543210987,"text":"9876543210987"}`, header: []string{jsonType}},
	}, {
		why:      "a form value",
		recorded: js(`{"csrf_token":"abcdefghijkl"}`), live: js(`{"csrf_token":"mnopqrst uvwx"}`),
		give: request{target: "/", body: "a=1&csrf=abcdefghijkl&b=%20", header: []string{"Content-Type: application/x-www-form-urlencoded"}},
		want: request{target: "/", body: "a=1&csrf=mnopqrst+uvwx&b=%20", header: []string{"Content-Type: application/x-www-form-urlencoded"}},
	}, {
		why:      "a hidden field of a page",
		recorded: reply{`<form><input type="hidden" name="csrf" value="Kj3hG7fD9sAq"></form>`, []string{"Content-Type: text/html"}},
		live:     reply{`<form><input type="hidden" name="csrf" value="Zx8cV1bN5mLp"></form>`, []string{"Content-Type: text/html; charset=utf-8"}},
		give:     request{target: "/", header: []string{"X-Csrf-Token: Kj3hG7fD9sAq"}}, want: request{target: "/", header: []string{"X-Csrf-Token: Zx8cV1bN5mLp"}},
	}, {
		why:      "a word within a text",
		recorded: js(`{"id":"ord_8f3k2a91b7"}`), live: js(`{"id":"ord_zz91k3b7c2"}`),
		give: request{target: "/", body: `{"q":"{order(id:\"ord_8f3k2a91b7\"){x}} ord_8f3k2a91b7x"}`, header: []string{jsonType}},
		want: request{target: "/", body: `{"q":"{order(id:\"ord_zz91k3b7c2\"){x}} ord_8f3k2a91b7x"}`, header: []string{jsonType}},
	}, {
		why:      "the same short number that speaks of something else stays",
		recorded: js(`{"id":7,"total":3}`), live: js(`{"id":8,"total":4}`),
		give: request{target: "/v1/customers/7?page=3"}, want: request{target: "/v1/customers/7?page=3"},
	}, {
		why:      "order_id, and the id within orders, are the same thing",
		recorded: js(`{"orders":[{"id":7}]}`), live: js(`{"orders":[{"id":8}]}`),
		give: request{target: "/v1/x?order_id=7&item_id=7", body: `{"order":{"id":7},"orderId":"7","n":7}`, header: []string{jsonType}},
		want: request{target: "/v1/x?order_id=8&item_id=7", body: `{"order":{"id":8},"orderId":"8","n":7}`, header: []string{jsonType}},
	}, {
		why:      "a list in another order still holds the recorded value",
		recorded: js(`{"items":[{"sku":"SKU-00042"},{"sku":"SKU-00077"}]}`), live: js(`{"items":[{"sku":"SKU-00077"},{"sku":"SKU-00042"}]}`),
		give: request{target: "/v1/items/SKU-00042"}, want: request{target: "/v1/items/SKU-00042"},
	}, {
		why:   "what the client said before is its own",
		first: "/v1/orders?ref=ord_8f3k2a91", recorded: js(`{"ref":"ord_8f3k2a91"}`), live: js(`{"ref":"ord_zz91k3b7"}`),
		give: request{target: "/v1/orders/ord_8f3k2a91"}, want: request{target: "/v1/orders/ord_8f3k2a91"},
	}, {
		why:      "words and prose are not distinctive",
		recorded: js(`{"status":"processing","note":"call 12345678 please"}`), live: js(`{"status":"shipped","note":"other 99999999 text"}`),
		give: request{target: "/v1/orders?status=processing&note=call+12345678+please"}, want: request{target: "/v1/orders?status=processing&note=call+12345678+please"},
	}, {
		why:      "a live answer without the place teaches nothing",
		recorded: js(`{"id":"ord_8f3k2a91"}`), live: js(`{"error":"ord_xxxxxxxx1"}`),
		give: request{target: "/v1/orders/ord_8f3k2a91"}, want: request{target: "/v1/orders/ord_8f3k2a91"},
	}, {
		why:      "an escaped value is escaped again",
		recorded: js(`{"next":"a/b+c==0011223344"}`), live: js(`{"next":"d/e+f==5566778899"}`),
		give: request{target: "/v1/list/a%2Fb+c==0011223344?cursor=a%2Fb%2Bc%3D%3D0011223344"},
		want: request{target: "/v1/list/d%2Fe+f==5566778899?cursor=d%2Fe%2Bf%3D%3D5566778899"},
	}}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			if tt.first == "" {
				tt.first = "/v1/orders"
			}
			c := new(talk).ask("POST", tt.first, "").answer(tt.recorded.body, tt.recorded.header...).
				ask("POST", tt.give.target, tt.give.body, tt.give.header...)
			before := c.exchanges[1].Clone()
			b, err := transform.Learn(c.exchanges, transform.Options{})
			if err != nil {
				t.Fatal(err)
			}
			rw := transform.NewRewriter(b, transform.Options{})
			unresolved := rw.Request(c.exchanges[1])
			if unresolved != &c.exchanges[1].Request {
				t.Error("a request was changed before anything was learned")
			}
			rw.Observe(c.exchanges[0], &traffic.Exchange{Request: c.exchanges[0].Request, Response: answer(201, tt.live.body, tt.live.header...)})
			got := rw.Request(c.exchanges[1])
			if diff := cmp.Diff(tt.want.target, got.Target); diff != "" {
				t.Errorf("target (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(lines(tt.want.header), got.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want.body, string(got.Body.Raw)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, c.exchanges[1], cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("the recorded exchange was changed:\n%s", diff)
			}
			changed := tt.give.target != tt.want.target || tt.give.body != tt.want.body || !slices.Equal(tt.give.header, tt.want.header)
			if changed && !slices.Equal(b.Needs("x1"), []string{"x0"}) {
				t.Errorf("x1 needs %v", b.Needs("x1"))
			}
			if changed && (len(b.Learned()) == 0 || b.Learned()[0].Source != "x0" || b.Learned()[0].Use != "x1") {
				t.Errorf("learned %+v", b.Learned())
			}
		})
	}
}

func TestCodedBodiesAreRewritten(t *testing.T) {
	for _, coding := range []string{"gzip", "br", "zstd", "deflate"} {
		plain := []byte(`{"id":"ord_8f3k2a91"}`)
		raw, err := traffic.Encode(plain, coding)
		if err != nil {
			t.Fatal(err)
		}
		c := new(talk).ask("POST", "/a", "").answer(string(raw), jsonType, "Content-Encoding: "+coding).
			ask("POST", "/b", string(raw), jsonType, "Content-Encoding: "+coding)
		b, err := transform.Learn(c.exchanges, transform.Options{})
		if err != nil {
			t.Fatal(err)
		}
		rw := transform.NewRewriter(b, transform.Options{})
		rw.Observe(c.exchanges[0], &traffic.Exchange{Response: answer(200, `{"id":"ord_zz91k3b7"}`, jsonType)})
		got, err := rw.Request(c.exchanges[1]).Body.Decoded()
		if err != nil || string(got) != `{"id":"ord_zz91k3b7"}` {
			t.Errorf("%s: %s, %v", coding, got, err)
		}
	}
}

func TestAnswersThatCameTooLateAreNoSource(t *testing.T) {
	c := new(talk).ask("GET", "/slow", "").answer(`{"id":"ord_8f3k2a91"}`, jsonType).ask("GET", "/v1/orders/ord_8f3k2a91", "")
	c.exchanges[0].Duration = 2 * time.Second // ends after the second request began
	b, err := transform.Learn(c.exchanges, transform.Options{})
	if err != nil || len(b.Learned()) != 0 || len(b.Needs("x1")) != 0 {
		t.Errorf("learned %+v, %v", b.Learned(), err)
	}
}

func TestRotatingTokens(t *testing.T) {
	// Each answer gives the token for the next request.
	c := new(talk)
	for i := range 5 {
		c.ask("GET", "/", "", fmt.Sprintf("X-Csrf-Token: recorded-%08d", i)).answer("", fmt.Sprintf("X-Csrf-Token: recorded-%08d", i+1))
	}
	b, err := transform.Learn(c.exchanges, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rw := transform.NewRewriter(b, transform.Options{})
	for i, x := range c.exchanges {
		want := fmt.Sprintf("live-%012d", i)
		if i == 0 {
			want = "recorded-00000000"
		}
		if got := rw.Request(x).Header.Get("X-Csrf-Token"); got != want {
			t.Errorf("request %d sends %s, want %s", i, got, want)
		}
		rw.Observe(x, &traffic.Exchange{Response: answer(200, "", fmt.Sprintf("X-Csrf-Token: live-%012d", i+1))})
	}
}

func TestALaterAnswerWins(t *testing.T) {
	// The ETag is in the list and again in the detail; the service changed it
	// in between, for its own reasons.
	c := new(talk).ask("GET", "/list", "").answer(`[{"etag":"aaaa-1111-2222"}]`, jsonType).
		ask("GET", "/detail", "").answer(`{"etag":"aaaa-1111-2222"}`, jsonType).
		ask("PUT", "/detail", "", "If-Match: aaaa-1111-2222")
	b, err := transform.Learn(c.exchanges, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Needs("x2"); !slices.Equal(got, []string{"x0", "x1"}) {
		t.Errorf("needs %v", got)
	}
	rw := transform.NewRewriter(b, transform.Options{})
	rw.Observe(c.exchanges[0], &traffic.Exchange{Response: answer(200, `[{"etag":"bbbb-1111-2222"}]`, jsonType)})
	rw.Observe(c.exchanges[1], &traffic.Exchange{Response: answer(200, `{"etag":"cccc-1111-2222"}`, jsonType)})
	if got := rw.Request(c.exchanges[2]).Header.Get("If-Match"); got != "cccc-1111-2222" {
		t.Errorf("If-Match %s", got)
	}
}

func TestForbid(t *testing.T) {
	c := new(talk).ask("POST", "/v1/orders", "").answer(`{"id":"ord_8f3k2a91"}`, jsonType).ask("GET", "/v1/orders/ord_8f3k2a91", "")
	for _, forbidden := range []string{"response.body.id", "request.path[2]", "**.id"} {
		p, err := traffic.ParsePattern(forbidden)
		if err != nil {
			t.Fatal(err)
		}
		b, err := transform.Learn(c.exchanges, transform.Options{Forbid: []traffic.Pattern{p}})
		if err != nil || len(b.Learned()) != 0 {
			t.Errorf("%s: learned %+v, %v", forbidden, b.Learned(), err)
		}
	}
}

func TestPairsForTheMock(t *testing.T) {
	conversation := func() *talk {
		return new(talk).ask("POST", "/v1/orders", "").answer(`{"id":"ord_8f3k2a91","trace":"tr-5566778899","name":"Ann"}`, jsonType).
			ask("POST", "/v1/ship", "")
	}
	live := &traffic.Exchange{Response: answer(200, `{"id":"ord_zz91k3b7","trace":"tr-0000000001","name":"Bob"}`, jsonType)}
	t.Run("without outbound calls, all that is distinctive", func(t *testing.T) {
		c := conversation()
		b, err := transform.Learn(c.exchanges, transform.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := transform.NewRewriter(b, transform.Options{}).Observe(c.exchanges[0], live)
		want := []traffic.Binding{{Recorded: "ord_8f3k2a91", Live: "ord_zz91k3b7"}, {Recorded: "tr-5566778899", Live: "tr-0000000001"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("with outbound calls, what reached one, in the lane that called", func(t *testing.T) {
		c := conversation()
		outbound := &traffic.Exchange{
			ID: "o1", Lane: "x1", Direction: traffic.Outbound, Start: epoch.Add(time.Second + time.Millisecond),
			Request: traffic.Request{Method: "POST", Target: "/carrier/ord_8f3k2a91"},
		}
		b, err := transform.Learn(append(c.exchanges, outbound), transform.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := transform.NewRewriter(b, transform.Options{}).Observe(c.exchanges[0], live)
		if diff := cmp.Diff([]traffic.Binding{{Recorded: "ord_8f3k2a91", Live: "ord_zz91k3b7"}}, got); diff != "" {
			t.Error(diff)
		}
		if needs := b.Needs("x1"); !slices.Equal(needs, []string{"x0"}) {
			t.Errorf("the lane that called needs %v", needs)
		}
	})
	t.Run("no answer teaches nothing", func(t *testing.T) {
		c := conversation()
		b, err := transform.Learn(c.exchanges, transform.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := transform.NewRewriter(b, transform.Options{}).Observe(c.exchanges[0], &traffic.Exchange{Failure: traffic.FailureReset}); got != nil {
			t.Errorf("%v", got)
		}
	})
}

func TestHeaderRules(t *testing.T) {
	set := func(v string) *string { return &v }
	opts := transform.Options{Headers: []transform.HeaderRule{
		{Name: "X-Env", Set: set("ci")},
		{Name: "x-drop", Remove: true},
		{Name: "X-Host", Replace: `^(\w+)\.example$`, With: "$1.test"},
		{Name: "X-Get", Set: set("1"), When: &transform.Filter{Method: "get"}},
		{Name: "X-Post", Set: set("1"), When: &transform.Filter{Not: &transform.Filter{Method: "GET"}}},
	}}
	if err := opts.Validate(); err != nil {
		t.Fatal(err)
	}
	c := new(talk).ask("GET", "/", "", "X-Drop: 1", "x-env: prod", "X-Host: shop.example", "X-Drop: 2")
	got := transform.NewRewriter(nil, opts).Request(c.exchanges[0])
	want := lines([]string{"x-env: ci", "X-Host: shop.test", "X-Get: 1"})
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Error(diff)
	}
	if c.exchanges[0].Request.Header.Get("x-env") != "prod" {
		t.Error("the recorded request was changed")
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add("/v1/orders/ord_8f3k2a91?x=ord_8f3k2a91&y", `{"a":"ord_8f3k2a91","b":[1,{"c":null}]}`, "sid=ord_8f3k2a91; b", "application/json")
	f.Add("a//b/%zz?&&=;=", "a=ord_8f3k2a91&b", "=;;", "application/x-www-form-urlencoded")
	f.Add("", "{\"a\":\"\\u00", "x", "text/html")
	f.Add("/", "[[[[\"ord_8f3k2a91\"]]]]", "", "")
	f.Fuzz(func(t *testing.T, target, body, cookie, mediaType string) {
		c := new(talk).ask("POST", "/v1/orders", "").answer(`{"id":"ord_8f3k2a91"}`, jsonType).
			ask("POST", target, body, "Cookie: "+cookie, "Content-Type: "+mediaType).answer(body, "Content-Type: "+mediaType, "Location: "+target, "Set-Cookie: "+cookie)
		b, err := transform.Learn(c.exchanges, transform.Options{})
		if err != nil {
			t.Fatal(err)
		}
		same := transform.NewRewriter(b, transform.Options{})
		same.Observe(c.exchanges[0], c.exchanges[0])
		same.Observe(c.exchanges[1], c.exchanges[1])
		if got := same.Request(c.exchanges[1]); got != &c.exchanges[1].Request {
			t.Fatalf("a replay that answers as recorded changes the request to %+v", got)
		}
		rw := transform.NewRewriter(b, transform.Options{})
		rw.Observe(c.exchanges[0], &traffic.Exchange{Response: answer(200, `{"id":"ord_zz91k3b7"}`, jsonType)})
		got := rw.Request(c.exchanges[1])
		// Putting the recorded value back gives the recorded request again:
		// nothing else was touched.
		if strings.Contains(target+body+cookie, "ord_zz91k3b7") {
			return
		}
		back := strings.ReplaceAll(got.Target, "ord_zz91k3b7", "ord_8f3k2a91")
		if len(back) != len(target) && !strings.Contains(target, "%") && !strings.Contains(target, "+") {
			t.Fatalf("target %q became %q", target, got.Target)
		}
		if json.Valid([]byte(body)) && !json.Valid(got.Body.Raw) {
			t.Fatalf("body %q became %q", body, got.Body.Raw)
		}
		if !bytes.Contains([]byte(body), []byte("ord_8f3k2a91")) && !strings.ContainsAny(body, `\%+`) && string(got.Body.Raw) != body {
			t.Fatalf("body %q became %q", body, got.Body.Raw)
		}
	})
}
