package token

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestVerify(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	key := []byte("key")
	signed := func(c Claims) string {
		s, err := Sign(c, key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	valid := signed(Claims{Subject: "cus_ada", Expires: now.Unix() + 1})
	parts := strings.Split(valid, ".")
	none := "eyJhbGciOiJub25lIn0"
	for name, row := range map[string]struct {
		token string
		want  error
	}{
		"valid":             {valid, nil},
		"expired this tick": {signed(Claims{Expires: now.Unix()}), ErrExpired},
		"without expiry":    {signed(Claims{}), ErrExpired},
		"from tomorrow on":  {signed(Claims{NotBefore: now.Unix() + 9, Expires: now.Unix() + 10}), ErrTooEarly},
		"other claims":      {parts[0] + "." + strings.Split(signed(Claims{Expires: now.Unix() + 2}), ".")[1] + "." + parts[2], ErrSignature},
		"alg none":          {none + "." + parts[1] + ".", ErrAlgorithm},
		"two parts":         {parts[0] + "." + parts[1], ErrMalformed},
		"not base64":        {"?." + parts[1] + "." + parts[2], ErrMalformed},
	} {
		claims, err := Verify(row.token, key, now)
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
		if err == nil && claims.Subject != "cus_ada" {
			t.Errorf("%s: subject %q", name, claims.Subject)
		}
	}
}
