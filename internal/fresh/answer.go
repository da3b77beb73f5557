package fresh

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Kind is what an answer of an issuer of tokens holds.
type Kind int

// The kinds.
const (
	Other         Kind = iota
	KeySet             // public keys (RFC 7517)
	Discovery          // where the endpoints are
	Tokens             // access tokens and the like (RFC 6749 §5.1)
	Introspection      // whether a token is valid, and until when (RFC 7662)
)

// maxAnswer is the size up to which an answer is looked into.
const maxAnswer = 1 << 20

// objectOf returns the decoded body of a good answer that may be an object in
// JSON, or nil.
func objectOf(response *traffic.Response) []byte {
	if response == nil || response.Status != http.StatusOK || len(response.Body.Raw) > maxAnswer || response.Body.Truncated {
		return nil
	}
	plain, err := response.Body.Decoded()
	if err != nil || len(plain) > maxAnswer || !bytes.HasPrefix(bytes.TrimLeft(plain, " \t\r\n"), []byte("{")) {
		return nil
	}
	return plain
}

// KindOf tells what the answer of a recorded call holds.
func KindOf(x *traffic.Exchange) Kind {
	body := objectOf(x.Response)
	if body == nil {
		return Other
	}
	has := func(names ...string) bool { // as a first, cheap look
		for _, name := range names {
			if !bytes.Contains(body, []byte(`"`+name+`"`)) {
				return false
			}
		}
		return true
	}
	var object struct {
		Keys        []struct{ Kty string }
		JWKS        string `json:"jwks_uri"`
		Issuer      string
		AccessToken string          `json:"access_token"`
		TokenType   string          `json:"token_type"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
		Active      *bool
	}
	if !has("kty") && !has("jwks_uri", "issuer") && !has("access_token") && !has("active") || json.Unmarshal(body, &object) != nil {
		return Other
	}
	post := x.Request.Method == http.MethodPost
	switch {
	case len(object.Keys) > 0 && object.Keys[0].Kty != "":
		return KeySet
	case object.JWKS != "" && object.Issuer != "":
		return Discovery
	case post && object.AccessToken != "" && (object.TokenType != "" || object.ExpiresIn != nil):
		return Tokens
	case post && object.Active != nil && strings.Contains(strings.ToLower(x.Request.Path()), "introspect"):
		return Introspection
	}
	return Other
}

// Answer renews the answer of an issuer, which was given before age: its times
// move, the tokens in it that the ring takes are signed anew, and a key set
// becomes that of the ring. How long something lasts (expires_in) stays. live
// gives what stands for a recorded text in this run, in the claims of tokens;
// it may be nil. The response itself is never changed; it comes back when there
// is nothing to renew.
func (r *Ring) Answer(kind Kind, response *traffic.Response, age time.Duration, live func(string) string) *traffic.Response {
	body := objectOf(response)
	if body == nil {
		return response
	}
	renewed := body
	switch {
	case kind == KeySet && r != nil:
		renewed = r.KeySet()
	case kind == Tokens || kind == Introspection:
		renewed = edit(body, func(name string, value []byte) ([]byte, bool) {
			if renewed, ok := r.renewText(value, age, live); ok {
				return renewed, true
			}
			if !isMoment(name) {
				return nil, false
			}
			return shiftMoment(value, age)
		})
	}
	if bytes.Equal(renewed, body) {
		return response
	}
	return withBody(response, renewed)
}

// renewText renews a JSON string that is a token of the ring.
func (r *Ring) renewText(value []byte, age time.Duration, live func(string) string) ([]byte, bool) {
	var text string
	if len(value) < 2 || value[0] != '"' || json.Unmarshal(value, &text) != nil {
		return nil, false
	}
	token, ok := r.Renew(text, age, live)
	if !ok {
		return nil, false
	}
	quoted, err := json.Marshal(token)
	return quoted, err == nil
}

// Renew moves the times of a token by age and signs it anew, with the texts of
// its claims as live gives them; live may be nil. It reports false for a token
// that the ring does not take.
func (r *Ring) Renew(text string, age time.Duration, live func(string) string) (string, bool) {
	t, ok := ParseToken(text)
	if !ok || !r.Takes(t) {
		return text, false
	}
	t = t.Shift(age)
	if live != nil {
		t.Claims = edit(t.Claims, func(_ string, value []byte) ([]byte, bool) {
			var claim string
			if value[0] != '"' || json.Unmarshal(value, &claim) != nil || live(claim) == claim {
				return nil, false
			}
			quoted, err := json.Marshal(live(claim))
			return quoted, err == nil
		})
	}
	signed, err := r.Sign(t)
	return signed, err == nil
}

// isMoment reports whether the member of an answer is a point in time by its
// name.
func isMoment(name string) bool {
	switch name = strings.ToLower(name); name {
	case "exp", "iat", "nbf", "auth_time", "expires", "expiry", "expiration", "not_before", "updated", "created":
		return true
	}
	for _, end := range []string{"_at", "_on", "_until", "expires"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return strings.HasSuffix(name, "at") && (strings.HasPrefix(name, "expires") || strings.HasPrefix(name, "issued"))
}

// shiftMoment moves a time in JSON, be it a number or a text.
func shiftMoment(value []byte, by time.Duration) ([]byte, bool) {
	var text string
	quoted := json.Unmarshal(value, &text) == nil
	if !quoted {
		text = string(value)
	}
	moved, ok := ShiftDate(text, by)
	if !ok || !quoted {
		return []byte(moved), ok
	}
	literal, err := json.Marshal(moved)
	return literal, err == nil
}

// withBody returns a response with another body, in its content coding.
func withBody(response *traffic.Response, plain []byte) *traffic.Response {
	out := *response
	out.Header, out.Trailer = response.Header.Clone(), response.Trailer.Clone()
	raw, err := traffic.Encode(plain, response.Body.Coding)
	if err != nil {
		return response
	}
	out.Body = traffic.Body{Raw: raw, Coding: response.Body.Coding, Size: int64(len(raw))}
	if out.Header.Has("Content-Length") {
		out.Header.Set("Content-Length", strconv.Itoa(len(raw)))
	}
	return &out
}
