// Package token reads the signed tokens that the shop's identity provider
// gives to customers: JSON Web Tokens signed with HMAC-SHA256 (RFC 7519).
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Claims are the parts of a token that the shop uses. Times are in seconds
// since 1970; a zero NotBefore means none.
type Claims struct {
	Subject   string `json:"sub"`
	Email     string `json:"email,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	NotBefore int64  `json:"nbf,omitempty"`
	Expires   int64  `json:"exp"`
}

// The reasons to refuse a token.
var (
	ErrMalformed = errors.New("the token cannot be read")
	ErrAlgorithm = errors.New("the token is not signed with HS256")
	ErrSignature = errors.New("the signature of the token is wrong")
	ErrExpired   = errors.New("the token has expired")
	ErrTooEarly  = errors.New("the token is not valid yet")
)

type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
}

// Verify returns the claims of a token that is signed with key and valid now.
// A token without an expiry is refused.
func Verify(token string, key []byte, now time.Time) (Claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}, fmt.Errorf("%w: it has %d parts, not 3", ErrMalformed, len(parts))
	}
	var head header
	if err := decode(parts[0], &head); err != nil {
		return Claims{}, err
	}
	if head.Algorithm != "HS256" {
		return Claims{}, ErrAlgorithm
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if !hmac.Equal(signature, sign(parts[0]+"."+parts[1], key)) {
		return Claims{}, ErrSignature
	}
	var claims Claims
	if err := decode(parts[1], &claims); err != nil {
		return Claims{}, err
	}
	switch at := now.Unix(); {
	case at >= claims.Expires:
		return Claims{}, ErrExpired
	case at < claims.NotBefore:
		return Claims{}, ErrTooEarly
	}
	return claims, nil
}

// Sign returns a token with the given claims.
func Sign(claims Claims, key []byte) (string, error) {
	head, err := encode(header{Algorithm: "HS256", Type: "JWT"})
	if err != nil {
		return "", err
	}
	body, err := encode(claims)
	if err != nil {
		return "", err
	}
	signed := head + "." + body
	return signed + "." + base64.RawURLEncoding.EncodeToString(sign(signed, key)), nil
}

func sign(text string, key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func decode(part string, into any) error {
	data, err := base64.RawURLEncoding.DecodeString(part)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return nil
}

func encode(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(data), nil
}
