package capture

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// outbound starts a forward proxy whose names lead to the given addresses, and
// returns its address and a client of the service's kind: it trusts the
// recorder's authority and goes through the proxy.
func (s *stage) outbound(opts OutboundOptions) (string, *http.Client) {
	s.t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	o, err := NewOutbound(ca, s.recorder, opts)
	if err != nil {
		s.t.Fatal(err)
	}
	proxy := s.serve(o)
	client := &http.Client{Transport: &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: proxy}),
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool()},
	}}
	s.t.Cleanup(client.CloseIdleConnections)
	return proxy, client
}

// dependency is a server under another name, with an authority of its own.
func dependency(t *testing.T, withTLS bool, handler http.HandlerFunc) (address string, root *x509.Certificate) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	if withTLS {
		ca, err := authority.New(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		server.TLS = ca.ServerConfig("pay.example", "http/1.1")
		leaf, err := ca.Leaf("pay.example")
		if err != nil {
			t.Fatal(err)
		}
		server.TLS.Certificates = []tls.Certificate{*leaf}
		if root, err = x509.ParseCertificate(leaf.Certificate[1]); err != nil {
			t.Fatal(err)
		}
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), root
}

func get(t *testing.T, client *http.Client, url string, header http.Header) string {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestOutboundExplicitProxy(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "" || r.URL.IsAbs() {
			t.Errorf("the dependency got what was meant for the proxy: %v %v", r.URL, r.Header)
		}
		fmt.Fprintf(w, "%s at %s", r.URL, r.Host)
	}
	plain, _ := dependency(t, false, echo)
	secure, root := dependency(t, true, echo)
	s := newStage(t, Options{})
	_, client := s.outbound(OutboundOptions{
		Resolve:    map[string]string{"stock.example": plain, "other.example:8080": plain, "pay.example": secure},
		ExtraRoots: []*x509.Certificate{root},
	})
	client.Transport.(*http.Transport).ProxyConnectHeader = http.Header{"Proxy-Authorization": {"Basic x"}}
	for _, u := range []string{"http://stock.example/a?b=c", "http://other.example:8080/d", "http://stock.example/e", "https://pay.example/charge"} {
		at, _ := url.Parse(u)
		if got, want := get(t, client, u, nil), at.RequestURI()+" at "+at.Host; got != want {
			t.Errorf("%s answered %q, want %q", u, got, want)
		}
	}
	all := s.stop()
	var urls []string
	for _, x := range all {
		urls = append(urls, x.Request.URL())
		if x.Direction != traffic.Outbound || x.Lane != traffic.LaneBoot || x.Response.Status != 200 {
			t.Errorf("recorded %+v", x)
		}
	}
	if got := strings.Join(urls, " "); got != "http://stock.example/a?b=c http://other.example:8080/d http://stock.example/e https://pay.example/charge" {
		t.Errorf("recorded %s", got)
	}
	if all[0].Origin.Connection != all[2].Origin.Connection {
		t.Error("requests of one connection must carry its id")
	}
}

func TestOutboundAnswerBeforeTheWholeRequest(t *testing.T) {
	upstream := callee(t, func(c net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
	})
	s := newStage(t, Options{})
	proxy, _ := s.outbound(OutboundOptions{Resolve: map[string]string{"stock.example": upstream}})
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "POST http://stock.example/ HTTP/1.1\r\nHost: stock.example\r\nContent-Length: 100000000\r\n\r\n")
	r := bufio.NewReader(c)
	response, err := http.ReadResponse(r, nil)
	if err != nil || response.StatusCode != 413 {
		t.Fatalf("got %v, %v", response, err)
	}
	_, _ = io.ReadAll(response.Body)
	// The service goes on sending; the connection must end and not hang.
	for err == nil {
		_, err = c.Write(make([]byte, 64<<10))
		if _, readErr := r.ReadByte(); readErr != nil {
			break
		}
	}
	if x := s.only(); x.Response.Status != 413 || len(x.Incomplete) != 1 {
		t.Errorf("recorded %+v", x)
	}
}

func TestOutboundTransparent(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s at %s", r.URL, r.Host) }
	plain, _ := dependency(t, false, echo)
	secure, root := dependency(t, true, echo)
	s := newStage(t, Options{})
	proxy, client := s.outbound(OutboundOptions{
		Resolve:    map[string]string{"stock.example": plain, "pay.example": secure},
		ExtraRoots: []*x509.Certificate{root},
	})
	// The service is led here by DNS: every name is the recorder.
	transport := client.Transport.(*http.Transport)
	transport.Proxy = nil
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, proxy)
	}
	for u, want := range map[string]string{"http://stock.example/a": "/a at stock.example", "https://pay.example/b": "/b at pay.example"} {
		if got := get(t, client, u, nil); got != want {
			t.Errorf("%s answered %q", u, got)
		}
	}
	for _, x := range s.stop() {
		if u := x.Request.URL(); u != "http://stock.example/a" && u != "https://pay.example/b" {
			t.Errorf("recorded %s", u)
		}
	}
}

func TestOutboundFailures(t *testing.T) {
	secure, _ := dependency(t, true, func(http.ResponseWriter, *http.Request) { t.Error("an unverified upstream must not be asked") })
	s := newStage(t, Options{})
	proxy, client := s.outbound(OutboundOptions{Resolve: map[string]string{"pay.example": secure, "gone.example": "127.0.0.1:1"}})
	for u, failure := range map[string]traffic.Failure{
		"https://pay.example/":  traffic.FailureTLS, // its root is not ours
		"https://gone.example/": traffic.FailureRefused,
		"http://gone.example/":  traffic.FailureRefused,
	} {
		if response, err := client.Get(u); err == nil {
			response.Body.Close()
			if response.StatusCode != 502 {
				t.Errorf("%s: status %d", u, response.StatusCode)
			}
		}
		for s.recorder.Counts().Stored == 0 {
			time.Sleep(time.Millisecond)
		}
		s.sink.mu.Lock()
		if x := s.sink.all[len(s.sink.all)-1]; x.Failure != failure || x.Request.Scheme+"://"+x.Request.Authority+"/" != u {
			t.Errorf("%s: recorded %+v", u, x)
		}
		s.sink.mu.Unlock()
		s.recorder.mu.Lock()
		s.recorder.counts = Counts{}
		s.recorder.mu.Unlock()
	}
	if answer := exact(t, proxy, "GET / HTTP/1.1\r\nHost: "+proxy+"\r\n\r\n"); !strings.Contains(answer, "502") && !strings.Contains(answer, "508") {
		t.Errorf("a request to the recorder itself: %q", answer)
	}
	if answer := exact(t, proxy, "GET / HTTP/1.1\r\n\r\n"); !strings.Contains(answer, "400") {
		t.Errorf("a request without a host: %q", answer)
	}
}

// service is a small service under record: each inbound request calls one
// dependency through the recorder, with the headers that forward chooses.
type service struct {
	*stage
	inbound string
	client  *http.Client
	hold    chan struct{} // when set, calls wait for it
	entered chan struct{}
}

func newService(t *testing.T, forward func(in *http.Request) (target string, header http.Header)) *service {
	t.Helper()
	stock, _ := dependency(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"path":%q}`, r.URL.Path)
	})
	s := &service{stage: newStage(t, Options{}), entered: make(chan struct{}, 16)}
	_, s.client = s.outbound(OutboundOptions{Resolve: map[string]string{"stock.example": stock}})
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.entered <- struct{}{}
		if s.hold != nil {
			<-s.hold
		}
		target, header := forward(r)
		get(t, s.client, "http://stock.example"+target, header)
	}))
	t.Cleanup(shop.Close)
	s.inbound = s.stage.inbound(shop.URL)
	return s
}

// calls sends one request per target, all at once when held, and returns the
// recorded exchanges by target.
func (s *service) calls(together bool, targets []string, header http.Header) map[string]*traffic.Exchange {
	s.t.Helper()
	done := make(chan struct{}, len(targets))
	if together {
		s.hold = make(chan struct{})
	}
	for _, target := range targets {
		go func() {
			get(s.t, http.DefaultClient, "http://"+s.inbound+target, header.Clone())
			done <- struct{}{}
		}()
		<-s.entered
		if !together {
			<-done
		}
	}
	if together {
		close(s.hold)
		for range targets {
			<-done
		}
	}
	http.DefaultClient.CloseIdleConnections()
	found := map[string]*traffic.Exchange{}
	for _, x := range s.stop() {
		found[string(x.Direction)+" "+x.Request.Target] = x
	}
	return found
}

func TestLanesByTrace(t *testing.T) {
	tests := []struct {
		name, reason string
		sent         http.Header // by the caller
		forward      func(in http.Header) http.Header
	}{
		{"traceparent that the recorder added", "the caller sent none", nil, func(in http.Header) http.Header {
			parts := strings.Split(in.Get("Traceparent"), "-")
			return http.Header{"Traceparent": {"00-" + parts[1] + "-00f067aa0ba902b7-01"}} // a tracer's own span
		}},
		{"B3 from traceparent", "tracers translate between them", nil, func(in http.Header) http.Header {
			return http.Header{"B3": {strings.Split(in.Get("Traceparent"), "-")[1] + "-00f067aa0ba902b7-1"}}
		}},
		{"B3 in many headers", "the older form", nil, func(in http.Header) http.Header {
			return http.Header{"X-B3-Traceid": {strings.Split(in.Get("Traceparent"), "-")[1]}, "X-B3-Spanid": {"00f067aa0ba902b7"}}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t, func(in *http.Request) (string, http.Header) { return "/call" + in.URL.Path, test.forward(in.Header) })
			found := s.calls(true, []string{"/a", "/b"}, test.sent)
			for _, target := range []string{"/a", "/b"} {
				call, in := found["outbound /call"+target], found["inbound "+target]
				if call == nil || in == nil || call.Lane != in.Lane || call.Origin.Certainty != traffic.ByTrace {
					t.Errorf("%s: inbound %+v, outbound %+v", target, in, call)
				}
			}
		})
	}
}

func TestLanesByForwardedIDs(t *testing.T) {
	for _, name := range []string{"X-Request-Id", "Baggage"} {
		t.Run(name, func(t *testing.T) {
			var ids = map[string]string{"/a": "tenant=1", "/b": "tenant=2"}
			s := newService(t, func(in *http.Request) (string, http.Header) {
				return "/call" + in.URL.Path, http.Header{name: {in.Header.Get(name)}}
			})
			s.hold = make(chan struct{})
			done := make(chan struct{})
			for _, target := range []string{"/a", "/b"} {
				go func() {
					get(t, http.DefaultClient, "http://"+s.inbound+target, http.Header{name: {ids[target] + map[bool]string{true: ",env=prod"}[name == "Baggage"]}})
					done <- struct{}{}
				}()
				<-s.entered
			}
			close(s.hold)
			<-done
			<-done
			http.DefaultClient.CloseIdleConnections()
			lanes := map[string]traffic.Lane{}
			for _, x := range s.stop() {
				target := strings.TrimPrefix(x.Request.Target, "/call")
				if lane, ok := lanes[target]; ok && lane != x.Lane || x.Direction == traffic.Outbound && x.Origin.Certainty != traffic.ByTrace {
					t.Errorf("%s: lane %s, then %s (%s)", target, lane, x.Lane, x.Origin.Certainty)
				}
				lanes[target] = x.Lane
			}
		})
	}
}

func TestLanesWithoutForwarding(t *testing.T) {
	byPath := func(in *http.Request) (string, http.Header) { return "/items" + in.URL.Path, nil }
	fixed := func(in *http.Request) (string, http.Header) { return "/list", nil }
	t.Run("only active", func(t *testing.T) {
		found := newService(t, fixed).calls(false, []string{"/a"}, nil)
		if x := found["outbound /list"]; x.Lane != "in-000001" || x.Origin.Certainty != traffic.ByOnlyActive {
			t.Errorf("recorded %+v", x)
		}
	})
	t.Run("value", func(t *testing.T) {
		found := newService(t, byPath).calls(true, []string{"/sku-4711", "/sku-4712"}, nil)
		for _, sku := range []string{"/sku-4711", "/sku-4712"} {
			call, in := found["outbound /items"+sku], found["inbound "+sku]
			if call.Lane != in.Lane || call.Origin.Certainty != traffic.ByValue {
				t.Errorf("%s: inbound %s, outbound %s by %q", sku, in.Lane, call.Lane, call.Origin.Certainty)
			}
		}
	})
	t.Run("time", func(t *testing.T) {
		found := newService(t, fixed).calls(true, []string{"/a", "/b"}, nil)
		if x := found["outbound /list"]; x.Origin.Certainty != traffic.ByTime && x.Origin.Certainty != traffic.ByOnlyActive {
			t.Errorf("recorded %+v", x)
		}
	})
	t.Run("background", func(t *testing.T) {
		s := newService(t, byPath)
		get(t, http.DefaultClient, "http://"+s.inbound+"/sku-1", nil)
		<-s.entered
		for s.recorder.Counts().Stored < 2 {
			time.Sleep(time.Millisecond)
		}
		get(t, s.client, "http://stock.example/tick", nil)
		for _, x := range s.stop() {
			if x.Request.Target == "/tick" && (x.Lane != traffic.LaneBackground || x.Origin.Certainty != traffic.ByNothing) {
				t.Errorf("recorded %+v", x)
			}
		}
	})
}
