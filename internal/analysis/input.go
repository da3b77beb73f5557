package analysis

import (
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Input is all that a run observed.
type Input struct {
	// Recorded holds the snapshot: the inbound exchanges that were replayed
	// and the outbound ones that the mock answered from.
	Recorded []*traffic.Exchange
	// Partial says that Recorded is a part of what was there to be recorded:
	// what it lacks may exist.
	Partial bool
	// Redacted are the places whose values were replaced before the recording
	// was stored. Base is not expected to answer as recorded there.
	Redacted []traffic.Pattern
	// Base and Control are two passes of the base version, Head one of the
	// pull request's. Their inbound exchanges name the recorded one they
	// repeat; their outbound ones carry the lane that caused them.
	Base, Control, Head Observation
	// Rounds are the latency measurements, in order; Seed drove their random
	// order and Stopped says why measuring ended.
	// Confirm are fresh rounds, taken after the others when these showed a
	// change (see [Suspects]); a change must keep its sign in them.
	Rounds  []Round
	Confirm []Round
	Seed    int64
	Stopped string
	// Chaos are passes in which dependencies went wrong; what counts shows in
	// all of them.
	Chaos []Chaos
	// OpenRounds are rounds in which both arms were sent to at the same planned
	// moments, OpenRate requests a second; their pairs hold response times.
	OpenRounds []Round
	OpenRate   float64
	// Capacity is set when the highest rates were searched.
	Capacity *CapacityFound
	// Resources is what the arms used.
	Resources []Resource
}

// Observation is what replay and mock saw of one arm in its correctness pass.
type Observation struct {
	Inbound  []*traffic.Exchange // live answers, one for each recorded exchange replayed
	Outbound []*traffic.Exchange // live calls to dependencies, in order of arrival
	Account  Account
	Crashes  []Crash
	// Complete says that the pass ran to its end.
	Complete bool
}

// Crash is one unplanned end of the service.
type Crash struct {
	At time.Time
	// Recorded is the recorded exchange in flight, "" when it is not known.
	Recorded string
	// Reason is short ("exit code 2", "OOMKilled"); Log is its last lines.
	Reason string
	Log    string
}

// Round is one block of paired, interleaved requests.
type Round struct {
	Number        int
	HeadVsBase    []Pair // A is base, B is head
	ControlVsBase []Pair // A is base, B is the second instance of base
	SendLag       []time.Duration
}

// Pair is one request sent to two arms, with the service time of each. A pair
// with a time that is not positive was dropped and does not count.
type Pair struct {
	Recorded string // id of the recorded exchange
	Endpoint string
	A, B     time.Duration
}
