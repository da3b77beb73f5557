package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Version names the rules and the form of the pseudonyms. It changes when the
// same value and key would give another pseudonym.
const Version = "reprise.redact/v1"

// MinKey is the smallest size of a key in bytes.
const MinKey = 16

// Options say how to redact.
type Options struct {
	// Key makes the pseudonyms; at least MinKey bytes that are kept secret and
	// stay the same for recordings that must fit together.
	Key []byte `yaml:"-"`
	// Rules address places; the first one that covers a place decides, before
	// any detector looks at it.
	Rules []Rule `yaml:"rules"`
	// Disable names detectors to be switched off; see Detectors.
	Disable []string `yaml:"disable"`
}

// Validate reports the first option that cannot be used.
func (o Options) Validate() error {
	if len(o.Key) < MinKey {
		return fmt.Errorf("redaction key has %d bytes: it needs at least %d, as from \"openssl rand -hex 32\"", len(o.Key), MinKey)
	}
	for i, r := range o.Rules {
		if err := r.Validate(); err != nil {
			return fmt.Errorf("redaction rule %d: %w", i+1, err)
		}
	}
	for _, name := range o.Disable {
		if !slices.Contains(Detectors(), name) {
			return fmt.Errorf("unknown detector %q: one of %v", name, Detectors())
		}
	}
	return nil
}

// Action is what a rule does with the values it addresses.
type Action string

// The actions of rules.
const (
	Pseudonym Action = "pseudonym" // replace by a pseudonym; the default
	Remove    Action = "remove"    // replace by a fixed text; equal and unequal values become equal
	Keep      Action = "keep"      // leave alone, whatever a detector would say
)

// Rule redacts, or protects, the values at an address and below it.
type Rule struct {
	// Name stands in the manifest; "rule" if empty.
	Name   string          `yaml:"name"`
	Path   traffic.Pattern `yaml:"path"`
	Action Action          `yaml:"action"`
}

// Validate reports what is wrong with a rule.
func (r Rule) Validate() error {
	if r.Path.String() == "" {
		return errors.New("path is missing: give an address such as request.body.customer.nickname")
	}
	switch r.Action {
	case "", Pseudonym, Remove, Keep:
		return nil
	}
	return fmt.Errorf("action %q: must be pseudonym, remove or keep", r.Action)
}

// Redactor redacts exchanges. It is safe for concurrent use.
type Redactor struct {
	rules    []Rule
	disabled map[string]bool
	names    *pseudonyms
	keys     *keyCache
	known    *known
	keyID    string
}

// New makes a redactor. The key is copied and never leaves it.
func New(opts Options) (*Redactor, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	r := &Redactor{rules: slices.Clone(opts.Rules), disabled: map[string]bool{}, names: newPseudonyms(opts.Key), keys: newKeyCache(), known: newKnown()}
	for i := range r.rules {
		if r.rules[i].Name == "" {
			r.rules[i].Name = "rule"
		}
		if r.rules[i].Action == "" {
			r.rules[i].Action = Pseudonym
		}
	}
	for _, name := range opts.Disable {
		r.disabled[name] = true
	}
	mac := hmac.New(sha256.New, opts.Key)
	mac.Write([]byte(Version + "\x00key id"))
	r.keyID = hex.EncodeToString(mac.Sum(nil)[:4])
	return r, nil
}

// Describe names the version and the key, never giving the key away.
func (r *Redactor) Describe() traffic.RedactionInfo {
	return traffic.RedactionInfo{Version: Version, KeyID: r.keyID}
}

// Redact changes x in place and says by rule and place what it changed. Bodies
// are redacted inside their content coding; a body that cannot be decoded
// cannot be judged, so it is removed and x marked as incomplete. After an
// error x must not be stored.
func (r *Redactor) Redact(x *traffic.Exchange) ([]traffic.Redaction, error) {
	w := &walk{Redactor: r}
	// What was learned on the way may stand in a part that was passed before.
	for again := true; again; again = w.learned {
		w.learned = false
		if err := w.exchange(x); err != nil {
			return nil, err
		}
	}
	return w.counts, nil
}

// Text returns s with what the detectors find in free text replaced: for log
// lines and other words that no exchange holds.
func (r *Redactor) Text(s string) string {
	w := &walk{Redactor: r}
	out, _ := w.text(s, spot{part: "text"})
	return out
}

// walk is the redaction of one exchange.
type walk struct {
	*Redactor
	counts  []traffic.Redaction
	counted map[string]int // index into counts by rule and place
	scratch []byte
	learned bool // something new is known since this pass began
	// truncated says that the body at hand is only the beginning.
	truncated bool
}
