package agent

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// TestIssuerTravels has the replayer's pod sign a token that verifies with the
// key set of the mock's pod.
func TestIssuerTravels(t *testing.T) {
	segment := base64.RawURLEncoding.EncodeToString
	all := recording()
	inbound := ofDirection(all, traffic.Inbound)
	inbound[0].Request.Header.Add("Authorization", "Bearer "+segment([]byte(`{"alg":"EdDSA","kid":"k1"}`))+"."+segment([]byte(`{"iss":"https://login.example"}`))+"."+segment([]byte("nobody's")))
	issuer, err := fresh.NewIssuer(all)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("Authorization") }))
	defer srv.Close()
	r := NewReplayer(start(t, ServeReplay))
	if _, err := r.Load(t.Context(), ReplaySettings{Transform: transform.Options{Issuer: issuer}}, List(inbound)); err != nil {
		t.Fatal(err)
	}
	if err := r.Pass(t.Context(), Target{Arm: "head", Addr: srv.Listener.Addr().String()}, 1, func(*traffic.Exchange) {}); err != nil {
		t.Fatal(err)
	}
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	m := NewMock(t.Context(), start(t, ServeMock))
	listening, err := m.Load(MockSettings{CertPEM: ca.CertPEM(), KeyPEM: key, Ports: []int{0}, Issuer: issuer, IssuerKeys: issuer.Private}, List(all))
	if err != nil {
		t.Fatal(err)
	}
	out := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: listening.TCP[0]})}}
	defer out.CloseIdleConnections()
	resp, err := out.Get("http://login.example/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil || len(set.Key("k1")) != 1 {
		t.Fatalf("key set %+v, %v", set, err)
	}
	token, err := jose.ParseSignedCompact(strings.TrimPrefix(<-seen, "Bearer "), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.Verify(set.Key("k1")[0]); err != nil {
		t.Error(err)
	}
}
