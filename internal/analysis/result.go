// Package analysis turns what replay and mock saw into a verdict: it pairs
// exchanges, learns noise, tells causes, accounts for outbound calls, judges
// latency and applies the gates. It knows nothing of where the exchanges came
// from or how the result is shown.
package analysis

import (
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Verdict is the outcome of a run.
type Verdict string

// The verdicts.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"         // a gate failed
	Inconclusive Verdict = "inconclusive" // the run could not tell
	Error        Verdict = "error"        // the run broke; nothing is known of the change
)

// Kind is the family of a finding; it is also what fail-on names.
type Kind string

// The kinds of findings.
const (
	KindResponse Kind = "response"
	KindOutbound Kind = "outbound"
	KindLatency  Kind = "latency"
	KindCrash    Kind = "crash"
	KindResource Kind = "resource"
	// KindFragility is what head fails at when a dependency goes wrong, and base
	// survives.
	KindFragility Kind = "fragility"
)

// Cause says who changed: told from recording R, base A and head B.
type Cause string

// The causes.
const (
	CauseHead     Cause = "head"     // A = R or R absent, B differs: this pull request
	CauseSnapshot Cause = "snapshot" // A differs from R, B = A: the snapshot is stale
	CauseNoise    Cause = "noise"    // two passes of base differ in the same way
)

// Change is what happened at an address.
type Change string

// The changes.
const (
	ChangeStatus       Change = "status"
	ChangeMissing      Change = "missing"
	ChangeExtra        Change = "extra"
	ChangeType         Change = "type"
	ChangeLength       Change = "length"
	ChangeValue        Change = "value"
	ChangeOrder        Change = "order"
	ChangeClass        Change = "class" // a noisy value left its class
	ChangeNewCall      Change = "new-call"
	ChangeMissingCall  Change = "missing-call"
	ChangeRepeatedCall Change = "repeated-call"
	ChangeChangedCall  Change = "changed-call"
	ChangeReordered    Change = "reordered-call"
	ChangeSlower       Change = "slower"
	ChangeFaster       Change = "faster"
	ChangeWaitsLonger  Change = "waits-longer" // for dependencies, as a share of the service time
	ChangeWaitsShorter Change = "waits-shorter"
	ChangeMore         Change = "more" // more of a resource
	ChangeNoResponse   Change = "no-response"
	ChangeCrash        Change = "crash"
	ChangeFragile      Change = "fragile" // fails with a dependency that fails
)

// Finding is one reported difference.
type Finding struct {
	ID       string `json:"id"` // F1, F2, … in the order of importance
	Kind     Kind   `json:"kind"`
	Cause    Cause  `json:"cause"`
	Endpoint string `json:"endpoint"` // "POST /v1/orders"
	// Address is the pattern of the place, e.g. response.body.items[].price.
	// For outbound calls it is the place inside the call, below Call.
	Address string `json:"address"`
	Change  Change `json:"change"`
	// Call is the outbound call concerned, "POST api.payments.example/v1/charges".
	Call string `json:"call,omitempty"`

	// The values at the first example, shortened; empty when there is none.
	Recorded string `json:"recorded"`
	Base     string `json:"base"`
	Head     string `json:"head"`

	Count   int    `json:"count"`   // exchanges of the endpoint that show it
	Of      int    `json:"of"`      // exchanges of the endpoint that were replayed
	Example string `json:"example"` // id of the first recorded exchange that shows it
	Gates   bool   `json:"gates"`   // it makes the verdict fail

	// Detail is one sentence for people, e.g. "3 calls became 12 (4 times)".
	Detail string `json:"detail,omitempty"`
	// Accepted is set when people agreed to the change; it does not gate then.
	Accepted *AcceptedBy `json:"accepted,omitempty"`
	// Consequences are differences that follow from this one and are not
	// findings of their own.
	Consequences []Consequence `json:"consequences,omitempty"`
	// Assisted says that an answer the finding rests on was a guess.
	Assisted bool `json:"assisted,omitempty"`
}

// Consequence is a difference folded under its root.
type Consequence struct {
	Endpoint string `json:"endpoint"`
	Address  string `json:"address"`
	Change   Change `json:"change"`
	Count    int    `json:"count"`
}

// Speed is the verdict on a latency.
type Speed string

// The verdicts on latency.
const (
	Slower            Speed = "slower"
	Faster            Speed = "faster"
	Same              Speed = "same"
	SpeedInconclusive Speed = "inconclusive"
)

// Endpoint is the latency of one endpoint.
type Endpoint struct {
	Endpoint string   `json:"endpoint"`
	Requests int      `json:"requests"` // pairs measured
	P50      Quantile `json:"p50"`
	P90      Quantile `json:"p90"`
	P99      Tail     `json:"p99"`
	// RoundsMS holds the median of each round, base first, for plots.
	RoundsBaseMS []float64 `json:"rounds_base_ms,omitempty"`
	RoundsHeadMS []float64 `json:"rounds_head_ms,omitempty"`
	// Note says why an endpoint could not be judged.
	Note string `json:"note,omitempty"`
}

// Quantile compares one quantile of an endpoint.
type Quantile struct {
	BaseMS float64    `json:"base_ms"`
	HeadMS float64    `json:"head_ms"`
	Ratio  float64    `json:"ratio"` // head / base, from paired rounds
	CI     [2]float64 `json:"ci"`    // 95 % interval of Ratio
	P      float64    `json:"p"`     // adjusted over all tests of the run
	// Detectable is the smallest change that the run could have seen, as a
	// share: 0.04 is 4 %.
	Detectable float64 `json:"detectable"`
	Verdict    Speed   `json:"verdict"`
}

// Tail shows a quantile that is never judged at these sample sizes.
type Tail struct {
	BaseMS float64    `json:"base_ms"`
	HeadMS float64    `json:"head_ms"`
	Ratio  float64    `json:"ratio"`
	CI     [2]float64 `json:"ci"`
}

// Outbound is the account of calls to one dependency route.
type Outbound struct {
	Call     string `json:"call"` // "GET inventory/v1/stock/{id}"
	Recorded int    `json:"recorded"`
	Base     int    `json:"base"`
	Head     int    `json:"head"`
}

// Account balances the calls of one arm against the recording:
// Recorded = Matched + Unused, live calls = Matched + Extra + Missed.
type Account struct {
	Recorded int    `json:"recorded"`
	Matched  int    `json:"matched"`
	Unused   int    `json:"unused"`
	Extra    int    `json:"extra"`
	Missed   int    `json:"missed"`
	Misses   []Miss `json:"misses,omitempty"`
	// Attributed counts the live calls of the pass by how the request that caused
	// them was found: trace, value, connection, only-active or none. Calls of the
	// start of the service are not among them.
	Attributed map[traffic.Certainty]int `json:"attributed,omitempty"`
	// Unsure counts those that may belong to any of several requests.
	Unsure int `json:"unsure,omitempty"`
	// Tiers counts all live calls by how they were answered.
	Tiers map[traffic.Tier]int `json:"tiers,omitempty"`
}

// ByNone stands in Account.Attributed for calls whose request was not found.
const ByNone traffic.Certainty = "none"

// Miss is a live call that nothing recorded answers.
type Miss struct {
	// ID names the call for reprise explain.
	ID      string       `json:"id,omitempty"`
	Lane    string       `json:"lane"`
	Call    string       `json:"call"`
	Reason  string       `json:"reason"`
	Nearest *NearestCall `json:"nearest,omitempty"`
}

// NearestCall is the recorded call closest to a miss.
type NearestCall struct {
	Record      string   `json:"record"`
	Score       float64  `json:"score"`
	Differences []string `json:"differences"` // "request.body.amount: recorded 2000, live 2100"
}

// Resource compares what the two arms used.
type Resource struct {
	Arm         string  `json:"arm"` // base, control, head
	CPUSeconds  float64 `json:"cpu_seconds"`
	PeakBytes   int64   `json:"peak_bytes"`
	Restarts    int     `json:"restarts"`
	StartupMS   float64 `json:"startup_ms"`
	ImageBytes  int64   `json:"image_bytes,omitempty"`
	ErrorLines  int     `json:"error_lines"`
	Unavailable string  `json:"unavailable,omitempty"` // why figures are missing
	// Seen is when the figures were taken, zero for now. CPUSeconds is 0 where that
	// was before the work was done.
	Seen time.Time `json:"-"`
}

// Latency sums up the measurement.
type Latency struct {
	Rounds int   `json:"rounds"`
	Pairs  int   `json:"pairs"`
	Seed   int64 `json:"seed"`
	// NoiseFloor is the share by which base differed from itself beyond what
	// the spread of its rounds explains.
	NoiseFloor float64 `json:"noise_floor"`
	// NoiseOfRun is that of this run alone, where earlier runs raised it;
	// NoiseRuns is how many there were.
	NoiseOfRun float64 `json:"noise_of_run,omitempty"`
	NoiseRuns  int     `json:"noise_runs,omitempty"`
	// SendLagP50MS and SendLagP99MS are how late requests were sent.
	SendLagP50MS float64 `json:"send_lag_p50_ms"`
	SendLagP99MS float64 `json:"send_lag_p99_ms"`
	// Stopped says why measuring ended: "all endpoints decided", "time budget".
	Stopped string `json:"stopped"`
	// Overall is the shift of all endpoints together.
	Overall Quantile `json:"overall"`
	// Note says why latency could not be judged at all.
	Note string `json:"note,omitempty"`
}

// Result is all that a run found out.
type Result struct {
	Verdict   Verdict    `json:"verdict"`
	Reason    string     `json:"reason"` // one sentence
	Findings  []Finding  `json:"findings"`
	Endpoints []Endpoint `json:"endpoints"`
	Outbound  []Outbound `json:"outbound"`
	// Waiting is the share of the service time spent waiting for dependencies, by
	// endpoint.
	Waiting   []Waiting          `json:"waiting,omitempty"`
	Mock      map[string]Account `json:"mock"` // by arm: base, control, head
	Latency   Latency            `json:"latency"`
	OpenLoop  *OpenLoop          `json:"open_loop,omitempty"`
	Capacity  *Capacity          `json:"capacity,omitempty"`
	Resources []Resource         `json:"resources,omitempty"`
	// Chaos sums up the passes in which dependencies went wrong; nil without.
	Chaos *Fragility `json:"chaos,omitempty"`
	// Replayed, Equal, Changed and Noisy count inbound exchanges of head:
	// Replayed = Equal + Changed; Noisy is the number of addresses left to
	// their class.
	Replayed int `json:"replayed"`
	Equal    int `json:"equal"`
	Changed  int `json:"changed"`
	Noisy    int `json:"noisy"`
	// Stale is the share of exchanges whose base answer no longer matches the
	// recording.
	Stale float64 `json:"stale"`
	// Thresholds says of each threshold whether it holds.
	Thresholds []ThresholdResult `json:"thresholds,omitempty"`
	// Mistakes are sentences about rules whose address is no place in any
	// exchange. Such a run has no verdict unless it fails.
	Mistakes []string `json:"mistakes,omitempty"`
	// Lapsed are the acceptances that match nothing any more, or have expired.
	Lapsed []Lapsed `json:"lapsed,omitempty"`
	// Warnings are sentences about rules and acceptances that match nothing,
	// have expired, or match too much.
	Warnings []string `json:"warnings,omitempty"`
}
