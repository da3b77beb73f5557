package transform

import (
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
// has. Tokens that a live answer gave are never touched.
type JWTRule struct {
	// Header is the request header that holds the token, after "Bearer " or
	// alone. Default: Authorization, unless Cookie is given.
	Header string `yaml:"header" json:"header,omitempty"`
	// Cookie is the cookie that holds the token.
	Cookie string `yaml:"cookie" json:"cookie,omitempty"`
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
}

func (r JWTRule) signer() (signer, error) {
	s := signer{JWTRule: r}
	if s.Header == "" && s.Cookie == "" {
		s.Header = "Authorization"
	}
	if s.Header != "" && s.Cookie != "" {
		return s, errors.New("give one of header and cookie, not both")
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

// credentials signs the tokens of a request anew. A value that differs from
// the recorded one came from a live answer and is left alone.
func (c *compiled) credentials(recorded *traffic.Exchange, req *traffic.Request) *traffic.Request {
	out := req
	for n, s := range c.jwt {
		for i, f := range req.Header {
			var value string
			var ok bool
			resign := func(token string) (string, bool) {
				shift := c.age(recorded).Truncate(time.Second)
				return c.tokens.get(tokenKey{token, shift, n}, func() (string, bool) { return s.resign(token, shift) })
			}
			switch {
			case i >= len(recorded.Request.Header):
			case s.Header != "" && strings.EqualFold(f.Name, s.Header) && f == recorded.Request.Header[i]:
				scheme, token := splitCredential(f)
				if value, ok = resign(token); ok {
					value = scheme + value
				}
			case s.Cookie != "" && strings.EqualFold(f.Name, "Cookie"):
				was := recorded.Request.Header[i].Value
				value, ok = inCookie(f.Value, s.Cookie, func(token string) (string, bool) {
					if !strings.Contains(was, token) {
						return token, false
					}
					return resign(token)
				})
			}
			if !ok {
				continue
			}
			if out == req {
				clone := *req
				clone.Header = req.Header.Clone()
				out = &clone
			}
			out.Header[i].Value = value
		}
	}
	return out
}

func inCookie(line, name string, change func(string) (string, bool)) (string, bool) {
	pairs := strings.Split(line, ";")
	for i, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if strings.TrimSpace(key) != name {
			continue
		}
		if text, ok := change(strings.TrimSpace(value)); ok {
			pairs[i] = key + "=" + text
			return strings.Join(pairs, ";"), true
		}
	}
	return line, false
}

// jwtParts splits a token and decodes its header and claims. It reports false
// for anything that is not a signed token.
func jwtParts(token string) (header, claims []byte, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil, false
	}
	header, errHeader := base64.RawURLEncoding.DecodeString(parts[0])
	claims, errClaims := base64.RawURLEncoding.DecodeString(parts[1])
	ok = errHeader == nil && errClaims == nil && isObject(header) && isObject(claims)
	return header, claims, ok
}

func isObject(data []byte) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(data, &object) == nil && object != nil
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
