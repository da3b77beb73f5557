package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/reprise-ci/reprise/internal/agent"
	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/deploy"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/process"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// Options are those of the rooms, and what a run needs beside them.
type Options struct {
	Snapshot string // path of the snapshot
	// Dir is the project's directory: the repository under test or, in a
	// repository of many services, the directory of this one. Relative paths
	// of other options lie below it, in each version.
	Dir     string
	BaseRef string // "" for the default branch
	TempDir string // parent of the run's own directory
	LogDir  string // where logs go; made when the first one is written

	// Version is that of this program, which its agents must have too; "" asks
	// none.
	Version string

	Build   Build
	Process *process.Options // for the target "process"
	Cluster *ClusterOptions  // for the target "kind"

	Replay    replay.Options
	Transform transform.Options
	// Middleware is a shell line of a program that changes requests; "" for
	// none. It needs the target "process".
	Middleware string
	Mock       mock.Options
	// Issuers name issuers of tokens besides those that the recording shows; see
	// [fresh.NewIssuer].
	Issuers []string
	// Chaos is what goes wrong with dependencies in the extra passes that show
	// whether head bears it as base does; nil makes none.
	Chaos *mock.Faults
	// CallsFile is where the redacted calls to dependencies of all correctness
	// passes are kept, for explanations; nothing is kept if empty.
	CallsFile string
	Analysis  analysis.Options
	Latency   Latency
	// Redactor replaces personal data in what the arms were seen to do, before
	// anything of it can get into a report.
	Redactor Redactor
	// Scan names the places of a recorded exchange that hold what should not be
	// kept, never their values. The run refuses a snapshot with such places, or
	// without redaction; nil trusts it.
	Scan func(x *traffic.Exchange) []string

	Seed    int64
	Keep    Keep
	Environ []string
	Now     func() time.Time
}

// Redactor makes exchanges and words safe to show. It must give equal values
// equal pseudonyms for the whole run, so that the arms still compare.
// *redact.Redactor satisfies it.
type Redactor interface {
	Redact(x *traffic.Exchange) ([]traffic.Redaction, error)
	Text(s string) string
}

// Build says how one version is made.
type Build struct {
	Command string // shell line; "" when nothing is to be built
	Dir     string // relative to the project
}

// Latency bounds the measurement.
type Latency struct {
	Off                  bool
	Budget               time.Duration // warm-up included
	MinRounds, MaxRounds int
	Pairs                int // of each endpoint in a round
	// Load is an open load on base and head at the same time, beside the rounds;
	// nil for none.
	Load *replay.Load
	// History is a file of the noise of earlier runs, which is read and
	// written; none if empty.
	History string
	// OpenRate is that of open-loop rounds, requests a second on each arm; none
	// are taken if 0. OpenRounds is how many.
	OpenRate   float64
	OpenRounds int
	// Capacity is the limit of p90 for the search of the highest rate; there is
	// no search if 0.
	Capacity time.Duration
}

// Keep says what is left standing after a run.
type Keep string

// What may be kept.
const (
	KeepNever     Keep = "never"
	KeepOnFailure Keep = "on-failure"
	KeepAlways    Keep = "always"
)

// Validate reports the first mistake; the rooms validate their own options
// when they are used.
func (o Options) Validate() error {
	switch {
	case (o.Process == nil) == (o.Cluster == nil):
		return errors.New("a run has exactly one target")
	case o.Redactor == nil:
		return errors.New("a run needs a redactor, or its report could show personal data")
	case o.Now == nil:
		return errors.New("a run needs a clock")
	case o.Latency.MinRounds > o.Latency.MaxRounds:
		return fmt.Errorf("latency: min-rounds %d is above max-rounds %d", o.Latency.MinRounds, o.Latency.MaxRounds)
	}
	if o.Process != nil {
		return o.Process.Validate()
	}
	if o.Middleware != "" {
		return errors.New("a program that changes requests needs the target process")
	}
	return nil
}

func (o Options) targetName() string {
	if o.Process != nil {
		return "process"
	}
	if o.Cluster.Given != nil {
		return "kubernetes"
	}
	return "kind"
}

// target is where the arms run. The recipe calls its methods in the order
// they stand here; those that take an arm are called for several at once.
type target interface {
	// check finds out, before anything is started, what can be known to fail.
	check(ctx context.Context) error
	// start makes the place where arms run.
	start(ctx context.Context) error
	// build makes the version of an arm from its tree. Control uses what
	// base built.
	build(ctx context.Context, arm Arm, project string, log io.Writer) error
	// deploy starts the mock and then the service of an arm, and returns when
	// it is ready. Errors that blame the service are *serviceError.
	deploy(ctx context.Context, arm Arm, project string) error
	// pass replays the whole recording on an arm. What the arm's mock saw of an
	// earlier pass of the same number is forgotten.
	pass(ctx context.Context, arm Arm, p passPlan, emit func(observed)) error
	// renew starts the service of an arm anew, with a state as after deploy, or
	// reports that this place cannot.
	renew(ctx context.Context, arm Arm) (fresh bool, err error)
	// calls returns what the arm's mock saw in a pass.
	calls(ctx context.Context, arm Arm, pass uint32) (journal, error)
	// round measures one block of pairs of two arms.
	round(ctx context.Context, a, b Arm, pass uint32, seed int64, opts replay.RoundOptions) (replay.Round, error)
	// open sends a load to several arms at once.
	open(ctx context.Context, on []Arm, load replay.Load, pass uint32) (*agent.Opened, error)
	// openRound sends to both arms at the same planned moments.
	openRound(ctx context.Context, a, b Arm, o agent.OpenRound) (replay.Round, error)
	// capacity searches the highest rate of each arm.
	capacity(ctx context.Context, arms []Arm, c agent.Capacity) ([]replay.Capacity, error)
	// died returns the reason and the log's end if the service of an arm has
	// ended or restarted by itself.
	died(ctx context.Context, arm Arm) (reason, log string, yes bool)
	// resources returns what an arm has used so far.
	resources(ctx context.Context, arm Arm) (analysis.Resource, error)
	// errorLines counts the lines of an arm's log that tell of an error.
	errorLines(ctx context.Context, arm Arm) (int, error)
	// saveLogs writes below dir what the place knows of a run that found
	// something or broke. It does what it can.
	saveLogs(ctx context.Context, dir string)
}

// passPlan says how one pass is made.
type passPlan struct {
	number      uint32
	concurrency int
	faults      *mock.Faults // of the dependencies; nil for none
}

// serviceError is a version that cannot be built or does not run: the
// service's fault and not the machine's.
type serviceError struct {
	reason string
	log    string
	err    error
}

func (e *serviceError) Error() string { return e.err.Error() }
func (e *serviceError) Unwrap() error { return e.err }

// ClusterOptions say how the arms run on Kubernetes.
type ClusterOptions struct {
	Given     *Given // nil for a kind cluster of the run's own
	NodeImage string // kind's own default if empty
	// Workers is how many pods send the load; 1 if zero.
	Workers int
	// Chart is looked up in each version: relative paths of the chart and of
	// its values files lie below the project.
	Chart deploy.Options
	Image Image
}

// Image says where the service's image comes from and how the chart is told of it.
type Image struct {
	Context string // relative to the build's directory; no image is built if empty
	// Base and Head name images that are built already, with the commit to be
	// filled in by ImageRef; both or none.
	Base, Head string
	Dockerfile string // relative to Context
	// RepositoryValue and TagValue are keys of the chart's values.
	RepositoryValue, TagValue string
}
