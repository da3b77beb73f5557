package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

var ignoreOrigin = cmp.Options{cmpopts.IgnoreUnexported(config.Config{}, traffic.Pattern{})}

func TestParseKeepsDefaults(t *testing.T) {
	c, err := config.Parse("reprise.yaml", []byte(`
service: shop
latency:
  budget: 90s
process: {command: ./shop, env: {A: "1"}}
ignore:
  - address: response.header.Date
`))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Service = "shop"
	want.Latency.Budget = config.Duration(90 * time.Second)
	want.Process.Command = "./shop"
	want.Process.Env = map[string]string{"A": "1"}
	want.Ignore = c.Ignore
	if diff := cmp.Diff(want, c, ignoreOrigin); diff != "" {
		t.Error(diff)
	}
	if got := c.Ignore[0].Address.String(); got != "response.header.Date" {
		t.Errorf("the address reads %q", got)
	}
	if empty, err := config.Parse("x", nil); err != nil || cmp.Diff(config.Default(), empty, ignoreOrigin) != "" {
		t.Errorf("an empty file is not the defaults: %v", err)
	}
}

// Each mistake is one line that names the file, the key and the remedy.
func TestMistakes(t *testing.T) {
	tests := []struct{ yaml, want, reason string }{
		{"snapshott: x", "reprise.yaml:1: snapshott: unknown key; did you mean snapshot?", "a slip of the finger"},
		{"latency:\n  budgt: 3s", "reprise.yaml:2: latency.budgt: unknown key; did you mean latency.budget?", "in a section"},
		{"ignore:\n- adress: x", "reprise.yaml:2: ignore[0].adress: unknown key; did you mean ignore[0].address?", "in a list"},
		{"chart: c\nmock: {repeat-of: {stock: often}}", `reprise.yaml:2: mock.repeat-of.stock: "often" is not one of last, cycle, fail`, "a policy of one dependency"},
		{"chart: c\nmock: {latency: slow}", `reprise.yaml:2: mock.latency: "slow" is not one of none, recorded, scaled`, "no way to wait"},
		{"chart: c\nmock: {latency-scale: 2}", "reprise.yaml:2: mock.latency-scale: needs mock.latency: scaled", "a factor that nothing uses"},
		{"chart: c\nmock: {latency: scaled, latency-scale: -1}", "reprise.yaml:2: mock.latency-scale: -1 must be above 0 and at most 1000", "answers before the call"},
		{"chart: c\nmock: {latency-of: {stock: {scale: 2, median: 5ms}}}", "reprise.yaml:2: mock.latency-of.stock: give scale, for the recorded times, or median, in place of them", "two meanings"},
		{"chart: c\nmock: {latency-of: {stock: {sigma: 1}}}", "reprise.yaml:2: mock.latency-of.stock: sigma needs a median", "a spread around nothing"},
		{"chart: c\nmock: {fuzzy-score: 2}", "reprise.yaml:2: mock.fuzzy-score: 2 must be above 0 and at most 1", "no share"},
		{"chart: c\nchaos:\n  faults:\n    - {dependency: stock, kind: status}", "reprise.yaml:3: chaos.faults[0]: share is missing; it is the part of the calls that go wrong, above 0 and at most 1", "a fault of no call"},
		{"chart: c\nchaos:\n  faults:\n    - {dependency: stock, kind: storm, share: 1}", "reprise.yaml:3: chaos.faults[0]: unknown kind; use delay, status, reset, empty, truncate, drip, dns or tls", "a kind that there is not"},
		{"target: process\nprocess: {command: x}\nchaos:\n  faults:\n    - {dependency: stock, kind: dns, share: 1}", "reprise.yaml:4: chaos.faults[0]: dns needs target kind: local processes do not ask the mock for names", "names of local processes"},
		{"zebra: 1", "reprise.yaml:1: zebra: unknown key; docs/configuration.md lists the keys", "nothing is near"},
		{"a: [", "reprise.yaml: line 1: did not find expected node content", "not YAML"},
		{"seed: many", "reprise.yaml:1: cannot unmarshal !!str `many` into int64", "a word where a number is due"},
		{"latency: {budget: soon}", `time: invalid duration "soon"`, "not a duration"},
		{"target: cloud\nchart: x", "reprise.yaml:1: target: \"cloud\" is not one of kind, kubernetes, process", "a word of few"},
		{"chart: x\nfail-on: [response, latncy]", "reprise.yaml:2: fail-on: \"latncy\" is not one of", "a word in a list"},
		{"chart: x\nmock: {issuers: [login.example]}", "reprise.yaml:2: mock.issuers[0]: \"login.example\" is not the address of an issuer, such as https://login.example", "a name without scheme"},
		{"chart: x\nfail-on: [never, crash]", "reprise.yaml:2: fail-on: never stands alone", "a contradiction"},
		{"target: process", "reprise.yaml: process.command: missing", "what the target needs"},
		{"target: kubernetes\nchart: x", "reprise.yaml: context: missing; target kubernetes needs", "no cluster is taken silently"},
		{"chart: x\ncontext: prod", "reprise.yaml:2: context: is for target kubernetes", "a setting that would do nothing"},
		{"target: kubernetes\nchart: x\ncontext: a\nnamespace: No_Name", "reprise.yaml:4: namespace: \"No_Name\" is no beginning", "Kubernetes would refuse it later"},
		{"target: kubernetes\nchart: x\ncontext: a\ncopy-secrets: [registry]", "reprise.yaml:4: copy-secrets: \"registry\" is not namespace/name", "from where?"},
		{"chart: x\nbuild: {image: {base: 'r/x:{{.SHA}}'}}", "reprise.yaml: build.image.head: missing", "one image alone compares nothing"},
		{"chart: x\nbuild: {image: {base: 'r/x:{{.Sha}}', head: 'r/x:1'}}", "reprise.yaml:2: build.image.base: 'r/x:{{.Sha}}' is no image", "a misspelt field"},
		{"chart: x\nbuild: {image: {base: 'r/x', head: 'r/x:1'}}", "reprise.yaml:2: build.image.base: 'r/x' is no image with a tag", "the latest of a name changes"},
		{"chart: x\nbuild: {image: {context: ., base: 'r/x:1', head: 'r/x:2'}}", "reprise.yaml:2: build.image.context: is not used", "built or prebuilt"},
		{"target: process\nprocess: {command: x}\nreplay: {workers: 3}", "reprise.yaml:3: replay.workers: target process has one", "workers are pods"},
		{"chart: x\nreplay: {workers: 3}", "reprise.yaml:2: replay.workers: there is nothing for them to do", "workers without a load"},
		{"chart: x\nreplay: {speed: 2, rate: 50}", "reprise.yaml:2: replay.speed: a load has one pace; remove it, or replay.rate", "two paces"},
		{"chart: x\nreplay: {max: true}\nlatency: {load: '500:1m'}", "reprise.yaml:2: replay.max: a load has one pace; remove it, or latency.load", "a pace beside stages"},
		{"chart: x\nreplay: {copies: -1}", "reprise.yaml:2: replay: load copies -1: must be 1 to 32768", "a schedule that cannot be"},
		{"chart: x\nlatency: {load: fast}", "reprise.yaml:2: latency.load: stage \"fast\"", "a load"},
		{"{}", "reprise.yaml: chart: missing; target kind needs", "the default target needs a chart"},
		{"chart: x\nthresholds: ['p90 < 150']", "reprise.yaml:2: thresholds[0]: threshold \"p90 < 150\": p90 takes a time in us, ms or s; the unit must stand at character 10", "a threshold without a unit"},
		{"chart: x\nroutes: [orders]", "reprise.yaml:2: routes: route \"orders\" must start with /", "a template"},
		{"chart: x\nlatency: {pairs: 1}", "reprise.yaml:2: latency.pairs: 1 is too small; the least is 10", "a number"},
		{"replay: {jwt: [{kei: a}]}", "reprise.yaml:1: replay.jwt[0].kei: unknown key; did you mean replay.jwt[0].key?", "in a structure of another room"},
		{"replay:\n  keep:\n    any: [{metod: GET}]", "reprise.yaml:3: replay.keep.any[0].metod: unknown key; did you mean replay.keep.any[0].method?", "nested in itself"},
		{"chart: x\nreplay: {jwt: [{key: a, key-env: b}]}", "reprise.yaml:2: replay.jwt[0]: give exactly one of", "two keys"},
		{"chart: x\nsql: [body.statement]", "reprise.yaml:2: sql[0]: \"body.statement\" is no place of a call", "an address of nothing that is sent"},
	}
	for _, tt := range tests {
		c, err := config.Parse("reprise.yaml", []byte(tt.yaml))
		if err == nil {
			err = c.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\n got %v\nwant %s", tt.reason, err, tt.want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: one mistake takes several lines: %v", tt.reason, err)
		}
	}
}

// TestScheduleOfTheLoad reads the keys that give a run its open load.
func TestScheduleOfTheLoad(t *testing.T) {
	for yaml, want := range map[string]*replay.Load{
		"service: shop":             nil,
		"latency: {load: '500:1m'}": {Stages: []replay.Stage{{From: 500, To: 500, For: time.Minute}}},
		"replay: {copies: 4}":       {Copies: 4},
		"replay: {speed: 2.5, loops: 3, max-idle: 200ms, budget: 90s, connections: 8, churn: true}": {
			Speed: 2.5, Loops: 3, MaxIdle: 200 * time.Millisecond, Budget: 90 * time.Second, Connections: 8, Churn: true,
		},
		"replay: {rate: 50, budget: 20s}":                     {Rate: 50, Budget: 20 * time.Second},
		"replay: {max: true, copies: 2}":                      {Max: true, Copies: 2},
		"replay: {rate: 50, max-waiting: 200, max-wait: 30s}": {Rate: 50, MaxWaiting: 200, MaxWait: 30 * time.Second},
		"latency: {load: '10:1s'}\nreplay: {connections: 9}":  {Stages: []replay.Stage{{From: 10, To: 10, For: time.Second}}, Connections: 9},
	} {
		c, err := config.Parse("reprise.yaml", []byte("target: process\nprocess: {command: ./shop}\n"+yaml))
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
			continue
		}
		o, err := c.Pipeline(config.Place{RedactKey: make([]byte, 32), Dir: t.TempDir(), Now: time.Now})
		if diff := cmp.Diff(want, o.Latency.Load); err != nil || diff != "" {
			t.Errorf("%s: %v, %s", yaml, err, diff)
		}
	}
}

// What Get prints, Assign reads: so files, flags and inputs mean the same.
func TestEveryKeyCanBeAssigned(t *testing.T) {
	for _, key := range config.Keys() {
		if key.Doc == "" || strings.HasSuffix(key.Doc, ".") {
			t.Errorf("%s: its sentence is %q", key.Path, key.Doc)
		}
		c := config.Default()
		if err := c.Assign(key.Path, splitList(key)...); err != nil {
			t.Errorf("%s: its own default %q is refused: %v", key.Path, key.Default, err)
		}
		if got := c.Get(key.Path); got != key.Default {
			t.Errorf("%s: %q came back as %q", key.Path, key.Default, got)
		}
	}
	c := config.Default()
	if err := c.Assign("latency.off", "yes"); err == nil {
		t.Error("a bool took yes")
	}
	if err := c.Assign("nothing", "x"); err == nil {
		t.Error("an unknown key was assigned")
	}
}

func splitList(k config.Key) []string {
	if k.List {
		if k.Default == "" {
			return nil
		}
		return strings.Split(k.Default, ",")
	}
	return []string{k.Default}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "a: b", "ignore: [1]", "latency: [x]", "&a [*a]", "service: &x y\nchart: *x", "? a\n: b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := config.Parse("f", data); err == nil {
			_ = c.Validate()
		}
	})
}
