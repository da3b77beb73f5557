package mock_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// tap passes the bytes of one connection on and keeps them.
func tap(t *testing.T, upstream string) (addr string, kept func() (client, server []byte)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var client, server bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		down, err := l.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", upstream)
		if err != nil {
			t.Error(err)
			return
		}
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.MultiWriter(up, &client), down); up.(*net.TCPConn).CloseWrite() })
		wg.Go(func() { io.Copy(io.MultiWriter(down, &server), up); down.(*net.TCPConn).CloseWrite() })
		wg.Wait()
		down.Close()
		up.Close()
	}()
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() ([]byte, []byte) { <-done; return client.Bytes(), server.Bytes() }
}

// A conversation over a WebSocket is played to a live client as it was
// recorded: greeting, answers, and messages of the server's own accord.
func TestWebSocket(t *testing.T) {
	for _, compression := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		t.Run(fmt.Sprint("compression ", compression), func(t *testing.T) { testWebSocket(t, compression) })
	}
}

func testWebSocket(t *testing.T, compression websocket.CompressionMode) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}, CompressionMode: compression})
		if err != nil {
			t.Error(err)
			return
		}
		c.SetReadLimit(1 << 20)
		c.Write(r.Context(), websocket.MessageText, []byte("welcome")) // errors show at the client
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil {
				return
			}
			c.Write(r.Context(), kind, append([]byte("echo "), data...))
			if string(data) == "bye" {
				c.Write(r.Context(), websocket.MessageBinary, bytes.Repeat([]byte("bulk "), 20000))
				c.Close(4001, "as agreed")
				return
			}
		}
	}))
	defer server.Close()
	talk := func(addr string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c, resp, err := websocket.Dial(ctx, "ws://"+addr+"/chat?room=1", &websocket.DialOptions{Subprotocols: []string{"chat"}, CompressionMode: compression, Host: "chat.example"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 20)
		var seen strings.Builder
		fmt.Fprintln(&seen, resp.StatusCode, c.Subprotocol())
		read := func() bool {
			kind, data, err := c.Read(ctx)
			fmt.Fprintf(&seen, "%v %d %.20q %d\n", kind, len(data), data, websocket.CloseStatus(err))
			return err == nil
		}
		read()
		for _, say := range []string{"one", strings.Repeat("two", 50000), "bye"} {
			if err := c.Write(ctx, websocket.MessageText, []byte(say)); err != nil {
				t.Fatal(err)
			}
			read()
		}
		for read() {
		}
		return seen.String()
	}
	addr, kept := tap(t, server.Listener.Addr().String())
	want := talk(addr)
	asked, said := kept()
	x := &traffic.Exchange{ID: "out-1", Direction: traffic.Outbound, Lane: "a", Request: request("GET", "http://chat.example/chat?room=1", "")}
	head, frames, _ := bytes.Cut(asked, []byte("\r\n\r\n"))
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			x.Request.Header.Add(name, value)
		}
	}
	x.Request.Body.Raw = frames
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(said)), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, frames, _ = bytes.Cut(said, []byte("\r\n\r\n"))
	x.Response = &traffic.Response{Status: resp.StatusCode, Header: traffic.HeaderFrom(resp.Header), Body: traffic.Body{Raw: frames}}

	s := start(t, []*traffic.Exchange{x}, mock.Options{})
	s.BeginPass(1)
	s.Enter(1, "a")
	if got := talk(s.addr); got != want {
		t.Errorf("the mock said\n%s\nthe server had said\n%s", got, want)
	}
	for range 500 { // the journal entry is complete when the connection has ended
		if x := s.Calls(1)[0]; x.Response != nil && bytes.Contains(x.Request.Body.Raw, []byte("bye")) || compression != websocket.CompressionDisabled {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("journal: %+v", s.Calls(1)[0])
}

func TestServerSentEvents(t *testing.T) {
	events := "event: a\ndata: 1\n\n: comment\n\ndata: 2\r\n\r\ndata: 3\n\n"
	var rec recording
	x := rec.call("a", "GET", "http://feed/events", "", &traffic.Response{Status: 200, Header: traffic.Header{{Name: "Content-Type", Value: "text/event-stream"}}, Body: traffic.Body{Raw: []byte(events)}})
	x.FirstByte, x.Duration = 10*time.Millisecond, 90*time.Millisecond
	s := start(t, rec.exchanges, mock.Options{Latency: mock.Latency{Scale: 1, EveryPass: true}})
	s.BeginPass(1)
	s.Enter(1, "a")
	began := time.Now()
	resp, err := s.resolved().Get("http://feed/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all []byte
	var came []time.Duration
	buffer := make([]byte, 1024)
	for err == nil {
		var n int
		n, err = resp.Body.Read(buffer)
		if all = append(all, buffer[:n]...); n > 0 {
			came = append(came, time.Since(began))
		}
	}
	if string(all) != events {
		t.Errorf("got %q", all)
	}
	// How many arrive together is up to the machine; the last one is never early.
	if last := came[len(came)-1]; last < 90*time.Millisecond {
		t.Errorf("events came at %v", came)
	}
}

// Bodies that mean the same match, and those that do not miss.
func TestBodiesByMeaning(t *testing.T) {
	const graphql, aws, xml = "application/json", "application/x-amz-json-1.1", "text/xml; charset=utf-8"
	tests := []struct {
		reason   string
		media    string
		target   string
		recorded string
		live     string
		tier     traffic.Tier
		header   []string
	}{
		{"GraphQL: spaces, commas and comments", graphql, "/graphql", `{"query":"query Q($id: ID!) {\n  user(id: $id, first: 1) { name } # all\n}","variables":{"id":"7"}}`, `{"variables":{"id":"7"},"query":"query Q($id:ID!){user(id:$id first:1){name}}"}`, traffic.TierExact, nil},
		{"GraphQL: other variables", graphql, "/graphql", `{"query":"{a}","variables":{"id":"7"}}`, `{"query":"{a}","variables":{"id":"8"}}`, traffic.TierMiss, nil},
		{"GraphQL: another field", graphql, "/graphql", `{"query":"{a b}"}`, `{"query":"{ab}"}`, traffic.TierMiss, nil},
		{"GraphQL: spaces within a string", graphql, "/graphql", `{"query":"{a(s:\"x  y\")}"}`, `{"query":"{a(s:\"x y\")}"}`, traffic.TierMiss, nil},
		{"GraphQL: a batch", graphql, "/graphql", `[{"query":"{ a }"}]`, `[{"query":"{a}"}]`, traffic.TierExact, nil},
		{"AWS: the target tells calls apart", aws, "/", `{"Key":{"id":{"S":"1"}}}`, `{"Key":{"id":{"S":"1"}}}`, traffic.TierMiss, []string{"X-Amz-Target", "DynamoDB_20120810.PutItem"}},
		{"AWS: a new token for each call", aws, "/", `{"ClientRequestToken":"` + uuidA + `"}`, `{"ClientRequestToken":"` + uuidB + `"}`, traffic.TierClassed, nil},
		{"XML: prefixes, attributes and spaces", xml, "/soap", `<s:E xmlns:s="urn:e" b="1" a="2"><s:id>5</s:id></s:E>`, "<?xml version=\"1.0\"?>\n<x:E a=\"2\" xmlns:x=\"urn:e\" b=\"1\">\n  <x:id> 5 </x:id><!-- n -->\n</x:E>", traffic.TierExact, nil},
		{"XML: another value", xml, "/soap", `<e><id>5</id></e>`, `<e><id>6</id></e>`, traffic.TierMiss, nil},
		{"XML: another structure", xml, "/soap", `<e><a/><b/></e>`, `<e><a><b/></a></e>`, traffic.TierMiss, nil},
		{"XML: a time", xml, "/soap", `<e><at>2026-03-01T12:00:00Z</at></e>`, `<e><at>2027-01-02T03:04:05Z</at></e>`, traffic.TierClassed, nil},
		{"lines of JSON", "application/x-ndjson", "/_bulk", "{\"index\":{}}\n{\"b\":1,\"a\":2}\n", "{\"index\":{}}\r\n\r\n{\"a\":2,\"b\":1.0}", traffic.TierExact, nil},
		{"lines of JSON in another order", "application/x-ndjson", "/_bulk", "{\"a\":1}\n{\"b\":1}\n", "{\"b\":1}\n{\"a\":1}\n", traffic.TierMiss, nil},
		{"a form", "application/x-www-form-urlencoded", "/token", "grant_type=client&scope=a+b", "scope=a%20b&grant_type=client", traffic.TierExact, nil},
		{"a damaged body is taken as it is", graphql, "/x", `{"a":`, `{"a":`, traffic.TierExact, nil},
		{"a signed URL", "text/plain", "/bucket/key?X-Amz-Date=20260301T120000Z&X-Amz-Signature=aa&versionId=3", "data", "data", traffic.TierExact, []string{"target", "/bucket/key?X-Amz-Signature=bb&versionId=3&X-Amz-Date=20270101T000000Z"}},
		{"a signed upload", "text/plain", "/bucket/key", "4;chunk-signature=aa\r\ndata\r\n0;chunk-signature=bb\r\n\r\n", "4;chunk-signature=cc\r\ndata\r\n0;chunk-signature=dd\r\n\r\n", traffic.TierExact, []string{"Content-Encoding", "aws-chunked"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			var rec recording
			x := rec.call("a", "POST", "http://dep"+tt.target, tt.recorded, response(200, "{}"))
			x.Request.Header.Set("Content-Type", tt.media)
			target, header := tt.target, []string{"Content-Type", tt.media}
			if len(tt.header) > 0 && tt.header[0] == "target" {
				target = tt.header[1]
			} else {
				header = append(header, tt.header...)
			}
			if len(tt.header) > 0 && tt.header[0] == "Content-Encoding" {
				x.Request.Header.Add("Content-Encoding", tt.header[1])
				x.Request.Body.Coding = tt.header[1]
			}
			if tt.media == aws {
				x.Request.Header.Add("X-Amz-Target", "DynamoDB_20120810.GetItem")
				if len(tt.header) == 0 {
					header = append(header, "X-Amz-Target", "DynamoDB_20120810.GetItem")
				}
			}
			s := start(t, rec.exchanges, mock.Options{})
			s.BeginPass(1)
			s.Enter(1, "a")
			send(t, s.proxied(), "POST", "http://dep"+target, tt.live, header...)
			if got := s.Calls(1)[0].Match; got.Tier != tt.tier {
				t.Errorf("%s (%s), want %s", got.Tier, got.Reason, tt.tier)
			}
		})
	}
}

// What a call does decides whether it may be answered twice.
func TestReads(t *testing.T) {
	tests := []struct {
		reason, method, target, body string
		header                       []string
		reads                        bool
	}{
		{"GET", "GET", "/x", "", nil, true},
		{"POST", "POST", "/x", "{}", nil, false},
		{"a GraphQL query", "POST", "/graphql", `{"query":"query A { a } fragment F on T { b }"}`, nil, true},
		{"a GraphQL mutation", "POST", "/graphql", `{"query":"query A { a } mutation B { b }"}`, nil, false},
		{"a field called mutation", "POST", "/graphql", `{"query":"{ mutation }"}`, nil, true},
		{"a search in no GraphQL", "POST", "/search", `{"query":"shoes"}`, nil, false},
		{"DynamoDB reads", "POST", "/", `{}`, []string{"X-Amz-Target", "DynamoDB_20120810.BatchGetItem"}, true},
		{"DynamoDB writes", "POST", "/", `{}`, []string{"X-Amz-Target", "DynamoDB_20120810.UpdateItem"}, false},
		{"SQS by its older protocol", "POST", "/", "Action=GetQueueUrl&Version=1", []string{"Content-Type", "application/x-www-form-urlencoded"}, true},
		{"another of these", "POST", "/", "Action=SendMessage&Version=1", []string{"Content-Type", "application/x-www-form-urlencoded"}, false},
		{"gRPC reads", "POST", "/a.v1.Stock/GetItem", "\x00\x00\x00\x00\x00", []string{"Content-Type", "application/grpc"}, true},
		{"gRPC, a verb that only begins like one", "POST", "/a.v1.Stock/Getaway", "\x00\x00\x00\x00\x00", []string{"Content-Type", "application/grpc"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			var rec recording
			x := rec.call("a", tt.method, "http://dep"+tt.target, tt.body, response(200, "{}"))
			for i := 0; i+1 < len(tt.header); i += 2 {
				x.Request.Header.Set(tt.header[i], tt.header[i+1])
			}
			s := start(t, rec.exchanges, mock.Options{})
			s.BeginPass(1)
			s.Enter(1, "a")
			for range 2 {
				send(t, s.proxied(), tt.method, "http://dep"+tt.target, tt.body, tt.header...)
			}
			want := traffic.TierMiss
			if tt.reads {
				want = traffic.TierRepeat
			}
			if got := s.Calls(1)[1].Match; got.Tier != want {
				t.Errorf("the second call is a %s (%s), want %s", got.Tier, got.Reason, want)
			}
		})
	}
}
