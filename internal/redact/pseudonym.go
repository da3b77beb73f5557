package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"
	"sync"
)

// pseudonyms derives streams of bytes from values with the key. Everything
// that a pseudonym is made of comes from such a stream.
type pseudonyms struct {
	macs sync.Pool

	mu    sync.Mutex
	cache map[cacheKey]string
}

type cacheKey struct{ kind, value string }

// cacheSize bounds the memory for repeated values; the oldest are not worth
// an order, so a full cache starts again.
const cacheSize = 1 << 15

func newPseudonyms(key []byte) *pseudonyms {
	key = append([]byte(nil), key...)
	return &pseudonyms{
		macs:  sync.Pool{New: func() any { return hmac.New(sha256.New, key) }},
		cache: map[cacheKey]string{},
	}
}

// cached returns the pseudonym of value, made by create if it is new.
func (p *pseudonyms) cached(kind, value string, create func(s *stream) string) string {
	key := cacheKey{kind, value}
	p.mu.Lock()
	out, ok := p.cache[key]
	p.mu.Unlock()
	if ok {
		return out
	}
	stream := p.stream(kind, value)
	out = create(&stream)
	if len(value) < 512 {
		p.mu.Lock()
		if len(p.cache) >= cacheSize {
			clear(p.cache)
		}
		p.cache[cacheKey{kind, strings.Clone(value)}] = out
		p.mu.Unlock()
	}
	return out
}

// stream returns the bytes that belong to a value.
func (p *pseudonyms) stream(kind, value string) stream {
	mac := p.macs.Get().(hash.Hash)
	defer p.macs.Put(mac)
	mac.Reset()
	mac.Write([]byte(Version + "\x00" + kind + "\x00" + value))
	var s stream
	mac.Sum(s.seed[:0])
	s.block = s.seed
	return s
}

// stream gives pseudo-random bytes without end: the seed, then hashes of seed
// and counter.
type stream struct {
	seed, block [sha256.Size]byte
	next        int
	counter     uint64
}

func (s *stream) byte() byte {
	if s.next == len(s.block) {
		s.counter++
		var in [sha256.Size + 8]byte
		copy(in[:], s.seed[:])
		binary.BigEndian.PutUint64(in[sha256.Size:], s.counter)
		s.block, s.next = sha256.Sum256(in[:]), 0
	}
	b := s.block[s.next]
	s.next++
	return b
}

// below returns a number from 0 to n-1, n at most 256, each equally likely.
func (s *stream) below(n int) int {
	limit := 256 - 256%n
	for {
		if b := int(s.byte()); b < limit {
			return b % n
		}
	}
}

func (s *stream) digit() byte { return '0' + byte(s.below(10)) }

const base32 = "abcdefghijklmnopqrstuvwxyz234567"

// letters returns n characters of the base32 alphabet.
func (s *stream) letters(n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = base32[s.below(32)]
	}
	return string(out)
}

// check returns a stream that needs no key: pseudonyms carry a few of its
// characters, so that they are recognised without the key.
func check(kind, value string) *stream {
	s := &stream{seed: sha256.Sum256([]byte(Version + " check\x00" + kind + "\x00" + value))}
	s.block = s.seed
	return s
}
