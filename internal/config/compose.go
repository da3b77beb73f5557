package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/cluster"
	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/deploy"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/pipeline"
	"github.com/reprise-ci/reprise/internal/process"
	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
	"github.com/reprise-ci/reprise/internal/transform"
)

// ProcessOptions are those of the target process.
func (c *Config) ProcessOptions() process.Options {
	dir := c.Process.Dir
	if dir == "" {
		dir = c.Build.Dir
	}
	return process.Options{
		Command: c.Process.Command, Dir: dir, Env: c.Process.Env,
		Ready: c.Process.Ready, ReadyTimeout: time.Duration(c.Process.ReadyTimeout),
	}
}

// RedactOptions are those of a recording with the given key.
func (c *Config) RedactOptions(key []byte) redact.Options {
	opts := redact.Options{Key: key, Disable: c.Redact.Disable}
	for _, r := range c.Redact.Rules {
		opts.Rules = append(opts.Rules, redact.Rule{Name: r.Name, Path: r.Address, Action: redact.Action(r.Action)})
	}
	return opts
}

// scan looks for what redaction left in a recorded exchange, apart from what
// the detectors that are switched off would find; nil if the snapshot is
// trusted.
func (c *Config) scan() (func(*traffic.Exchange) []string, error) {
	if c.Redact.Trust {
		return nil, nil
	}
	scanner, err := redact.NewScanner(c.RedactOptions(nil).Rules)
	if err != nil {
		return nil, c.Mistake("redact", "%v", err)
	}
	return func(x *traffic.Exchange) (places []string) {
		for _, leak := range scanner.Exchange(x) {
			if !slices.Contains(c.Redact.Disable, leak.Detector) {
				places = append(places, leak.String())
			}
		}
		return places
	}, nil
}

// MockOptions are those of a mock.
func (c *Config) MockOptions() (mock.Options, error) {
	router, err := traffic.NewRouter(c.Routes)
	if err != nil {
		return mock.Options{}, c.Mistake("routes", "%v", err)
	}
	opts := mock.Options{Routes: router, Fuzzy: mock.Fuzzy{On: c.Mock.Fuzzy, Score: c.Mock.FuzzyScore, Margin: c.Mock.FuzzyMargin}}
	if c.Mock.Rules != "" {
		if opts.Rules, err = readRules(c.Mock.Rules); err != nil {
			return mock.Options{}, c.Mistake("mock.rules", "%v", err)
		}
	}
	if opts.Descriptors, err = c.descriptors(); err != nil {
		return mock.Options{}, err
	}
	if c.Mock.Repeat != "auto" {
		opts.Repeat = map[string]mock.Repeat{"*": mock.Repeat(c.Mock.Repeat)}
	}
	for host, policy := range c.Mock.RepeatOf {
		if opts.Repeat == nil {
			opts.Repeat = map[string]mock.Repeat{}
		}
		opts.Repeat[host] = mock.Repeat(policy)
	}
	opts.Latency.EveryPass = true
	switch c.Mock.Latency {
	case "recorded":
		opts.Latency.Scale = 1
	case "scaled":
		opts.Latency.Scale = c.Mock.LatencyScale
	}
	for host, l := range c.Mock.LatencyOf {
		if opts.Latency.Of == nil {
			opts.Latency.Of = map[string]mock.DependencyLatency{}
		}
		opts.Latency.Of[host] = l.latency()
	}
	return opts, nil
}

// descriptors reads the types of protobuf messages, by which calls are matched
// and exchanges compared; none is nil.
func (c *Config) descriptors() ([]byte, error) {
	path := c.Mock.Descriptors
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, c.Mistake("mock.descriptors", "%s cannot be read: %v", path, errors.Unwrap(err))
	}
	return data, nil
}

// chaos is how dependencies go wrong, or nil.
func (c *Config) chaos() *mock.Faults {
	if len(c.Chaos.Faults) == 0 {
		return nil
	}
	faults := &mock.Faults{Seed: c.Chaos.Seed}
	if faults.Seed == 0 {
		faults.Seed = uint64(c.Seed)
	}
	for _, f := range c.Chaos.Faults {
		faults.Faults = append(faults.Faults, f.fault())
	}
	return faults
}

// readRules reads a file of mock rules.
func readRules(path string) ([]mock.Rule, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", path, errors.Unwrap(err))
	}
	defer f.Close()
	return mock.ReadRules(filepath.Base(path), f)
}

// Place is where a configuration is put to work.
type Place struct {
	Dir     string // the project's directory, absolute
	TempDir string
	Environ []string
	Getenv  func(string) string
	Now     func() time.Time
	// RedactKey makes the pseudonyms of this run; see [redact.Options].
	RedactKey []byte
}

// Pipeline are the options of a whole run. The snapshot, the service's name and
// the seed must be set by then. Errors are *Mistake.
func (c *Config) Pipeline(at Place) (pipeline.Options, error) {
	router, err := traffic.NewRouter(c.Routes)
	if err != nil {
		return pipeline.Options{}, c.Mistake("routes", "%v", err)
	}
	rewriting, err := c.transformOptions(at, router)
	if err != nil {
		return pipeline.Options{}, err
	}
	standIn, err := c.MockOptions()
	if err != nil {
		return pipeline.Options{}, err
	}
	judging, err := c.analysisOptions(router, standIn.Descriptors)
	if err != nil {
		return pipeline.Options{}, err
	}
	if judging.Accepts, err = ReadAccepts(at.Dir); err != nil {
		return pipeline.Options{}, err
	}
	judging.Now = at.Now()
	redactor, err := redact.New(c.RedactOptions(at.RedactKey))
	if err != nil {
		return pipeline.Options{}, c.Mistake("redact", "%v", err)
	}
	load, err := c.load()
	if err != nil {
		return pipeline.Options{}, err
	}
	scan, err := c.scan()
	if err != nil {
		return pipeline.Options{}, err
	}
	o := pipeline.Options{
		Redactor: redactor, Scan: scan,
		Snapshot: c.Snapshot, Dir: at.Dir, BaseRef: c.BaseRef, TempDir: at.TempDir, LogDir: filepath.Join(c.OutputDir, "logs"),
		Build:      pipeline.Build{Command: c.Build.Command, Dir: c.Build.Dir},
		Replay:     replay.Options{Concurrency: c.Replay.Concurrency, Timeout: time.Duration(c.Replay.Timeout), Router: router},
		Middleware: c.Replay.Middleware,
		Transform:  rewriting, Mock: standIn, Issuers: c.Mock.Issuers, Analysis: judging,
		Latency: pipeline.Latency{
			Off: c.Latency.Off, Budget: time.Duration(c.Latency.Budget),
			MinRounds: c.Latency.MinRounds, MaxRounds: c.Latency.MaxRounds, Pairs: c.Latency.Pairs, Load: load, History: c.Latency.History,
			OpenRate: c.Latency.OpenRate, OpenRounds: c.Latency.OpenRounds, Capacity: time.Duration(c.Latency.Capacity),
		},
		Chaos:     c.chaos(),
		CallsFile: filepath.Join(c.OutputDir, CallsFile),
		Seed:      c.Seed, Keep: pipeline.Keep(c.Keep), Environ: at.Environ, Now: at.Now,
	}
	if c.Target == TargetProcess {
		p := c.ProcessOptions()
		o.Process = &p
		return o, nil
	}
	o.Cluster = c.clusterOptions()
	if c.Target != TargetKubernetes {
		return o, nil
	}
	o.Cluster.Given = &pipeline.Given{
		Kubeconfig: c.Kubeconfig, Context: c.Context, Namespace: c.Namespace, AgentImage: c.AgentImage, CopySecrets: c.CopySecrets,
	}
	if c.Kubeconfig == "" {
		if o.Cluster.Given.Kubeconfig, err = cluster.KubeconfigPath(at.Getenv); err != nil {
			return pipeline.Options{}, c.Mistake("kubeconfig", "%v", err)
		}
	}
	return o, nil
}

// Transformation are the options by which recorded requests are made fit to be
// sent, without those of a whole run. Errors are *Mistake.
func (c *Config) Transformation(at Place) (transform.Options, error) {
	router, err := traffic.NewRouter(c.Routes)
	if err != nil {
		return transform.Options{}, c.Mistake("routes", "%v", err)
	}
	return c.transformOptions(at, router)
}

// transformOptions reads the keys of tokens and signatures from where they are
// kept.
func (c *Config) transformOptions(at Place, router *traffic.Router) (transform.Options, error) {
	r := c.Replay
	opts := transform.Options{
		Headers: r.Headers, Shift: r.Shift, Bind: r.Bind, Forbid: r.Forbid, Keep: r.Keep, Sample: r.Sample, Router: router, Now: at.Now,
	}
	for i, j := range r.JWT {
		rule := j.JWTRule
		if rule.Algorithm == "" {
			rule.Algorithm = "HS256"
		}
		if err := c.readKey(at, fmt.Sprintf("replay.jwt[%d]", i), &rule.Key, j.KeyEnv, j.KeyFile); err != nil {
			return opts, err
		}
		opts.JWT = append(opts.JWT, rule)
	}
	for i, s := range r.Sign {
		rule := s.SignRule
		if err := c.readKey(at, fmt.Sprintf("replay.sign[%d]", i), &rule.Key, s.KeyEnv, s.KeyFile); err != nil {
			return opts, err
		}
		opts.Sign = append(opts.Sign, rule)
	}
	descriptors, err := c.descriptors()
	if err != nil {
		return opts, err
	}
	if opts.Types, err = protobuf.ReadTypes(descriptors); err != nil {
		return opts, c.Mistake("mock.descriptors", "%v", err)
	}
	if err := opts.Validate(); err != nil {
		return opts, c.Mistake("replay", "%v", err)
	}
	return opts, nil
}

// readKey takes a key from a variable or a file, if one is named.
func (c *Config) readKey(at Place, rule string, key *string, env, file string) error {
	switch {
	case env != "":
		if *key = at.Getenv(env); *key == "" {
			return c.Mistake(rule+".key-env", "the variable %s is not set; pass the key in it", env)
		}
	case file != "":
		if !filepath.IsAbs(file) {
			file = filepath.Join(at.Dir, file)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return c.Mistake(rule+".key-file", "cannot be read: %v", errors.Unwrap(err))
		}
		*key = strings.TrimRight(string(data), "\r\n")
	}
	return nil
}

// analysisOptions are those of the judgement, which reads protobuf messages by
// the same descriptors as the mock.
func (c *Config) analysisOptions(router *traffic.Router, descriptors []byte) (analysis.Options, error) {
	types, err := protobuf.ReadTypes(descriptors)
	if err != nil {
		return analysis.Options{}, c.Mistake("mock.descriptors", "%v", err)
	}
	opts := analysis.Options{FailOn: c.FailOn, Router: router, Compare: compare.Options{Tally: &compare.Tally{}, Reading: compare.Reading{SQL: c.SQL, Types: types}}}
	if len(c.FailOn) == 1 && c.FailOn[0] == "never" {
		opts.FailOn = []string{}
	}
	for _, rule := range c.Ignore {
		opts.Ignore = append(opts.Ignore, analysis.Ignore{Address: rule.Address, Endpoint: rule.Endpoint})
	}
	for i, text := range c.Thresholds {
		t, err := analysis.ParseThreshold(text)
		if err != nil {
			return opts, c.Mistake(fmt.Sprintf("thresholds[%d]", i), "%v", err)
		}
		opts.Thresholds = append(opts.Thresholds, t)
	}
	if err := opts.Validate(); err != nil {
		return opts, c.Mistake("ignore", "%v", err)
	}
	return opts, nil
}

// clusterOptions are those of both kinds of clusters.
func (c *Config) clusterOptions() *pipeline.ClusterOptions {
	image := c.Build.Image
	return &pipeline.ClusterOptions{
		NodeImage: c.NodeImage, Workers: c.Replay.Workers,
		Chart: deploy.Options{
			Chart: c.Chart, Values: c.Values, Set: c.Set, Service: c.ChartService, ReadyTimeout: time.Duration(c.Process.ReadyTimeout),
		},
		Image: pipeline.Image{
			Context: image.Context, Base: image.Base, Head: image.Head, Dockerfile: image.Dockerfile, RepositoryValue: image.RepositoryValue, TagValue: image.TagValue,
		},
	}
}
