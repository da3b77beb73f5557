package redact

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// jwt redacts a JSON Web Token. Its header stays, and its claims but for what
// the detectors find in them, so that times, audience, scopes and opaque
// subjects still mean what they meant; the signature becomes a pseudonym of
// the same length and verifies nowhere. It reports false for other text that
// has the shape of a token.
func (w *walk) jwt(token string, where place) (string, bool) {
	head, rest, _ := strings.Cut(token, ".")
	claims, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") || !isJSONObject(head) {
		return token, false
	}
	plain, err := base64.RawURLEncoding.DecodeString(claims)
	if err != nil || !json.Valid(plain) || plain[0] != '{' {
		return token, false
	}
	if signed, err := base64.RawURLEncoding.DecodeString(signature); err == nil && isSignaturePseudonym(signed) {
		return token, true
	}
	if redacted, changed := w.json(string(plain), where); changed {
		claims = base64.RawURLEncoding.EncodeToString([]byte(redacted))
	}
	return head + "." + claims + "." + w.names.signature(token, signature), true
}

func isJSONObject(segment string) bool {
	plain, err := base64.RawURLEncoding.DecodeString(segment)
	return err == nil && len(plain) > 1 && plain[0] == '{' && json.Valid(plain)
}

// signatureMark is how many bytes at the end of a pseudonym of a signature are
// its check.
const signatureMark = 6

func (p *pseudonyms) signature(token, signature string) string {
	n := base64.RawURLEncoding.DecodedLen(len(signature))
	if n == 0 {
		return "" // alg none
	}
	n = max(n, 2*signatureMark)
	s := p.stream("signature", token)
	out := make([]byte, n)
	for i := range n - signatureMark {
		out[i] = s.byte()
	}
	c := check("signature", string(out[:n-signatureMark]))
	for i := n - signatureMark; i < n; i++ {
		out[i] = c.byte()
	}
	return base64.RawURLEncoding.EncodeToString(out)
}

func isSignaturePseudonym(signature []byte) bool {
	n := len(signature) - signatureMark
	if n < signatureMark {
		return false
	}
	c := check("signature", string(signature[:n]))
	for _, b := range signature[n:] {
		if b != c.byte() {
			return false
		}
	}
	return true
}
