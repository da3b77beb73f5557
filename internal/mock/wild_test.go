package mock

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func readRequest(s string) (*http.Request, error) {
	return http.ReadRequest(bufio.NewReader(strings.NewReader(s)))
}

// open starts a mock with one recorded call and returns its address.
func openMock(t testing.TB, o Options, more ...*traffic.Exchange) (*Mock, string) {
	t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	x := &traffic.Exchange{ID: "out-1", Direction: traffic.Outbound, Lane: "a",
		Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "dep", Target: "/ok"},
		Response: &traffic.Response{Status: 200, Header: traffic.Header{{Name: "Content-Length", Value: "2"}}, Body: traffic.Body{Raw: []byte("ok")}}}
	o.OneLane = true
	m, err := New(append(more, x), ca, o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		m.Close()
	})
	return m, l.Addr().String()
}

// works fails the test unless the mock still answers.
func works(t *testing.T, addr string) {
	t.Helper()
	got := exchange(t, addr, "GET /ok HTTP/1.1\r\nHost: dep\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("the mock does not answer any more: %q", got)
	}
}

// exchange sends bytes, says that no more will come, and returns all that comes
// back until the mock closes.
func exchange(t *testing.T, addr, send string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, send); err != nil {
		return "" // closed before all was sent, which is an answer
	}
	c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Errorf("the mock neither answers nor closes after %q", send)
	}
	return string(got)
}

func TestOddRequests(t *testing.T) {
	_, addr := openMock(t, Options{MaxBody: 1000})
	tests := []struct {
		reason, send string
		status       string // of the first answer; "" is none
		answers      int
	}{
		{"two in one packet", "GET /ok HTTP/1.1\r\nHost: dep\r\n\r\nGET /ok HTTP/1.1\r\nHost: dep\r\n\r\n", "200", 2},
		{"empty lines before", "\r\n\r\nGET /ok HTTP/1.1\r\nHost: dep\r\n\r\n", "200", 1},
		{"HTTP/1.0 ends the connection", "GET /ok HTTP/1.0\r\nHost: dep\r\n\r\nGET /ok HTTP/1.0\r\n\r\n", "200", 1},
		{"HTTP/1.0 may keep it", "GET /ok HTTP/1.0\r\nHost: dep\r\nConnection: keep-alive\r\n\r\nGET /ok HTTP/1.0\r\nHost: dep\r\n\r\n", "200", 2},
		{"half a head", "GET /ok HTTP/1.1\r\nHost", "", 0},
		{"half a body", "POST /ok HTTP/1.1\r\nHost: dep\r\nContent-Length: 10\r\n\r\nabc", "", 0},
		{"nothing", "", "", 0},
		{"both lengths", "POST /ok HTTP/1.1\r\nHost: dep\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /ok HTTP/1.1\r\nHost: dep\r\n\r\n", "400", 1},
		{"two lengths", "POST /ok HTTP/1.1\r\nHost: dep\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", "400", 1},
		{"a signed length", "POST /ok HTTP/1.1\r\nHost: dep\r\nContent-Length: +4\r\n\r\nabcd", "400", 1},
		{"a length with a list", "POST /ok HTTP/1.1\r\nHost: dep\r\nContent-Length: 4, 4\r\n\r\nabcd", "400", 1},
		{"a space before the colon", "POST /ok HTTP/1.1\r\nHost: dep\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400", 1},
		{"an unknown coding", "POST /ok HTTP/1.1\r\nHost: dep\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501", 1},
		{"a bad chunk size", "POST /ok HTTP/1.1\r\nHost: dep\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n", "400", 1},
		{"a chunk size that overflows", "POST /ok HTTP/1.1\r\nHost: dep\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "400", 1},
		{"a chunk that is too long for its size", "POST /ok HTTP/1.1\r\nHost: dep\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", "400", 1},
		{"a bare line feed", "GET /ok HTTP/1.1\nHost: dep\n\n", "", 0},
		{"a folded field", "GET /ok HTTP/1.1\r\nHost: dep\r\nX: a\r\n b\r\n\r\n", "400", 1},
		{"no host", "GET /ok HTTP/1.1\r\n\r\n", "400", 1},
		{"two hosts", "GET /ok HTTP/1.1\r\nHost: dep\r\nHost: other\r\n\r\n", "400", 1},
		{"an unknown version", "GET /ok HTTP/3.0\r\nHost: dep\r\n\r\n", "505", 1},
		{"an unknown expectation", "POST /ok HTTP/1.1\r\nHost: dep\r\nExpect: tea\r\nContent-Length: 1\r\n\r\na", "417", 1},
		{"a body over the limit", "POST /ok HTTP/1.1\r\nHost: dep\r\nContent-Length: 1001\r\n\r\n", "413", 1},
		{"chunks over the limit", "POST /ok HTTP/1.1\r\nHost: dep\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", "413", 1},
		{"a head over the limit", "GET /ok HTTP/1.1\r\nHost: dep\r\n" + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 300), "431", 1},
		{"a chunked body with a trailer", "POST /ok HTTP/1.1\r\nHost: dep\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\nab\r\n0\r\nX-Sum: 1\r\n\r\nGET /ok HTTP/1.1\r\nHost: dep\r\n\r\n", "599", 2},
		{"a target that is no path", "GET ok HTTP/1.1\r\nHost: dep\r\n\r\n", "400", 1},
		{"a tunnel with a body", "CONNECT dep:80 HTTP/1.1\r\nHost: dep\r\nContent-Length: 1\r\n\r\na", "400", 1},
		{"a tunnel in a tunnel", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\nCONNECT b:80 HTTP/1.1\r\nHost: b\r\n\r\nGET /ok HTTP/1.1\r\nHost: dep\r\n\r\n", "200", 3},
		{"half a TLS handshake", "\x16\x03\x01\x02\x00\x01", "", 0},
		{"half an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nS", "505", 1},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			got := exchange(t, addr, tt.send)
			if n := strings.Count(got, "HTTP/1.1 "); n != tt.answers {
				t.Errorf("%d answers, want %d: %q", n, tt.answers, got)
			}
			if tt.status != "" && !strings.HasPrefix(got, "HTTP/1.1 "+tt.status+" ") {
				t.Errorf("got %.60q, want status %s", got, tt.status)
			}
			works(t, addr)
		})
	}
}

// Whatever arrives, the mock answers or closes, and serves the next client.
func FuzzConnection(f *testing.F) {
	for _, s := range []string{
		"GET /ok HTTP/1.1\r\nHost: dep\r\n\r\n", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03",
		http2.ClientPreface, http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08",
		http2.ClientPreface + "\xff\xff\xff\x00\x00\x00\x00\x00\x01", "POST /ok HTTP/1.1\r\nHost: dep\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	_, addr := openMock(f, Options{})
	f.Fuzz(func(t *testing.T, data []byte) {
		exchange(t, addr, string(data))
		works(t, addr)
	})
}

// A flood of streams that are reset at once, and of settings, must not grow
// the mock or keep it from serving others.
func TestHTTP2Floods(t *testing.T) {
	_, addr := openMock(t, Options{})
	before := runtime.NumGoroutine()
	floods := map[string]func(*http2.Framer, uint32) error{
		"rapid reset": func(f *http2.Framer, i uint32) error {
			// :method GET, :scheme http, :path /, :authority by literal
			block := []byte{0x82, 0x86, 0x84, 0x41, 0x03, 'd', 'e', 'p'}
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndHeaders: true}); err != nil {
				return err
			}
			return f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		},
		"settings": func(f *http2.Framer, i uint32) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 + i})
		},
		"pings": func(f *http2.Framer, i uint32) error { return f.WritePing(false, [8]byte{byte(i)}) },
		"a head without end": func(f *http2.Framer, i uint32) error {
			block := append([]byte{0x00, 0x01, 'x', 0x7f, 0x81, 0x01}, bytes.Repeat([]byte{'a'}, 256)...) // x: 256 bytes
			if i == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
			}
			return f.WriteContinuation(1, false, block)
		},
		"heads that unpack to more than the limit": func(f *http2.Framer, i uint32) error {
			block := []byte{0x82, 0x86, 0x84, 0x41, 0x03, 'd', 'e', 'p'}
			if i == 0 { // x: 3000 bytes, into the table
				block = append(append(block, 0x40, 0x01, 'x', 0x7f, 0xb9, 0x16), bytes.Repeat([]byte{'a'}, 3000)...)
			}
			block = append(block, bytes.Repeat([]byte{0xbe}, 100)...) // the entry of the table, again and again
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndHeaders: true, EndStream: true})
		},
	}
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, http2.ClientPreface)
			go io.Copy(io.Discard, c) // what comes back does not matter here
			f := http2.NewFramer(c, nil)
			f.WriteSettings()
			for i := range uint32(5000) {
				if flood(f, i) != nil {
					break // the mock had enough, which is its right
				}
			}
			works(t, addr)
		})
	}
	// All that the floods started ends with their connections.
	for range 200 {
		if runtime.NumGoroutine() <= before+10 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines are left of %d", runtime.NumGoroutine(), before)
}

// Slow senders hold nothing that others need.
func TestSlowSendersBlockNobody(t *testing.T) {
	_, addr := openMock(t, Options{})
	for i := range 100 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		halves := []string{"G", "GET /ok HTTP/1.1\r\nHos", "POST /ok HTTP/1.1\r\nHost: dep\r\nContent-Length: 100000\r\n\r\nabc", "\x16", http2.ClientPreface[:20]}
		if _, err := io.WriteString(c, halves[i%len(halves)]); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { works(t, addr) })
	}
	wg.Wait()
}

// Nothing in this package can reach a real dependency: only the name server
// dials, and only the cluster's own.
func TestOnlyTheNameServerDials(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source files: %v", err)
	}
	dials := []string{"Dial", "DialContext", "DialTimeout", "Dialer", "DefaultClient", "Client", "Transport", "DefaultTransport", "Get", "Post", "Head", "PostForm", "NewClientConn", "ExchangeContext", "Exchange", "Command"}
	from := map[string]bool{"net": true, "http": true, "tls": true, "http2": true, "dns": true, "grpc": true, "syscall": true, "unix": true, "exec": true, "websocket": true}
	var found []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && from[x.Name] {
				for _, d := range dials {
					if s.Sel.Name == d {
						found = append(found, fmt.Sprintf("%s: %s.%s", name, x.Name, d))
					}
				}
			}
			return true
		})
	}
	if len(found) != 1 || found[0] != "dns.go: dns.Client" {
		t.Errorf("what can dial: %v, want the name server's client alone", found)
	}
}

// Odd calls of gRPC get a status, or their stream is reset; the connection
// goes on.
func TestOddCallsOfGRPC(t *testing.T) {
	_, addr := openMock(t, Options{MaxBody: 1000})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	for _, tt := range []struct {
		reason, path, body string
		status             string // of gRPC; "" is a reset
	}{
		{"a method that nobody recorded", "/no.Such/Method", "\x00\x00\x00\x00\x00", "12"},
		{"a path that is no method", "/", "\x00\x00\x00\x00\x00", "12"},
		{"no message", "/p.S/M", "", "12"},
		{"half a prefix", "/p.S/M", "\x00\x00", "12"},
		{"half a message", "/p.S/M", "\x00\x00\x00\x00\x09ab", "12"},
		{"a length that overflows", "/p.S/M", "\x00\xff\xff\xff\xffab", "12"},
		{"compressed by nothing", "/p.S/M", "\x01\x00\x00\x00\x02ab", "12"},
		{"a message over the limit", "/p.S/M", "\x00\x00\x00\x07\xd0" + strings.Repeat("a", 2000), ""},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			resp, err := client.Post("http://"+addr+tt.path, "application/grpc", strings.NewReader(tt.body))
			if err != nil {
				if tt.status != "" {
					t.Errorf("got %v, want status %s", err, tt.status)
				}
			} else {
				resp.Body.Close()
				if got := resp.Header.Get("Grpc-Status"); got != tt.status {
					t.Errorf("status %q, want %q", got, tt.status)
				}
			}
			works(t, addr)
		})
	}
}
