package redact

import (
	"strings"
	"sync"
)

// known remembers values that only the name of their field gave away, so that
// they are redacted where they stand without a name too: a token that an
// answer gives as "reset_token" and the next request has in its path. It is
// bounded; a full one learns nothing more.
type known struct {
	mu     sync.RWMutex
	values map[string]keyKind
}

const knownSize = 1 << 16

func newKnown() *known { return &known{values: map[string]keyKind{}} }

// memorable reports whether a value is particular enough to be recognised
// without its name: nothing that two fields could have by chance.
func memorable(s string, f features) bool {
	return len(s) >= 10 && len(s) <= 256 && f.digits >= 2 && strings.IndexByte(s, ' ') < 0
}

// kind returns what a value is known as.
func (k *known) kind(s string) keyKind {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.values[s]
}

// learn remembers a value, and reports whether it is new.
func (k *known) learn(s string, kind keyKind) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.values[s]; ok || len(k.values) >= knownSize {
		return false
	}
	k.values[strings.Clone(s)] = kind
	return true
}

// learn remembers a value that its field gave away, once it was replaced.
func (w *walk) learn(s, made string, kind keyKind) {
	if made != s && memorable(s, look(s)) && w.known.learn(s, kind) {
		w.learned = true
	}
}

// recall replaces a value that is known from a field with a name.
func (w *walk) recall(s string, f features) (made, rule string) {
	if !memorable(s, f) {
		return s, ""
	}
	switch kind := w.known.kind(s); kind {
	case keySecret:
		return w.names.secret(s), DetectCredential
	case keyPhone:
		return w.names.phone(s), DetectPhone
	}
	return s, ""
}
