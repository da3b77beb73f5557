package fresh_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
)

var epoch = time.Date(2025, 11, 23, 8, 0, 0, 0, time.UTC)

const year = 365 * 24 * time.Hour

// token makes a token with a signature that no key made, as redaction leaves it.
func token(algorithm, kid, claims string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	header := fmt.Sprintf(`{"alg":%q,"kid":%q}`, algorithm, kid)
	if kid == "" {
		header = fmt.Sprintf(`{"typ":"JWT","alg":%q}`, algorithm)
	}
	return b64([]byte(header)) + "." + b64([]byte(claims)) + "." + b64([]byte("redacted"))
}

func exchange(direction traffic.Direction, method, address, requestHeader, answer string) *traffic.Exchange {
	scheme, rest, _ := strings.Cut(address, "://")
	authority, target, _ := strings.Cut(rest, "/")
	x := &traffic.Exchange{Direction: direction, Start: epoch, Request: traffic.Request{Method: method, Scheme: scheme, Authority: authority, Target: "/" + target}}
	if name, value, ok := strings.Cut(requestHeader, ": "); ok {
		x.Request.Header.Add(name, value)
	}
	if answer != "" {
		x.Response = &traffic.Response{Status: 200, Header: traffic.Header{{Name: "Content-Type", Value: "application/json"}}}
		x.Response.Body = traffic.NewBody([]byte(answer), x.Response.Header)
	}
	return x
}

func open(t *testing.T, recorded []*traffic.Exchange, named ...string) (*fresh.Issuer, *fresh.Ring) {
	t.Helper()
	issuer, err := fresh.NewIssuer(recorded, named...)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := issuer.Open()
	if err != nil {
		t.Fatal(err)
	}
	return issuer, ring
}

// TestRenewedTokensVerify has a library that nobody here wrote find the key in
// the served set by the token's own kid, and verify the token with it.
func TestRenewedTokensVerify(t *testing.T) {
	claims := fmt.Sprintf(`{"iss":"https://login.example/","sub":"u-1", "iat":%d,"nbf":%d,"exp":%d,"nested":{"exp":1}}`, epoch.Unix(), epoch.Unix(), epoch.Unix()+300)
	tests := []struct{ algorithm, kid string }{
		{"RS256", "a"}, {"RS384", "b"}, {"RS512", "c"}, {"PS256", "d"}, {"PS384", "e"}, {"PS512", "f"},
		{"ES256", "g"}, {"ES384", "h"}, {"ES512", "i"}, {"EdDSA", "j"}, {"EdDSA", ""},
	}
	var recorded []*traffic.Exchange
	for _, tt := range tests {
		recorded = append(recorded, exchange(traffic.Inbound, "GET", "http://shop.example/", "Authorization: Bearer "+token(tt.algorithm, tt.kid, claims), ""))
	}
	_, ring := open(t, recorded)
	_, other := open(t, recorded[6:])
	var set, wrong jose.JSONWebKeySet
	if err := errors.Join(json.Unmarshal(ring.KeySet(), &set), json.Unmarshal(other.KeySet(), &wrong)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.algorithm+tt.kid, func(t *testing.T) {
			live, ok := ring.Renew(token(tt.algorithm, tt.kid, claims), year, nil)
			if !ok {
				t.Fatal("the ring does not take the token")
			}
			parsed, err := jose.ParseSignedCompact(live, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(tt.algorithm)})
			if err != nil {
				t.Fatal(err)
			}
			keys := set.Key(parsed.Signatures[0].Header.KeyID)
			if len(keys) != 1 || keys[0].Algorithm != tt.algorithm || keys[0].Use != "sig" {
				t.Fatalf("%d keys for %q: %+v", len(keys), tt.kid, keys)
			}
			payload, err := parsed.Verify(keys[0])
			if err != nil {
				t.Fatal(err)
			}
			now := epoch.Add(year).Unix()
			want := fmt.Sprintf(`{"iss":"https://login.example/","sub":"u-1", "iat":%d,"nbf":%d,"exp":%d,"nested":{"exp":1}}`, now, now, now+300)
			if string(payload) != want {
				t.Errorf("claims %s\nwant   %s", payload, want)
			}
			for _, key := range wrong.Key(tt.kid) {
				if _, err := parsed.Verify(key); err == nil {
					t.Error("the key of another run verifies the token")
				}
			}
		})
	}
}

func TestWhoseTokensAreTaken(t *testing.T) {
	claims := func(iss string) string { return fmt.Sprintf(`{"iss":%q,"exp":%d}`, iss, epoch.Unix()) }
	bearer := func(token string) *traffic.Exchange {
		return exchange(traffic.Inbound, "GET", "http://shop.example/v1", "Authorization: Bearer "+token, "")
	}
	keySet := exchange(traffic.Outbound, "GET", "https://login.example/keys", "", `{"keys":[{"kty":"RSA","kid":"r1","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","kid":"e1"},{"kty":"oct","kid":"o1"}]}`)
	tests := []struct {
		why      string
		recorded []*traffic.Exchange
		named    []string
		known    []string
		names    []fresh.KeyName
	}{
		{"nothing is known of anybody", []*traffic.Exchange{bearer("abc")}, nil, nil, nil},
		{"an issuer by its address", []*traffic.Exchange{bearer(token("ES256", "k", claims("https://login.example/realm/")))}, nil,
			[]string{"https://login.example/realm"}, []fresh.KeyName{{ID: "k", Algorithm: "ES256"}}},
		{"the service itself, whose key nobody else has", []*traffic.Exchange{bearer(token("RS256", "k", claims("http://shop.example")))}, nil, nil, nil},
		{"a secret has no public half", []*traffic.Exchange{bearer(token("HS256", "k", claims("https://login.example")))}, nil, nil, nil},
		{"no signature at all", []*traffic.Exchange{bearer(token("none", "k", claims("https://login.example")))}, nil, nil, nil},
		{"an issuer without an address", []*traffic.Exchange{bearer(token("RS256", "k", claims("accounts")))}, nil, nil, nil},
		{"its key is in a recorded set", []*traffic.Exchange{keySet, bearer(token("RS256", "r1", claims("accounts")))}, nil, nil,
			[]fresh.KeyName{{ID: "e1", Algorithm: "ES256"}, {ID: "r1", Algorithm: "RS256"}}},
		{"a token endpoint gave it", []*traffic.Exchange{
			exchange(traffic.Outbound, "POST", "https://login.example/token", "", `{"access_token":"`+token("ES256", "e2", claims("accounts"))+`","token_type":"Bearer"}`),
		}, nil, nil, []fresh.KeyName{{ID: "e2", Algorithm: "ES256"}}},
		{"a recorded configuration names it", []*traffic.Exchange{
			exchange(traffic.Outbound, "GET", "https://login.example/.well-known/openid-configuration", "", `{"issuer":"https://login.example/","jwks_uri":"https://login.example/keys"}`),
		}, nil, []string{"https://login.example"}, nil},
		{"the configuration of reprise names it", []*traffic.Exchange{bearer(token("RS256", "k", claims("http://shop.example")))}, []string{"http://shop.example"},
			[]string{"http://shop.example"}, []fresh.KeyName{{ID: "k", Algorithm: "RS256"}}},
		{"never", []*traffic.Exchange{keySet}, []string{fresh.Never}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			issuer, err := fresh.NewIssuer(tt.recorded, tt.named...)
			if err != nil {
				t.Fatal(err)
			}
			if issuer == nil {
				issuer = &fresh.Issuer{}
			}
			if diff := cmp.Diff(tt.known, issuer.Known); diff != "" {
				t.Errorf("known: %s", diff)
			}
			if diff := cmp.Diff(tt.names, issuer.Names); diff != "" {
				t.Errorf("names: %s", diff)
			}
		})
	}
	if _, err := fresh.NewIssuer(nil, "login.example"); err == nil || err.Error() != `"login.example" is not the address of an issuer, such as https://login.example` {
		t.Errorf("a bad name: %v", err)
	}
}

func TestPrivateKeysStayOut(t *testing.T) {
	recorded := []*traffic.Exchange{exchange(traffic.Inbound, "GET", "http://shop.example/", "Authorization: Bearer "+token("EdDSA", "k", `{"iss":"https://login.example"}`), "")}
	issuer, ring := open(t, recorded)
	data, err := json.Marshal(issuer)
	if err != nil || strings.Contains(string(data), "PRIVATE") || !strings.Contains(issuer.Private, "PRIVATE") {
		t.Errorf("%s, %v", data, err)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(ring.KeySet(), &set); err != nil || set.Keys[0]["d"] != nil {
		t.Errorf("the served set holds a private number: %v, %v", set, err)
	}
	var arrived fresh.Issuer
	if err := json.Unmarshal(data, &arrived); err != nil {
		t.Fatal(err)
	}
	if _, err := arrived.Open(); err == nil {
		t.Error("an issuer without its keys opens")
	}
}

func TestPublishes(t *testing.T) {
	recorded := []*traffic.Exchange{
		exchange(traffic.Inbound, "GET", "http://shop.example/", "Authorization: Bearer "+token("EdDSA", "k", `{"iss":"https://login.example/realm"}`), ""),
		exchange(traffic.Outbound, "POST", "https://login.example/realm/token", "", `{"access_token":"opaque","expires_in":60}`),
	}
	_, ring := open(t, recorded)
	tests := []struct {
		method, address string
		want            string // in the answer; empty for none
	}{
		{"GET", "https://login.example/realm/.well-known/openid-configuration", `"issuer":"https://login.example/realm"`},
		{"GET", "https://login.example/.well-known/oauth-authorization-server/realm", `"token_endpoint":"https://login.example/realm/token"`},
		{"GET", "https://login.example/realm/.well-known/openid-configuration", `"jwks_uri":"https://login.example/realm/.well-known/jwks.json"`},
		{"GET", "https://login.example/realm/.well-known/jwks.json", `"kid":"k"`},
		{"GET", "https://login.example/realm/protocol/openid-connect/certs", `"kid":"k"`},
		{"GET", "https://LOGIN.example:443/realm/v1/keys", `"kid":"k"`},
		{"POST", "https://login.example/realm/.well-known/jwks.json", ""},
		{"GET", "https://login.example/realm/users", ""},
		{"GET", "https://other.example/.well-known/jwks.json", ""},
	}
	for _, tt := range tests {
		x := exchange(traffic.Outbound, tt.method, tt.address, "", "")
		response := ring.Publishes(&x.Request)
		if tt.want == "" && response != nil || tt.want != "" && (response == nil || !strings.Contains(string(response.Body.Raw), tt.want)) {
			t.Errorf("%s %s: %+v, want %q", tt.method, tt.address, response, tt.want)
		}
	}
	var none *fresh.Ring
	if none.Publishes(&recorded[0].Request) != nil || none.Takes(fresh.Token{}) || none.Known() != nil {
		t.Error("a ring of no issuer does something")
	}
}

func TestAnswersAreRenewed(t *testing.T) {
	at := epoch.Unix()
	idToken := token("ES256", "e1", fmt.Sprintf(`{"iss":"https://login.example","nonce":"recorded","exp":%d}`, at+300))
	foreign := token("HS256", "", `{"exp":1}`)
	_, ring := open(t, []*traffic.Exchange{exchange(traffic.Outbound, "POST", "https://login.example/token", "", `{"token_type":"Bearer","access_token":"`+idToken+`"}`)})
	tests := []struct {
		why, method, address, answer string
		kind                         fresh.Kind
		want                         string // empty: as it was
	}{
		{"how long it lasts stays, when it ends moves", "POST", "https://login.example/token",
			fmt.Sprintf(`{ "access_token":"opaque","expires_in":300, "expires_at":%d,"token_type":"Bearer"}`, at+300), fresh.Tokens,
			fmt.Sprintf(`{ "access_token":"opaque","expires_in":300, "expires_at":%d,"token_type":"Bearer"}`, at+300+31536000)},
		{"in every form of a time", "POST", "https://login.example/token",
			fmt.Sprintf(`{"access_token":"opaque","expires_in":"300","expires_on":"%d","issued_at":"%d000","expiresAt":"2025-11-23T08:05:00.000Z","user_id":%d}`, at, at, at), fresh.Tokens,
			fmt.Sprintf(`{"access_token":"opaque","expires_in":"300","expires_on":"%d","issued_at":"%d000","expiresAt":"2026-11-23T08:05:00.000Z","user_id":%d}`, at+31536000, at+31536000, at)},
		{"a token of another kind of key stays", "POST", "https://login.example/token",
			`{"access_token":"` + foreign + `","token_type":"Bearer"}`, fresh.Tokens, ""},
		{"introspection", "POST", "https://login.example/oauth2/introspect",
			fmt.Sprintf(`{"active":true,"exp":%d,"iat":%d,"username":"ann"}`, at+300, at), fresh.Introspection,
			fmt.Sprintf(`{"active":true,"exp":%d,"iat":%d,"username":"ann"}`, at+300+31536000, at+31536000)},
		{"an active user is no introspection", "POST", "https://users.example/v1/users", fmt.Sprintf(`{"active":true,"exp":%d}`, at), fresh.Other, ""},
		{"a token that is read is no token endpoint", "GET", "https://users.example/v1/token", `{"access_token":"a","token_type":"b"}`, fresh.Other, ""},
		{"not JSON", "POST", "https://login.example/token", `access_token=a&token_type=b`, fresh.Other, ""},
		{"a list", "POST", "https://login.example/token", `[{"access_token":"a","token_type":"b"}]`, fresh.Other, ""},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			x := exchange(traffic.Outbound, tt.method, tt.address, "", tt.answer)
			if got := fresh.KindOf(x); got != tt.kind {
				t.Fatalf("kind %d, want %d", got, tt.kind)
			}
			got := ring.Answer(tt.kind, x.Response, year, nil)
			want := tt.want
			if want == "" {
				want = tt.answer
			}
			if string(got.Body.Raw) != want {
				t.Errorf("got  %s\nwant %s", got.Body.Raw, want)
			}
			if string(x.Response.Body.Raw) != tt.answer {
				t.Error("the recording was changed")
			}
		})
	}
	t.Run("a token gets the values of this run, inside its coding", func(t *testing.T) {
		x := exchange(traffic.Outbound, "POST", "https://login.example/token", "", "")
		raw, err := traffic.Encode([]byte(`{"id_token":"`+idToken+`","access_token":"a","token_type":"Bearer"}`), "gzip")
		if err != nil {
			t.Fatal(err)
		}
		x.Response = &traffic.Response{Status: 200, Header: traffic.Header{{Name: "Content-Encoding", Value: "gzip"}, {Name: "Content-Length", Value: "1"}}}
		x.Response.Body = traffic.NewBody(raw, x.Response.Header)
		got := ring.Answer(fresh.KindOf(x), x.Response, year, strings.NewReplacer("recorded", "live").Replace)
		plain, err := got.Body.Decoded()
		if err != nil || got.Header.Get("Content-Length") != fmt.Sprint(len(got.Body.Raw)) {
			t.Fatalf("%v, header %v", err, got.Header)
		}
		var answer struct {
			Token string `json:"id_token"`
		}
		if err := json.Unmarshal(plain, &answer); err != nil {
			t.Fatal(err)
		}
		parsed, ok := fresh.ParseToken(answer.Token)
		if want := fmt.Sprintf(`{"iss":"https://login.example","nonce":"live","exp":%d}`, at+300+31536000); !ok || string(parsed.Claims) != want {
			t.Errorf("claims %s, want %s", parsed.Claims, want)
		}
	})
}

func FuzzSetMember(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1}`, `{ "a" : "x" , "b":[1,{"a":2}]}`, `{"a":{"a":1}}`, `[]`, `{"a":1`, `{"a":1e5 ,"a":-0.1}`, "{\"\\u0061\":null}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		var before map[string]any
		isObject := json.Unmarshal(object, &before) == nil && before != nil
		got := fresh.SetMember(object, "a", 7)
		if !isObject {
			if string(got) != string(object) {
				t.Errorf("%q became %q", object, got)
			}
			return
		}
		before["a"] = 7.0
		var after map[string]any
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%q became %q: %v", object, got, err)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%q became %q: %s", object, got, diff)
		}
	})
}
