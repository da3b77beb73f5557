package fresh

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// webKey is a public key of a key set (RFC 7517).
type webKey struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	ID        string `json:"kid,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
}

// KeySet returns the public keys as a key set (RFC 7517), a key under each of
// its names.
func (r *Ring) KeySet() []byte {
	keys := []webKey{}
	for i := 0; i < len(r.issuer.Names); i++ {
		name := r.issuer.Names[i]
		m, _ := methodOf(name.Algorithm)
		key := webKey{Use: "sig", ID: name.ID, Algorithm: name.Algorithm}
		for i+1 < len(r.issuer.Names) && r.issuer.Names[i+1].ID == name.ID { // a key of several algorithms names none
			next, _ := methodOf(r.issuer.Names[i+1].Algorithm)
			if next.family != m.family {
				break
			}
			key.Algorithm = ""
			i++
		}
		switch k := r.keys[m.family].Public().(type) {
		case *rsa.PublicKey:
			key.Type, key.N, key.E = "RSA", number(k.N, 0), number(big.NewInt(int64(k.E)), 0)
		case *ecdsa.PublicKey:
			point, err := k.Bytes() // 4, then both numbers
			if err != nil {
				continue
			}
			n := (len(point) - 1) / 2
			key.Type, key.Curve = "EC", m.family
			key.X, key.Y = base64.RawURLEncoding.EncodeToString(point[1:1+n]), base64.RawURLEncoding.EncodeToString(point[1+n:])
		case ed25519.PublicKey:
			key.Type, key.Curve, key.X = "OKP", m.family, base64.RawURLEncoding.EncodeToString(k)
		}
		keys = append(keys, key)
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil { // texts always encode
		return []byte(`{"keys":[]}`)
	}
	return text
}

func number(n *big.Int, size int) string {
	return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, max(size, (n.BitLen()+7)/8))))
}

const wellKnown = "/.well-known/"

// Publishes answers what an issuer publishes of itself and the recording lacks:
// its configuration, and its key set at the recorded address, at the usual
// ones, or where its name says. It returns nil for all other requests.
func (r *Ring) Publishes(req *traffic.Request) *traffic.Response {
	if r == nil || req.Method != "GET" && req.Method != "HEAD" {
		return nil
	}
	at := req.Path()
	for _, known := range r.issuer.Known {
		u, err := url.Parse(known)
		if err != nil || !strings.EqualFold(u.Hostname(), req.Host()) {
			continue
		}
		switch {
		case at == u.Path+wellKnown+"openid-configuration", at == wellKnown+"openid-configuration"+u.Path,
			at == wellKnown+"oauth-authorization-server"+u.Path, at == u.Path+wellKnown+"oauth-authorization-server":
			return document(r.configuration(known))
		case slices.Contains([]string{"jwks.json", "jwks", "keys", "certs"}, path.Base(at)):
			return document(r.KeySet())
		}
	}
	return nil
}

// configuration is the document by which an issuer says where its endpoints are
// (OpenID Connect Discovery 1.0, RFC 8414).
func (r *Ring) configuration(issuer string) []byte {
	recorded := func(addresses []string, otherwise string) string {
		u, _ := url.Parse(issuer) // it was parsed before
		for _, address := range addresses {
			if a, err := url.Parse(address); err == nil && strings.EqualFold(a.Hostname(), u.Hostname()) {
				return address
			}
		}
		return issuer + otherwise
	}
	var algorithms []string
	for _, name := range r.issuer.Names {
		if !slices.Contains(algorithms, name.Algorithm) {
			algorithms = append(algorithms, name.Algorithm)
		}
	}
	text, err := json.Marshal(map[string]any{
		"issuer":                                issuer,
		"authorization_endpoint":                issuer + "/authorize",
		"token_endpoint":                        recorded(r.issuer.TokenEndpoints, "/oauth/token"),
		"jwks_uri":                              recorded(r.issuer.KeySets, wellKnown+"jwks.json"),
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algorithms,
	})
	if err != nil { // texts always encode
		return []byte("{}")
	}
	return text
}

func document(body []byte) *traffic.Response {
	response := &traffic.Response{Status: 200, Proto: "HTTP/1.1", Header: traffic.Header{{Name: "Content-Type", Value: "application/json"}}}
	return withBody(response, body)
}
