package mock

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

// Options say how a mock matches and answers. The zero value is what a run
// uses by default.
type Options struct {
	// Arm starts the ids of journal entries ("base", "head"); "mock" if empty.
	Arm string
	// OneLane treats the whole recording as one lane, for a mock that serves
	// without a replayer.
	OneLane bool
	// Headers names further request headers that tell calls apart, beside the
	// few that always do (see signatureHeaders).
	Headers []string
	// Descriptors is a protobuf FileDescriptorSet. The calls of gRPC services that
	// it describes are matched by the names and types of their fields, all others
	// by the numbers.
	Descriptors []byte
	// Repeat says, by dependency (host as recorded, without port), what a call
	// gets when all recorded calls like it are used; "*" is for all others.
	// Without an entry, safe methods repeat the last answer and others fail.
	Repeat map[string]Repeat
	// Fuzzy says whether calls that only read may be answered by likeness.
	Fuzzy Fuzzy
	// Latency says whether answers take as long as the recorded ones did.
	Latency Latency
	// Rules answer what was never recorded.
	Rules []Rule
	// Issuer stands in for those who issue tokens: its public keys are served in
	// the place of theirs, and tokens in recorded answers are signed anew. Nil
	// serves what was recorded.
	Issuer *fresh.Issuer
	// Routes gives the route templates by which near misses are found.
	Routes *traffic.Router
	// MaxBody bounds the request bodies that are read; 64 MiB if zero. Larger
	// requests are refused with status 413.
	MaxBody int64
	// MaxJournal bounds the calls kept for one pass; 1<<20 if zero. Calls
	// beyond it are counted and answered, but not kept.
	MaxJournal int
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Wait returns at a point in time of that clock, or with the cause of ctx when
	// that ends first; a precise timer if nil.
	Wait func(ctx context.Context, until time.Time) error
	// Log receives what a run should not fail for; nothing is logged if nil.
	Log *slog.Logger
}

// Repeat is a policy for calls beyond the recorded ones.
type Repeat string

// The policies.
const (
	RepeatLast  Repeat = "last"  // answer as the last recorded time
	RepeatCycle Repeat = "cycle" // start again with the first answer
	RepeatFail  Repeat = "fail"  // a miss
)

const (
	defaultMaxBody    = 64 << 20
	defaultMaxJournal = 1 << 20
)

// Validate reports the first option that cannot be used.
func (o Options) Validate() error {
	for dependency, policy := range o.Repeat {
		switch policy {
		case RepeatLast, RepeatCycle, RepeatFail:
		default:
			return fmt.Errorf("mock.repeat.%s: %q is not a policy; use last, cycle or fail", dependency, policy)
		}
	}
	if _, err := o.types(); err != nil {
		return err
	}
	if err := o.Fuzzy.Validate(); err != nil {
		return err
	}
	if err := o.Latency.Validate(); err != nil {
		return err
	}
	for _, h := range o.Headers {
		if h == "" || strings.ContainsAny(h, " :\r\n\t") {
			return fmt.Errorf("mock.headers: %q is not a header name", h)
		}
	}
	if _, err := compileRules(o.Rules); err != nil {
		return err
	}
	if _, err := o.Issuer.Open(); err != nil {
		return err
	}
	if o.MaxBody < 0 || o.MaxJournal < 0 {
		return fmt.Errorf("mock: limits must not be negative")
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Arm == "" {
		o.Arm = "mock"
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.MaxJournal == 0 {
		o.MaxJournal = defaultMaxJournal
	}
	if o.Fuzzy.Score == 0 {
		o.Fuzzy.Score = defaultFuzzyScore
	}
	if o.Fuzzy.Margin == 0 {
		o.Fuzzy.Margin = defaultFuzzyMargin
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// repeat returns the policy for calls to a dependency that read, or do more.
func (o *Options) repeat(dependency string, reads bool) Repeat {
	host, _ := traffic.SplitAuthority(dependency)
	for _, name := range []string{dependency, host, "*"} {
		if policy, ok := o.Repeat[name]; ok {
			return policy
		}
	}
	if reads {
		return RepeatLast
	}
	return RepeatFail
}

// types reads the descriptors.
func (o Options) types() (*protobuf.Types, error) {
	types, err := protobuf.ReadTypes(o.Descriptors)
	if err != nil {
		return nil, fmt.Errorf("mock.descriptors: %w", err)
	}
	return types, nil
}
