package fresh

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Algorithms are the names of those that keys can sign by, for people.
const Algorithms = "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA"

// Key signs tokens by one algorithm.
type Key struct {
	Algorithm string
	method    method
	secret    []byte
	private   crypto.Signer
}

// method is how an algorithm signs.
type method struct {
	family string // that a key belongs to: "HS", "RSA", "P-256", "P-384", "P-521" or "Ed25519"
	hash   crypto.Hash
	pss    bool
}

func methodOf(algorithm string) (method, bool) {
	if algorithm == "EdDSA" {
		return method{family: "Ed25519"}, true
	}
	if len(algorithm) != 5 {
		return method{}, false
	}
	m := method{hash: map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[algorithm[2:]]}
	switch algorithm[:2] {
	case "HS":
		m.family = "HS"
	case "RS":
		m.family = "RSA"
	case "PS":
		m.family, m.pss = "RSA", true
	case "ES":
		m.family = map[crypto.Hash]string{crypto.SHA256: "P-256", crypto.SHA384: "P-384", crypto.SHA512: "P-521"}[m.hash]
	}
	return m, m.hash != 0 && m.family != ""
}

// NewKey reads a key: the secret of an HS algorithm, or a private key in PEM.
func NewKey(algorithm, text string) (*Key, error) {
	m, ok := methodOf(algorithm)
	switch {
	case !ok:
		return nil, fmt.Errorf("algorithm %q must be %s", algorithm, Algorithms)
	case text == "":
		return nil, errors.New("key is missing")
	case m.family == "HS":
		return &Key{Algorithm: algorithm, method: m, secret: []byte(text)}, nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, fmt.Errorf("key for %s: it is not PEM", algorithm)
	}
	private, err := parsePrivate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key for %s: %w", algorithm, err)
	}
	if familyOf(private) != m.family {
		return nil, fmt.Errorf("the key is %T, which does not fit %s", private, algorithm)
	}
	return &Key{Algorithm: algorithm, method: m, private: private}, nil
}

func parsePrivate(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("it is not a private key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it cannot sign")
	}
	return signer, nil
}

// familyOf returns the family that a private key belongs to, "" for none.
func familyOf(key crypto.Signer) string {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return "RSA"
	case *ecdsa.PrivateKey:
		return k.Curve.Params().Name
	case ed25519.PrivateKey:
		return "Ed25519"
	}
	return ""
}

// newPrivate makes a key of a family.
func newPrivate(family string) (crypto.Signer, error) {
	switch family {
	case "RSA":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "P-256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "Ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("no key of the family %q can be made", family)
}

func (k *Key) sign(text []byte) ([]byte, error) {
	if k.secret != nil {
		mac := hmac.New(k.method.hash.New, k.secret)
		mac.Write(text)
		return mac.Sum(nil), nil
	}
	if k.method.hash == 0 { // Ed25519 hashes by itself
		return k.private.Sign(rand.Reader, text, crypto.Hash(0))
	}
	h := k.method.hash.New()
	h.Write(text)
	digest := h.Sum(nil)
	if key, ok := k.private.(*ecdsa.PrivateKey); ok { // two numbers of equal length, not ASN.1
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			return nil, err
		}
		n := (key.Curve.Params().BitSize + 7) / 8
		signature := make([]byte, 2*n)
		r.FillBytes(signature[:n])
		s.FillBytes(signature[n:])
		return signature, nil
	}
	var opts crypto.SignerOpts = k.method.hash
	if k.method.pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: k.method.hash}
	}
	return k.private.Sign(rand.Reader, digest, opts)
}

// public reports whether tokens of an algorithm are verified with a public key
// that a key set can hold.
func public(algorithm string) bool {
	m, ok := methodOf(algorithm)
	return ok && !strings.HasPrefix(m.family, "HS")
}
