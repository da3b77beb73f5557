package agent

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// start runs an agent on loopback until the test ends.
func start(t *testing.T, serve func(context.Context, net.Listener, ServerOptions) error) Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	token := NewToken()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, l, ServerOptions{Token: token, Bind: "127.0.0.1", Address: netip.MustParseAddr("127.0.0.1")})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	})
	at := Endpoint{Addr: l.Addr().String(), Token: token}
	if err := Healthy(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	return at
}

// recording is three inbound requests, each with one outbound call. A body that
// is no UTF-8 is among them.
func recording() []*traffic.Exchange {
	var xs []*traffic.Exchange
	began := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for i := range 3 {
		id := fmt.Sprintf("in-%d", i)
		body := fmt.Appendf(nil, "stock \xff\xfe %d", i)
		header := traffic.Header{{Name: "Content-Type", Value: "application/octet-stream"}}
		response := func() *traffic.Response {
			return &traffic.Response{Status: 200, Proto: "HTTP/1.1", Header: header.Clone(), Body: traffic.NewBody(body, nil)}
		}
		xs = append(xs, &traffic.Exchange{
			ID: id, Direction: traffic.Inbound, Lane: traffic.Lane(id), Start: began.Add(time.Duration(i) * time.Second), Duration: time.Millisecond,
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "shop.example", Target: fmt.Sprintf("/orders/%d", i), Proto: "HTTP/1.1"},
			Response: response(),
		}, &traffic.Exchange{
			ID: "out-" + id, Direction: traffic.Outbound, Lane: traffic.Lane(id), Start: began.Add(time.Duration(i)*time.Second + time.Microsecond), Duration: time.Microsecond,
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "stock.example", Target: fmt.Sprintf("/stock/%d", i), Proto: "HTTP/1.1"},
			Response: response(),
		})
	}
	return xs
}

func ofDirection(xs []*traffic.Exchange, d traffic.Direction) []*traffic.Exchange {
	var out []*traffic.Exchange
	for _, x := range xs {
		if x.Direction == d {
			out = append(out, x)
		}
	}
	return out
}

// service passes /orders/N on to http://stock.example/stock/N through the proxy
// and forwards no trace context, so that lanes must come from Enter and Leave.
func service(t *testing.T, proxy string) string {
	t.Helper()
	out := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})}}
	t.Cleanup(out.CloseIdleConnections)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := out.Get("http://stock.example/stock" + strings.TrimPrefix(r.URL.Path, "/orders"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func loadedMock(t *testing.T, at Endpoint, xs []*traffic.Exchange) (*Mock, Listening) {
	t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	m := NewMock(t.Context(), at)
	listening, err := m.Load(MockSettings{Arm: "head", CertPEM: ca.CertPEM(), KeyPEM: key, Ports: []int{0, 0}, DNS: &DNSSettings{}}, List(xs))
	if err != nil {
		t.Fatal(err)
	}
	return m, listening
}

// TestRun goes the whole way: a mock and a replayer behind their control APIs,
// a service between them, a correctness pass and a round.
func TestRun(t *testing.T) {
	xs := recording()
	mockAt := start(t, ServeMock)
	m, listening := loadedMock(t, mockAt, xs)
	if len(listening.TCP) != 2 || listening.DNS == "" {
		t.Fatalf("listening %+v, want two ports and one for names", listening)
	}
	addr := service(t, listening.TCP[0])

	r := NewReplayer(start(t, ServeReplay))
	n, err := r.Load(t.Context(), ReplaySettings{}, List(ofDirection(xs, traffic.Inbound)))
	if err != nil || n != 3 {
		t.Fatalf("loaded %d requests, %v; want 3", n, err)
	}
	target := Target{Arm: "head", Addr: addr, Mock: &mockAt}
	var live []*traffic.Exchange
	if err := r.Pass(t.Context(), target, 1, func(x *traffic.Exchange) { live = append(live, x) }); err != nil {
		t.Fatal(err)
	}
	for i, x := range live {
		want := fmt.Sprintf("stock \xff\xfe %d", i)
		if x.Response == nil || string(x.Response.Body.Raw) != want || x.Recorded != fmt.Sprintf("in-%d", i) || x.ID != fmt.Sprintf("head-1-in-%d", i) {
			t.Errorf("live exchange %d is %+v, want the body %q", i, x, want)
		}
	}
	calls := m.Calls(1)
	if len(calls) != 3 {
		t.Fatalf("the journal has %d calls, want 3", len(calls))
	}
	for i, c := range calls {
		if want := traffic.Lane(fmt.Sprintf("in-%d", i)); c.Lane != want || c.Match == nil || c.Match.Tier != traffic.TierExact {
			t.Errorf("call %d: lane %s, match %+v; want lane %s, exact", i, c.Lane, c.Match, want)
		}
	}
	if a := m.Account(1); a.Recorded != 3 || a.Matched != 3 || a.Missed != 0 || a.Err != nil || a.Lanes["in-1"].Matched != 1 {
		t.Errorf("account %+v, want all three matched", a)
	}

	round, err := r.Round(t.Context(), Target{Arm: "base", Addr: addr}, Target{Arm: "head", Addr: addr}, 2, 7,
		RoundOptions{PairsPerEndpoint: 4, MinDuration: time.Millisecond, MaxDuration: 5 * time.Second, Only: []string{"in-1", "in-2"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(round.Pairs) < 4 || len(round.SendLag) == 0 {
		t.Errorf("round %+v, want four pairs", round)
	}
	for _, p := range round.Pairs {
		if p.Recorded == "in-0" || p.A <= 0 || p.B <= 0 {
			t.Errorf("pair %+v: in-0 was not eligible, and times are positive", p)
		}
	}
	m.Forget(1)
	if calls := m.Calls(1); len(calls) != 0 {
		t.Errorf("%d calls after Forget", len(calls))
	}
	if err := m.Err(); err != nil {
		t.Error(err)
	}
}

// TestBindAndEvidence has a value that is no UTF-8 bound, and a host asked for
// that nobody recorded.
func TestBindAndEvidence(t *testing.T) {
	xs := recording()
	xs[1].Request.Target = "/stock/%FF"
	m, listening := loadedMock(t, start(t, ServeMock), xs)
	m.BeginPass(1)
	m.Enter(1, "in-0")
	m.Bind(1, "in-0", "\xff", "\xfe\x00")
	m.Leave(1, "in-0")
	proxied := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: listening.TCP[1]})}}
	defer proxied.CloseIdleConnections()
	resp, err := proxied.Get("http://never.recorded.example/x")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	calls := m.Calls(1)
	if len(calls) != 1 || calls[0].Match.Tier != traffic.TierMiss || calls[0].Request.Authority != "never.recorded.example" {
		t.Errorf("journal %+v, want one miss with its host", calls)
	}
	for _, network := range []string{"udp", "tcp"} {
		resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, listening.DNS)
		}}
		ips, err := resolver.LookupHost(t.Context(), "also.never.example")
		if err != nil || ips[0] != "127.0.0.1" {
			t.Errorf("over %s the name became %v, %v; want the mock's address", network, ips, err)
		}
	}
	evidence, err := m.Evidence()
	if err != nil || len(evidence.Names) == 0 || !strings.Contains(evidence.Names[0].Name, "also.never.example") {
		t.Errorf("evidence %+v, %v; want the name that was asked for", evidence, err)
	}
	if err := m.Err(); err != nil {
		t.Error(err)
	}
}

// TestReach waits for a port that opens a little later.
func TestReach(t *testing.T) {
	r := NewReplayer(start(t, ServeReplay))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	opened := make(chan net.Listener, 1)
	go func() {
		time.Sleep(50 * time.Millisecond)
		l, _ := net.Listen("tcp", addr)
		opened <- l
	}()
	if err := r.Reach(t.Context(), addr); err != nil {
		t.Error(err)
	}
	if l := <-opened; l != nil {
		l.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Reach(ctx, addr); err == nil {
		t.Error("a closed port was reached")
	}
}

// TestStrangerAnswers has another server at the agent's address.
func TestStrangerAnswers(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "{}") }))
	defer srv.Close()
	_, err := NewReplayer(Endpoint{Addr: srv.Listener.Addr().String(), Token: NewToken()}).Load(t.Context(), ReplaySettings{}, List(nil))
	if err == nil || !strings.Contains(err.Error(), "something else answers") {
		t.Errorf("got %v, want that it is no agent", err)
	}
}

func TestRefusals(t *testing.T) {
	at := start(t, ServeMock)
	early := NewMock(t.Context(), at)
	early.BeginPass(1)
	if err := early.Err(); err == nil || !strings.Contains(err.Error(), "no snapshot") {
		t.Errorf("before the load: %v", err)
	}
	if a := early.Account(1); a.Err == nil {
		t.Error("an account that could not be had must say so")
	}
	stranger := NewMock(t.Context(), Endpoint{Addr: at.Addr, Token: "0123456789abcdef"})
	stranger.BeginPass(1)
	if err := stranger.Err(); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("a wrong token: %v", err)
	}
	if _, err := NewMock(t.Context(), at).Load(MockSettings{}, List(nil)); err == nil || !strings.Contains(err.Error(), "authority") {
		t.Errorf("no authority: %v", err)
	}
	m, _ := loadedMock(t, at, recording())
	if _, err := m.Load(MockSettings{}, List(nil)); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second snapshot: %v", err)
	}
	r := NewReplayer(start(t, ServeReplay))
	if err := r.Pass(t.Context(), Target{Arm: "a", Addr: "127.0.0.1:1"}, 1, func(*traffic.Exchange) {}); err == nil || !strings.Contains(err.Error(), "no snapshot") {
		t.Errorf("replay before the load: %v", err)
	}
	damaged := errors.New("exchanges.jsonl line 7: not JSON")
	_, err := r.Load(t.Context(), ReplaySettings{}, iter.Seq2[*traffic.Exchange, error](func(yield func(*traffic.Exchange, error) bool) { yield(nil, damaged) }))
	if err == nil || !strings.Contains(err.Error(), damaged.Error()) {
		t.Errorf("a damaged snapshot: %v, want its own words", err)
	}
	if err := ServeMock(t.Context(), nil, ServerOptions{Token: "short"}); err == nil {
		t.Error("a short token was accepted")
	}
}

// TestPassEndsWithContext cancels a pass whose target hangs.
func TestPassEndsWithContext(t *testing.T) {
	began := make(chan struct{}, 16)
	block := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { began <- struct{}{}; <-block }))
	defer srv.Close()
	defer close(block)
	r := NewReplayer(start(t, ServeReplay))
	if _, err := r.Load(t.Context(), ReplaySettings{}, List(ofDirection(recording(), traffic.Inbound))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	err := r.Pass(ctx, Target{Arm: "head", Addr: srv.Listener.Addr().String()}, 1, func(*traffic.Exchange) {})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the cancellation", err)
	}
}

// TestSettingsCarryAllOptions fails when an option is added to a room and
// forgotten here.
func TestSettingsCarryAllOptions(t *testing.T) {
	local := map[string]bool{ // what cannot travel, and what stands for it
		"Routes": true, "Router": true, "Eligible": true, // route templates, ids
		"Now": true, "Wait": true, "Log": true, "Dial": true, "TLS": true, "Pause": true, "Mock": true, // those of the agent
	}
	for _, pair := range []struct{ room, settings any }{
		{mock.Options{}, MockSettings{}}, {replay.Options{}, ReplaySettings{}}, {replay.RoundOptions{}, RoundOptions{}}, {replay.Target{}, Target{}},
	} {
		room, settings := reflect.TypeOf(pair.room), reflect.TypeOf(pair.settings)
		for i := range room.NumField() {
			f := room.Field(i)
			got, ok := settings.FieldByName(f.Name)
			if !local[f.Name] && (!ok || got.Type != f.Type) {
				t.Errorf("%s.%s does not travel in %s", room, f.Name, settings)
			}
		}
	}
}

func TestSettingsArrive(t *testing.T) {
	sent := MockSettings{
		Arm: "base", OneLane: true, Headers: []string{"x-tenant"}, Repeat: map[string]mock.Repeat{"*": mock.RepeatCycle},
		Latency: mock.Latency{Scale: 1, EveryPass: true}, MaxBody: 7, MaxJournal: 8,
	}
	got, err := sent.options(ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got.Routes = nil
	want := mock.Options{
		Arm: "base", OneLane: true, Headers: []string{"x-tenant"}, Repeat: map[string]mock.Repeat{"*": mock.RepeatCycle},
		Latency: mock.Latency{Scale: 1, EveryPass: true}, MaxBody: 7, MaxJournal: 8,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := (MockSettings{Routes: []string{"no slash"}}).options(ServerOptions{}); err == nil {
		t.Error("a bad route was accepted")
	}
	ropts, err := ReplaySettings{Concurrency: 3, Timeout: time.Second, MaxBody: 9, KeepHost: true, HTTP2: true}.options()
	if err != nil || ropts.Concurrency != 3 || ropts.Timeout != time.Second || ropts.MaxBody != 9 || !ropts.KeepHost || !ropts.HTTP2 || !ropts.TLS.InsecureSkipVerify {
		t.Errorf("replay options %+v, %v", ropts, err)
	}
}

// TestRulesTravel has a rule answer with a number that a float cannot hold.
func TestRulesTravel(t *testing.T) {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	m := NewMock(t.Context(), start(t, ServeMock))
	rule := mock.Rule{Match: mock.RuleMatch{Host: "rates.example", Path: "/v1/{what}"}, Reply: mock.RuleAnswer{Status: 201, JSON: map[string]any{"id": 9007199254740993}}}
	listening, err := m.Load(MockSettings{CertPEM: ca.CertPEM(), KeyPEM: key, Ports: []int{0}, Rules: []mock.Rule{rule}}, List(recording()))
	if err != nil {
		t.Fatal(err)
	}
	out := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: listening.TCP[0]})}}
	defer out.CloseIdleConnections()
	resp, err := out.Get("http://rates.example/v1/eur")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 201 || strings.TrimSpace(string(body)) != `{"id":9007199254740993}` {
		t.Errorf("the rule answered %d %q, %v", resp.StatusCode, body, err)
	}
}

// TestTransformTravels has a header rule and the key of a token rule arrive at
// the replayer.
func TestTransformTravels(t *testing.T) {
	seen := make(chan http.Header, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	defer srv.Close()
	value, forbidden := "t-1", "request.header.X-Tenant"
	pattern, err := traffic.ParsePattern(forbidden)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReplayer(start(t, ServeReplay))
	settings := ReplaySettings{Transform: transform.Options{
		Headers: []transform.HeaderRule{{Name: "X-Tenant", Set: &value}},
		Forbid:  []traffic.Pattern{pattern},
		JWT:     []transform.JWTRule{{Algorithm: "HS256", Key: "the key of the run"}},
	}}
	segment := base64.RawURLEncoding.EncodeToString
	inbound := ofDirection(recording(), traffic.Inbound)
	inbound[0].Request.Header.Add("Authorization", "Bearer "+segment([]byte(`{"alg":"HS256","typ":"JWT"}`))+"."+segment([]byte(`{"sub":"u-1"}`))+"."+segment([]byte("signed by nobody")))
	if _, err := r.Load(t.Context(), settings, List(inbound)); err != nil {
		t.Fatal(err)
	}
	if err := r.Pass(t.Context(), Target{Arm: "head", Addr: srv.Listener.Addr().String()}, 1, func(*traffic.Exchange) {}); err != nil {
		t.Fatal(err)
	}
	got := <-seen
	if got.Get("X-Tenant") != "t-1" {
		t.Errorf("the service saw tenant %q, want t-1", got.Get("X-Tenant"))
	}
	token := strings.TrimPrefix(got.Get("Authorization"), "Bearer ")
	signed := hmac.New(sha256.New, []byte("the key of the run"))
	signed.Write([]byte(token[:max(0, strings.LastIndexByte(token, '.'))]))
	if !strings.HasSuffix(token, "."+segment(signed.Sum(nil))) {
		t.Errorf("token %q is not signed with the key of the rule", token)
	}
}

// TestKeysTravel has the keys of all rules come back to where they were.
func TestKeysTravel(t *testing.T) {
	settings := ReplaySettings{Transform: transform.Options{
		JWT:  []transform.JWTRule{{Algorithm: "HS256", Key: "first"}, {Algorithm: "HS512", Key: "second"}},
		Sign: []transform.SignRule{{Scheme: "hmac", Key: "third"}},
	}}
	want := []string{"first", "second", "third"}
	sent := settings.withKeys()
	if diff := cmp.Diff(want, sent.Keys); diff != "" {
		t.Fatal(diff)
	}
	data, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	var arrived ReplaySettings
	if err := json.Unmarshal(data, &arrived); err != nil {
		t.Fatal(err)
	}
	opts, _ := arrived.transform(nil) // whether the rules are good is not the question
	got := []string{opts.JWT[0].Key, opts.JWT[1].Key, opts.Sign[0].Key}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	arrived.Keys = arrived.Keys[1:]
	if _, err := arrived.transform(nil); err == nil || !strings.Contains(err.Error(), "keys") {
		t.Errorf("a key too few: %v", err)
	}
}

func TestMockServesTLSWithTheRunsAuthority(t *testing.T) {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	m := NewMock(t.Context(), start(t, ServeMock))
	listening, err := m.Load(MockSettings{CertPEM: ca.CertPEM(), KeyPEM: key, Ports: []int{0}}, List(recording()))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", listening.TCP[0], &tls.Config{ServerName: "api.payments.example", RootCAs: ca.Pool()})
	if err != nil {
		t.Fatalf("a client that trusts the run's authority is refused: %v", err)
	}
	conn.Close()
}

// TestRunNeverSucceeds stops an agent: a Job must not take that for its end.
func TestRunNeverSucceeds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	env := map[string]string{EnvToken: NewToken(), EnvListen: "127.0.0.1:0"}
	if err := Run(ctx, RoleReplay, "", func(key string) string { return env[key] }, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the cancellation", err)
	}
}

func TestRunRefusesBadEnvironment(t *testing.T) {
	token := NewToken()
	for name, tc := range map[string]struct {
		role string
		env  map[string]string
		want string
	}{
		"no token":    {RoleMock, nil, EnvToken},
		"bad address": {RoleMock, map[string]string{EnvToken: token, EnvAddress: "here"}, EnvAddress},
		"bad role":    {"both", map[string]string{EnvToken: token}, `"both"`},
		"bad listen":  {RoleReplay, map[string]string{EnvToken: token, EnvListen: "127.0.0.1:-1"}, "control API"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Run(t.Context(), tc.role, "", func(key string) string { return tc.env[key] }, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
