package formats

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestImportOfMitmproxysOwnFlows(t *testing.T) {
	all, issues, _ := imported(t, Options{}, "testdata/mitmdump.flows")
	sameLines(t, outlines(all), shopCalls("http://127.0.0.1:18080"))
	sameLines(t, issues, nil)
	if got := all[1].Response.Header.Values("Set-Cookie"); len(got) != 2 || all[1].FirstByte <= 0 || all[1].Duration < all[1].FirstByte || len(all[1].Request.Header.Values("X-Twice")) != 2 {
		t.Errorf("%v %v %v", got, all[1].FirstByte, all[1].Duration)
	}
	if all[0].Origin.Connection == "" || all[0].Origin.Connection != all[7].Origin.Connection {
		t.Errorf("connections %q and %q", all[0].Origin.Connection, all[7].Origin.Connection)
	}
}

func TestImportOfMitmproxysOwnHAR(t *testing.T) {
	all, issues, _ := imported(t, Options{}, "testdata/mitmdump.har")
	want := shopCalls("http://127.0.0.1:18080")
	// mitmproxy 8 writes request bodies as text, which binary ones do not survive.
	sameLines(t, outlines(all)[:7], want[:7])
	sameLines(t, issues, nil)
	if x := all[3]; x.Response.Body.Coding != "gzip" || x.Response.Header.Get("Content-Length") != fmt.Sprint(len(x.Response.Body.Raw)) {
		t.Errorf("the coded body does not fit its header: %v", x.Response.Header)
	}
}

func TestHAREntries(t *testing.T) {
	const rest = `"headers":[],"cookies":[],"queryString":[],"headersSize":-1,`
	entry := func(request, response string) string {
		return `{"startedDateTime":"2026-01-01T00:00:00.000Z","time":12,"request":{` + rest + request + `},"response":{` + response + `},"timings":{"blocked":2,"dns":-1,"send":1,"wait":5,"receive":3}}`
	}
	const get = `"method":"GET","url":"https://u:p@Shop.local:8443?x=1#y","httpVersion":"h3"`
	const ok = `"status":200,"httpVersion":"HTTP/1.1","headers":[{"name":":status","value":"200"},{"name":"Content-Encoding","value":"gzip"},{"name":"Content-Length","value":"7"}],"content":{"size":2,"text":"ok"}`
	tests := []struct{ reason, entries, want, issue string }{
		{"decoded text gets its coding back", entry(get, ok), `inbound GET https://shop.local:8443/?x=1 -> 200 "ok" `, ""},
		{"base64", entry(get, `"status":200,"content":{"text":"AAE=","encoding":"base64"}`), `inbound GET https://shop.local:8443/?x=1 -> 200 "\x00\x01" `, ""},
		{"status 0 is a failure", entry(get, `"status":0,"_error":"net::ERR_CONNECTION_REFUSED"`), "inbound GET https://shop.local:8443/?x=1 -> refused", ""},
		{"form parameters", entry(`"method":"POST","url":"http://a/","postData":{"mimeType":"application/x-www-form-urlencoded","params":[{"name":"a b","value":"1&2"}]}`, ok), `inbound POST http://a/ "a+b=1%262" -> 200 "ok" `, ""},
		{"no absolute URL", entry(`"method":"GET","url":"/x"`, ok), "", "request.url is not absolute"},
		{"no time", `{"startedDateTime":"yesterday"}`, "", "startedDateTime is not"},
		{"a wrong type", `{"startedDateTime":7}`, "", "startedDateTime is not of the right type"},
		{"bad base64", entry(get, `"status":200,"content":{"text":"%%","encoding":"base64"}`), "", "is not base64"},
		{"WebSocket messages", strings.TrimSuffix(entry(`"method":"GET","url":"wss://a/ws"`, `"status":101`), "}") + `,"_webSocketMessages":[{"type":"send","opcode":1,"data":"hi"},{"type":"receive","opcode":2,"data":"AAE="}]}`, `inbound GET https://a/ws "\x81\x82\x00\x00\x00\x00hi" -> 101 "\x82\x02\x00\x01" `, ""},
	}
	for _, test := range tests {
		good := entry(`"method":"GET","url":"http://good/"`, ok)
		path := file(t, "a.har", "\xef\xbb\xbf"+`{"x":[{}],"log":{"version":"1.2","pages":[{"a":[1]}],"entries":[`+test.entries+",\n"+good+`],"comment":""}}`)
		all, issues, _ := imported(t, Options{}, path)
		want := []string{`inbound GET http://good/ -> 200 "ok" `}
		if test.want != "" {
			want = append([]string{test.want}, want...)
		}
		got := outlines(all)
		if strings.Contains(test.entries, `"blocked":2`) && len(all) == 2 { // it starts later by that
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s: %s", test.reason, d)
			}
		} else if len(all) != len(want) {
			t.Errorf("%s: %v", test.reason, got)
		}
		if joined := strings.Join(issues, "\n"); (test.issue == "") != (joined == "") || !strings.Contains(joined, test.issue) {
			t.Errorf("%s: issues %q", test.reason, joined)
		}
	}
	all, _, _ := imported(t, Options{}, file(t, "b.har", `{"log":{"entries":[`+entry(get, ok)+`]}}`))
	if x := all[0]; !x.Start.Equal(time.Date(2026, 1, 1, 0, 0, 0, 2e6, time.UTC)) || x.FirstByte != 6*time.Millisecond || x.Duration != 9*time.Millisecond || x.Response.Header.Get("Content-Length") != fmt.Sprint(len(x.Response.Body.Raw)) {
		t.Errorf("%v %v %v %v", x.Start, x.FirstByte, x.Duration, x.Response.Header)
	}
}

func TestDamagedHARKeepsWhatIsGood(t *testing.T) {
	const entry = `{"startedDateTime":"2026-01-01T00:00:00Z","request":{"method":"GET","url":"http://a/"},"response":{"status":204}}`
	for reason, text := range map[string]string{
		"cut off":  `{"log":{"entries":[` + entry + `,` + entry[:50],
		"not JSON": `{"log":{"entries":[` + entry + `,}`,
	} {
		all, issues, counts := imported(t, Options{}, file(t, "a.har", text))
		if len(all) != 1 || len(issues) != 1 || counts.Unreadable != 1 {
			t.Errorf("%s: %v, %v", reason, outlines(all), issues)
		}
	}
}

func TestHARRoundTrip(t *testing.T) {
	all, _, _ := imported(t, Options{}, "testdata/mitmdump.flows")
	all[1].Direction, all[1].Lane = traffic.Outbound, "in-000001"
	all[2].Request.Trailer = traffic.Header{{Name: "X-Sum", Value: "1"}}
	all[3].Response, all[3].Failure = nil, traffic.FailureDNS
	all[4].Response, all[4].Failure = nil, traffic.FailureNone // a mirror
	for _, x := range all[3:5] {
		x.FirstByte, x.Duration = 0, 0
	}
	var b bytes.Buffer
	w := NewHARWriter(&b, "1.0", nil)
	for _, x := range all {
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again, issues, _ := imported(t, Options{}, file(t, "a.har", b.String()))
	sameLines(t, issues, nil)
	sameLines(t, outlines(again), outlines(all))
	for i := range min(len(all), len(again)) {
		a, b := all[i], again[i]
		if !a.Start.Equal(b.Start) || a.FirstByte != b.FirstByte || a.Origin.Connection != b.Origin.Connection || cmp.Diff(a.Request.Trailer, b.Request.Trailer) != "" {
			t.Errorf("%s: %v %v %s became %v %v %s", a.ID, a.Start, a.FirstByte, a.Origin.Connection, b.Start, b.FirstByte, b.Origin.Connection)
		}
	}
}

func TestWebSocketFramesOfAllLengths(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		_, server := wsBodies([]wsMessage{{opcode: 1, data: bytes.Repeat([]byte("x"), n)}})
		header := 2
		switch {
		case n >= 1<<16:
			header = 10
		case n >= 126:
			header = 4
		}
		if len(server) != header+n {
			t.Errorf("%d bytes became %d", n, len(server))
		}
	}
}

func TestFlowsThatAreNoExchanges(t *testing.T) {
	tnet := func(kind byte, data string) string { return fmt.Sprintf("%d:%s%c", len(data), data, kind) }
	dict := func(pairs ...string) string { return tnet('}', strings.Join(pairs, "")) }
	request := dict(tnet(';', "method"), tnet(',', "GET"), tnet(';', "path"), tnet(',', "/a"), tnet(';', "host"), tnet(';', "h"), tnet(';', "port"), tnet('#', "81"),
		tnet(';', "timestamp_start"), tnet('^', "1767225600.5"), tnet(';', "content"), tnet(',', ""))
	http := dict(tnet(';', "type"), tnet(';', "http"), tnet(';', "request"), request, tnet(';', "error"), dict(tnet(';', "msg"), tnet(';', "Connection refused")))
	tcp := dict(tnet(';', "type"), tnet(';', "tcp"))
	path := file(t, "a.flows", tcp+http+dict()+http)
	all, issues, _ := imported(t, Options{}, path)
	sameLines(t, outlines(all), []string{"inbound GET http://h:81/a -> refused", "inbound GET http://h:81/a -> refused"})
	sameLines(t, issues, []string{path + `: at byte 0: a "tcp" flow is not HTTP`, fmt.Sprintf("%s: at byte %d: not a flow", path, len(tcp+http))})
	_, issues, _ = imported(t, Options{}, file(t, "b.flows", tcp+http[:len(http)-9]))
	if len(issues) != 2 || !strings.Contains(issues[1], "the file ends within a record") {
		t.Errorf("a cut file: %v", issues)
	}
}

func FuzzHAR(f *testing.F) {
	f.Add([]byte(`{"log":{"entries":[{"startedDateTime":"2026-01-01T00:00:00Z","request":{"method":"GET","url":"http://a/"},"response":{"status":200,"content":{"text":"x"}},"timings":{"wait":-1e300,"send":1e300}}]}}`))
	f.Add([]byte(`{"log":{"entries":[7,{"request":[]},{}`))
	f.Add([]byte(`{"log":[[[[`))
	f.Fuzz(fuzzReader(HAR))
}

func FuzzFlows(f *testing.F) {
	f.Add([]byte("28:4:type;4:http;7:request;0:}}"))
	f.Add([]byte("999999999999:x"))
	f.Add([]byte("6:3:1:0#]]"))
	f.Add([]byte(strings.Repeat("9:", 50)))
	f.Fuzz(fuzzReader(Mitmproxy))
}
