package capture

import (
	"fmt"
	"hash/fnv"
	"math"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Sampling chooses the inbound requests that are kept. What a request causes
// is kept or left out with it.
type Sampling struct {
	// Rate is the share of requests to keep, above 0 and at most 1. Zero
	// keeps all.
	Rate float64
	// Header, when it is set, decides by the hash of that field instead of by
	// turn, so that the requests of one user or session stay together.
	// Requests without the field are chosen by turn.
	Header string
	// Endpoints gives single endpoints ("GET /health") another rate, where
	// zero leaves the endpoint out. Router names the endpoints.
	Endpoints map[string]float64
	Router    *traffic.Router
}

// Budget ends a recording by itself. Zero fields are without limit. Exchanges
// that begin after it is used up count as sampled out.
type Budget struct {
	Exchanges int64
	Bytes     int64 // of bodies and about 1 KiB for each exchange
	Time      time.Duration
}

// Validate reports the first setting that cannot work.
func (s Sampling) Validate() error {
	if !(s.Rate >= 0 && s.Rate <= 1) {
		return fmt.Errorf("sampling rate %v: must be from 0 to 1", s.Rate)
	}
	for name, rate := range s.Endpoints {
		if !(rate >= 0 && rate <= 1) {
			return fmt.Errorf("sampling rate %v of %q: must be from 0 to 1", rate, name)
		}
	}
	return nil
}

// Validate reports the first setting that cannot work.
func (b Budget) Validate() error {
	if b.Exchanges < 0 || b.Bytes < 0 || b.Time < 0 {
		return fmt.Errorf("budget %+v: must not be negative", b)
	}
	return nil
}

// sampler keeps the turns.
type sampler struct {
	Sampling
	mu    sync.Mutex
	turns map[string]float64
}

// keeps decides on one request. By turn means that of every 1/rate requests of
// an endpoint exactly one is kept.
func (s *sampler) keeps(r *traffic.Request) bool {
	rate, key := s.Rate, ""
	if rate == 0 {
		rate = 1
	}
	if len(s.Endpoints) > 0 {
		endpoint := s.Router.Endpoint(r)
		if own, ok := s.Endpoints[endpoint]; ok {
			rate, key = own, endpoint
		}
	}
	if rate == 0 || rate == 1 {
		return rate == 1
	}
	if s.Header != "" {
		if v := r.Header.Get(s.Header); v != "" {
			h := fnv.New64a()
			h.Write([]byte(v))
			return float64(mix(h.Sum64()))/math.MaxUint64 < rate
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns == nil {
		s.turns = map[string]float64{}
	}
	next := s.turns[key] + rate
	kept := next >= 1-1e-9
	if kept {
		next--
	}
	s.turns[key] = next
	return kept
}

// mix spreads a hash over all its bits; FNV leaves the high ones of short
// values alike.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
