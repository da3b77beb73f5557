package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// choices are the keys that take one word, or several, of a few.
var choices = map[string][]string{
	"target":       {TargetKind, TargetKubernetes, TargetProcess},
	"fail-on":      {"response", "outbound", "crash", "fragility", "latency", "resource", "inconclusive", "assisted", "never"},
	"keep":         {"never", "on-failure", "always"},
	"comment":      {"auto", "always", "on-failure", "never"},
	"mock.latency": {"none", "recorded", "scaled"},
	"mock.repeat":  {"auto", "last", "cycle", "fail"},
}

// Validate returns all mistakes that can be told without touching anything
// outside, joined, each a *Mistake.
func (c *Config) Validate() error {
	var mistakes []error
	wrong := func(key, why string, args ...any) { mistakes = append(mistakes, c.Mistake(key, why, args...)) }
	for _, key := range Keys() {
		allowed := choices[key.Path]
		if allowed == nil {
			continue
		}
		for word := range strings.SplitSeq(c.Get(key.Path), ",") {
			if !slices.Contains(allowed, word) {
				wrong(key.Path, "%q is not one of %s", word, strings.Join(allowed, ", "))
			}
		}
	}
	if slices.Contains(c.FailOn, "never") && len(c.FailOn) > 1 {
		wrong("fail-on", "never stands alone; remove it or the others")
	}
	if _, err := traffic.NewRouter(c.Routes); err != nil {
		wrong("routes", "%v", err)
	}
	for host, policy := range c.Mock.RepeatOf {
		if !slices.Contains(choices["mock.repeat"][1:], policy) {
			wrong("mock.repeat-of."+host, "%q is not one of %s", policy, strings.Join(choices["mock.repeat"][1:], ", "))
		}
	}
	if !(c.Mock.LatencyScale > 0 && c.Mock.LatencyScale <= 1000) {
		wrong("mock.latency-scale", "%v must be above 0 and at most 1000", c.Mock.LatencyScale)
	} else if c.Mock.LatencyScale != 1 && c.Mock.Latency != "scaled" {
		wrong("mock.latency-scale", "needs mock.latency: scaled")
	}
	for host, l := range c.Mock.LatencyOf {
		if err := l.latency().Validate(); err != nil {
			wrong("mock.latency-of."+host, "%v", err)
		}
	}
	for key, share := range map[string]float64{"mock.fuzzy-score": c.Mock.FuzzyScore, "mock.fuzzy-margin": c.Mock.FuzzyMargin} {
		if !(share > 0 && share <= 1) {
			wrong(key, "%v must be above 0 and at most 1", share)
		}
	}
	for i, text := range c.Thresholds {
		if _, err := analysis.ParseThreshold(text); err != nil {
			wrong(fmt.Sprintf("thresholds[%d]", i), "%v", err)
		}
	}
	for _, n := range []struct {
		key      string
		got, min int64
	}{
		{"timeout", int64(c.Timeout), 1},
		{"replay.concurrency", int64(c.Replay.Concurrency), 1},
		{"replay.workers", int64(c.Replay.Workers), 1},
		{"replay.timeout", int64(c.Replay.Timeout), 1},
		{"process.ready-timeout", int64(c.Process.ReadyTimeout), 1},
		{"latency.budget", int64(c.Latency.Budget), 1},
		{"latency.pairs", int64(c.Latency.Pairs), 10},
		{"latency.open-rounds", int64(c.Latency.OpenRounds), 1},
		{"latency.min-rounds", int64(c.Latency.MinRounds), 2},
		{"latency.max-rounds", int64(c.Latency.MaxRounds), int64(c.Latency.MinRounds)},
	} {
		if n.got < n.min {
			wrong(n.key, "%s is too small; the least is %s", c.Get(n.key), least(n.key, n.min))
		}
	}
	if !(c.Latency.OpenRate >= 0 && c.Latency.OpenRate <= 1e6) {
		wrong("latency.open-rate", "%v must be 0, for none, or up to 1000000 requests a second", c.Latency.OpenRate)
	}
	if _, err := c.load(); err != nil {
		mistakes = append(mistakes, err)
	}
	if c.Latency.Capacity < 0 {
		wrong("latency.capacity", "%s must be 0s, for no search, or a time such as 50ms", c.Latency.Capacity)
	}
	if c.Target == TargetProcess && c.Process.Command == "" {
		wrong("process.command", "missing; target process needs the command that starts the service")
	}
	if c.Target != TargetProcess && c.Replay.Middleware != "" {
		wrong("replay.middleware", "needs target process; in a cluster the requests are sent from within, where the program is not")
	}
	if c.Target != TargetProcess && c.Chart == "" {
		wrong("chart", "missing; target %s needs the service's Helm chart (or use target process)", c.Target)
	}
	c.validateGiven(wrong)
	oneKey := func(rule string, keys ...string) {
		if given := len(slices.DeleteFunc(keys, func(key string) bool { return key == "" })); given != 1 {
			wrong(rule, "give exactly one of key, key-env and key-file")
		}
	}
	for i, j := range c.Replay.JWT {
		oneKey(fmt.Sprintf("replay.jwt[%d]", i), j.Key, j.KeyEnv, j.KeyFile)
	}
	for i, s := range c.Replay.Sign {
		oneKey(fmt.Sprintf("replay.sign[%d]", i), s.Key, s.KeyEnv, s.KeyFile)
	}
	if never := len(c.Mock.Issuers) == 1 && c.Mock.Issuers[0] == fresh.Never; !never {
		for i, name := range c.Mock.Issuers {
			if err := fresh.CheckIssuer(name); err != nil {
				wrong(fmt.Sprintf("mock.issuers[%d]", i), "%v", err)
			}
		}
	}
	for i, f := range c.Chaos.Faults {
		where := fmt.Sprintf("chaos.faults[%d]", i)
		one := mock.Faults{Faults: []mock.Fault{f.fault()}}
		switch err := one.Validate(); {
		case err != nil:
			_, why, _ := strings.Cut(err.Error(), ": ")
			wrong(where, "%s", why)
		case f.Share == 0:
			wrong(where, "share is missing; it is the part of the calls that go wrong, above 0 and at most 1")
		case f.Kind == string(mock.FaultDelay) && f.Delay == 0:
			wrong(where, "delay is missing; how long, such as 200ms")
		case f.Kind == string(mock.FaultDNS) && c.Target == TargetProcess:
			wrong(where, "dns needs target kind: local processes do not ask the mock for names")
		}
	}
	for i, rule := range c.Ignore {
		if rule.Address.String() == "" {
			wrong(fmt.Sprintf("ignore[%d].address", i), "missing; an address such as response.body.items[].price")
		}
	}
	for i, place := range c.SQL {
		if text := place.String(); !strings.HasPrefix(text, "request.") && !strings.HasPrefix(text, "**") {
			wrong(fmt.Sprintf("sql[%d]", i), "%q is no place of a call; an address such as request.body.statement", text)
		}
	}
	return errors.Join(mistakes...)
}

// least writes a lower bound in the unit of its key.
func least(key string, n int64) string {
	if n == 1 && (strings.HasSuffix(key, "timeout") || strings.HasSuffix(key, "budget")) {
		return "1ns"
	}
	return fmt.Sprint(n)
}

// Mistake blames a key, with the line of the file that gave it.
func (c *Config) Mistake(key, why string, args ...any) *Mistake {
	m := &Mistake{Key: key, Why: fmt.Sprintf(why, args...)}
	m.File, m.Line = c.file, c.lines[key]
	if list, _, ok := strings.Cut(key, "["); ok {
		m.Line = c.lines[list]
	}
	return m
}
