package formats

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestImportOfGoVCRsOwnCassette(t *testing.T) {
	all, issues, _ := imported(t, Options{}, "testdata/govcr.yaml")
	base := "http://127.0.0.1:18080"
	sameLines(t, outlines(all), []string{
		"outbound GET " + base + `/missing?x=1&y=%20 -> 404 "404 page not found\n" `,
		"outbound POST " + base + `/orders "{\"sku\":7}" -> 201 "{\"got\":\"{\\\"sku\\\":7}\"}" `,
		"outbound GET " + base + `/gzip -> 200 (717 bytes) `,
		"outbound GET " + base + `/chunked -> 200 "chunk 0\nchunk 1\nchunk 2\n" `,
		"outbound POST " + base + `/binary "\x00\x01\xfe\xff" -> 201 "{\"got\":\"\\x00\\x01\\xfe\\xff\"}" `,
	})
	if len(issues) != 1 || !strings.Contains(issues[0], "testdata/govcr.yaml:4: cassettes have no times") {
		t.Errorf("issues %v", issues)
	}
	for i, x := range all {
		if x.Lane != traffic.LaneBoot || x.Duration <= 0 || i > 0 && !x.Start.After(all[i-1].Start) {
			t.Errorf("%s: lane %s, %v, %v", x.ID, x.Lane, x.Start, x.Duration)
		}
	}
	if got := all[1].Response.Header.Values("Set-Cookie"); len(got) != 2 {
		t.Errorf("cookies %v", got)
	}
}

func TestCassettes(t *testing.T) {
	const good = "- request:\n    url: http://a/1\n    method: GET\n  response:\n    body: |\n      - not an item\n\n      ---\n    code: 200\n    duration: 1ms\n"
	path := file(t, "v1.yaml", "---\nversion: 1\ninteractions:\n"+good+
		"- request:\n    url: /relative\n  response: {code: 200}\n"+
		"- request:\n    url: [http://a]\n  response: {code: x}\n"+
		"- request: {url: 'http://a/2', body: !!binary AAE=}\n  response: {code: 204, status: 204 No Content, duration: ''}\nother: 1\n")
	all, issues, _ := imported(t, Options{}, path)
	sameLines(t, outlines(all), []string{
		`outbound GET http://a/1 -> 200 "- not an item\n\n---\n" `,
		`outbound GET http://a/2 "\x00\x01" -> 204 `,
	})
	sameLines(t, issues, []string{
		path + ":4: cassettes have no times; the calls follow one another from the date of the file",
		path + ":14: request.url is not absolute",
		path + ":17: 2 values are not of the right type",
	})
}

func TestImportOfEnvoysOwnMessages(t *testing.T) {
	for _, name := range []string{"testdata/tap.json", "testdata/tap.pb_length_delimited"} {
		all, issues, _ := imported(t, Options{}, name)
		sameLines(t, outlines(all), []string{
			`inbound POST https://shop.local/orders?x=1 "{\"sku\":7}" -> 201 "{\"id\":" `,
			`inbound GET http://shop.local/one -> 200 "part one, part two" `,
			`inbound GET http://shop.local/two -> 200 "part one, part two" `,
		})
		if len(issues) != 1 || !strings.Contains(issues[0], "has no times") {
			t.Errorf("issues %v", issues)
		}
		x := all[0]
		if x.FirstByte != 12*time.Millisecond || !x.Start.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) || !x.Response.Body.Truncated ||
			x.Response.Trailer.Get("x-end") != "1" || len(x.Request.Header.Values("x-twice")) != 2 || x.Request.Header.Has(":path") {
			t.Errorf("%s: %+v", name, x)
		}
		if d := cmp.Diff([]string{"response body truncated by Envoy"}, x.Incomplete); d != "" {
			t.Error(d)
		}
		if !all[1].Start.Equal(time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC)) {
			t.Errorf("start %v", all[1].Start)
		}
	}
}

func TestTapsThatAreNoExchanges(t *testing.T) {
	const good = `{"httpBufferedTrace":{"request":{"headers":[{"key":":method","value":"GET"},{"key":":path","value":"/"},{"key":"host","value":"a"}],"headersReceivedTime":"2026-01-01T00:00:00Z"}}}`
	path := file(t, "a.json", `{"socket_buffered_trace":{}}`+"\n"+good+"\n"+`[1]`+good+`{"http_streamed_trace_segment":{"trace_id":"1"}}{"http_buffered_trace":{"response":{}}}`+good+`{"http`)
	all, issues, _ := imported(t, Options{}, path)
	sameLines(t, outlines(all), []string{"inbound GET http://a/ -> no answer", "inbound GET http://a/ -> no answer", "inbound GET http://a/ -> no answer"})
	var reasons []string
	for _, i := range issues {
		reasons = append(reasons, i[strings.LastIndex(i, ": ")+2:])
	}
	sameLines(t, reasons, []string{"not a trace of HTTP", "not an object", "the segment is of no known kind", "the trace has no request", "the file ends within a record"})
}

// The pairs below are written after Speedscale's documentation of the format.
const rrpairMarkdown = "### REQUEST ###\n```\nPOST http://shop.local:8080/orders?x=1 HTTP/1.1\nAccept: a, b\nContent-Type: application/json\nX-Comma: one\\, two\n```\n\n```\n{\n  \"sku\": 7\n}\n```\n\n" +
	"### RESPONSE ###\n```\nHTTP/1.1 201 Created\nContent-Type: application/json\n```\n\n```\n{\n  \"id\": 2\n}\n```\n\n### SIGNATURE ###\n```\nhttp:host is shop.local\n```\n\n" +
	"### METADATA ###\n```\ndirection: IN\nuuid: 0d0c7a54-2f64-4c58-9a0e-3b0f3a1c9e11\nts: 2026-01-01T00:00:00.000000001Z\nduration: 13ms\ntags: service=shop\n```\n\n" +
	"### INTERNAL - DO NOT MODIFY ###\n```\njson: {\"msgType\":\"rrpair\",\"http\":{\"req\":{\"bodyBase64\":\"eyJza3UiOjd9\"},\"res\":{\"bodyBase64\":\"eyJpZCI6MX0=\"}}}\n```\n"

func TestRRPairs(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("localhost/a.md", rrpairMarkdown)
	write("pay.local/raw.jsonl", `{"msgType":"rrpair","ts":"2026-01-01T00:00:00.005Z","l7protocol":"http","duration":3,"direction":"OUT","http":{"req":{"url":"http://pay.local/charge","method":"POST","version":"1.1","headers":{"Content-Type":["application/json"]},"bodyBase64":"e30="},"res":{"statusCode":200,"headers":{},"bodyBase64":"AAE="}}}`+"\n"+
		`{"msgType":"rrpair","l7protocol":"postgres"}`+"\n"+`{"msgType":"rrpair","ts":"yesterday"}`+"\n")
	write("notes.md", "# Notes\nnothing recorded here\n")
	write(".metadata/snapshot.json", "{}")
	all, issues, counts := imported(t, Options{}, folder)
	sameLines(t, outlines(all), []string{
		// The request shows what was kept, so the bytes are those kept; the
		// response was edited.
		`inbound POST http://shop.local:8080/orders?x=1 "{\"sku\":7}" -> 201 "{\n  \"id\": 2\n}" `,
		`outbound POST http://pay.local/charge "{}" -> 200 "\x00\x01" `,
	})
	if x := all[0]; len(x.Request.Header.Values("Accept")) != 2 || x.Request.Header.Get("X-Comma") != "one, two" || x.Duration != 13*time.Millisecond || x.Start.Nanosecond() != 1 {
		t.Errorf("%+v", x.Request.Header)
	}
	if x := all[1]; x.Lane != "in-000001" || x.Origin.Certainty != traffic.ByOnlyActive {
		t.Errorf("lane %s by %q", x.Lane, x.Origin.Certainty)
	}
	if counts.Files != 2 || len(issues) != 2 || !strings.Contains(issues[0], `protocol "postgres" is not HTTP`) || !strings.Contains(issues[1], "not of the right type") {
		t.Errorf("%+v, %v", counts, issues)
	}
}

func TestKeploy(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"test-set-0/tests/test-1.yaml": "version: api.keploy.io/v1beta1\nkind: Http\nname: test-1\nspec:\n  metadata: {}\n  req:\n    method: POST\n    proto_major: 1\n    url: http://localhost:8080/orders?x=1\n    header: {Content-Type: application/json, Host: shop}\n    body: '{\"sku\":7}'\n    timestamp: 2026-01-01T00:00:00.000000001Z\n  resp:\n    status_code: 201\n    header: {Content-Encoding: gzip}\n    body: '{\"id\":1}'\n    timestamp: 2026-01-01T00:00:00.012Z\ncurl: x\n",
		"test-set-0/mocks.yaml": "version: api.keploy.io/v1beta1\nkind: Http\nname: mock-0\nspec:\n  metadata: {type: mocks}\n  req: {method: GET, url: 'http://pay/x', header: {}}\n  resp: {status_code: 200, body_ref: {path: assets/big.txt, size: 3}}\n  reqTimestampMock: 2026-01-01T00:00:00.003Z\n  resTimestampMock: 2026-01-01T00:00:00.005Z\n" +
			"---\nversion: api.keploy.io/v1beta1\nkind: PostgresV2\nname: mock-1\nspec: {}\n---\nversion: api.keploy.io/v1beta1\nkind: Http\nname: mock-2\nspec:\n  req: {method: GET, url: 'http://pay/y', timestamp: 2026-01-01T00:00:00.004Z}\n  resp: {status_code: 200, body_skipped: true, body_size: 2000000}\n  reqTimestampMock: 2026-01-01T00:00:01Z\n---\nversion: api.keploy.io/v1beta1\n\tkind: broken\n",
		"test-set-0/mappings.yaml":  "version: api.keploy.io/v1beta1\nkind: TestMocksMapping\ntest_set_id: test-set-0\n",
		"test-set-0/assets/big.txt": "big",
		"test-set-0/config.yaml":    "preScript: rm -rf\n",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, issues, _ := imported(t, Options{}, folder)
	sameLines(t, outlines(all), []string{
		`inbound POST http://shop/orders?x=1 "{\"sku\":7}" -> 201 "{\"id\":1}" `,
		`outbound GET http://pay/x -> 200 "big" `,
		`outbound GET http://pay/y -> 200 `,
	})
	if all[1].Lane != "in-000001" || all[2].Lane != traffic.LaneBackground || !all[2].Response.Body.Truncated || all[0].Response.Body.Coding != "gzip" {
		t.Errorf("lanes %s and %s, %+v", all[1].Lane, all[2].Lane, all[2].Response.Body)
	}
	var reasons []string
	for _, i := range issues {
		reasons = append(reasons, strings.TrimPrefix(i, folder+"/test-set-0/"))
	}
	sameLines(t, reasons, []string{`mocks.yaml:11: a record of kind "PostgresV2" is not HTTP/1`, "mocks.yaml:24: not YAML"})
}

// TestKeployStreamsAndJSON reads what Keploy's own types write beside plain
// YAML: a streamed body as a list of chunks, forms, and whole sets in JSON.
func TestKeployStreamsAndJSON(t *testing.T) {
	const spec = `{"version":"api.keploy.io/v1beta1","kind":"Http","name":"%s","spec":{"metadata":{},"req":{"method":"GET","url":"http://pay/%[1]s","header":{"X":"\ud83d\ude00"},"body":"","body_ref":{"path":"","size":0},"timestamp":"2026-01-01T00:00:00.001Z"},"resp":{"status_code":200,"header":{},"body":"ok","timestamp":"2026-01-01T00:00:00.003Z"},"reqTimestampMock":"2026-01-01T00:00:00.001Z","resTimestampMock":"2026-01-01T00:00:00.003Z"},"connectionId":"1"}` + "\n"
	for _, test := range []struct{ reason, name, text, want, issue string }{
		{"a test in JSON", "test-1.json", fmt.Sprintf(spec, "test-1"), `inbound GET http://pay/test-1 -> 200 "ok" `, ""},
		{"mocks in JSON, one a line", "mocks.json", fmt.Sprintf(spec, "mock-1") + `{"version":"api.keploy.io/v1beta1","kind":"gRPC","name":"mock-2","spec":{}}` + "\n" + fmt.Sprintf(spec, "mock-3"),
			"outbound GET http://pay/mock-1 -> 200 \"ok\" \noutbound GET http://pay/mock-3 -> 200 \"ok\" ", `a record of kind "gRPC" is not HTTP/1`},
		{"a wrong type in JSON", "test-1.json", strings.Replace(fmt.Sprintf(spec, "test-1"), `"status_code":200`, `"status_code":"x"`, 1), "", "some values of spec are not of the right type"},
		{"server-sent events", "test-1.yaml", keployYAML("text/event-stream", "      - ts: \"2026-01-01T00:00:01Z\"\n        data:\n          event: message\n          data: one\n          data: two\n      - ts: \"2026-01-01T00:00:02Z\"\n        data:\n          comment: ping\n"),
			`inbound GET http://shop/ -> 200 "event:message\ndata:one\ndata:two\n\n:ping\n\n" `, ""},
		{"lines", "test-1.yaml", keployYAML("application/x-ndjson", "      - data: {raw: '{\"a\":1}'}\n      - data: {raw: '{\"a\":2}'}\n"), `inbound GET http://shop/ -> 200 "{\"a\":1}\n{\"a\":2}" `, ""},
		{"a form", "test-1.yaml", strings.Replace(keployYAML("", " ok\n"), "header: {}", "header: {Content-Type: application/x-www-form-urlencoded}\n    form:\n      - key: a\n        values: ['1 2']", 1), `inbound GET http://shop/ "a=1+2" -> 200 "ok" `, ""},
	} {
		all, issues, _ := imported(t, Options{}, file(t, test.name, test.text))
		if got := strings.Join(outlines(all), "\n"); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.reason, got, test.want)
		}
		if joined := strings.Join(issues, "\n"); (test.issue == "") != (joined == "") || !strings.Contains(joined, test.issue) {
			t.Errorf("%s: issues %q", test.reason, joined)
		}
	}
	parts := strings.Replace(keployYAML("", " ok\n"), "header: {}", "header: {Content-Type: multipart/form-data; boundary=x}\n    form:\n      - key: a\n        values: ['1']", 1)
	if all, _, _ := imported(t, Options{}, file(t, "test-1.yaml", parts)); len(all) != 1 || len(all[0].Incomplete) != 1 || !all[0].Request.Body.Truncated {
		t.Errorf("a multipart form whose body is gone: %v", outlines(all))
	}
}

func keployYAML(mediaType, body string) string {
	return "version: api.keploy.io/v1beta1\nkind: Http\nname: test-1\nspec:\n  req:\n    method: GET\n    url: http://shop/\n    header: {}\n    timestamp: 2026-01-01T00:00:00Z\n" +
		"  resp:\n    status_code: 200\n    header: {Content-Type: \"" + mediaType + "\"}\n    body:" + map[bool]string{true: "", false: "\n"}[mediaType == ""] + body + "    timestamp: 2026-01-01T00:00:01Z\n"
}

func TestSniffedFormats(t *testing.T) {
	for text, want := range map[string]Format{
		`{"log":{"version":"1.2","entries":[]}}`:       HAR,
		"\xef\xbb\xbf" + ` {"log":{"creator":{}}}`:     HAR,
		`{"data":{"pairs":[]},"meta":{}}`:              Hoverfly,
		`{"imposters":[]}`:                             Mountebank,
		`{"mappings":[],"meta":{}}`:                    WireMock,
		`[{"request":{"method":"GET"},"response":{}}]`: WireMock,
		`{"log":{"other":1}}`:                          "",
		`{"version":"api.keploy.io/v1beta1","kind":"Http","name":"test-1","spec":{}}`: Keploy,
		`{"spans":[]}`:                   "",
		"plain text\n":                   "",
		"":                               "",
		"version: 2\ninteractions: []\n": GoVCR,
		"1 932c00508a2b3c4d5e6f7081 1767225600000000000 0\nGET / HTTP/1": GoReplay,
		"1 apple 2 pears\n": "",
	} {
		if got := Sniff([]byte(text)); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestFilesThatCannotBeImported(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link.gor")
	if err := os.Symlink("/etc/hostname", link); err != nil {
		t.Fatal(err)
	}
	for name, paths := range map[string][]string{
		"no such file":    {filepath.Join(t.TempDir(), "gone.har")},
		"no match":        {filepath.Join(t.TempDir(), "*.har")},
		"unknown format":  {file(t, "a.txt", "hello")},
		"a link":          {link},
		"rules":           {file(t, "m.json", `{"mappings":[]}`)},
		"an empty folder": {t.TempDir()},
		"not really gzip": {file(t, "a.gz", "\x1f\x8bxx")},
	} {
		if _, err := Read(t.Context(), paths, Options{}, func(*traffic.Exchange) error { return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestMemoryDoesNotGrowWithTheFile reads a file far larger than what may be
// held, and looks at what the reader holds back.
func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "1 %024x %d 1\nGET /%d HTTP/1.1\r\nHost: a\r\n\r\n%s", i, int64(i)*1e6, i, gorEnd)
	}
	path := file(t, "big.gor", b.String())
	next := 0
	im := &importer{opts: Options{MaxRecord: DefaultMaxRecord}}
	most := 0
	im.emit = func(x *traffic.Exchange) error {
		if want := fmt.Sprintf("/%d", next); x.Request.Target != want {
			t.Fatalf("got %s, want %s", x.Request.Target, want)
		}
		next++
		most = max(most, len(im.sorter.held)+len(im.joiner.active)+len(im.joiner.past))
		return nil
	}
	im.sorter.out = im.finish
	if err := im.file(t.Context(), path, true); err != nil {
		t.Fatal(err)
	}
	if err := im.sorter.flush(); err != nil {
		t.Fatal(err)
	}
	if next != 20_000 || most > sortExchanges+rememberPast+2 {
		t.Errorf("%d exchanges, %d held at once", next, most)
	}
}

func FuzzTap(f *testing.F) {
	for _, name := range []string{"testdata/tap.json", "testdata/tap.pb_length_delimited"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(fuzzReader(EnvoyTap))
}

func FuzzVCR(f *testing.F) {
	f.Add([]byte("interactions:\n- request: {url: 'http://a/'}\n  response: {code: 200}\n-"))
	f.Add([]byte("interactions:\n - &a [*a]\n - {{{\n\t"))
	f.Fuzz(fuzzReader(GoVCR))
}

func FuzzKeploy(f *testing.F) {
	f.Add([]byte("version: api.keploy.io/v1\nkind: Http\nspec:\n  req: {method: GET, url: 'http://a/'}\n  resp: {body_ref: {path: ../../etc/passwd}}\n---\n- 1"))
	f.Fuzz(fuzzReader(Keploy))
}

func FuzzRRPair(f *testing.F) {
	f.Add([]byte(rrpairMarkdown))
	f.Add([]byte(`{"http":{"req":{"url":"http://a","method":"GET"},"res":{"statusCode":-1}},"duration":1e300}{"ts":1}`))
	f.Add([]byte("### REQUEST ###\n```\n```\n### RESPONSE ###\n```\nHTTP/1.1"))
	f.Fuzz(fuzzReader(RRPair))
}
