package replay_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

const issuerURL = "http://login.example"

// provider is an issuer of tokens: it signs with a key that only its key set
// tells of.
type provider struct {
	now    func() time.Time
	key    *ecdsa.PrivateKey
	mu     sync.Mutex
	nonces map[string]string // by code
}

func (p *provider) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	claims["iss"], claims["iat"], claims["exp"] = issuerURL, p.now().Unix(), p.now().Unix()+300
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "2025-k1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// authorize is what the user does at the issuer, who sends them back.
func (p *provider) authorize(redirect string) (code, state string) {
	u, err := url.Parse(redirect)
	if err != nil {
		return "", ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	code = random()
	p.nonces[code] = u.Query().Get("nonce")
	return code, u.Query().Get("state")
}

func (p *provider) handler(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"issuer": issuerURL, "authorization_endpoint": issuerURL + "/authorize", "token_endpoint": issuerURL + "/token",
			"jwks_uri": issuerURL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "2025-k1", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		out := map[string]any{"token_type": "Bearer", "expires_in": 300, "expires_at": p.now().Add(300 * time.Second).UTC().Format(time.RFC3339)}
		if r.PostFormValue("grant_type") == "client_credentials" {
			out["access_token"] = p.sign(t, map[string]any{"aud": "stock", "sub": "shop"})
		} else {
			p.mu.Lock()
			nonce := p.nonces[r.PostFormValue("code")]
			p.mu.Unlock()
			out["access_token"], out["id_token"] = "opaque-"+random(), p.sign(t, map[string]any{"aud": "shop", "sub": "ann", "nonce": nonce})
		}
		answer(w, out)
	})
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"active": true, "exp": p.now().Unix() + 300, "client_id": "partner"})
	})
	return mux
}

// counter is the service: it trusts whom the issuer's key set lets it trust,
// keeps a session with a CSRF token in a cookie that rotates, and calls a
// dependency with a token of its own.
type counter struct {
	now func() time.Time
	out *http.Client

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	sessions map[string]*session
	refused  []string
}

type session struct{ csrf, state, nonce, user string }

func (c *counter) rotate(w http.ResponseWriter, r *http.Request) *session {
	cookie, err := r.Cookie("sid")
	if err != nil || c.sessions[cookie.Value] == nil {
		return nil
	}
	s := c.sessions[cookie.Value]
	delete(c.sessions, cookie.Value)
	c.keep(w, s)
	return s
}

func (c *counter) keep(w http.ResponseWriter, s *session) {
	sid := random()
	c.sessions[sid] = s
	http.SetCookie(w, &http.Cookie{Name: "sid", Value: sid, Path: "/"})
}

// verify checks a token of the issuer with a library of others.
func (c *counter) verify(ctx context.Context, token, audience string) (*oidc.IDToken, error) {
	if c.verifier == nil {
		provider, err := oidc.NewProvider(oidc.ClientContext(ctx, c.out), issuerURL)
		if err != nil {
			return nil, err
		}
		c.verifier = provider.VerifierContext(oidc.ClientContext(ctx, c.out), &oidc.Config{SkipClientIDCheck: true, Now: c.now})
	}
	verified, err := c.verifier.Verify(oidc.ClientContext(ctx, c.out), token)
	if err == nil && verified.Audience[0] != audience {
		err = fmt.Errorf("audience %s", verified.Audience)
	}
	return verified, err
}

func (c *counter) post(ctx context.Context, target, authorization, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, "POST", target, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", form)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := c.out.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		data, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s answered %d %s", target, resp.StatusCode, data)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

type grant struct {
	AccessToken string    `json:"access_token"`
	IDToken     string    `json:"id_token"`
	ExpiresIn   int       `json:"expires_in"`
	ExpiresAt   time.Time `json:"expires_at"`
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.serve(context.WithValue(r.Context(), markKey{}, r.Header.Get("Traceparent")), w, r); err != nil {
		c.refused = append(c.refused, r.Method+" "+r.URL.Path+": "+err.Error())
		http.Error(w, err.Error(), http.StatusForbidden)
	}
}

func (c *counter) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	switch r.Method + " " + r.URL.Path {
	case "GET /login":
		s := &session{csrf: random(), state: random(), nonce: random()}
		c.keep(w, s)
		http.Redirect(w, r, issuerURL+"/authorize?client_id=shop&state="+s.state+"&nonce="+s.nonce, http.StatusFound)
		return nil
	case "GET /callback":
		s := c.rotate(w, r)
		if s == nil || query.Get("state") != s.state {
			return errors.New("state or session")
		}
		var g grant
		if err := c.post(ctx, issuerURL+"/token", "", "grant_type=authorization_code&code="+query.Get("code"), &g); err != nil {
			return err
		}
		token, err := c.verify(ctx, g.IDToken, "shop")
		if err != nil {
			return err
		}
		if token.Nonce != s.nonce {
			return fmt.Errorf("nonce %q is not %q", token.Nonce, s.nonce)
		}
		s.user = token.Subject
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method=post><input type=hidden name=csrf value=%q></form>`, s.csrf)
		return nil
	case "POST /orders":
		s := c.rotate(w, r)
		if s == nil || s.user == "" || r.PostFormValue("csrf") != s.csrf {
			return errors.New("csrf or session")
		}
		var g grant
		if err := c.post(ctx, issuerURL+"/token", "", "grant_type=client_credentials&scope=stock", &g); err != nil {
			return err
		}
		if _, err := c.verify(ctx, g.AccessToken, "stock"); err != nil {
			return err
		}
		if left := g.ExpiresAt.Sub(c.now()); left < time.Minute || left > 300*time.Second || g.ExpiresIn != 300 {
			return fmt.Errorf("the token ends at %s", g.ExpiresAt)
		}
		var stock struct{ Left int }
		if err := c.post(ctx, "http://stock.example/reserve", "Bearer "+g.AccessToken, "sku=chair", &stock); err != nil {
			return err
		}
		fmt.Fprintf(w, `{"left":%d}`, stock.Left)
		return nil
	case "GET /account": // of an app that has its token from the issuer
		token, err := c.verify(ctx, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), "app")
		if err != nil {
			return err
		}
		fmt.Fprintf(w, `{"user":%q}`, token.Subject)
		return nil
	case "GET /partner": // of a partner with an opaque token
		var about struct {
			Active bool
			Exp    int64
		}
		if err := c.post(ctx, issuerURL+"/introspect", "", "token="+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), &about); err != nil {
			return err
		}
		if !about.Active || about.Exp <= c.now().Unix() {
			return errors.New("the partner's token has expired")
		}
		io.WriteString(w, "{}")
		return nil
	}
	return errors.New("unknown")
}

type markKey struct{}

// forwarding forwards the mark of the request that is being served.
type forwarding struct{ inner http.RoundTripper }

func (f forwarding) RoundTrip(req *http.Request) (*http.Response, error) {
	if mark, ok := req.Context().Value(markKey{}).(string); ok && mark != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Traceparent", mark)
	}
	return f.inner.RoundTrip(req)
}

// noting notes the calls of the service as a recorder would.
type noting struct {
	inner    http.RoundTripper
	start    time.Time
	inbound  *[]*traffic.Exchange // noted once they are answered
	recorded *[]*traffic.Exchange
}

func (n noting) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		sent, _ = io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := n.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(data))
	serving := len(*n.inbound)
	x := &traffic.Exchange{
		ID: fmt.Sprintf("out%03d", len(*n.recorded)), Lane: traffic.Lane(fmt.Sprintf("x%03d", serving)), Direction: traffic.Outbound,
		Start:    n.start.Add(time.Duration(serving) * time.Second),
		Request:  traffic.Request{Method: req.Method, Scheme: "http", Authority: req.URL.Host, Target: req.URL.RequestURI(), Proto: "HTTP/1.1", Header: traffic.HeaderFrom(req.Header)},
		Response: &traffic.Response{Status: resp.StatusCode, Proto: "HTTP/1.1", Header: traffic.HeaderFrom(resp.Header)},
	}
	x.Request.Body = traffic.NewBody(sent, x.Request.Header)
	x.Response.Body = traffic.NewBody(data, x.Response.Header)
	*n.recorded = append(*n.recorded, x)
	return resp, nil
}

// recordFlows records users of the service as of a year ago, redacted as a
// snapshot is.
func recordFlows(t *testing.T, users int) []*traffic.Exchange {
	t.Helper()
	past := time.Now().Add(-365 * 24 * time.Hour).Truncate(time.Second)
	clock := func() time.Time { return past }
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{now: clock, key: key, nonces: map[string]string{}}
	login := httptest.NewServer(p.handler(t))
	defer login.Close()
	stock := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"left":3}`)
	}))
	defer stock.Close()
	var inbound, outbound []*traffic.Exchange
	world := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		to := map[string]string{"login.example:80": addr(login), "stock.example:80": addr(stock)}[address]
		return new(net.Dialer).DialContext(ctx, network, to)
	}}
	defer world.CloseIdleConnections()
	c := &counter{now: clock, sessions: map[string]*session{}, out: &http.Client{Transport: noting{world, past, &inbound, &outbound}}}
	s := httptest.NewServer(c)
	defer s.Close()
	for range users {
		b := &browse{t: t, server: s.URL, start: past, recorded: &inbound}
		code, state := p.authorize(b.do("GET", "/login", "", "", "").Header.Get("Location"))
		page, _ := io.ReadAll(b.do("GET", "/callback?code="+code+"&state="+state, "", "", "").Body)
		_, csrf, _ := strings.Cut(string(page), `value="`)
		csrf, _, _ = strings.Cut(csrf, `"`)
		b.do("POST", "/orders", form, "csrf="+csrf, "")
		b.do("GET", "/account", "", "", p.sign(t, map[string]any{"aud": "app", "sub": "ann-" + random()}))
		b.do("GET", "/partner", "", "", "partner-"+random())
	}
	if len(c.refused) > 0 {
		t.Fatalf("the recording itself was refused: %v", c.refused)
	}
	redactor, err := redact.New(redact.Options{Key: []byte("0123456789abcdef0123456789abcdef")})
	if err != nil {
		t.Fatal(err)
	}
	all := append(inbound, outbound...)
	for _, x := range all {
		if _, err := redactor.Redact(x); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestOldFlowBehindAnIssuer replays a year-old recording, by its timestamps, on
// a service that trusts nobody but its issuer of tokens: an OpenID Connect login
// with state, nonce, CSRF and rotating session cookies, tokens that an app brings
// along, a token of the service's own and an opaque one that it asks about. There
// is no script, and no key is configured.
func TestOldFlowBehindAnIssuer(t *testing.T) {
	all := recordFlows(t, 3)
	var inbound []*traffic.Exchange
	for _, x := range all {
		if x.Direction == traffic.Inbound {
			inbound = append(inbound, x)
		}
	}
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	learnFrom := map[string][]*traffic.Exchange{"all is known": all, "the replayer knows the requests alone": inbound}
	run := func(t *testing.T, learnt []*traffic.Exchange, issuer *fresh.Issuer, concurrency int) (refused []string, a mock.Account) {
		m, err := mock.New(all, ca, mock.Options{Issuer: issuer})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serving, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- m.Serve(serving, l) }()
		proxied := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()})}
		c := &counter{now: time.Now, sessions: map[string]*session{}, out: &http.Client{Transport: forwarding{proxied}}}
		s := httptest.NewServer(c)
		defer func() {
			s.Close()
			proxied.CloseIdleConnections()
			stop()
			if err := errors.Join(<-done, m.Close()); err != nil {
				t.Error(err)
			}
		}()
		opts := transform.Options{Issuer: issuer}
		b, err := transform.Learn(learnt, opts)
		if err != nil {
			t.Fatal(err)
		}
		e, err := replay.New(inbound, replay.Options{Concurrency: concurrency})
		if err != nil {
			t.Fatal(err)
		}
		m.BeginPass(1)
		if err := e.Pass(t.Context(), replay.Target{Arm: "head", Addr: addr(s), Mock: m}, transform.NewRewriter(b, opts), 1, func(*traffic.Exchange) {}); err != nil {
			t.Fatal(err)
		}
		return c.refused, m.Account(1)
	}
	t.Run("in vain with what was recorded", func(t *testing.T) {
		if refused, _ := run(t, all, nil, 1); len(refused) != 9 { // all but the log-ins and what needs no key
			t.Errorf("%d of %d refused; the service is not strict: %v", len(refused), len(inbound), refused)
		}
	})
	for name, learnt := range learnFrom {
		for _, concurrency := range []int{1, 8} {
			t.Run(fmt.Sprintf("%s, %d at once", name, concurrency), func(t *testing.T) {
				issuer, err := fresh.NewIssuer(all)
				if err != nil {
					t.Fatal(err)
				}
				refused, a := run(t, learnt, issuer, concurrency)
				if len(refused) > 0 || a.Missed > 0 || a.Matched == 0 {
					t.Errorf("refused %v, account %+v", refused, a)
				}
			})
		}
	}
	t.Run("where the recording began after the keys were fetched", func(t *testing.T) {
		all = without(all, "/keys", "/.well-known/openid-configuration")
		issuer, err := fresh.NewIssuer(all)
		if err != nil {
			t.Fatal(err)
		}
		if refused, a := run(t, all, issuer, 1); len(refused) > 0 || a.Missed > 0 {
			t.Errorf("refused %v, account %+v", refused, a)
		}
	})
}

func without(all []*traffic.Exchange, targets ...string) []*traffic.Exchange {
	var kept []*traffic.Exchange
next:
	for _, x := range all {
		for _, target := range targets {
			if x.Request.Target == target {
				continue next
			}
		}
		kept = append(kept, x)
	}
	return kept
}
