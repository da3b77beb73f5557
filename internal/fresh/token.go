package fresh

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Token is a signed JSON web token, taken apart.
type Token struct {
	Header, Claims []byte // JSON objects
}

// ParseToken takes a signed token apart. It reports false for anything else. It
// does not look at the signature, which no recorded token has any more.
func ParseToken(text string) (Token, bool) {
	if !strings.HasPrefix(text, "ey") || strings.Count(text, ".") != 2 {
		return Token{}, false // a JSON object in base64 starts so
	}
	parts := strings.Split(text, ".")
	header, errHeader := base64.RawURLEncoding.DecodeString(parts[0])
	claims, errClaims := base64.RawURLEncoding.DecodeString(parts[1])
	ok := errHeader == nil && errClaims == nil && isObject(header) && isObject(claims)
	return Token{header, claims}, ok
}

func isObject(data []byte) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(data, &object) == nil && object != nil
}

// Names are what a token says of who made it and how.
type Names struct{ Algorithm, KeyID, Issuer string }

// Names returns what the token says; empty where it says nothing.
func (t Token) Names() Names {
	var header struct{ Alg, Kid string }
	var claims struct{ Iss string }
	_ = json.Unmarshal(t.Header, &header) // what cannot be read is not said
	_ = json.Unmarshal(t.Claims, &claims)
	return Names{header.Alg, header.Kid, claims.Iss}
}

// Shift moves the times of the token: iat, nbf, exp and auth_time. All other
// bytes stay.
func (t Token) Shift(by time.Duration) Token {
	t.Claims = edit(t.Claims, func(name string, value []byte) ([]byte, bool) {
		switch name {
		case "iat", "nbf", "exp", "auth_time":
			return shiftSeconds(value, by)
		}
		return nil, false
	})
	return t
}

// ExpiredAt reports whether the token was no longer valid at t.
func (t Token) ExpiredAt(at time.Time) bool {
	var times struct {
		Exp float64 `json:"exp"`
	}
	return json.Unmarshal(t.Claims, &times) == nil && times.Exp > 0 && float64(at.Unix()) >= times.Exp
}

// shiftSeconds moves a number of seconds since 1970.
func shiftSeconds(value []byte, by time.Duration) ([]byte, bool) {
	seconds, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return nil, false
	}
	return strconv.AppendInt(nil, int64(seconds+by.Seconds()), 10), true
}

// Sign writes the token with the signature of a key, whose algorithm it names.
func (t Token) Sign(k *Key) (string, error) {
	if (t.Names().Algorithm) != k.Algorithm {
		t.Header = SetMember(t.Header, "alg", k.Algorithm)
	}
	signed := base64.RawURLEncoding.EncodeToString(t.Header) + "." + base64.RawURLEncoding.EncodeToString(t.Claims)
	signature, err := k.sign([]byte(signed))
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
