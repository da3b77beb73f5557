package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
	"github.com/reprise-ci/reprise/internal/traffic/lanes"
)

// memory is a sink that keeps what it gets.
type memory struct {
	mu  sync.Mutex
	all []*traffic.Exchange
	err error
	// What it was told of exchanges that it was not given.
	sampledOut, dropped int
}

func (m *memory) SampledOut(n int) { m.sampledOut += n }
func (m *memory) Dropped(n int)    { m.dropped += n }

func (m *memory) Add(x *traffic.Exchange) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.all = append(m.all, x)
	return nil
}

// stage is a recorder with proxies that the test stops before it looks.
type stage struct {
	t        *testing.T
	sink     *memory
	recorder *Recorder
	ctx      context.Context
	cancel   context.CancelFunc
	serving  sync.WaitGroup
}

func newStage(t *testing.T, opts Options) *stage {
	t.Helper()
	s := &stage{t: t, sink: &memory{}}
	var err error
	if s.recorder, err = NewRecorder(s.sink, opts); err != nil {
		t.Fatal(err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *stage) serve(server interface {
	Serve(context.Context, net.Listener) error
}) string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.serving.Go(func() {
		if err := server.Serve(s.ctx, l); err != nil {
			s.t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

func (s *stage) inbound(upstream string) string {
	s.t.Helper()
	in, err := NewInbound(upstream, s.recorder)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.serve(in)
}

// stop ends the proxies and the recorder and returns what was recorded, in
// order of ids.
func (s *stage) stop() []*traffic.Exchange {
	s.t.Helper()
	s.cancel()
	s.serving.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.recorder.Close(ctx); err != nil && s.sink.err == nil {
		s.t.Errorf("close: %v", err)
	}
	c := s.recorder.Counts()
	if c.Active != 0 || c.Seen != c.Stored+c.SampledOut+c.Dropped {
		s.t.Errorf("the counts do not balance: %+v", c)
	}
	if s.sink.sampledOut != int(c.SampledOut) || s.sink.err == nil && s.sink.dropped != int(c.Dropped) || s.sink.err != nil && s.sink.dropped != 0 {
		s.t.Errorf("the sink was told of %d sampled out and %d dropped, of %+v", s.sink.sampledOut, s.sink.dropped, c)
	}
	slices.SortFunc(s.sink.all, func(a, b *traffic.Exchange) int { return strings.Compare(a.ID, b.ID) })
	return s.sink.all
}

// only returns the one exchange that was recorded.
func (s *stage) only() *traffic.Exchange {
	s.t.Helper()
	all := s.stop()
	if len(all) != 1 {
		s.t.Fatalf("recorded %d exchanges, want 1", len(all))
	}
	return all[0]
}

// callee is a raw server: it sends back to each connection what answer says.
func callee(t *testing.T, serve func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return l.Addr().String()
}

// exact sends request bytes through the proxy and returns all that comes back
// until the connection closes.
func exact(t *testing.T, proxy, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("read the answer: %v (got %q)", err, answer)
	}
	return string(answer)
}

// readMessage reads one request as bytes, its body by length or chunks.
func readMessage(r *bufio.Reader) string {
	var seen bytes.Buffer
	var length int
	chunked := false
	for {
		line, err := r.ReadString('\n')
		seen.WriteString(line)
		if err != nil {
			return seen.String()
		}
		low := strings.ToLower(line)
		fmt.Sscanf(low, "content-length: %d", &length)
		chunked = chunked || strings.HasPrefix(low, "transfer-encoding: chunked")
		if line == "\r\n" {
			break
		}
	}
	if chunked {
		last := false
		for {
			line, err := r.ReadString('\n')
			seen.WriteString(line)
			if err != nil || (last && line == "\r\n") {
				return seen.String()
			}
			last = last || strings.HasPrefix(line, "0\r\n")
		}
	}
	_, _ = io.CopyN(&seen, r, int64(length))
	return seen.String()
}

func TestInboundPassesBytesOnUnchanged(t *testing.T) {
	const trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
	tests := []struct {
		name, reason     string
		request, answer  string
		requestBody      string
		responseBody     string
		requestTrailer   traffic.Header
		responseTrailer  traffic.Header
		incompletePhrase string
	}{
		{
			name: "spelling and order of fields", reason: "some services look at them",
			request: "GET /a?b=%20c&b HTTP/1.1\r\nhOST: Shop.Local\r\nX-b: 2\r\nx-A: 1\r\nX-b:  3 \r\n" + trace + "Connection: close\r\n\r\n",
			answer:  "HTTP/1.1 200 Fine By Me\r\nserver: x\r\nSET-cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\nconnection: close\r\n\r\nok", responseBody: "ok",
		},
		{
			name: "chunks with extensions and trailers", reason: "chunk borders carry meaning for streaming peers",
			request:     "POST / HTTP/1.1\r\nHost: a\r\n" + trace + "Transfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
			answer:      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\nConnection: close\r\n\r\n1\r\nA\r\nb\r\n0123456789A\r\n0\r\nX-End: yes\r\n\r\n",
			requestBody: "abcde", responseBody: "A0123456789A",
			requestTrailer: traffic.Header{{Name: "X-Sum", Value: "5"}}, responseTrailer: traffic.Header{{Name: "X-End", Value: "yes"}},
		},
		{
			name: "no length", reason: "the end of the connection ends the body",
			request: "GET / HTTP/1.0\r\nHost: a\r\n" + trace + "\r\n", answer: "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end", responseBody: "until the end",
		},
		{
			name: "HEAD", reason: "a length without a body",
			request: "HEAD / HTTP/1.1\r\nHost: a\r\n" + trace + "Connection: close\r\n\r\n", answer: "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nConnection: close\r\n\r\n",
		},
		{
			name: "304", reason: "a length without a body",
			request: "GET / HTTP/1.1\r\nHost: a\r\n" + trace + "Connection: close\r\n\r\n", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nConnection: close\r\n\r\n",
		},
		{
			name: "interim answers", reason: "103 comes before the final head",
			request: "GET / HTTP/1.1\r\nHost: a\r\n" + trace + "\r\n",
			answer:  "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", responseBody: "x",
		},
		{
			name: "folded field", reason: "old peers still send them",
			request: "GET / HTTP/1.1\r\nHost: a\r\nX-Long: one\r\n  two\r\n" + trace + "\r\n",
			answer:  "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
		},
		{
			name: "body cut short", reason: "the caller must see the same",
			request: "GET / HTTP/1.1\r\nHost: a\r\n" + trace + "\r\n",
			answer:  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour", responseBody: "four", incompletePhrase: "the connection ended within it",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got string
			upstream := callee(t, func(c net.Conn, r *bufio.Reader) {
				got = readMessage(r)
				_, _ = io.WriteString(c, test.answer)
			})
			s := newStage(t, Options{})
			if answer := exact(t, s.inbound(upstream), test.request); answer != test.answer {
				t.Errorf("the caller got\n%q, want\n%q", answer, test.answer)
			}
			x := s.only()
			if got != test.request {
				t.Errorf("the service got\n%q, want\n%q", got, test.request)
			}
			if string(x.Request.Body.Raw) != test.requestBody || string(x.Response.Body.Raw) != test.responseBody {
				t.Errorf("recorded bodies %q and %q", x.Request.Body.Raw, x.Response.Body.Raw)
			}
			if d := cmp.Diff(test.requestTrailer, x.Request.Trailer); d != "" {
				t.Errorf("request trailer: %s", d)
			}
			if d := cmp.Diff(test.responseTrailer, x.Response.Trailer); d != "" {
				t.Errorf("response trailer: %s", d)
			}
			if incomplete := strings.Join(x.Incomplete, "; "); !strings.Contains(incomplete, test.incompletePhrase) || (incomplete != "") != (test.incompletePhrase != "") {
				t.Errorf("incomplete: %q", incomplete)
			}
			if x.FirstByte <= 0 || x.Duration < x.FirstByte || x.Origin.Connection == "" {
				t.Errorf("times %v, %v, connection %q", x.FirstByte, x.Duration, x.Origin.Connection)
			}
		})
	}
}

func TestInboundAddsATraceparentThatIsNotRecorded(t *testing.T) {
	var seen http.Header
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer service.Close()
	s := newStage(t, Options{})
	response, err := http.Get("http://" + s.inbound(service.URL) + "/x")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	x := s.only()
	if len(lanes.Keys(traffic.HeaderFrom(seen))) != 1 {
		t.Errorf("the service got traceparent %q", seen.Get("Traceparent"))
	}
	if x.Request.Header.Has("Traceparent") {
		t.Errorf("recorded %v", x.Request.Header)
	}
	if x.ID != "in-000001" || x.Lane != "in-000001" || x.Request.Method != "GET" || x.Request.Target != "/x" {
		t.Errorf("recorded %+v", x)
	}
}

func TestInboundKeepsContentCoding(t *testing.T) {
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, _ = zw.Write([]byte(strings.Repeat("hello ", 1000)))
	zw.Close()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" || r.Header.Get("User-Agent") != "" {
			t.Errorf("the proxy added fields: %v", r.Header)
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed.Bytes())
	}))
	defer service.Close()
	s := newStage(t, Options{})
	answer := exact(t, s.inbound(service.URL), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if !strings.HasSuffix(answer, packed.String()) {
		t.Error("the caller did not get the coded bytes")
	}
	x := s.only()
	if plain, err := x.Response.Body.Decoded(); err != nil || !strings.HasPrefix(string(plain), "hello hello") || x.Response.Body.Coding != "gzip" {
		t.Errorf("recorded %q, %v", plain, err)
	}
}

func TestBodiesAboveTheLimitStreamAndAreMarked(t *testing.T) {
	const size = 3 << 20
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(w, r.Body)
		if n != size {
			t.Errorf("the service got %d bytes", n)
		}
	}))
	defer service.Close()
	s := newStage(t, Options{BodyLimit: 1000})
	response, err := http.Post("http://"+s.inbound(service.URL), "text/plain", strings.NewReader(strings.Repeat("x", size)))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, response.Body); n != size || err != nil {
		t.Errorf("the caller got %d bytes, %v", n, err)
	}
	response.Body.Close()
	x := s.only()
	for name, b := range map[string]traffic.Body{"request": x.Request.Body, "response": x.Response.Body} {
		if len(b.Raw) != 1000 || !b.Truncated || b.Size != size {
			t.Errorf("%s: kept %d of %d, truncated %v", name, len(b.Raw), b.Size, b.Truncated)
		}
	}
	if len(x.Incomplete) != 2 || s.recorder.Counts().Incomplete != 1 {
		t.Errorf("incomplete %q, counts %+v", x.Incomplete, s.recorder.Counts())
	}
}

func TestExpectContinue(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	defer service.Close()
	s := newStage(t, Options{})
	proxy := s.inbound(service.URL)
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	defer client.CloseIdleConnections()
	for path, want := range map[string]int{"/yes": 200, "/no": 417} {
		continued := false
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got100Continue: func() { continued = true }})
		r, _ := http.NewRequestWithContext(ctx, "POST", "http://"+proxy+path, strings.NewReader("body"))
		r.Header.Set("Expect", "100-continue")
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want || continued != (want == 200) {
			t.Errorf("%s: status %d, continued %v", path, response.StatusCode, continued)
		}
	}
	if got := s.stop(); len(got) != 2 {
		t.Errorf("recorded %d", len(got))
	}
}

func TestStreamedAnswersAreNotHeldBack(t *testing.T) {
	more := make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-more
		}
	}))
	defer service.Close()
	s := newStage(t, Options{})
	response, err := http.Get("http://" + s.inbound(service.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	r := bufio.NewReader(response.Body)
	for i := range 3 {
		line, err := r.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("got %q, %v", line, err)
		}
		_, _ = r.ReadString('\n')
		more <- struct{}{}
	}
	_, _ = io.Copy(io.Discard, r)
	x := s.only()
	if string(x.Response.Body.Raw) != "data: 0\n\ndata: 1\n\ndata: 2\n\n" {
		t.Errorf("recorded %q", x.Response.Body.Raw)
	}
	timed(t, x, 0, 3)
}

// timed checks that so many messages of each side have times that can be.
func timed(t *testing.T, x *traffic.Exchange, client, server int) {
	t.Helper()
	for i, times := range [][]time.Duration{x.Request.Body.Times, x.Response.Body.Times} {
		if want := []int{client, server}[i]; len(times) != want || !slices.IsSorted(times) || want > 0 && (times[0] < 0 || times[want-1] > x.Duration+time.Second) {
			t.Errorf("%s: times of side %d: %v, want %d of them", x.ID, i, times, want)
		}
	}
}

func TestWebSocketMessagesAreTimed(t *testing.T) {
	upstream := callee(t, func(c net.Conn, r *bufio.Reader) {
		readMessage(r)
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, r)
	})
	s := newStage(t, Options{})
	c, err := net.Dial("tcp", s.inbound(upstream))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	if response, err := http.ReadResponse(r, nil); err != nil || response.StatusCode != 101 {
		t.Fatal(response, err)
	}
	// Two messages, one of them in two frames with a ping between, and the close.
	_, _ = io.WriteString(c, "\x81\x01a\x01\x01b\x89\x00\x80\x01c\x88\x00")
	_ = c.(*net.TCPConn).CloseWrite()
	if _, err := io.ReadAll(r); err != nil {
		t.Error(err)
	}
	timed(t, s.only(), 3, 3)
}

func TestAnswerBeforeTheWholeRequest(t *testing.T) {
	upstream := callee(t, func(c net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
	})
	s := newStage(t, Options{})
	c, err := net.Dial("tcp", s.inbound(upstream))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome of it")
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || response.StatusCode != 413 {
		t.Fatalf("got %v, %v", response, err)
	}
	body, _ := io.ReadAll(response.Body)
	c.Close()
	x := s.only()
	if string(body) != "big" || x.Response.Status != 413 || len(x.Incomplete) != 1 {
		t.Errorf("body %q, recorded %+v", body, x)
	}
}

func TestFailuresAreRecorded(t *testing.T) {
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	tests := []struct {
		name, reason string
		upstream     string
		status       string // of what the caller gets, "" for nothing
		want         traffic.Failure
	}{
		{"refused", "the service is down", refused.Addr().String(), "502", traffic.FailureRefused},
		{"reset", "it accepts and closes", callee(t, func(_ net.Conn, r *bufio.Reader) { readMessage(r) }), "", traffic.FailureReset},
		{"protocol", "it does not speak HTTP", callee(t, func(c net.Conn, r *bufio.Reader) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n\r\n") }), "", traffic.FailureProtocol},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, Options{})
			answer := exact(t, s.inbound(test.upstream), "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
			if fields := strings.Fields(answer + " - -"); test.status != "" && fields[1] != test.status || test.status == "" && answer != "" {
				t.Errorf("the caller got %q", answer)
			}
			x := s.only()
			if x.Failure != test.want || x.Response != nil || string(x.Request.Body.Raw) != "body" {
				t.Errorf("recorded %+v", x)
			}
		})
	}
}

func TestCallerThatGivesUp(t *testing.T) {
	release := make(chan struct{})
	upstream := callee(t, func(_ net.Conn, r *bufio.Reader) { readMessage(r); <-release })
	s := newStage(t, Options{})
	c, err := net.Dial("tcp", s.inbound(upstream))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	for s.recorder.Counts().Seen == 0 {
		time.Sleep(time.Millisecond)
	}
	c.Close()
	close(release)
	if x := s.only(); x.Response != nil || x.Failure == traffic.FailureNone {
		t.Errorf("recorded %+v", x)
	}
}

func TestBadRequestsAreRefusedAndCounted(t *testing.T) {
	for name, request := range map[string]string{
		"no request line":   "hello\r\n\r\n",
		"two lengths":       "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"smuggling":         "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"negative length":   "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"unknown coding":    "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
		"space in the name": "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
		"too many fields":   "GET / HTTP/1.1\r\n" + strings.Repeat("a:b\r\n", http1.MaxHeadFields+1) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, Options{})
			answer := exact(t, s.inbound("127.0.0.1:1"), request)
			if !strings.HasPrefix(answer, "HTTP/1.1 4") {
				t.Errorf("answer %q", answer)
			}
			if got := s.stop(); len(got) != 0 || s.recorder.Counts().Dropped != 1 {
				t.Errorf("recorded %d, counts %+v", len(got), s.recorder.Counts())
			}
		})
	}
}

func TestUpgradedConnectionsAreTunnelled(t *testing.T) {
	upstream := callee(t, func(c net.Conn, r *bufio.Reader) {
		readMessage(r)
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, r)
	})
	s := newStage(t, Options{})
	c, err := net.Dial("tcp", s.inbound(upstream))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(c)
	if response, err := http.ReadResponse(r, nil); err != nil || response.StatusCode != 101 {
		t.Fatal(response, err)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\nnot a request")
	_ = c.(*net.TCPConn).CloseWrite()
	echo, err := io.ReadAll(r)
	if err != nil || string(echo) != "GET / HTTP/1.1\r\n\r\nnot a request" {
		t.Errorf("echo %q, %v", echo, err)
	}
	x := s.only()
	if x.Response.Status != 101 || string(x.Request.Body.Raw) != string(echo) || string(x.Response.Body.Raw) != string(echo) || !x.Request.Header.Has("Upgrade") {
		t.Errorf("recorded %+v", x)
	}
}

func TestOffersToChangeToHTTP2AreNotPassedOn(t *testing.T) {
	var got string
	upstream := callee(t, func(c net.Conn, r *bufio.Reader) {
		got = readMessage(r)
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	s := newStage(t, Options{})
	exact(t, s.inbound(upstream), "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\nb3: 0af7651916cd43dd8448eb211c80319c-1-1\r\nTraceparent: x\r\n\r\n")
	x := s.only()
	if want := "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nb3: 0af7651916cd43dd8448eb211c80319c-1-1\r\nTraceparent: x\r\n\r\n"; got != want {
		t.Errorf("the service got\n%q, want\n%q", got, want)
	}
	if x.Request.Header.Has("Upgrade") || x.Request.Header.Has("HTTP2-Settings") || x.Response.Status != 204 {
		t.Errorf("recorded %+v", x.Request.Header)
	}
}

func TestUpgradesThatAreNotTakenAreOrdinaryRequests(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "no") }))
	defer service.Close()
	s := newStage(t, Options{})
	answer := exact(t, s.inbound(service.URL), "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if strings.Count(answer, "HTTP/1.1 200") != 2 {
		t.Errorf("answers %q", answer)
	}
	all := s.stop()
	if len(all) != 2 || all[0].Request.Header.Has("Upgrade") || string(all[0].Response.Body.Raw) != "no" {
		t.Errorf("recorded %+v", all)
	}
}

func TestPipelinedRequestsKeepTheirOrder(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	defer service.Close()
	s := newStage(t, Options{})
	var requests strings.Builder
	for i := range 300 {
		fmt.Fprintf(&requests, "GET /%03d HTTP/1.1\r\nHost: a\r\n%s\r\n", i, map[bool]string{true: "Connection: close\r\n"}[i == 299])
	}
	answers := bufio.NewReader(strings.NewReader(exact(t, s.inbound(service.URL), requests.String())))
	for i := range 300 {
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if body, _ := io.ReadAll(response.Body); string(body) != fmt.Sprintf("/%03d", i) {
			t.Fatalf("answer %d is %q", i, body)
		}
	}
	for i, x := range s.stop() {
		if want := fmt.Sprintf("/%03d", i); x.Request.Target != want || string(x.Response.Body.Raw) != want {
			t.Errorf("%s: %s answered %s", x.ID, x.Request.Target, x.Response.Body.Raw)
		}
	}
}

func TestManyCallersLoseNothing(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer service.Close()
	s := newStage(t, Options{})
	proxy := s.inbound(service.URL)
	var callers sync.WaitGroup
	for c := range 8 {
		callers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := range 50 {
				want := fmt.Sprintf("caller %d call %d", c, i)
				response, err := client.Post("http://"+proxy, "text/plain", strings.NewReader(want))
				if err != nil {
					t.Error(err)
					return
				}
				if got, _ := io.ReadAll(response.Body); string(got) != want {
					t.Errorf("got %q, want %q", got, want)
				}
				response.Body.Close()
			}
		})
	}
	callers.Wait()
	all := s.stop()
	if len(all) != 400 || s.recorder.Counts().Stored != 400 {
		t.Fatalf("recorded %d, counts %v", len(all), s.recorder.Counts())
	}
	for _, x := range all {
		if string(x.Request.Body.Raw) != string(x.Response.Body.Raw) {
			t.Errorf("%s: %q answered %q", x.ID, x.Request.Body.Raw, x.Response.Body.Raw)
		}
	}
}

func TestStopLetsExchangesEnd(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		fmt.Fprint(w, "late")
	}))
	defer service.Close()
	s := newStage(t, Options{})
	proxy := s.inbound(service.URL)
	got := make(chan string)
	go func() {
		response, err := http.Get("http://" + proxy)
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(response.Body)
		got <- string(body)
	}()
	<-arrived
	s.cancel()
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	if body := <-got; body != "late" {
		t.Errorf("the caller got %q", body)
	}
	if x := s.only(); string(x.Response.Body.Raw) != "late" {
		t.Errorf("recorded %+v", x)
	}
}

func TestSinkErrorsAreCountedAndReported(t *testing.T) {
	service := httptest.NewServer(http.NotFoundHandler())
	defer service.Close()
	s := newStage(t, Options{})
	s.sink.err = errors.New("disk full")
	response, err := http.Get("http://" + s.inbound(service.URL))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	s.stop()
	if err := s.recorder.Close(context.Background()); !errors.Is(err, s.sink.err) {
		t.Errorf("close: %v", err)
	}
	if c := s.recorder.Counts(); c.Dropped != 1 || c.Stored != 0 {
		t.Errorf("counts %+v", c)
	}
}
