package transform_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// token makes a token with a signature that no key made.
func token(claims string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"typ":"JWT","alg":"none","kid":"old"}`)) + "." + b64([]byte(claims)) + "." + b64([]byte("redacted"))
}

func part(t *testing.T, token string, i int) string {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func pemKey(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestTokensAreSignedAnew(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		algorithm, key string
		verify         func(signed, signature []byte) bool
	}{
		{"HS256", "s3cret", func(signed, signature []byte) bool {
			mac := hmac.New(sha256.New, []byte("s3cret"))
			mac.Write(signed)
			return hmac.Equal(mac.Sum(nil), signature)
		}},
		{"RS256", pemKey(t, rsaKey), func(signed, signature []byte) bool {
			digest := sha256.Sum256(signed)
			return rsa.VerifyPKCS1v15(&rsaKey.PublicKey, crypto.SHA256, digest[:], signature) == nil
		}},
		{"ES256", pemKey(t, ecKey), func(signed, signature []byte) bool {
			digest := sha256.Sum256(signed)
			return len(signature) == 64 && ecdsa.Verify(&ecKey.PublicKey, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}},
	}
	now := epoch.Add(365 * 24 * time.Hour)
	for _, tt := range tests {
		t.Run(tt.algorithm, func(t *testing.T) {
			claims := fmt.Sprintf(`{"sub":"u-1", "exp":%d,"iat":%d,"scope":"a b","nested":{"exp":1}}`, epoch.Unix()+600, epoch.Unix()-60)
			c := new(talk).ask("GET", "/", "", "Authorization: Bearer "+token(claims), "X-Other: "+token(claims))
			opts := transform.Options{
				Now: func() time.Time { return now },
				JWT: []transform.JWTRule{{Algorithm: tt.algorithm, Key: tt.key, KeyID: "test", Claims: map[string]any{"iss": "https://ci"}}},
			}
			if err := opts.Validate(); err != nil {
				t.Fatal(err)
			}
			req := transform.NewRewriter(nil, opts).Request(c.exchanges[0])
			scheme, got, _ := strings.Cut(req.Header.Get("Authorization"), " ")
			signed, encoded, _ := strings.Cut(got[strings.Index(got, ".")+1:], ".")
			signature, err := base64.RawURLEncoding.DecodeString(encoded)
			if err != nil || scheme != "Bearer" || !tt.verify([]byte(got[:strings.Index(got, ".")+1]+signed), signature) {
				t.Errorf("the signature of %q is not valid: %v", got, err)
			}
			var header map[string]string
			if err := json.Unmarshal([]byte(part(t, got, 0)), &header); err != nil || header["alg"] != tt.algorithm || header["kid"] != "test" || header["typ"] != "JWT" {
				t.Errorf("header %v, %v", header, err)
			}
			var have struct {
				Sub, Iss, Scope string
				Exp, Iat        int64
				Nested          struct{ Exp int64 }
			}
			if err := json.Unmarshal([]byte(part(t, got, 1)), &have); err != nil {
				t.Fatal(err)
			}
			if have.Exp != now.Unix()+600 || have.Iat != now.Unix()-60 || have.Sub != "u-1" || have.Iss != "https://ci" || have.Nested.Exp != 1 {
				t.Errorf("claims %+v", have)
			}
			if req.Header.Get("X-Other") != c.exchanges[0].Request.Header.Get("X-Other") {
				t.Error("a header that no rule names was changed")
			}
		})
	}
}

func TestTokenInCookieAndTokenFromLiveAnswer(t *testing.T) {
	old := token(fmt.Sprintf(`{"exp":%d}`, epoch.Unix()+600))
	fresh := token(`{"exp":99999999999}`)
	opts := transform.Options{JWT: []transform.JWTRule{{Cookie: "auth", Algorithm: "HS256", Key: "k"}, {Algorithm: "HS256", Key: "k"}}}
	c := new(talk).ask("POST", "/login", "").answer(`{"token":"`+old+`"}`, jsonType).
		ask("GET", "/", "", "Authorization: Bearer "+old, "Cookie: a=1; auth="+token(`{"exp":1}`)+"; b=2", "X: "+old)
	b, err := transform.Learn(c.exchanges, opts)
	if err != nil {
		t.Fatal(err)
	}
	rw := transform.NewRewriter(b, opts)
	rw.Observe(c.exchanges[0], &traffic.Exchange{Response: answer(200, `{"token":"`+fresh+`"}`, jsonType)})
	got := rw.Request(c.exchanges[1])
	if got.Header.Get("Authorization") != "Bearer "+fresh || got.Header.Get("X") != fresh {
		t.Errorf("the live token was changed: %s", got.Header.Get("Authorization"))
	}
	cookie := got.Header.Get("Cookie")
	if !strings.HasPrefix(cookie, "a=1; auth=eyJ") || !strings.HasSuffix(cookie, "; b=2") || cookie == c.exchanges[1].Request.Header.Get("Cookie") {
		t.Errorf("cookie %s", cookie)
	}
}

func TestCheck(t *testing.T) {
	hour := func(n int) string {
		return token(fmt.Sprintf(`{"n":%d,"exp":%d}`, n, epoch.Add(time.Duration(n)*time.Hour).Unix()))
	}
	c := new(talk).ask("POST", "/login", "").answer(`{"token":"`+hour(1)+`"}`, jsonType).
		ask("GET", "/bound", "", "Authorization: Bearer "+hour(1)).
		ask("GET", "/again", "", "Authorization: Bearer "+hour(1)).
		ask("GET", "/signed", "", "Authorization: Bearer "+hour(2)).
		ask("GET", "/was", "", "X-Token: "+hour(-1)).
		ask("GET", "/left", "", "X-Token: "+hour(3)).
		ask("GET", "/good", "", "X-Token: "+hour(100000)).
		ask("GET", "/none", "", "Authorization: Basic abc", "X-Token: a.b.c")
	opts := transform.Options{
		Now: func() time.Time { return epoch.Add(1000 * time.Hour) },
		JWT: []transform.JWTRule{{Algorithm: "HS256", Key: "k"}},
	}
	b, err := transform.Learn(c.exchanges, opts)
	if err != nil {
		t.Fatal(err)
	}
	got := transform.Check(c.exchanges, b, opts)
	want := transform.Preflight{Tokens: 5, WasExpired: 1, Expired: 3, Bound: 1, Resigned: 1, Left: 1, FirstLeft: "GET /left (x5)"}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !strings.Contains(got.String(), "first GET /left (x5)") || (transform.Preflight{}).String() != "" {
		t.Errorf("text %q", got.String())
	}
}

func TestValidateSaysWhatIsWrong(t *testing.T) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := "x"
	tests := []struct {
		give transform.Options
		want string
	}{
		{transform.Options{JWT: []transform.JWTRule{{Algorithm: "none", Key: "k"}}}, `jwt[0]: algorithm "none" must be HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA`},
		{transform.Options{JWT: []transform.JWTRule{{Algorithm: "HS256"}}}, `jwt[0]: key is missing`},
		{transform.Options{JWT: []transform.JWTRule{{Algorithm: "RS256", Key: "k"}}}, `jwt[0]: key for RS256: it is not PEM`},
		{transform.Options{JWT: []transform.JWTRule{{Algorithm: "RS256", Key: pemKey(t, ecKey)}}}, `jwt[0]: the key is *ecdsa.PrivateKey, which does not fit RS256`},
		{transform.Options{JWT: []transform.JWTRule{{Header: "A", Cookie: "b", Algorithm: "HS256", Key: "k"}}}, `jwt[0]: give one of header, cookie and at`},
		{transform.Options{Headers: []transform.HeaderRule{{Name: "a b", Remove: true}}}, `headers[0]: name "a b" is not a header name`},
		{transform.Options{Headers: []transform.HeaderRule{{Name: "A", Remove: true, Set: &text}}}, `headers[0]: A: give exactly one of set, remove and replace`},
		{transform.Options{Headers: []transform.HeaderRule{{Name: "A", Replace: "("}}}, "headers[0]: A: replace: error parsing regexp: missing closing ): `(`"},
		{transform.Options{Headers: []transform.HeaderRule{{Name: "A", Remove: true, When: &transform.Filter{Status: "6xx"}}}},
			`headers[0]: A: when.status: "6xx" must be a status such as 404, a class such as 5xx, a range such as 400-499, or none`},
		{transform.Options{Keep: &transform.Filter{Any: []transform.Filter{{}, {Not: &transform.Filter{Endpoint: "/v1"}}}}},
			`keep.any[1].not.endpoint: "/v1" must be a method and a path, as in "GET /v1/orders/{id}"`},
		{transform.Options{Keep: &transform.Filter{Path: "v1"}}, `keep.path: "v1" is not a path pattern, such as /v1/orders/* or /v1/**`},
		{transform.Options{Keep: &transform.Filter{Value: "a"}}, `keep.value: needs exactly one of header and at beside it`},
		{transform.Options{Keep: &transform.Filter{After: epoch, Before: epoch}}, `keep.before: 2025-11-23T08:00:00Z is not later than after`},
	}
	for _, tt := range tests {
		err := tt.give.Validate()
		if err == nil || err.Error() != tt.want {
			t.Errorf("got %v\nwant %s", err, tt.want)
		}
		if _, err := transform.Learn(nil, tt.give); err == nil {
			t.Errorf("Learn accepts what Validate refuses: %s", tt.want)
		}
	}
	if err := (transform.Options{}).Validate(); err != nil {
		t.Error(err)
	}
}
