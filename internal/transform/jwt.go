package transform

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// JWTRule signs tokens anew, because recorded ones have expired and redacted
// ones have no valid signature. The times iat, nbf and exp move by the age of
// the recording, so that a token that had expired when it was recorded still
// has. Claims that hold a value of an earlier answer get the live one. Tokens that a live answer gave are never touched.
type JWTRule struct {
	// Header is the request header that holds the token, after "Bearer " or
	// alone. Default: Authorization, unless Cookie or At is given.
	Header string `yaml:"header" json:"header,omitempty"`
	// Cookie is the cookie that holds the token.
	Cookie string `yaml:"cookie" json:"cookie,omitempty"`
	// At is any other place in requests, such as request.body.client_assertion.
	At *traffic.Pattern `yaml:"at" json:"at,omitempty"`
	// Algorithm is one of [fresh.Algorithms]; empty means HS256.
	Algorithm string `yaml:"algorithm" json:"algorithm"`
	// Key is the secret of HS algorithms, or a private key in PEM.
	Key string `yaml:"key" json:"-"`
	// KeyID replaces the kid of the token; empty keeps it.
	KeyID string `yaml:"key-id" json:"key_id,omitempty"`
	// Claims replace or add claims after the shift, such as a new issuer.
	Claims map[string]any `yaml:"claims" json:"claims,omitempty"`
}

func (r JWTRule) validate() error {
	_, err := r.signer()
	return err
}

// signer is a rule with its key read.
type signer struct {
	JWTRule
	key   *fresh.Key
	place traffic.Pattern
}

func (r JWTRule) signer() (signer, error) {
	s := signer{JWTRule: r}
	given := 0
	for _, is := range []bool{s.Header != "", s.Cookie != "", s.At != nil} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return s, errors.New("give one of header, cookie and at")
	case s.Cookie != "":
		s.place = traffic.At("request", "cookie", s.Cookie).Pattern()
	case s.At != nil:
		s.place = *s.At
	default:
		s.place = traffic.At("request", "header", cmp.Or(s.Header, "Authorization")).Pattern()
	}
	var err error
	if s.key, err = fresh.NewKey(cmp.Or(s.Algorithm, "HS256"), r.Key); err != nil {
		return s, err
	}
	if _, err := json.Marshal(r.Claims); err != nil {
		return s, fmt.Errorf("claims: %w", err)
	}
	return s, nil
}

// tokenCache keeps tokens that were expensive to sign. Two exchanges share one
// only while their shift is the same to the second.
type tokenCache struct {
	mu     sync.Mutex
	tokens map[tokenKey]string
}

type tokenKey struct {
	token string
	shift time.Duration
	rule  int
}

func newTokenCache() *tokenCache { return &tokenCache{tokens: make(map[tokenKey]string)} }

// maxTokens bounds the cache; when it is full it starts over.
const maxTokens = 10_000

func (c *tokenCache) get(key tokenKey, sign func() (string, bool)) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if token, ok := c.tokens[key]; ok {
		return token, true
	}
	token, ok := sign()
	if ok {
		if len(c.tokens) >= maxTokens {
			clear(c.tokens)
		}
		c.tokens[key] = token
	}
	return token, ok
}

// resign signs the token at a spot anew when a rule takes it, or else when the
// issuer of the run does. A token that a live answer gave does not come here.
func (c *compiled) resign(recorded *traffic.Exchange, s spot) (string, bool) {
	shift := c.age(recorded).Truncate(time.Second)
	for n := range c.jwt {
		rule := &c.jwt[n]
		if rule.place.Matches(s.path) {
			return c.tokens.get(tokenKey{s.value, shift, n}, func() (string, bool) { return rule.resign(s.value, shift) })
		}
	}
	if c.ring == nil || strings.Count(s.value, ".") != 2 {
		return s.value, false
	}
	return c.tokens.get(tokenKey{s.value, shift, byIssuer}, func() (string, bool) { return c.ring.Renew(s.value, shift, nil) })
}

// byIssuer stands in the place of a rule for the issuer of the run.
const byIssuer = -1

// signs reports whether a token at a place is signed anew.
func (c *compiled) signs(at traffic.Path, t fresh.Token) bool {
	return slices.ContainsFunc(c.jwt, func(s signer) bool { return s.place.Matches(at) }) || c.ring.Takes(t)
}

// claimSpots visits the claims of the token at a place: its strings and
// numbers, but not its times, which move by rule.
func claimSpots(claims []byte, at traffic.Path, visit func(leaf, spot)) {
	jsonLeaves(claims, at.Child("claims"), func(l leaf) {
		if l.path.Len() == at.Len()+2 && (l.key == "iat" || l.key == "nbf" || l.key == "exp") {
			return
		}
		visit(l, spot{path: l.path, key: l.key, parent: l.parent, value: l.text(claims), number: l.number})
	})
}

// withClaims returns a token with other claims and the signature of the old
// ones, for signing anew.
func withClaims(token string, claims []byte) string {
	parts := strings.SplitN(token, ".", 3)
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString(claims) + "." + parts[2]
}

// resign returns token with its times moved by shift and a new signature.
// Claims keep their order and spelling.
func (s *signer) resign(token string, shift time.Duration) (string, bool) {
	t, ok := fresh.ParseToken(token)
	if !ok {
		return token, false
	}
	t = t.Shift(shift)
	if s.KeyID != "" {
		t.Header = fresh.SetMember(t.Header, "kid", s.KeyID)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Claims)) {
		t.Claims = fresh.SetMember(t.Claims, name, s.Claims[name])
	}
	signed, err := t.Sign(s.key)
	return signed, err == nil
}
