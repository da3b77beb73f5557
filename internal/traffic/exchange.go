package traffic

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// Direction tells who called: the world (inbound) or the service (outbound).
type Direction string

// The two directions.
const (
	Inbound  Direction = "inbound"  // a call to the service
	Outbound Direction = "outbound" // a call by the service to a dependency
)

// Lane names everything that one inbound request caused. It is the ID of that
// inbound exchange, or one of the two special lanes.
type Lane string

// The special lanes.
const (
	LaneBoot       Lane = "boot"       // calls made before the first inbound request
	LaneBackground Lane = "background" // calls that no inbound request caused, or none that could be found
)

// Exchange is one request and its response, or the lack of one.
type Exchange struct {
	// ID is unique within its snapshot or pass and safe in a file name.
	ID        string
	Direction Direction
	// Lane of an inbound exchange is its own ID.
	Lane Lane
	// Recorded is the ID of the recorded exchange that this live exchange
	// repeats (replay) or was answered from (mock); empty in recordings and
	// for a miss.
	Recorded string

	// Start is when the first byte of the request was sent (or received, for
	// a recorder). FirstByte and Duration count from Start to the first and
	// the last byte of the response; both are zero where there is no response.
	Start     time.Time
	FirstByte time.Duration
	Duration  time.Duration

	Request Request
	// Response is nil when there was none: Failure says why, and is empty
	// when the source cannot carry responses (a mirror).
	Response *Response
	Failure  Failure

	// Incomplete lists what is known to be missing, one short phrase each
	// ("request body truncated", "hole of 1448 bytes").
	Incomplete []string
	Origin     Origin
	// Match is set on outbound exchanges answered by the mock.
	Match *Match
}

// Failure is why an exchange has no response.
type Failure string

// The failures, as a client would see them.
const (
	FailureNone     Failure = ""
	FailureRefused  Failure = "refused"   // nobody listened
	FailureReset    Failure = "reset"     // closed before or within the response
	FailureTimeout  Failure = "timeout"   // no complete response in time
	FailureProtocol Failure = "protocol"  // the response was not valid
	FailureDNS      Failure = "dns"       // the name had no address
	FailureTLS      Failure = "tls"       // the handshake failed
	FailureCanceled Failure = "cancelled" // the run ended first
	FailureLimit    Failure = "limit"     // the sender had no file or port left for a connection
)

// Origin says where an exchange was seen.
type Origin struct {
	// Source names the kind of recorder or importer ("proxy", "mirror", "har").
	Source string
	// Connection is the same for exchanges that shared a client connection.
	Connection string
	// Certainty is how the lane of an outbound exchange was found.
	Certainty Certainty
}

// Certainty is by what an outbound exchange was attributed to its lane.
type Certainty string

// The ways of attribution, the surest first.
const (
	ByTrace      Certainty = "trace"      // forwarded traceparent, B3, baggage or request id
	ByValue      Certainty = "value"      // a value that only one active lane owns
	ByConnection Certainty = "connection" // the connection belongs to one active lane
	ByOnlyActive Certainty = "only-active"
	ByTime       Certainty = "time" // the latest active lane; a guess
	ByNothing    Certainty = ""
)

// Request is what the caller sent.
type Request struct {
	Method string
	// Scheme is "http" or "https".
	Scheme string
	// Authority is host or host:port as the caller wrote it, in lower case.
	Authority string
	// Target is the origin-form request target: path, and query if any.
	Target string
	// Proto is "HTTP/1.1" or "HTTP/2.0".
	Proto   string
	Header  Header
	Body    Body
	Trailer Header
}

// Path returns the path of the target, still escaped, "/" when it is empty.
func (r *Request) Path() string {
	path, _, _ := strings.Cut(r.Target, "?")
	if path == "" {
		return "/"
	}
	return path
}

// RawQuery returns what follows the first "?" of the target.
func (r *Request) RawQuery() string {
	_, query, _ := strings.Cut(r.Target, "?")
	return query
}

// Query returns the decoded query. Pairs that cannot be decoded are left out,
// as [url.URL.Query] does.
func (r *Request) Query() url.Values {
	values, _ := url.ParseQuery(r.RawQuery())
	return values
}

// Host returns the authority without its port.
func (r *Request) Host() string {
	host, _ := SplitAuthority(r.Authority)
	return host
}

// URL returns scheme, authority and target as one string.
func (r *Request) URL() string { return r.Scheme + "://" + r.Authority + r.Target }

// SplitAuthority splits host[:port]; IPv6 hosts keep their brackets off.
// The port is empty when none is written.
func SplitAuthority(authority string) (host, port string) {
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.Contains(authority[i:], "]") {
		if strings.Count(authority, ":") == 1 || strings.HasPrefix(authority, "[") {
			return strings.Trim(authority[:i], "[]"), authority[i+1:]
		}
	}
	return strings.Trim(authority, "[]"), ""
}

// Response is what the callee answered.
type Response struct {
	Status  int
	Proto   string
	Header  Header
	Body    Body
	Trailer Header
}

// Clone returns a deep copy, so that a transformation never changes what a
// snapshot reader handed out.
func (x *Exchange) Clone() *Exchange {
	if x == nil {
		return nil
	}
	c := *x
	c.Request.Header = x.Request.Header.Clone()
	c.Request.Trailer = x.Request.Trailer.Clone()
	c.Request.Body.Raw = append([]byte(nil), x.Request.Body.Raw...)
	c.Request.Body.Times = slices.Clone(x.Request.Body.Times)
	if x.Response != nil {
		r := *x.Response
		r.Header, r.Trailer = r.Header.Clone(), r.Trailer.Clone()
		r.Body.Raw = append([]byte(nil), r.Body.Raw...)
		r.Body.Times = slices.Clone(r.Body.Times)
		c.Response = &r
	}
	c.Incomplete = append([]string(nil), x.Incomplete...)
	if x.Match != nil {
		m := *x.Match
		m.Nearest = append([]Near(nil), m.Nearest...)
		c.Match = &m
	}
	return &c
}

// Tier is how a recorded call was found for a live one, the surest first.
type Tier string

// The tiers of matching.
const (
	TierExact     Tier = "exact"      // same lane, same canonical request, next unused
	TierBound     Tier = "bound"      // same after learned pairs of recorded and live values
	TierClassed   Tier = "classed"    // same after replacing values at volatile positions by their class
	TierOtherLane Tier = "other-lane" // one of the above in the boot or background lane
	TierRepeat    Tier = "repeat"     // all recorded occurrences are used
	TierFuzzy     Tier = "fuzzy"      // by score; off by default
	TierRule      Tier = "rule"       // a mock rule, not a recording
	TierMiss      Tier = "miss"       // nothing answers
)

// Assisted reports whether an answer of this tier was a guess, so that what
// depends on it must not count as proof.
func (t Tier) Assisted() bool { return t == TierRepeat || t == TierFuzzy }

// Match says how the mock answered an outbound exchange.
type Match struct {
	Tier Tier
	// Record is the ID of the recorded exchange; empty for rules and misses.
	Record string
	// Pass is the number of the replay pass that the call belongs to.
	Pass uint32
	// Nearest lists the closest recorded calls of a miss, best first, at most
	// three.
	Nearest []Near
	// Reason is one sentence for people.
	Reason string
}

// Near is a recorded call that almost answers a live one.
type Near struct {
	Record string
	Score  float64 // 0 to 1
	// Differences are addresses within the request with both values, already
	// shortened for display.
	Differences []Disagreement
}

// Disagreement is one place where a live request and a recorded one differ.
type Disagreement struct {
	Path     Path
	Recorded string
	Live     string
}

// Redaction counts the values that one rule changed at one place. It never
// holds a value.
type Redaction struct {
	Rule  string  `json:"rule" yaml:"rule"`
	Path  Pattern `json:"path" yaml:"path"`
	Count int     `json:"count" yaml:"count"`
}

// Binding is a learned pair: a value of the recording, and what stands in its
// place in a replay.
type Binding struct{ Recorded, Live string }
