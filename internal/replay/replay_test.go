package replay_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// recorded returns an inbound exchange that was recorded at second i.
func recorded(i int, method, target string, header ...string) *traffic.Exchange {
	id := fmt.Sprintf("x%03d", i)
	x := &traffic.Exchange{
		ID: id, Lane: traffic.Lane(id), Direction: traffic.Inbound,
		Start: epoch.Add(time.Duration(i) * time.Second), Duration: 5 * time.Millisecond,
		Request:  traffic.Request{Method: method, Scheme: "http", Authority: "shop.example", Target: target, Proto: "HTTP/1.1"},
		Response: &traffic.Response{Status: 200, Proto: "HTTP/1.1"},
	}
	for n := 0; n+1 < len(header); n += 2 {
		x.Request.Header.Add(header[n], header[n+1])
	}
	return x
}

func withBody(x *traffic.Exchange, body string) *traffic.Exchange {
	x.Request.Body = traffic.NewBody([]byte(body), x.Request.Header)
	return x
}

func addr(s *httptest.Server) string { return s.Listener.Addr().String() }

// pass replays exchanges against an address and returns the live ones by
// recorded id.
func pass(t *testing.T, address string, opts replay.Options, exchanges ...*traffic.Exchange) map[string]*traffic.Exchange {
	t.Helper()
	e, err := replay.New(exchanges, opts)
	if err != nil {
		t.Fatal(err)
	}
	live := make(map[string]*traffic.Exchange)
	err = e.Pass(t.Context(), replay.Target{Arm: "head", Addr: address}, nil, 1, func(x *traffic.Exchange) { live[x.Recorded] = x })
	if err != nil {
		t.Fatal(err)
	}
	if len(live) != len(exchanges) {
		t.Fatalf("%d live exchanges for %d recorded ones", len(live), len(exchanges))
	}
	return live
}

// rawServer hands each accepted connection to serve and closes it after.
func rawServer(t *testing.T, serve func(n int, c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return l.Addr().String()
}

// skipRequest reads one request with its Content-Length body.
func skipRequest(r *bufio.Reader) error {
	req, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err
}

func TestPassSendsExactBytes(t *testing.T) {
	tests := []struct {
		why  string
		give *traffic.Exchange
		opts replay.Options
		want string // of the request, HOST and TRACE replaced
	}{{
		why:  "header order and spelling stay, the host is the target's",
		give: recorded(0, "GET", "/a%2Fb?q=1&q=%20&empty", "x-LOWER", "1", "Host", "shop.example", "Accept", "*/*", "X-Lower", "2"),
		want: "GET /a%2Fb?q=1&q=%20&empty HTTP/1.1\r\nx-LOWER: 1\r\nHost: HOST\r\nAccept: */*\r\nX-Lower: 2\r\ntraceparent: TRACE\r\n\r\n",
	}, {
		why:  "recorders that keep no Host header get one, first",
		give: recorded(0, "GET", "", "Accept", "*/*"),
		want: "GET / HTTP/1.1\r\nHost: HOST\r\nAccept: */*\r\ntraceparent: TRACE\r\n\r\n",
	}, {
		why:  "the recorded host on request",
		give: recorded(0, "GET", "/", "Host", "old"),
		opts: replay.Options{KeepHost: true},
		want: "GET / HTTP/1.1\r\nHost: shop.example\r\ntraceparent: TRACE\r\n\r\n",
	}, {
		why: "trace context is ours, in its place; what belongs to one connection goes",
		give: recorded(0, "GET", "/", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate", "a=b",
			"Connection", "keep-alive, X-Hop", "x-hop", "1", "TE", "trailers", "Upgrade", "h2c", "Keep-Alive", "5", "X-Last", "1"),
		want: "GET / HTTP/1.1\r\nHost: HOST\r\nTraceparent: TRACE\r\nX-Last: 1\r\n\r\n",
	}, {
		why:  "pseudo headers of HTTP/2 are not fields of HTTP/1.1",
		give: recorded(0, "GET", "/", ":authority", "shop.example", ":method", "GET", "accept", "*/*"),
		want: "GET / HTTP/1.1\r\nHost: HOST\r\naccept: */*\r\ntraceparent: TRACE\r\n\r\n",
	}, {
		why:  "a length that a rewrite made wrong is made true",
		give: withBody(recorded(0, "POST", "/", "Content-Length", "999", "Content-Type", "text/plain"), "hello"),
		want: "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Type: text/plain\r\ntraceparent: TRACE\r\n\r\nhello",
	}, {
		why:  "a POST without a body states so",
		give: recorded(0, "POST", "/"),
		want: "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\ntraceparent: TRACE\r\n\r\n",
	}, {
		why: "chunked stays chunked, with its trailers",
		give: func() *traffic.Exchange {
			x := withBody(recorded(0, "PUT", "/", "Transfer-Encoding", "chunked"), "hello")
			x.Request.Trailer.Add("X-Sum", "5d41")
			return x
		}(),
		want: "PUT / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\ntraceparent: TRACE\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5d41\r\n\r\n",
	}, {
		why:  "a coded body goes out as it is",
		give: withBody(recorded(0, "POST", "/", "Content-Encoding", "gzip"), "\x1f\x8b not really"),
		want: "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Encoding: gzip\r\nContent-Length: 13\r\ntraceparent: TRACE\r\n\r\n\x1f\x8b not really",
	}}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			got := make(chan string, 1)
			address := rawServer(t, func(_ int, c net.Conn, r *bufio.Reader) {
				var seen strings.Builder
				buf := make([]byte, 4096)
				for !strings.HasSuffix(seen.String(), tail(tt.want)) {
					n, err := r.Read(buf)
					if err != nil {
						break
					}
					seen.Write(buf[:n])
				}
				got <- seen.String()
				io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
			})
			live := pass(t, address, tt.opts, tt.give)["x000"]
			mark := traffic.Mark{Pass: 1, Lane: traffic.LaneNumber("x000")}.Traceparent()
			want := strings.NewReplacer("HOST", address, "TRACE", mark).Replace(tt.want)
			if diff := cmp.Diff(want, <-got); diff != "" {
				t.Errorf("request on the wire (-want +got):\n%s", diff)
			}
			if live.Response == nil || live.Response.Status != 204 {
				t.Errorf("live exchange %+v", live)
			}
			if live.ID != "head-1-x000" || live.Lane != "x000" || live.Request.Header.Get("traceparent") != mark {
				t.Errorf("identity of the live exchange: %+v", live)
			}
		})
	}
}

// tail returns what the request ends with, the mark excepted.
func tail(want string) string { return want[strings.LastIndex(want, "TRACE")+len("TRACE"):] }

func TestPassReadsWholeAnswers(t *testing.T) {
	tests := []struct {
		why, method, wire string
		want              traffic.Response
	}{{
		why: "sized body, odd header spelling, repeated names, in wire order", method: "GET",
		wire: "HTTP/1.1 201 Created\r\nsEt-cOOkie: a=1\r\nContent-Length: 3\r\nset-cookie:b=2 \r\nX-Empty:\r\n\r\nabc",
		want: traffic.Response{Status: 201, Proto: "HTTP/1.1", Body: traffic.Body{Raw: []byte("abc"), Size: 3},
			Header: traffic.Header{{Name: "sEt-cOOkie", Value: "a=1"}, {Name: "Content-Length", Value: "3"}, {Name: "set-cookie", Value: "b=2"}, {Name: "X-Empty"}}},
	}, {
		why: "chunks with extensions and trailers", method: "GET",
		wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
		want: traffic.Response{Status: 200, Proto: "HTTP/1.1", Body: traffic.Body{Raw: []byte("abc0123456789"), Size: 13},
			Header: traffic.Header{{Name: "Transfer-Encoding", Value: "chunked"}}, Trailer: traffic.Header{{Name: "X-Sum", Value: "1"}}},
	}, {
		why: "interim answers come before the final one", method: "GET",
		wire: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
		want: traffic.Response{Status: 200, Proto: "HTTP/1.1", Body: traffic.Body{Raw: []byte("x"), Size: 1},
			Header: traffic.Header{{Name: "Content-Length", Value: "1"}}},
	}, {
		why: "HEAD has a length and no body", method: "HEAD",
		wire: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
		want: traffic.Response{Status: 200, Proto: "HTTP/1.1", Header: traffic.Header{{Name: "Content-Length", Value: "100"}}},
	}, {
		why: "304 names a length and sends nothing", method: "GET",
		wire: "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\n",
		want: traffic.Response{Status: 304, Proto: "HTTP/1.1", Header: traffic.Header{{Name: "Content-Length", Value: "7"}, {Name: "ETag", Value: `"a"`}}},
	}, {
		why: "the end of the connection ends the body", method: "GET",
		wire: "HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\nuntil the end",
		want: traffic.Response{Status: 200, Proto: "HTTP/1.0", Body: traffic.Body{Raw: []byte("until the end"), Size: 13, Coding: "gzip"},
			Header: traffic.Header{{Name: "Content-Encoding", Value: "gzip"}}},
	}, {
		why: "a redirect is an answer and is not followed", method: "GET",
		wire: "HTTP/1.1 302 Found\r\nLocation: http://198.51.100.1/\r\nContent-Length: 0\r\n\r\n",
		want: traffic.Response{Status: 302, Proto: "HTTP/1.1", Header: traffic.Header{{Name: "Location", Value: "http://198.51.100.1/"}, {Name: "Content-Length", Value: "0"}}},
	}, {
		why: "bare line feeds and a missing reason", method: "GET",
		wire: "HTTP/1.1 200\nContent-Length: 2\n\nok",
		want: traffic.Response{Status: 200, Proto: "HTTP/1.1", Body: traffic.Body{Raw: []byte("ok"), Size: 2},
			Header: traffic.Header{{Name: "Content-Length", Value: "2"}}},
	}, {
		why: "an empty line before the first chunk is no chunk, but Transfer-Encoding beats a length", method: "GET",
		wire: "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n",
		want: traffic.Response{Status: 200, Proto: "HTTP/1.1", Body: traffic.Body{Raw: []byte("z"), Size: 1},
			Header: traffic.Header{{Name: "Content-Length", Value: "99"}, {Name: "Transfer-Encoding", Value: "gzip, chunked"}}},
	}}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			address := rawServer(t, func(_ int, c net.Conn, r *bufio.Reader) {
				if skipRequest(r) == nil {
					io.WriteString(c, tt.wire)
				}
			})
			live := pass(t, address, replay.Options{}, recorded(0, tt.method, "/"))["x000"]
			if live.Response == nil {
				t.Fatalf("no response: %s %v", live.Failure, live.Incomplete)
			}
			if diff := cmp.Diff(tt.want, *live.Response, equateEmpty); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
			if live.FirstByte <= 0 || live.Duration < live.FirstByte {
				t.Errorf("first byte after %v, last after %v", live.FirstByte, live.Duration)
			}
		})
	}
}

var equateEmpty = cmp.FilterValues(func(a, b []byte) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())

func TestPassNamesFailures(t *testing.T) {
	closedAddr := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}()
	answer := func(wire string) func(int, net.Conn, *bufio.Reader) {
		return func(_ int, c net.Conn, r *bufio.Reader) {
			if skipRequest(r) == nil {
				io.WriteString(c, wire)
			}
		}
	}
	hang := func(wire string) func(int, net.Conn, *bufio.Reader) {
		return func(_ int, c net.Conn, r *bufio.Reader) {
			if skipRequest(r) == nil {
				io.WriteString(c, wire)
				r.ReadByte() // until the client gives up
			}
		}
	}
	tests := []struct {
		why   string
		serve func(int, net.Conn, *bufio.Reader) // nil: nobody listens
		want  traffic.Failure
	}{
		{"nobody listens", nil, traffic.FailureRefused},
		{"closed at once", func(int, net.Conn, *bufio.Reader) {}, traffic.FailureReset},
		{"closed after the request", answer(""), traffic.FailureReset},
		{"reset", func(_ int, c net.Conn, r *bufio.Reader) { skipRequest(r); c.(*net.TCPConn).SetLinger(0) }, traffic.FailureReset},
		{"closed within the head", answer("HTTP/1.1 200 OK\r\nContent-"), traffic.FailureReset},
		{"closed within the body", answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), traffic.FailureReset},
		{"closed within a chunk", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"), traffic.FailureReset},
		{"closed before the last chunk", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"), traffic.FailureReset},
		{"no answer", hang(""), traffic.FailureTimeout},
		{"half a head", hang("HTTP/1.1 200"), traffic.FailureTimeout},
		{"half a body", hang("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), traffic.FailureTimeout},
		{"garbage", answer("SSH-2.0-OpenSSH_9.2\r\n"), traffic.FailureProtocol},
		{"garbage that never ends a line, at once", hang("\x00\x01\x02\x03"), traffic.FailureProtocol},
		{"HTTP/2 preface", answer("HTTP/2 200\r\n\r\n"), traffic.FailureProtocol},
		{"status that is no number", answer("HTTP/1.1 2xx OK\r\n\r\n"), traffic.FailureProtocol},
		{"header without a colon", answer("HTTP/1.1 200 OK\r\nbad line\r\n\r\n"), traffic.FailureProtocol},
		{"folded header", answer("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"), traffic.FailureProtocol},
		{"two lengths", answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), traffic.FailureProtocol},
		{"negative length", answer("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab"), traffic.FailureProtocol},
		{"bad chunk size", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), traffic.FailureProtocol},
		{"chunk size beyond 64 bits", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"), traffic.FailureProtocol},
		{"chunk longer than its size", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n"), traffic.FailureProtocol},
		{"interim answers without end", answer(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 50)), traffic.FailureProtocol},
		{"head without end", func(_ int, c net.Conn, r *bufio.Reader) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for line := strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 100); ; {
				if _, err := io.WriteString(c, line); err != nil {
					return
				}
			}
		}, traffic.FailureProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			address := closedAddr
			if tt.serve != nil {
				address = rawServer(t, tt.serve)
			}
			opts := replay.Options{Timeout: 5 * time.Second}
			if tt.want == traffic.FailureTimeout {
				opts.Timeout = 100 * time.Millisecond
			}
			live := pass(t, address, opts, recorded(0, "GET", "/"))["x000"]
			if live.Failure != tt.want || live.Response != nil || len(live.Incomplete) == 0 {
				t.Errorf("failure %q, response %v, notes %v; want %q", live.Failure, live.Response, live.Incomplete, tt.want)
			}
		})
	}
}

func TestPassCutsEndlessBody(t *testing.T) {
	for _, framing := range []string{"Content-Length: 900000000", "Transfer-Encoding: chunked", "X-None: 1"} {
		t.Run(framing, func(t *testing.T) {
			address := rawServer(t, func(_ int, c net.Conn, r *bufio.Reader) {
				skipRequest(r)
				io.WriteString(c, "HTTP/1.1 200 OK\r\n"+framing+"\r\n\r\n")
				chunk := "3e8\r\n" + strings.Repeat("x", 1000) + "\r\n"
				for {
					if _, err := io.WriteString(c, chunk); err != nil {
						return
					}
				}
			})
			live := pass(t, address, replay.Options{MaxBody: 5000}, recorded(0, "GET", "/"))["x000"]
			if live.Response == nil {
				t.Fatalf("failure %s %v", live.Failure, live.Incomplete)
			}
			b := live.Response.Body
			if !b.Truncated || len(b.Raw) != 5000 || b.Size < 5000 || len(live.Incomplete) != 1 {
				t.Errorf("truncated %v, %d bytes of %d, notes %q", b.Truncated, len(b.Raw), b.Size, live.Incomplete)
			}
		})
	}
}

func TestKeptConnectionClosedByServer(t *testing.T) {
	// The server answers one request on each connection and promises more. It
	// closes when the second request arrives, so that no look at the idle
	// connection can tell before.
	serve := func(got *atomic.Int64) func(int, net.Conn, *bufio.Reader) {
		return func(_ int, c net.Conn, r *bufio.Reader) {
			if skipRequest(r) != nil {
				return
			}
			got.Add(1)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			r.Peek(1)
		}
	}
	x := func(i int, method string) *traffic.Exchange {
		x := recorded(i, method, "/")
		x.Origin.Connection = "c1"
		return x
	}
	t.Run("an idempotent request is sent once more", func(t *testing.T) {
		var got atomic.Int64
		live := pass(t, rawServer(t, serve(&got)), replay.Options{}, x(0, "GET"), x(1, "PUT"))
		if live["x001"].Response == nil || got.Load() != 2 {
			t.Errorf("second request: %s; %d requests were answered", live["x001"].Failure, got.Load())
		}
	})
	t.Run("a POST is not", func(t *testing.T) {
		var got atomic.Int64
		live := pass(t, rawServer(t, serve(&got)), replay.Options{}, x(0, "GET"), x(1, "POST"), x(2, "GET"))
		if live["x001"].Failure != traffic.FailureReset || live["x002"].Response == nil {
			t.Errorf("POST: %q; the request after it: %q", live["x001"].Failure, live["x002"].Failure)
		}
	})
	t.Run("a connection that is known to be closed is not used", func(t *testing.T) {
		gone := make(chan struct{})
		address := rawServer(t, func(n int, c net.Conn, r *bufio.Reader) {
			skipRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			if n == 0 {
				c.Close()
				close(gone)
			}
		})
		e, err := replay.New([]*traffic.Exchange{x(0, "GET"), x(1, "POST")}, replay.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var failures []traffic.Failure
		err = e.Pass(t.Context(), replay.Target{Arm: "base", Addr: address}, nil, 1, func(x *traffic.Exchange) {
			failures = append(failures, x.Failure)
			<-gone
		})
		if err != nil || !slices.Equal(failures, []traffic.Failure{"", ""}) {
			t.Errorf("failures %q, %v", failures, err)
		}
	})
}

func TestLargeRequestMeetsLargeAnswer(t *testing.T) {
	// The server sends its whole answer before it reads the request. A client
	// that writes first and reads later would wait for ever.
	big := strings.Repeat("x", 8<<20)
	address := rawServer(t, func(_ int, c net.Conn, r *bufio.Reader) {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(big), big)
		skipRequest(r)
	})
	live := pass(t, address, replay.Options{}, withBody(recorded(0, "POST", "/"), big))["x000"]
	if live.Response == nil || len(live.Response.Body.Raw) != len(big) {
		t.Errorf("failure %q %v", live.Failure, live.Incomplete)
	}
}

func TestPassOrder(t *testing.T) {
	var exchanges []*traffic.Exchange
	for i := range 60 {
		x := recorded(i, "GET", fmt.Sprintf("/%d", i))
		x.Origin.Connection = fmt.Sprintf("c%d", i%7)
		exchanges = append(exchanges, x)
	}
	for _, concurrency := range []int{1, 4, 100} {
		t.Run(fmt.Sprint(concurrency), func(t *testing.T) {
			var mu sync.Mutex
			var order []string
			active, most := 0, 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				order = append(order, r.URL.Path[1:])
				active++
				most = max(most, active)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				active--
				mu.Unlock()
			}))
			defer s.Close()
			shuffled := slices.Clone(exchanges)
			slices.Reverse(shuffled)
			live := pass(t, addr(s), replay.Options{Concurrency: concurrency}, shuffled...)
			last := make(map[int]int)
			for _, at := range order {
				var i int
				fmt.Sscan(at, &i)
				if before, ok := last[i%7]; ok && before > i {
					t.Errorf("session %d: request %d after %d", i%7, i, before)
				}
				last[i%7] = i
			}
			if concurrency == 1 && !slices.IsSortedFunc(order, func(a, b string) int { return len(a) - len(b) }) {
				t.Errorf("order %v", order)
			}
			if most > min(concurrency, 7) {
				t.Errorf("%d requests in flight", most)
			}
			connections := make(map[string]bool)
			for _, x := range live {
				connections[x.Origin.Connection] = true
			}
			if len(connections) != 7 {
				t.Errorf("%d connections for 7 sessions", len(connections))
			}
		})
	}
}

// chain is a rewriter in which each exchange needs the one before it.
type chain struct {
	mu       sync.Mutex
	observed map[string]bool
	early    []string
}

func (c *chain) Request(x *traffic.Exchange) *traffic.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range c.Needs(x.ID) {
		if !c.observed[id] {
			c.early = append(c.early, x.ID)
		}
	}
	return &x.Request
}

func (c *chain) Observe(recorded, live *traffic.Exchange) []traffic.Binding {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observed[recorded.ID] = true
	return []traffic.Binding{{Recorded: "of " + recorded.ID, Live: live.ID}}
}

func (c *chain) Needs(id string) []string {
	var i int
	fmt.Sscanf(id, "x%d", &i)
	if i%10 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("x%03d", i-1)}
}

// ledger is a mock that notes what it is told.
type ledger struct {
	mu     sync.Mutex
	events []string
	active map[traffic.Lane]bool
}

func (l *ledger) note(format string, args ...any) {
	l.events = append(l.events, fmt.Sprintf(format, args...))
}

func (l *ledger) BeginPass(pass uint32) { l.mu.Lock(); defer l.mu.Unlock(); l.note("begin %d", pass) }
func (l *ledger) Forget(pass uint32)    { l.mu.Lock(); defer l.mu.Unlock(); l.note("forget %d", pass) }
func (l *ledger) Enter(pass uint32, lane traffic.Lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active[lane] = true
	l.note("enter %d %s", pass, lane)
}
func (l *ledger) Leave(pass uint32, lane traffic.Lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.active, lane)
	l.note("leave %d %s", pass, lane)
}
func (l *ledger) Bind(pass uint32, lane traffic.Lane, recorded, live string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note("bind %d %s %s=%s", pass, lane, recorded, live)
}

func TestPassWaitsForAnswersAndTellsTheMock(t *testing.T) {
	var exchanges []*traffic.Exchange
	for i := range 30 { // every one a session of its own
		exchanges = append(exchanges, recorded(i, "GET", "/"))
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer s.Close()
	e, err := replay.New(exchanges, replay.Options{Concurrency: 8})
	if err != nil {
		t.Fatal(err)
	}
	rw := &chain{observed: map[string]bool{}}
	mock := &ledger{active: map[traffic.Lane]bool{}}
	if err := e.Pass(t.Context(), replay.Target{Arm: "head", Addr: addr(s), Mock: mock}, rw, 1, func(*traffic.Exchange) {}); err != nil {
		t.Fatal(err)
	}
	if len(rw.early) > 0 {
		t.Errorf("sent before the answers they need: %v", rw.early)
	}
	if mock.events[0] != "begin 1" || len(mock.active) != 0 {
		t.Errorf("first event %q, lanes left active %v", mock.events[0], mock.active)
	}
	var first []string
	for _, event := range mock.events {
		if strings.Contains(event, "x001") {
			first = append(first, event)
		}
	}
	want := []string{"enter 1 x001", "bind 1 x001 of x000=head-1-x000", "bind 1 x001 of x001=head-1-x001", "leave 1 x001", "bind 1 x002 of x001=head-1-x001"}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("events of lane x001 (-want +got):\n%s", diff)
	}
}

func TestPassEndsWithItsContext(t *testing.T) {
	for _, concurrency := range []int{1, 4} {
		t.Run(fmt.Sprint(concurrency), func(t *testing.T) {
			arrived := make(chan struct{}, 10)
			address := rawServer(t, func(_ int, c net.Conn, r *bufio.Reader) {
				skipRequest(r)
				arrived <- struct{}{}
				r.ReadByte()
			})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-arrived; cancel() }()
			var exchanges []*traffic.Exchange
			for i := range 10 {
				exchanges = append(exchanges, recorded(i, "GET", "/"))
			}
			e, err := replay.New(exchanges, replay.Options{Concurrency: concurrency})
			if err != nil {
				t.Fatal(err)
			}
			emitted := 0
			err = e.Pass(ctx, replay.Target{Arm: "base", Addr: address}, nil, 1, func(x *traffic.Exchange) {
				emitted++
				if x.Failure != traffic.FailureCanceled {
					t.Errorf("%s: %s", x.ID, x.Failure)
				}
			})
			if !errors.Is(err, context.Canceled) || emitted == 0 || emitted > concurrency {
				t.Errorf("%v after %d exchanges", err, emitted)
			}
		})
	}
}

func TestRequestsThatCannotBeSent(t *testing.T) {
	tests := []struct {
		why string
		x   *traffic.Exchange
	}{
		{"line break in a header", recorded(0, "GET", "/", "A", "b\r\nHost: evil")},
		{"space in the target", recorded(0, "GET", "/a b")},
		{"line break in the target", recorded(0, "GET", "/a\r\nb")},
		{"no method", recorded(0, "", "/")},
		{"header name that is no token", recorded(0, "GET", "/", "a b", "c")},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			live := pass(t, "127.0.0.1:1", replay.Options{}, tt.x)["x000"]
			if live.Failure != traffic.FailureProtocol || !strings.Contains(strings.Join(live.Incomplete, ""), "cannot be sent") {
				t.Errorf("%s %v", live.Failure, live.Incomplete)
			}
		})
	}
}

func TestNewRejects(t *testing.T) {
	x := recorded(0, "GET", "/")
	for why, give := range map[string][]*traffic.Exchange{
		"two exchanges with one id": {x, x},
		"no id":                     {{Direction: traffic.Inbound}},
	} {
		if _, err := replay.New(give, replay.Options{}); err == nil {
			t.Errorf("%s: no error", why)
		}
	}
	if _, err := replay.New(nil, replay.Options{Concurrency: -1}); err == nil {
		t.Error("negative concurrency: no error")
	}
}
