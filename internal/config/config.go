// Package config is reprise.yaml: its schema, its defaults, and what is wrong
// with it. Every key that is not a list of structures is also a flag and an
// input of the action, under the same name with its dots turned into dashes.
package config

import (
	"time"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// FileName is what the file is called when nobody says otherwise.
const FileName = "reprise.yaml"

// CallsFile is the file of output-dir that holds the redacted calls to
// dependencies of the last run.
const CallsFile = "calls.rpk"

// Config is the whole of reprise.yaml. Field order is the order of the
// documentation; the doc tag is the sentence that --help and
// docs/configuration.md show.
type Config struct {
	Service  string   `yaml:"service" doc:"name of the service in reports; the name of the snapshot if empty"`
	Snapshot string   `yaml:"snapshot" doc:"directory or .rpk file of the recorded traffic; the only one under snapshots/ if empty"`
	Target   string   `yaml:"target" doc:"where the versions run: kind (an own cluster), kubernetes (a given one) or process (local processes)"`
	BaseRef  string   `yaml:"base-ref" doc:"branch, tag or commit that the change will be merged into; the pull request's base or the default branch if empty"`
	FailOn   []string `yaml:"fail-on" doc:"what makes the check fail: response, outbound, crash, fragility, latency, resource, inconclusive, assisted, never"`
	Routes   []string `yaml:"routes" doc:"path templates such as /v1/shops/{shop}, for paths whose variable parts do not look like ids"`

	Thresholds []string `yaml:"thresholds" doc:"conditions that must hold, such as 'p90 < 150ms' or 'GET /v1/orders: slower < 10%'"`

	Chart        string   `yaml:"chart" doc:"Helm chart of the service: a directory or .tgz, relative to the repository"`
	ChartService string   `yaml:"chart-service" doc:"name[:port] of the chart's Service that takes the requests; its only one if empty"`
	Values       []string `yaml:"values" doc:"Helm values files"`
	Set          []string `yaml:"set" doc:"Helm values, as in helm install --set"`
	NodeImage    string   `yaml:"node-image" doc:"node image of the kind cluster; kind's own if empty"`

	Kubeconfig  string   `yaml:"kubeconfig" doc:"file with the context of target kubernetes; that of KUBECONFIG, or ~/.kube/config, if empty"`
	Context     string   `yaml:"context" doc:"context of target kubernetes; it must be named, the current one is never taken"`
	Namespace   string   `yaml:"namespace" doc:"what the names of the run's own namespaces begin with on target kubernetes"`
	AgentImage  string   `yaml:"agent-image" doc:"image of reprise for its pods, made by reprise agent-image; made of the running command and loaded where nodes are on this machine if empty"`
	CopySecrets []string `yaml:"copy-secrets" doc:"Secrets of the given cluster, namespace/name, that are copied into the run's namespaces, such as credentials of a registry"`

	Build   Build   `yaml:"build"`
	Process Process `yaml:"process"`
	Replay  Replay  `yaml:"replay"`
	Latency Latency `yaml:"latency"`
	Mock    Mock    `yaml:"mock"`
	Chaos   Chaos   `yaml:"chaos"`
	Redact  Redact  `yaml:"redact"`

	Ignore []Ignore          `yaml:"ignore"`
	SQL    []traffic.Pattern `yaml:"sql"` // places of calls whose texts are SQL

	Timeout   Duration `yaml:"timeout" doc:"longest time of the whole run"`
	OutputDir string   `yaml:"output-dir" doc:"directory for report.json, report.md, report.html, junit.xml, calls.rpk (for reprise explain) and logs"`
	Keep      string   `yaml:"keep" doc:"leave the cluster, the processes and the work directory: never, on-failure or always"`
	Seed      int64    `yaml:"seed" doc:"seed of everything random in a run; drawn and reported if 0"`

	Comment    string `yaml:"comment" doc:"comment on the pull request: auto (when there is something to say or a comment exists), always, on-failure or never"`
	CommentKey string `yaml:"comment-key" doc:"separates the comments of several runs on one pull request; service and snapshot if empty"`

	file  string         // where it was read from, for mistakes
	lines map[string]int // the line of each key in that file
}

// Build says how one version is made from its checkout.
type Build struct {
	Command string `yaml:"command" doc:"shell line that builds the service, run in build.dir of each version"`
	Dir     string `yaml:"dir" doc:"directory of the build inside the repository"`
	Image   Image  `yaml:"image"`
}

// Image says how the container image is made and how the chart is told of it.
type Image struct {
	Context         string `yaml:"context" doc:"context of docker build, relative to build.dir; no image is built if empty"`
	Base            string `yaml:"base" doc:"image of base that is built already, such as registry.example.com/shop:{{.SHA}}; nothing is built then"`
	Head            string `yaml:"head" doc:"image of head that is built already; {{.SHA}} is the commit, {{.Short}} its first 12 digits"`
	Dockerfile      string `yaml:"dockerfile" doc:"Dockerfile, relative to the context"`
	RepositoryValue string `yaml:"repository-value" doc:"key of the chart's values that takes the image's repository"`
	TagValue        string `yaml:"tag-value" doc:"key of the chart's values that takes the image's tag"`
}

// Process says how the service runs without a cluster.
type Process struct {
	Command      string            `yaml:"command" doc:"shell line that starts the service; ${port}, ${mock} (the address of the mock as a proxy) and ${ca} are filled in"`
	Dir          string            `yaml:"dir" doc:"directory it starts in; build.dir if empty"`
	Env          map[string]string `yaml:"env"`
	Ready        string            `yaml:"ready" doc:"path that answers below 400 once the service is ready; an open port is enough if empty"`
	ReadyTimeout Duration          `yaml:"ready-timeout" doc:"longest time until the service is ready, on every target"`
}

// Replay says how requests are sent.
type Replay struct {
	Concurrency int      `yaml:"concurrency" doc:"sessions replayed at once in the correctness passes"`
	Timeout     Duration `yaml:"timeout" doc:"longest time for one answer"`
	Middleware  string   `yaml:"middleware" doc:"shell line of a program that changes requests by GoReplay's protocol, on target process and in reprise replay"`
	Workers     int      `yaml:"workers" doc:"pods that send the load, on a cluster; each has its share of the sessions"`
	// The schedule of an open load, as the flags of reprise replay; latency.load
	// is its stages.
	Speed       float64  `yaml:"speed" doc:"open load for base and head at the same time, by the recorded times divided by this: 2 is twice as fast; none is sent without this, a key from replay.rate to replay.churn, or latency.load"`
	Rate        float64  `yaml:"rate" doc:"requests a second of the load, instead of recorded times"`
	Max         bool     `yaml:"max" doc:"send the load as fast as answers come: a closed loop"`
	Copies      int      `yaml:"copies" doc:"multiply the load by whole sessions, each copy with identities of its own; 1 if 0"`
	Loops       int      `yaml:"loops" doc:"how often the load sends the recording; once, or as often as fits where a rate has a time, if 0"`
	Budget      Duration `yaml:"budget" doc:"longest time of the load; no limit if 0s"`
	MaxIdle     Duration `yaml:"max-idle" doc:"longest gap between recorded requests that the load keeps; all if 0s"`
	Connections int      `yaml:"connections" doc:"most connections of the load; 64 if 0"`
	MaxWaiting  int      `yaml:"max-waiting" doc:"most requests of the load that are due and wait, beyond the connections; more are left out; 10000 if 0"`
	MaxWait     Duration `yaml:"max-wait" doc:"longest time for which a request of the load waits for a connection before it is left out; 5m if 0s"`
	Churn       bool     `yaml:"churn" doc:"open a connection of the load for each session, as its client did"`
	// What follows is explained in docs/replay.md.
	JWT     []JWT                  `yaml:"jwt"`
	Headers []transform.HeaderRule `yaml:"headers"`
	Shift   []traffic.Pattern      `yaml:"shift"`
	Sign    []Sign                 `yaml:"sign"`
	Bind    []transform.BindRule   `yaml:"bind"`
	Forbid  []traffic.Pattern      `yaml:"forbid"`
	Keep    *transform.Filter      `yaml:"keep"`
	Sample  float64                `yaml:"sample"`
}

// Sign computes signatures of requests again. The key stands where that of a
// token may stand.
type Sign struct {
	transform.SignRule `yaml:",inline"`
	KeyEnv             string `yaml:"key-env"`
	KeyFile            string `yaml:"key-file"`
}

// JWT signs tokens anew with a key that the versions under test trust. The key
// stands in the rule (only if it protects nothing), in a variable or in a file.
type JWT struct {
	transform.JWTRule `yaml:",inline"`
	KeyEnv            string `yaml:"key-env"`
	KeyFile           string `yaml:"key-file"`
}

// Latency says how long and how finely to measure.
type Latency struct {
	Off       bool     `yaml:"off" doc:"do not measure latency in paired rounds"`
	Budget    Duration `yaml:"budget" doc:"longest time spent on measuring, warm-up included"`
	MinRounds int      `yaml:"min-rounds" doc:"rounds before measuring may stop early"`
	MaxRounds int      `yaml:"max-rounds" doc:"rounds after which measuring stops; more than 20 only while noise hides what hints at a change"`
	Pairs     int      `yaml:"pairs" doc:"pairs of requests of each endpoint in one round"`
	Load      string   `yaml:"load" doc:"open load for base and head at the same time, as stages of requests a second: 0..500:30s,500:1m; replay.speed and the keys after it give it another schedule"`
	History   string   `yaml:"history" doc:"file that remembers the noise of runs, so that a calm moment does not hide how noisy the machine is; keep it in the CI's cache; none if empty"`
	// Under load:
	OpenRate   float64  `yaml:"open-rate" doc:"requests a second of open-loop rounds, sent to both arms at the same planned moments; none if 0"`
	OpenRounds int      `yaml:"open-rounds" doc:"open-loop rounds, when open-rate is given"`
	Capacity   Duration `yaml:"capacity" doc:"limit of p90 for a search of the highest rate that keeps it, base against head; no search if 0s"`
}

// Mock says how the stand-in of the dependencies answers.
type Mock struct {
	Latency      string  `yaml:"latency" doc:"delay of recorded answers: none, recorded or scaled"`
	LatencyScale float64 `yaml:"latency-scale" doc:"by what scaled multiplies the recorded times"`
	// LatencyOf says it otherwise for single dependencies, by host.
	LatencyOf map[string]MockLatency `yaml:"latency-of"`
	Repeat    string                 `yaml:"repeat" doc:"answer to more calls than were recorded: auto (reads get the last answer, writes fail), last, cycle or fail"`
	// RepeatOf is Repeat for single dependencies, by host.
	RepeatOf    map[string]string `yaml:"repeat-of"`
	Rules       string            `yaml:"rules" doc:"file of mock rules for calls that were never recorded"`
	Descriptors string            `yaml:"descriptors" doc:"file with the protobuf descriptors of the service and its dependencies (protoc --include_imports --descriptor_set_out), by which calls are matched, compared, explained and given live values with the names of their fields"`
	Issuers     []string          `yaml:"issuers" doc:"issuers of tokens, as https://login.example, whose keys the mock serves besides those of the recording's issuers; never for none at all"`
	Fuzzy       bool              `yaml:"fuzzy" doc:"answer a read that nothing recorded equals from the recorded call most like it; such an answer is a guess and shown as one"`
	FuzzyScore  float64           `yaml:"fuzzy-score" doc:"how alike the two must be, 0 to 1"`
	FuzzyMargin float64           `yaml:"fuzzy-margin" doc:"how much less alike any recorded call with another answer must be"`
}

// MockLatency says how long the answers of one dependency take; see
// [mock.DependencyLatency].
type MockLatency struct {
	Scale  *float64 `yaml:"scale"` // 1 if neither this nor a median is given
	Median Duration `yaml:"median"`
	Sigma  float64  `yaml:"sigma"`
}

// latency is the same for the mock.
func (l MockLatency) latency() mock.DependencyLatency {
	d := mock.DependencyLatency{Median: time.Duration(l.Median), Sigma: l.Sigma}
	switch {
	case l.Scale != nil:
		d.Scale = *l.Scale
	case l.Median == 0:
		d.Scale = 1
	}
	return d
}

// Chaos says how dependencies go wrong in extra passes of base and head.
type Chaos struct {
	Seed   uint64       `yaml:"seed"` // that of the run if 0
	Faults []ChaosFault `yaml:"faults"`
}

// ChaosFault is one way in which calls to a dependency go wrong; see
// [mock.Fault].
type ChaosFault struct {
	Dependency string   `yaml:"dependency"`
	Share      float64  `yaml:"share"`
	Kind       string   `yaml:"kind"`
	Status     int      `yaml:"status"`
	Delay      Duration `yaml:"delay"`
	Sigma      float64  `yaml:"sigma"`
	Rate       int      `yaml:"rate"`
}

// fault is the same for the mock.
func (f ChaosFault) fault() mock.Fault {
	return mock.Fault{
		Dependency: f.Dependency, Share: f.Share, Kind: mock.FaultKind(f.Kind), Status: f.Status,
		Delay: time.Duration(f.Delay), Sigma: f.Sigma, Rate: f.Rate,
	}
}

// Redact adds to what the recorder makes safe by itself.
type Redact struct {
	Rules   []RedactRule `yaml:"rules"`
	Disable []string     `yaml:"disable" doc:"detectors of the recorder to switch off"`
	Trust   bool         `yaml:"trust" doc:"replay a snapshot though it was not redacted, or though a scan finds something in it"`
}

// RedactRule says what becomes of the values at an address and below it.
type RedactRule struct {
	Name    string          `yaml:"name"`
	Address traffic.Pattern `yaml:"address"`
	Action  string          `yaml:"action"` // pseudonym (the default), remove or keep
}

// Ignore leaves differences at an address out of the comparison.
type Ignore struct {
	Address  traffic.Pattern `yaml:"address"`
	Endpoint string          `yaml:"endpoint"` // all endpoints if empty
	Because  string          `yaml:"because"`
}

// Targets.
const (
	TargetKind       = "kind"
	TargetKubernetes = "kubernetes"
	TargetProcess    = "process"
)

// Default returns the configuration that an empty file means.
func Default() *Config {
	return &Config{
		Target:    TargetKind,
		Namespace: "reprise",
		FailOn:    []string{"response", "outbound", "crash"},
		Timeout:   Duration(15 * time.Minute),
		OutputDir: "out/reprise",
		Keep:      "never",
		Comment:   "auto",
		Build:     Build{Dir: ".", Image: Image{Dockerfile: "Dockerfile", RepositoryValue: "image.repository", TagValue: "image.tag"}},
		Process:   Process{ReadyTimeout: Duration(2 * time.Minute)},
		Replay:    Replay{Concurrency: 1, Workers: 1, Timeout: Duration(10 * time.Second)},
		Latency:   Latency{Budget: Duration(60 * time.Second), MinRounds: 6, MaxRounds: 40, Pairs: 100, OpenRounds: 8},
		Mock:      Mock{Latency: "none", LatencyScale: 1, Repeat: "auto", FuzzyScore: 0.9, FuzzyMargin: 0.1},
	}
}

// Duration is a time.Duration that is written as "90s" or "2m30s".
type Duration time.Duration

// UnmarshalText reads what [time.ParseDuration] reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err == nil {
		*d = Duration(v)
	}
	return err
}

// MarshalText writes the same.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String writes the shortest usual form.
func (d Duration) String() string {
	s := time.Duration(d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if len(s) > len(zero) && s[len(s)-len(zero):] == zero {
			s = s[:len(s)-2]
		}
	}
	return s
}
