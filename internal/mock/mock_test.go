package mock_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// begin is when all recordings of these tests begin.
var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// recording collects exchanges. Each call gets the next id and the next second.
type recording struct{ exchanges []*traffic.Exchange }

// inbound adds an inbound exchange whose id names a lane.
func (r *recording) inbound(id, target, body string) {
	r.exchanges = append(r.exchanges, &traffic.Exchange{
		ID: id, Direction: traffic.Inbound, Lane: traffic.Lane(id), Start: r.now(),
		Request:  request("POST", "http://service"+target, body),
		Response: response(200, "{}"),
	})
}

// call adds an outbound exchange and returns it for changes.
func (r *recording) call(lane traffic.Lane, method, rawURL, body string, answer *traffic.Response) *traffic.Exchange {
	x := &traffic.Exchange{
		ID: fmt.Sprintf("out-%04d", len(r.exchanges)), Direction: traffic.Outbound, Lane: lane, Start: r.now(),
		Request: request(method, rawURL, body), Response: answer,
	}
	r.exchanges = append(r.exchanges, x)
	return x
}

func (r *recording) now() time.Time { return begin.Add(time.Duration(len(r.exchanges)) * time.Second) }

func request(method, rawURL, body string) traffic.Request {
	u, err := url.Parse(rawURL)
	if err != nil {
		panic(err)
	}
	req := traffic.Request{Method: method, Scheme: u.Scheme, Authority: u.Host, Target: u.RequestURI(), Proto: "HTTP/1.1"}
	if body != "" {
		req.Header.Add("Content-Type", "application/json")
	}
	req.Body = traffic.NewBody([]byte(body), req.Header)
	return req
}

func response(status int, body string) *traffic.Response {
	r := &traffic.Response{Status: status, Proto: "HTTP/1.1"}
	r.Header.Add("Content-Type", "application/json")
	r.Header.Add("Content-Length", fmt.Sprint(len(body)))
	r.Body = traffic.NewBody([]byte(body), r.Header)
	return r
}

// stand is a mock that listens, and its authority.
type stand struct {
	*mock.Mock
	t    *testing.T
	addr string
	ca   *authority.Authority
}

func start(t *testing.T, recorded []*traffic.Exchange, opts mock.Options) *stand {
	t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m, err := mock.New(recorded, ca, opts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve returned %v after its context ended", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve did not return after its context ended")
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return &stand{m, t, l.Addr().String(), ca}
}

// proxied returns a client that reaches every host through the mock as a
// forward proxy and trusts its authority.
func (s *stand) proxied() *http.Client {
	transport := &http.Transport{
		Proxy:              http.ProxyURL(&url.URL{Scheme: "http", Host: s.addr}),
		TLSClientConfig:    &tls.Config{RootCAs: s.ca.Pool()},
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// resolved returns a client for which every name resolves to the mock.
func (s *stand) resolved(protocols ...func(*http.Protocols)) *http.Client {
	p := new(http.Protocols)
	for _, set := range protocols {
		set(p)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.addr)
		},
		TLSClientConfig:    &tls.Config{RootCAs: s.ca.Pool()},
		DisableCompression: true,
	}
	if len(protocols) > 0 {
		transport.Protocols = p
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// answer is what a client got, with its body read.
type answer struct {
	*http.Response
	body string
}

// send makes a call; header holds names and values in turn.
func send(t *testing.T, c *http.Client, method, rawURL, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, rawURL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, rawURL, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: read the answer: %v", method, rawURL, err)
	}
	return answer{resp, string(data)}
}

// mark returns the header that the replayer sends for a lane.
func mark(pass uint32, lane traffic.Lane) []string {
	return []string{"Traceparent", traffic.Mark{Pass: pass, Lane: traffic.LaneNumber(lane)}.Traceparent()}
}

func (s *stand) balanced(pass uint32) mock.Account {
	s.t.Helper()
	a := s.Account(pass)
	if a.Err != nil {
		s.t.Errorf("pass %d: %v", pass, a.Err)
	}
	return a
}

func TestEveryWayIn(t *testing.T) {
	var rec recording
	for range 6 {
		rec.call("in-1", "POST", "https://api.payments.example/v1/charges", `{"amount": 2000}`, response(201, `{"id":"ch_1"}`))
	}
	s := start(t, rec.exchanges, mock.Options{})
	h1 := func(p *http.Protocols) { p.SetHTTP1(true) }
	h2 := func(p *http.Protocols) { p.SetHTTP2(true) }
	h2c := func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }
	tests := []struct {
		name   string
		client *http.Client
		url    string
		proto  int
	}{
		{"TLS by SNI, HTTP/2 by ALPN", s.resolved(h2), "https://api.payments.example/v1/charges", 2},
		{"TLS by SNI, HTTP/1.1 by ALPN", s.resolved(h1), "https://api.payments.example/v1/charges", 1},
		{"plain HTTP/1.1", s.resolved(h1), "http://api.payments.example/v1/charges", 1},
		{"HTTP/2 without TLS", s.resolved(h2c), "http://api.payments.example/v1/charges", 2},
		{"absolute form to a forward proxy", s.proxied(), "http://api.payments.example/v1/charges", 1},
		{"CONNECT to a forward proxy", s.proxied(), "https://api.payments.example/v1/charges", 2},
	}
	s.BeginPass(1)
	s.Enter(1, "in-1")
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := send(t, tt.client, "POST", tt.url, `{"amount":2000.0}`)
			if got.StatusCode != 201 || got.body != `{"id":"ch_1"}` || got.ProtoMajor != tt.proto {
				t.Errorf("got HTTP/%d %d %s", got.ProtoMajor, got.StatusCode, got.body)
			}
			calls := s.Calls(1)
			if len(calls) != i+1 {
				t.Fatalf("%d calls in the journal, want %d", len(calls), i+1)
			}
			x := calls[i]
			if x.Match.Tier != traffic.TierExact || x.Origin.Certainty != traffic.ByOnlyActive || x.Request.URL() != tt.url {
				t.Errorf("journal: %+v %s by %s", x.Match, x.Request.URL(), x.Origin.Certainty)
			}
		})
	}
	if a := s.balanced(1); a.Matched != 6 || a.Unused != 0 || a.Live != 6 {
		t.Errorf("account: %+v", a)
	}
}

func TestAnswersAsRecorded(t *testing.T) {
	gzipped, err := traffic.Encode([]byte(`{"plain":"text"}`), "gzip")
	if err != nil {
		t.Fatal(err)
	}
	answerOf := func(status int, raw []byte, fields ...string) *traffic.Response {
		r := &traffic.Response{Status: status, Proto: "HTTP/1.1"}
		for i := 0; i+1 < len(fields); i += 2 {
			r.Header.Add(fields[i], fields[i+1])
		}
		r.Body = traffic.NewBody(raw, r.Header)
		return r
	}
	trailed := answerOf(200, []byte("data"), "Content-Type", "text/plain")
	trailed.Trailer.Add("X-Checksum", "abc")
	tests := []struct {
		reason  string
		method  string
		record  *traffic.Response
		header  []string // sent
		recHead []string // recorded request
		want    string   // body
		length  int64    // -1 is chunked
		fields  map[string]string
	}{
		{reason: "a length stays a length", record: answerOf(200, []byte("abc"), "Content-Length", "3"), want: "abc", length: 3},
		{reason: "chunks stay chunks, also for a short body", record: answerOf(200, []byte("abc"), "Transfer-Encoding", "chunked"), want: "abc", length: -1},
		{reason: "the recorded date and no other", record: answerOf(200, nil, "Content-Length", "0", "Date", "Sun, 01 Mar 2026 12:00:00 GMT"), fields: map[string]string{"Date": "Sun, 01 Mar 2026 12:00:00 GMT"}},
		{reason: "no date and no guessed type when none was recorded", record: answerOf(200, []byte("<html>"), "Content-Length", "6"), want: "<html>", length: 6, fields: map[string]string{"Date": "", "Content-Type": ""}},
		{reason: "a length that redaction made wrong is mended", record: answerOf(200, []byte("abcdef"), "Content-Length", "3"), want: "abcdef", length: 6},
		{reason: "HEAD keeps the length of the body it leaves out", method: "HEAD", record: answerOf(200, nil, "Content-Length", "1234"), length: 1234},
		{reason: "204 has no body", record: answerOf(204, nil)},
		{reason: "304 has no body but fields", record: answerOf(304, nil, "Etag", `"v1"`), fields: map[string]string{"Etag": `"v1"`}},
		{reason: "coded content as it is when the caller takes it", record: answerOf(200, gzipped, "Content-Encoding", "gzip"), header: []string{"Accept-Encoding", "br, gzip;q=0.5"}, want: string(gzipped), length: -1, fields: map[string]string{"Content-Encoding": "gzip"}},
		{reason: "coded content decoded when the caller does not take it", record: answerOf(200, gzipped, "Content-Encoding", "gzip", "Content-Length", fmt.Sprint(len(gzipped))), recHead: []string{"Accept-Encoding", "gzip"}, header: []string{"Accept-Encoding", "gzip;q=0"}, want: `{"plain":"text"}`, length: 16, fields: map[string]string{"Content-Encoding": ""}},
		{reason: "a server error", record: answerOf(503, []byte("busy"), "Content-Length", "4", "Retry-After", "1"), want: "busy", length: 4, fields: map[string]string{"Retry-After": "1"}},
		{reason: "many fields of one name", record: answerOf(200, nil, "Content-Length", "0", "Set-Cookie", "a=1", "Set-Cookie", "b=2"), fields: map[string]string{"Set-Cookie": "a=1; b=2"}},
		{reason: "trailers", record: trailed, want: "data", length: -1, fields: map[string]string{"trailer X-Checksum": "abc"}},
	}
	var rec recording
	for i, tt := range tests {
		method := "GET"
		if tt.method != "" {
			method = tt.method
		}
		x := rec.call("in-1", method, fmt.Sprintf("http://things/%d", i), "", tt.record)
		for j := 0; j+1 < len(tt.recHead); j += 2 {
			x.Request.Header.Add(tt.recHead[j], tt.recHead[j+1])
		}
	}
	s := start(t, rec.exchanges, mock.Options{})
	s.BeginPass(1)
	s.Enter(1, "in-1")
	clients := map[string]*http.Client{
		"HTTP/1.1": s.resolved(func(p *http.Protocols) { p.SetHTTP1(true) }),
		"HTTP/2":   s.resolved(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }),
	}
	for proto, client := range clients {
		for i, tt := range tests {
			t.Run(proto+": "+tt.reason, func(t *testing.T) {
				method := "GET"
				if tt.method != "" {
					method = tt.method
				}
				got := send(t, client, method, fmt.Sprintf("http://things/%d", i), "", tt.header...)
				if got.StatusCode != tt.record.Status || got.body != tt.want {
					t.Errorf("got %d %q, want %d %q", got.StatusCode, got.body, tt.record.Status, tt.want)
				}
				if tt.length != 0 && got.ContentLength != tt.length {
					t.Errorf("Content-Length %d, want %d", got.ContentLength, tt.length)
				}
				for name, want := range tt.fields {
					value := strings.Join(got.Header.Values(name), "; ")
					if trailer, ok := strings.CutPrefix(name, "trailer "); ok {
						value = got.Trailer.Get(trailer)
					}
					if value != want {
						t.Errorf("%s is %q, want %q", name, value, want)
					}
				}
			})
		}
	}
	s.balanced(1)
}

func TestRecordedFailureEndsTheConnection(t *testing.T) {
	var rec recording
	rec.call("in-1", "GET", "http://flaky/x", "", nil).Failure = traffic.FailureReset
	rec.call("in-1", "GET", "http://mirrored/x", "", nil)
	s := start(t, rec.exchanges, mock.Options{})
	s.BeginPass(1)
	s.Enter(1, "in-1")
	for _, client := range []*http.Client{s.resolved(), s.resolved(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })} {
		if resp, err := client.Get("http://flaky/x"); err == nil {
			t.Errorf("got status %d, want a broken connection", resp.StatusCode)
			resp.Body.Close()
		}
	}
	if x := s.Calls(1)[0]; x.Failure != traffic.FailureReset || x.Response != nil || x.Match.Tier != traffic.TierExact {
		t.Errorf("journal: %+v, %+v", x, x.Match)
	}
	if got := send(t, s.resolved(), "GET", "http://mirrored/x", ""); got.StatusCode != mock.StatusMiss {
		t.Errorf("a call recorded without its answer got %d, want a miss", got.StatusCode)
	}
}

func TestMissExplainsItself(t *testing.T) {
	var rec recording
	rec.inbound("in-1", "/orders", `{}`)
	rec.call("in-1", "POST", "http://payments/v1/charge", `{"amount":2000,"currency":"EUR"}`, response(200, `{}`))
	rec.call("in-1", "POST", "http://payments/v1/refund", `{"amount":2000,"currency":"EUR"}`, response(200, `{}`))
	rec.call("in-1", "GET", "http://payments/v1/rates", "", response(200, `{}`))
	rec.call("in-1", "GET", "http://stock/v1/items", "", response(200, `[]`))
	s := start(t, rec.exchanges, mock.Options{Arm: "head"})
	s.BeginPass(1)
	s.Enter(1, "in-1")
	got := send(t, s.proxied(), "POST", "http://payments/v1/charge", `{"currency":"EUR","amount":2100}`)
	var told struct{ Miss, Reason, Call string }
	if err := json.NewDecoder(strings.NewReader(got.body)).Decode(&told); err != nil {
		t.Fatalf("the answer is not JSON: %v: %s", err, got.body)
	}
	calls := s.Calls(1)
	if got.StatusCode != mock.StatusMiss || told.Miss != calls[0].ID || got.Header.Get(mock.MissHeader) != calls[0].ID {
		t.Errorf("status %d, id %q, header %q, journal %q", got.StatusCode, told.Miss, got.Header.Get(mock.MissHeader), calls[0].ID)
	}
	match := calls[0].Match
	if match.Tier != traffic.TierMiss || len(match.Nearest) != 3 {
		t.Fatalf("match: %+v", match)
	}
	near := match.Nearest[0]
	if near.Record != "out-0001" || len(near.Differences) != 1 || near.Score < 0.8 {
		t.Fatalf("nearest: %+v", near)
	}
	if d := near.Differences[0]; d.Path.String() != "request.body.amount" || d.Recorded != "2000" || d.Live != "2100" {
		t.Errorf("difference: %s %s -> %s", d.Path, d.Recorded, d.Live)
	}
	if want := `the nearest recorded call differs in one place: request.body.amount is "2100", recorded was "2000"`; match.Reason != want {
		t.Errorf("reason %q, want %q", match.Reason, want)
	}
	reasons := []struct{ method, url, body, want string }{
		{"GET", "http://unheard.example/", "", "no call to unheard.example was recorded"},
		{"POST", "http://payments/v1/refund", `{"amount":2000,"currency":"EUR"}`, ""},
		{"POST", "http://payments/v1/refund", `{"amount":2000,"currency":"EUR"}`, "more calls than recorded: one such call was recorded and it is used"},
	}
	for i, tt := range reasons {
		send(t, s.proxied(), tt.method, tt.url, tt.body)
		if x := s.Calls(1)[i+1]; x.Match.Reason != tt.want {
			t.Errorf("%s %s: reason %q, want %q", tt.method, tt.url, x.Match.Reason, tt.want)
		}
	}
	if a := s.balanced(1); a.Missed != 3 || a.Matched != 1 || a.Unused != 3 {
		t.Errorf("account: %+v", a)
	}
}

// A mock must never reach a real host: neither by absolute form, nor through a
// tunnel, nor by any other way in.
func TestNothingLeaves(t *testing.T) {
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	reached := make(chan string, 1)
	go func() {
		if c, err := outside.Accept(); err == nil {
			reached <- c.RemoteAddr().String()
			c.Close()
		}
	}()
	s := start(t, nil, mock.Options{})
	host := outside.Addr().String()
	for _, rawURL := range []string{"http://" + host + "/x", "https://" + host + "/x"} {
		if got := send(t, s.proxied(), "GET", rawURL, ""); got.StatusCode != mock.StatusMiss {
			t.Errorf("%s: status %d, want a miss", rawURL, got.StatusCode)
		}
	}
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", host, host)
	fmt.Fprintf(c, "GET /inside HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
	all, err := io.ReadAll(c)
	if err != nil || !bytes.Contains(all, []byte(" 599 ")) {
		t.Errorf("plain HTTP in a tunnel: %v: %q", err, all)
	}
	select {
	case from := <-reached:
		t.Errorf("a call reached the outside from %s", from)
	default:
	}
}

func TestLatency(t *testing.T) {
	var rec recording
	x := rec.call("in-1", "GET", "http://slow/x", "", response(200, "abc"))
	x.FirstByte, x.Duration = 20*time.Millisecond, 30*time.Millisecond
	s := start(t, rec.exchanges, mock.Options{Latency: mock.Latency{Scale: 2}})
	s.Enter(1, "in-1")
	s.Enter(2, "in-1")
	client := s.proxied()
	s.BeginPass(1)
	send(t, client, "GET", "http://slow/x", "")
	s.BeginPass(2)
	if got := send(t, client, "GET", "http://slow/x", ""); got.body != "abc" {
		t.Errorf("body %q", got.body)
	}
	if d := s.Calls(2)[0].Duration; d < 60*time.Millisecond {
		t.Errorf("a latency round took %v, want at least twice the recorded 30 ms", d)
	}
	if x := s.Calls(2)[0]; x.FirstByte < 40*time.Millisecond || x.FirstByte >= x.Duration {
		t.Errorf("first byte after %v of %v, want at least 40 ms and before the end", x.FirstByte, x.Duration)
	}
}

// A client that does not trust the authority leaves evidence, by name.
func TestRefusedHandshakeIsEvidence(t *testing.T) {
	s := start(t, nil, mock.Options{})
	client := s.resolved()
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = nil
	if resp, err := client.Get("https://pinned.example/"); err == nil {
		resp.Body.Close()
		t.Fatal("the client trusts an authority that it does not know")
	}
	for range 500 {
		if r := s.Refusals(); len(r) > 0 {
			if r[0].Name != "pinned.example" || !strings.Contains(r[0].Reason, "certificate") {
				t.Errorf("evidence: %+v", r)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("no evidence")
}
