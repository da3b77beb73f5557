package transform

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

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
	// Algorithm is HS256, HS384, HS512, RS256 or ES256; empty means HS256.
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
	hash    crypto.Hash
	secret  []byte
	private crypto.Signer
	place   traffic.Pattern
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
	if s.Algorithm == "" {
		s.Algorithm = "HS256"
	}
	hashes := map[string]crypto.Hash{
		"HS256": crypto.SHA256, "HS384": crypto.SHA384, "HS512": crypto.SHA512, "RS256": crypto.SHA256, "ES256": crypto.SHA256,
	}
	hash, ok := hashes[s.Algorithm]
	switch {
	case !ok:
		return s, fmt.Errorf("algorithm %q must be HS256, HS384, HS512, RS256 or ES256", s.Algorithm)
	case r.Key == "":
		return s, errors.New("key is missing")
	}
	s.hash = hash
	if _, err := json.Marshal(r.Claims); err != nil {
		return s, fmt.Errorf("claims: %w", err)
	}
	if strings.HasPrefix(s.Algorithm, "HS") {
		s.secret = []byte(r.Key)
		return s, nil
	}
	key, err := privateKey(r.Key)
	if err != nil {
		return s, fmt.Errorf("key for %s: %w", r.Algorithm, err)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		ok = r.Algorithm == "RS256"
	case *ecdsa.PrivateKey:
		ok = r.Algorithm == "ES256" && k.Curve == elliptic.P256()
	}
	if !ok {
		return s, fmt.Errorf("the key is %T, which does not fit %s", key, r.Algorithm)
	}
	s.private = key
	return s, nil
}

func privateKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is not a private key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it cannot sign")
	}
	return signer, nil
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

// resign signs the token at a spot anew when a rule takes it. A token that a
// live answer gave does not come here.
func (c *compiled) resign(recorded *traffic.Exchange, s spot) (string, bool) {
	for n := range c.jwt {
		rule := &c.jwt[n]
		if !rule.place.Matches(s.path) {
			continue
		}
		shift := c.age(recorded).Truncate(time.Second)
		return c.tokens.get(tokenKey{s.value, shift, n}, func() (string, bool) { return rule.resign(s.value, shift) })
	}
	return s.value, false
}

// jwtParts splits a token and decodes its header and claims. It reports false
// for anything that is not a signed token.
func jwtParts(token string) (header, claims []byte, ok bool) {
	if !strings.HasPrefix(token, "ey") || strings.Count(token, ".") != 2 {
		return nil, nil, false // a JSON object in base64 starts so
	}
	parts := strings.Split(token, ".")
	header, errHeader := base64.RawURLEncoding.DecodeString(parts[0])
	claims, errClaims := base64.RawURLEncoding.DecodeString(parts[1])
	ok = errHeader == nil && errClaims == nil && isObject(header) && isObject(claims)
	return header, claims, ok
}

func isObject(data []byte) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(data, &object) == nil && object != nil
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
	header, claims, ok := jwtParts(token)
	if !ok {
		return token, false
	}
	header = setMember(header, "alg", s.Algorithm)
	if s.KeyID != "" {
		header = setMember(header, "kid", s.KeyID)
	}
	claims = shiftTimes(claims, shift)
	for name, value := range s.Claims {
		claims = setMember(claims, name, value)
	}
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	signature, err := s.sign(signed)
	if err != nil {
		return token, false
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), true
}

func (s *signer) sign(text string) ([]byte, error) {
	if s.secret != nil {
		mac := hmac.New(s.hash.New, s.secret)
		mac.Write([]byte(text))
		return mac.Sum(nil), nil
	}
	h := s.hash.New()
	h.Write([]byte(text))
	digest := h.Sum(nil)
	if key, ok := s.private.(*ecdsa.PrivateKey); ok { // two 32-byte numbers, not ASN.1
		r, v, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			return nil, err
		}
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		v.FillBytes(signature[32:])
		return signature, nil
	}
	return s.private.Sign(rand.Reader, digest, s.hash)
}

// shiftTimes moves iat, nbf and exp of a claims object, in its own bytes.
func shiftTimes(claims []byte, shift time.Duration) []byte {
	var edits []edit
	jsonLeaves(claims, traffic.Path{}, func(l leaf) {
		if l.path.Len() != 1 || !l.number || l.key != "iat" && l.key != "nbf" && l.key != "exp" {
			return
		}
		seconds, err := strconv.ParseFloat(l.text(claims), 64)
		if err == nil {
			edits = append(edits, edit{l.start, l.end, strconv.FormatInt(int64(seconds+shift.Seconds()), 10)})
		}
	})
	return applyEdits(claims, edits)
}

// setMember sets a member of a JSON object: in its place when it is a string or
// number there, else at the end.
func setMember(object []byte, name string, value any) []byte {
	literal, err := json.Marshal(value)
	if err != nil {
		return object
	}
	var edits []edit
	jsonLeaves(object, traffic.Path{}, func(l leaf) {
		if l.path.Len() == 1 && l.key == name {
			edits = append(edits, edit{l.start, l.end, string(literal)})
		}
	})
	if len(edits) > 0 {
		return applyEdits(object, edits)
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return object
	}
	members[name] = literal
	out, err := json.Marshal(members)
	if err != nil {
		return object
	}
	return out
}
