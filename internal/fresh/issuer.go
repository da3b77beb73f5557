package fresh

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Issuer stands in, for one run, for those who issued the recorded tokens: the
// mock serves its public keys under their addresses, and whoever sends or
// answers a recorded token signs it anew with the private ones. It is data that
// can travel; [Issuer.Open] makes it ready.
type Issuer struct {
	// Known are the issuers as tokens name them, without a slash at the end.
	Known []string `json:"known,omitempty"`
	// KeySets and TokenEndpoints are the addresses at which the recording has
	// key sets and tokens.
	KeySets        []string `json:"key_sets,omitempty"`
	TokenEndpoints []string `json:"token_endpoints,omitempty"`
	// Names are the keys as recorded tokens and key sets name them.
	Names []KeyName `json:"names,omitempty"`
	// Private holds a private key for each family of the names, in PEM. It must
	// not be kept.
	Private string `json:"-"`
}

// KeyName is how a token names the key that it was signed with.
type KeyName struct {
	ID        string `json:"id,omitempty"`
	Algorithm string `json:"algorithm"`
}

// Never, as the only name of an issuer, says that no keys are made.
const Never = "never"

// CheckIssuer reports why a name cannot be that of an issuer.
func CheckIssuer(name string) error {
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not the address of an issuer, such as https://login.example", name)
	}
	return nil
}

// NewIssuer finds the issuers of a recording, besides those that are named, and
// makes keys for them. It returns nil when there are none. The issuers are
// those of recorded key sets, of recorded answers of token endpoints, and those
// whose address recorded requests have in the claim iss of their tokens, unless
// it is the recorded service itself.
func NewIssuer(recorded []*traffic.Exchange, named ...string) (*Issuer, error) {
	if slices.Equal(named, []string{Never}) {
		return nil, nil
	}
	f := finder{own: map[string]bool{}, known: map[string]bool{}, keySets: map[string]bool{}, endpoints: map[string]bool{}, names: map[KeyName]bool{}}
	for _, name := range named {
		if err := CheckIssuer(name); err != nil {
			return nil, err
		}
		f.known[strings.TrimRight(name, "/")] = true
	}
	for _, x := range recorded {
		f.see(x)
	}
	for _, x := range recorded {
		if x.Direction != traffic.Outbound {
			f.tokens(&x.Request)
		}
	}
	if len(f.known) == 0 && len(f.names) == 0 {
		return nil, nil
	}
	i := &Issuer{
		Known: slices.Sorted(maps.Keys(f.known)), KeySets: slices.Sorted(maps.Keys(f.keySets)), TokenEndpoints: slices.Sorted(maps.Keys(f.endpoints)),
		Names: slices.SortedFunc(maps.Keys(f.names), func(a, b KeyName) int {
			return strings.Compare(a.ID+"\x00"+a.Algorithm, b.ID+"\x00"+b.Algorithm)
		}),
	}
	return i, i.makeKeys()
}

func (i *Issuer) makeKeys() error {
	made := map[string]bool{}
	var out strings.Builder
	for _, name := range i.Names {
		m, ok := methodOf(name.Algorithm)
		if !ok || made[m.family] {
			continue
		}
		made[m.family] = true
		key, err := newPrivate(m.family)
		if err != nil {
			return fmt.Errorf("make a key for tokens: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return fmt.Errorf("make a key for tokens: %w", err)
		}
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	i.Private = out.String()
	return nil
}

// finder looks for issuers in a recording.
type finder struct {
	own       map[string]bool // authorities of the recorded service itself
	known     map[string]bool
	keySets   map[string]bool
	endpoints map[string]bool
	names     map[KeyName]bool
}

// see notes what an exchange tells of issuers.
func (f *finder) see(x *traffic.Exchange) {
	if x.Direction != traffic.Outbound {
		f.own[strings.ToLower(x.Request.Authority)] = true
		return
	}
	address := x.Request.Scheme + "://" + x.Request.Authority + x.Request.Path()
	switch body := objectOf(x.Response); KindOf(x) {
	case KeySet:
		f.keySets[address] = true
		for _, name := range keyNames(body) {
			f.names[name] = true
		}
	case Discovery:
		var document struct{ Issuer string }
		if json.Unmarshal(body, &document) == nil && CheckIssuer(document.Issuer) == nil {
			f.known[strings.TrimRight(document.Issuer, "/")] = true
		}
	case Tokens:
		f.endpoints[address] = true
		for text := range tokensIn(body) {
			if token, ok := ParseToken(text); ok && public(token.Names().Algorithm) {
				f.add(token.Names())
			}
		}
	}
}

// tokens notes the tokens of a request that an issuer made who is not the
// service itself.
func (f *finder) tokens(req *traffic.Request) {
	consider := func(text []byte) {
		for token := range tokensIn(text) {
			t, ok := ParseToken(token)
			if !ok {
				continue
			}
			n := t.Names()
			u, err := url.Parse(n.Issuer)
			elsewhere := err == nil && CheckIssuer(n.Issuer) == nil && !f.own[strings.ToLower(u.Host)]
			if public(n.Algorithm) && (elsewhere || f.known[strings.TrimRight(n.Issuer, "/")] || f.names[KeyName{n.KeyID, n.Algorithm}]) {
				f.add(n)
			}
		}
	}
	for _, field := range req.Header {
		consider([]byte(field.Value))
	}
	consider([]byte(req.Target))
	if plain, err := req.Body.Decoded(); err == nil && len(plain) <= maxAnswer {
		consider(plain)
	}
}

func (f *finder) add(n Names) {
	f.names[KeyName{n.KeyID, n.Algorithm}] = true
	if CheckIssuer(n.Issuer) == nil {
		f.known[strings.TrimRight(n.Issuer, "/")] = true
	}
}

var tokenShape = regexp.MustCompile(`ey[A-Za-z0-9_-]+\.ey[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)

// tokensIn yields what has the shape of a token in a text.
func tokensIn(text []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, token := range tokenShape.FindAll(text, -1) {
			if !yield(string(token)) {
				return
			}
		}
	}
}

// keyNames reads the names of a key set.
func keyNames(body []byte) []KeyName {
	var set struct {
		Keys []struct{ Kid, Kty, Alg, Crv string }
	}
	if json.Unmarshal(body, &set) != nil {
		return nil
	}
	var names []KeyName
	for _, k := range set.Keys {
		if k.Alg == "" {
			k.Alg = map[string]string{"RSA": "RS256", "ECP-256": "ES256", "ECP-384": "ES384", "ECP-521": "ES512", "OKPEd25519": "EdDSA"}[k.Kty+k.Crv]
		}
		if public(k.Alg) {
			names = append(names, KeyName{k.Kid, k.Alg})
		}
	}
	return names
}

// Ring holds the keys of an issuer, ready for use. A nil one signs nothing. It
// is safe for concurrent use.
type Ring struct {
	issuer Issuer
	keys   map[string]crypto.Signer // by family
	names  map[KeyName]bool
}

// Open reads the keys of an issuer. That of nil is nil.
func (i *Issuer) Open() (*Ring, error) {
	if i == nil {
		return nil, nil
	}
	r := &Ring{issuer: *i, keys: map[string]crypto.Signer{}, names: map[KeyName]bool{}}
	for rest := []byte(i.Private); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		key, err := parsePrivate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read a key for tokens: %w", err)
		}
		r.keys[familyOf(key)] = key
	}
	for _, name := range i.Names {
		if m, ok := methodOf(name.Algorithm); !ok || r.keys[m.family] == nil {
			return nil, errors.New("the keys for tokens are not complete")
		}
		r.names[name] = true
	}
	return r, nil
}

// Takes reports whether the ring signs a token.
func (r *Ring) Takes(t Token) bool {
	if r == nil {
		return false
	}
	n := t.Names()
	return r.names[KeyName{n.KeyID, n.Algorithm}]
}

// Sign writes a token that the ring takes with a signature of the run's key,
// under the name that the token has for it.
func (r *Ring) Sign(t Token) (string, error) {
	algorithm := t.Names().Algorithm
	m, _ := methodOf(algorithm)
	if !r.Takes(t) {
		return "", fmt.Errorf("sign a token of algorithm %q: its key is not known", algorithm)
	}
	return t.Sign(&Key{Algorithm: algorithm, method: m, private: r.keys[m.family]})
}

// Known are the issuers that the ring stands in for.
func (r *Ring) Known() []string {
	if r == nil {
		return nil
	}
	return r.issuer.Known
}
