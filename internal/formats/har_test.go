package formats

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

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

// anyExchanges makes what a recorder could have seen: ids and lanes that belong
// together, starts in order, and any text and any bytes in the messages.
func anyExchanges(t *rapid.T) []*traffic.Exchange {
	text := rapid.OneOf(rapid.StringMatching(`[a-z0-9 /-]{0,12}`), rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 8), func(b []byte) string { return string(b) }))
	name := rapid.OneOf(rapid.SampledFrom([]string{"Content-Type", "Content-Length", "Transfer-Encoding", "Set-Cookie", "Cookie", "X-A"}), rapid.StringMatching(`[A-Za-z:-]{1,8}`))
	header := rapid.Custom(func(t *rapid.T) (h traffic.Header) {
		for range rapid.IntRange(0, 3).Draw(t, "fields") {
			h.Add(name.Draw(t, "name"), text.Draw(t, "value"))
		}
		return h
	})
	body := func(h *traffic.Header) traffic.Body {
		raw := rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 0, 40), rapid.Just([]byte(`{"a":1}`)), rapid.Just([]byte(nil))).Draw(t, "raw")
		if coding := rapid.SampledFrom([]string{"", "", "gzip", "br", "zstd", "deflate, gzip", "unknown"}).Draw(t, "coding"); coding != "" {
			h.Add("Content-Encoding", coding)
			if coded, err := traffic.Encode(raw, coding); err == nil && rapid.Bool().Draw(t, "coded") {
				raw = coded // else what the header promises is not there
			}
		}
		b := traffic.NewBody(raw, *h)
		if rapid.IntRange(0, 4).Draw(t, "timed") == 0 {
			b.Times = rapid.SliceOfN(rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) }), 1, 3).Draw(t, "times")
		}
		if rapid.IntRange(0, 4).Draw(t, "cut") == 0 {
			b.Truncated, b.Size = true, rapid.Int64Range(0, 1<<40).Draw(t, "size")
		}
		return b
	}
	var all []*traffic.Exchange
	var lanes []traffic.Lane
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	inbound, outbound := 0, 0
	for range rapid.IntRange(0, 6).Draw(t, "exchanges") {
		start = start.Add(time.Duration(rapid.Int64Range(0, 1e10).Draw(t, "later")))
		x := &traffic.Exchange{Direction: traffic.Inbound, Start: start}
		x.Origin = traffic.Origin{Source: rapid.SampledFrom([]string{"proxy", "mirror", "gor"}).Draw(t, "source"), Connection: rapid.SampledFrom([]string{"", "c1"}).Draw(t, "connection")}
		if rapid.Bool().Draw(t, "outbound") {
			outbound += rapid.IntRange(1, 90).Draw(t, "gap") // shrunk snapshots have gaps
			x.Direction, x.ID = traffic.Outbound, fmt.Sprintf("out-%06d", outbound)
			x.Lane = rapid.SampledFrom(append([]traffic.Lane{traffic.LaneBoot, traffic.LaneBackground}, lanes...)).Draw(t, "lane")
			x.Origin.Certainty = rapid.SampledFrom([]traffic.Certainty{traffic.ByTrace, traffic.ByValue, traffic.ByTime}).Draw(t, "certainty")
		} else {
			inbound += rapid.IntRange(1, 90).Draw(t, "gap")
			x.ID = fmt.Sprintf("in-%06d", inbound)
			x.Lane = traffic.Lane(x.ID)
			lanes = append(lanes, x.Lane)
		}
		x.Request = traffic.Request{
			Method: rapid.SampledFrom([]string{"GET", "POST", "OPTIONS", "HEAD"}).Draw(t, "method"), Scheme: rapid.SampledFrom([]string{"http", "https"}).Draw(t, "scheme"),
			Authority: rapid.SampledFrom([]string{"shop", "[::1]:8080", "a@b", ""}).Draw(t, "authority"),
			Target:    rapid.SampledFrom([]string{"/", "*", "/a?b=%20&c", "/#x", "//x", "/\xff"}).Draw(t, "target"),
			Proto:     rapid.SampledFrom([]string{"HTTP/1.1", "HTTP/2.0", "HTTP/1.0"}).Draw(t, "proto"), Header: header.Draw(t, "header"), Trailer: header.Draw(t, "trailer"),
		}
		x.Request.Body = body(&x.Request.Header)
		if rapid.IntRange(0, 3).Draw(t, "incomplete") == 0 {
			x.Incomplete = []string{"hole of 3 bytes"}
		}
		if rapid.IntRange(0, 3).Draw(t, "answered") == 0 {
			x.Failure = rapid.SampledFrom([]traffic.Failure{"", traffic.FailureDNS, traffic.FailureReset}).Draw(t, "failure")
		} else {
			x.FirstByte = time.Duration(rapid.Int64Range(1, 1e11).Draw(t, "first byte"))
			x.Duration = x.FirstByte + time.Duration(rapid.Int64Range(0, 1e11).Draw(t, "rest"))
			x.Response = &traffic.Response{Status: rapid.SampledFrom([]int{200, 204, 304, 500, 999}).Draw(t, "status"), Proto: x.Request.Proto, Header: header.Draw(t, "response header"), Trailer: header.Draw(t, "response trailer")}
			x.Response.Body = body(&x.Response.Header)
			if x.Response.Body.Truncated {
				x.Failure = traffic.FailureReset
			}
		}
		all = append(all, x)
	}
	return all
}

func TestHARRoundTrip(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		all := anyExchanges(t)
		path := filepath.Join(folder, "a.har")
		writeHAR(t, path, all)
		var again []*traffic.Exchange
		counts, err := Read(context.Background(), []string{path}, Options{Strict: true}, func(x *traffic.Exchange) error { again = append(again, x); return nil })
		if err != nil || counts.Imported != len(all) {
			t.Fatalf("%+v, %v", counts, err)
		}
		if d := cmp.Diff(all, again, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	})
}

type fataler interface{ Fatal(...any) }

func writeHAR(t fataler, path string, all []*traffic.Exchange) {
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
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestIDsThatMeet reads archives whose ids cannot all be kept: every exchange
// gets one of its own, and calls follow their requests.
func TestIDsThatMeet(t *testing.T) {
	exchange := func(direction traffic.Direction, id string, lane traffic.Lane, second int) *traffic.Exchange {
		return &traffic.Exchange{ID: id, Direction: direction, Lane: lane, Start: time.Unix(int64(1767225600+second), 0).UTC(),
			Request: traffic.Request{Method: "GET", Scheme: "http", Authority: "a", Target: "/", Proto: "HTTP/1.1"}}
	}
	in := func(id string, second int) *traffic.Exchange {
		return exchange(traffic.Inbound, id, traffic.Lane(id), second)
	}
	out := func(id string, lane traffic.Lane, second int) *traffic.Exchange {
		return exchange(traffic.Outbound, id, lane, second)
	}
	for _, test := range []struct {
		reason string
		files  [][]*traffic.Exchange
		want   string
	}{
		{"as they are", [][]*traffic.Exchange{{in("in-000007", 0), out("out-000003", "in-000007", 1)}}, "in-000007 out-000003:in-000007"},
		{"twice in one file", [][]*traffic.Exchange{{in("in-000001", 0), in("in-000001", 1), out("out-000001", "in-000001", 2)}}, "in-000001 in-000002 out-000001:in-000002"},
		{"one without an id takes what another wants", [][]*traffic.Exchange{{in("", 0), in("in-000001", 1), out("out-000001", "in-000001", 2)}}, "in-000001 in-000002 out-000001:in-000002"},
		{"ids of another form", [][]*traffic.Exchange{{in("../x", 0), in("in-1", 1), in("in-999999999999", 2), out("in-000001", "boot", 3)}}, "in-000001 in-000002 in-000003 out-000001:boot"},
		{"a lane whose request is gone", [][]*traffic.Exchange{{in("in-000001", 0), out("out-000001", "in-000009", 100)}}, "in-000001 out-000001:background"},
		{"two files", [][]*traffic.Exchange{{in("in-000005", 0)}, {in("in-000005", 1), out("out-000002", "in-000005", 100)}}, "in-000001 in-000002 out-000001:background"},
	} {
		var paths []string
		for i, list := range test.files {
			paths = append(paths, filepath.Join(t.TempDir(), fmt.Sprint(i)+".har"))
			writeHAR(t, paths[i], list)
		}
		all, _, _ := imported(t, Options{}, paths...)
		var got []string
		for _, x := range all {
			id := x.ID
			if x.Direction == traffic.Outbound {
				id += ":" + string(x.Lane)
			} else if x.Lane != traffic.Lane(x.ID) {
				t.Errorf("%s: %s is in lane %s", test.reason, x.ID, x.Lane)
			}
			got = append(got, id)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s, want %s", test.reason, got, test.want)
		}
	}
}

func TestWebSocketFramesOfAllLengths(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		_, server := wsBodies([]wsMessage{{opcode: 1, data: bytes.Repeat([]byte("x"), n)}}, time.Time{})
		header := 2
		switch {
		case n >= 1<<16:
			header = 10
		case n >= 126:
			header = 4
		}
		if len(server.Raw) != header+n || server.Times != nil {
			t.Errorf("%d bytes became %d, at %v", n, len(server.Raw), server.Times)
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
	f.Add([]byte(`{"log":{"entries":[{"startedDateTime":"2026-01-01T00:00:00Z","request":{"method":"GET","url":"http://a/"},"response":{"status":200},"_reprise":{"id":"in-000009","direction":"outbound","lane":"in-000009","failure":"reset","request":{"head":{"method":"R0VU"},"header":[{"name":"QQ=="}]},"response":{"body":{"raw":"AAE=","size":-1,"truncated":true}}}}]}}`))
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
