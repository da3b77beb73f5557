package analysis

import (
	"github.com/reprise-ci/reprise/internal/traffic"
)

// sighting is one difference seen in one exchange. Sightings of one cause are
// grouped into a finding.
type sighting struct {
	kind     Kind
	change   Change
	endpoint string
	call     string
	address  string // pattern

	lane   string // id of the recorded inbound exchange
	order  int    // its position
	path   traffic.Path
	detail string
	// recorded, base and head are the values in full.
	recorded, base, head string
	// live is the exchange of head that shows it, liveBase that of base; both
	// may be nil.
	live, liveBase *traffic.Exchange
	// restored says that head answers as recorded and base does not.
	restored bool
	// missed says that the mock had no answer to a live call.
	missed bool
	// was and now are the numbers of calls on base and on head.
	was, now int
}

// key tells findings apart.
type key struct {
	kind     Kind
	endpoint string
	call     string
	address  string
	change   Change
}

func (s *sighting) key() key { return key{s.kind, s.endpoint, s.call, s.address, s.change} }

// place is an address pattern of one endpoint or of one of its call routes:
// the unit over which noise is learned.
type place struct{ endpoint, call, address string }
