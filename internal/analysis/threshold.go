package analysis

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Threshold is a condition that must hold for a run to pass, as code:
//
//	p90 < 150ms                          at every endpoint of head
//	GET /v1/orders: slower < 10%         at one endpoint
//	findings.response == 0               over the whole run
//	open.p90 < 200ms                     of head, under open load
//	capacity.head >= 0.9 capacity.base   a metric in the place of a number
//
// The metrics are p50, p90 and p99 (head's, in ms or s), slower (by how much an
// endpoint became slower, where the run is sure that it did), findings with or
// without a kind, changed and stale (shares of exchanges), errors (answers of
// head with status 500 and above, or none), misses (calls of head that nothing
// recorded answers), open.p50 and open.p90 (head's, in open-loop rounds),
// open.slower, capacity.head and capacity.base (requests a second), cpu, memory
// and image (growth of head over base), startup (the same, or head's time, as in
// startup < 10s) and restarts.
type Threshold struct {
	// Endpoint is "" for all endpoints, or for metrics of the whole run.
	Endpoint string
	metric   string
	op       string
	unit     unitName
	limit    float64 // in that unit: ms, share or count
	of       string  // metric that limit is a multiple of; "" for none
	text     string
}

// ThresholdResult is what became of a threshold.
type ThresholdResult struct {
	Threshold string `json:"threshold"` // as it was written
	Holds     bool   `json:"holds"`
	// Endpoint and Value are where it holds least: "212 ms", "12 %".
	Endpoint string `json:"endpoint,omitempty"`
	Value    string `json:"value,omitempty"`
	// Unknown says why it could not be told; Holds is true then.
	Unknown string `json:"unknown,omitempty"`
}

type unitName string

const (
	unitMS    unitName = "ms"
	unitShare unitName = "%"
	unitCount unitName = ""
	unitRate  unitName = "/s"
)

// metric describes what a name in a threshold means.
type metric struct {
	name string
	unit unitName
	// each says that the metric has a value for each endpoint.
	each bool
	// or is another unit that the metric can be asked for in; "" for none.
	or unitName
}

var metrics = []metric{
	{name: "p50", unit: unitMS, each: true}, {name: "p90", unit: unitMS, each: true}, {name: "p99", unit: unitMS, each: true}, {name: "slower", unit: unitShare, each: true},
	{name: "findings", unit: unitCount, each: true}, {name: "findings.response", unit: unitCount, each: true}, {name: "findings.outbound", unit: unitCount, each: true},
	{name: "findings.crash", unit: unitCount, each: true}, {name: "findings.latency", unit: unitCount, each: true}, {name: "findings.resource", unit: unitCount},
	{name: "changed", unit: unitShare}, {name: "stale", unit: unitShare}, {name: "errors", unit: unitCount, each: true}, {name: "misses", unit: unitCount},
	{name: "open.p50", unit: unitMS}, {name: "open.p90", unit: unitMS}, {name: "open.slower", unit: unitShare},
	{name: "capacity.head", unit: unitRate}, {name: "capacity.base", unit: unitRate},
	{name: "cpu", unit: unitShare}, {name: "memory", unit: unitShare}, {name: "startup", unit: unitShare, or: unitMS}, {name: "image", unit: unitShare}, {name: "restarts", unit: unitCount},
}

var operators = []string{"<=", ">=", "==", "!=", "<", ">"} // longer ones first

// String returns the threshold as it was written.
func (t Threshold) String() string { return t.text }

// UnmarshalText reads what [ParseThreshold] reads.
func (t *Threshold) UnmarshalText(text []byte) error {
	parsed, err := ParseThreshold(string(text))
	if err == nil {
		*t = parsed
	}
	return err
}

// ParseThreshold reads one threshold. The error says at which character it
// cannot be read, and what could stand there.
func ParseThreshold(text string) (Threshold, error) {
	t := Threshold{text: strings.TrimSpace(text)}
	at := 0
	fail := func(why string, args ...any) (Threshold, error) {
		return Threshold{}, fmt.Errorf("threshold %q: %s at character %d", text, fmt.Sprintf(why, args...), at+1)
	}
	skip := func() {
		for at < len(text) && text[at] == ' ' {
			at++
		}
	}
	skip()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		t.Endpoint = strings.TrimSpace(text[at:i])
		if method, path, ok := strings.Cut(t.Endpoint, " "); !ok || method == "" || !strings.HasPrefix(path, "/") {
			return fail("an endpoint such as GET /v1/orders must stand before the colon")
		}
		at = i + 2
		skip()
	}
	end := at
	for end < len(text) && (text[end] == '.' || text[end] >= 'a' && text[end] <= 'z' || text[end] >= '0' && text[end] <= '9') {
		end++
	}
	i := slices.IndexFunc(metrics, func(m metric) bool { return m.name == text[at:end] })
	switch {
	case i < 0:
		return fail("unknown metric %q; use %s", text[at:end], metricNames())
	case t.Endpoint != "" && !metrics[i].each:
		return fail("%s is a metric of the whole run, not of an endpoint,", metrics[i].name)
	}
	t.metric, t.unit, at = metrics[i].name, metrics[i].unit, end
	skip()
	for _, op := range operators {
		if strings.HasPrefix(text[at:], op) {
			t.op = op
			break
		}
	}
	if t.op == "" {
		return fail("one of %s must stand", strings.Join(operators, " "))
	}
	at += len(t.op)
	skip()
	end = at
	for end < len(text) && (text[end] == '.' || text[end] >= '0' && text[end] <= '9') {
		end++
	}
	limit, err := strconv.ParseFloat(text[at:end], 64)
	if err != nil {
		return fail("a number must stand")
	}
	at = end
	skip()
	rest := strings.TrimSpace(text[at:])
	if j := slices.IndexFunc(metrics, func(m metric) bool { return m.name == rest && m.unit == metrics[i].unit && !m.each }); j >= 0 && !metrics[i].each {
		t.limit, t.of = limit, rest
		return t, nil
	}
	factor, ok := unitFactor(t.unit, rest)
	if or := metrics[i].or; !ok && or != "" {
		t.unit = or
		factor, ok = unitFactor(or, rest)
	}
	if !ok {
		return fail("%s", wantUnit(metrics[i]))
	}
	t.limit = limit * factor
	return t, nil
}

func metricNames() string {
	names := make([]string, len(metrics))
	for i, m := range metrics {
		names[i] = m.name
	}
	return strings.Join(names, ", ")
}

func unitFactor(u unitName, written string) (float64, bool) {
	switch {
	case u == unitMS && written == "ms":
		return 1, true
	case u == unitMS && written == "s":
		return 1000, true
	case u == unitMS && (written == "us" || written == "µs"):
		return 0.001, true
	case u == unitShare && written == "%":
		return 0.01, true
	case u == unitCount && written == "", u == unitRate && (written == "" || written == "/s"):
		return 1, true
	}
	return 0, false
}

func wantUnit(m metric) string {
	if m.or == unitMS {
		return m.name + " takes growth over base in %, or a time in us, ms or s; the unit must stand"
	}
	switch m.unit {
	case unitMS:
		return m.name + " takes a time in us, ms or s; the unit must stand"
	case unitShare:
		return m.name + " takes a share; % must stand"
	case unitRate:
		return m.name + " takes requests a second, 200 or 200/s, or a multiple of the other, 0.9 capacity.base; it must stand"
	}
	return m.name + " takes a plain number; nothing may follow"
}

func (t Threshold) holds(v float64) bool {
	// A limit such as 10 % is not exact in binary; what equals it in all but
	// the last digits equals it.
	same := math.Abs(v-t.limit) <= 1e-9*max(1, math.Abs(t.limit))
	switch t.op {
	case "<":
		return v < t.limit && !same
	case "<=":
		return v <= t.limit || same
	case ">":
		return v > t.limit && !same
	case ">=":
		return v >= t.limit || same
	case "==":
		return same
	}
	return !same
}

// reading is one value of a metric.
type reading struct {
	endpoint string
	value    float64
}

// thresholds evaluates all thresholds against a result.
func (r *run) thresholds(result *Result) []ThresholdResult {
	var out []ThresholdResult
	for _, t := range r.opts.Thresholds {
		tr := ThresholdResult{Threshold: t.text, Holds: true, Endpoint: t.Endpoint}
		readings, unknown := r.read(t, result)
		if t.of != "" && len(readings) > 0 {
			var others []reading
			if others, unknown = r.read(Threshold{metric: t.of}, result); len(others) == 0 {
				readings = nil
			} else {
				t.limit *= others[0].value
			}
		}
		if len(readings) == 0 {
			tr.Unknown = unknown
			out = append(out, tr)
			continue
		}
		worst := slices.MaxFunc(readings, func(a, b reading) int { return compareFloats(t.severity(a.value), t.severity(b.value)) })
		for _, rd := range readings {
			if !t.holds(rd.value) {
				tr.Holds = false
			}
		}
		tr.Value = t.show(worst.value)
		if worst.endpoint != "" {
			tr.Endpoint = worst.endpoint
		}
		out = append(out, tr)
	}
	return out
}

// severity is how far a value is on the wrong side.
func (t Threshold) severity(v float64) float64 {
	switch t.op {
	case ">", ">=":
		return t.limit - v
	case "==":
		return math.Abs(v - t.limit)
	case "!=":
		return -math.Abs(v - t.limit)
	}
	return v - t.limit
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (t Threshold) show(v float64) string {
	switch t.unit {
	case unitMS:
		return fmt.Sprintf("%.4g ms", v)
	case unitShare:
		return fmt.Sprintf("%.3g %%", 100*v)
	case unitRate:
		return fmt.Sprintf("%.4g/s", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// read returns the values of a metric, and why there are none.
func (r *run) read(t Threshold, result *Result) ([]reading, string) {
	switch {
	case slices.Contains([]string{"p50", "p90", "p99", "slower"}, t.metric):
		return t.readLatency(result)
	case strings.HasPrefix(t.metric, "open."):
		return t.readOpenLoop(result.OpenLoop)
	case strings.HasPrefix(t.metric, "capacity."):
		return t.readCapacity(result.Capacity)
	case strings.HasPrefix(t.metric, "findings"):
		kind := strings.TrimPrefix(strings.TrimPrefix(t.metric, "findings"), ".")
		n := 0
		for _, f := range result.Findings {
			if f.Cause == CauseHead && f.Accepted == nil && (kind == "" || string(f.Kind) == kind) && (t.Endpoint == "" || f.Endpoint == t.Endpoint) {
				n++
			}
		}
		return []reading{{t.Endpoint, float64(n)}}, ""
	case t.metric == "changed":
		if result.Replayed == 0 {
			return nil, "nothing was replayed"
		}
		return []reading{{"", float64(result.Changed) / float64(result.Replayed)}}, ""
	case t.metric == "stale":
		return []reading{{"", result.Stale}}, ""
	case t.metric == "errors":
		n := 0
		for id, x := range r.head {
			if (t.Endpoint == "" || r.endpoints[id] == t.Endpoint) && (x.Response == nil || x.Response.Status >= 500) {
				n++
			}
		}
		return []reading{{t.Endpoint, float64(n)}}, ""
	case t.metric == "misses":
		n := 0
		for _, x := range r.in.Head.Outbound {
			if missed(x) {
				n++
			}
		}
		return []reading{{"", float64(max(n, r.in.Head.Account.Missed))}}, ""
	}
	return t.readResource(result)
}

func (t Threshold) readLatency(result *Result) ([]reading, string) {
	var out []reading
	for _, e := range result.Endpoints {
		if t.Endpoint != "" && e.Endpoint != t.Endpoint {
			continue
		}
		switch t.metric {
		case "p50":
			out = append(out, reading{e.Endpoint, e.P50.HeadMS})
		case "p90":
			out = append(out, reading{e.Endpoint, e.P90.HeadMS})
		case "p99":
			out = append(out, reading{e.Endpoint, e.P99.HeadMS})
		case "slower":
			// Only what the run is sure of counts; a guess fails nothing.
			v := 0.0
			for _, q := range []Quantile{e.P50, e.P90} {
				if q.Verdict == Slower {
					v = max(v, q.Ratio-1)
				}
			}
			out = append(out, reading{e.Endpoint, v})
		}
	}
	if t.Endpoint != "" {
		return out, "the endpoint was not measured"
	}
	return out, "latency was not measured"
}

// readOpenLoop says nothing of rounds in which the sender was late: their times
// are its own.
func (t Threshold) readOpenLoop(o *OpenLoop) ([]reading, string) {
	switch {
	case o == nil:
		return nil, "nothing was measured under open load; set latency.open-rate"
	case o.Pairs == 0, o.late():
		return nil, o.Note
	case t.metric == "open.p50":
		return []reading{{"", o.P50.HeadMS}}, ""
	case t.metric == "open.p90":
		return []reading{{"", o.P90.HeadMS}}, ""
	}
	v := 0.0 // only what the run is sure of counts
	if o.Verdict == Slower {
		v = max(o.P50.Ratio, o.P90.Ratio) - 1
	}
	return []reading{{"", v}}, ""
}

// readCapacity says nothing of searches that do not agree with each other on
// base, or in which the sender was late.
func (t Threshold) readCapacity(c *Capacity) ([]reading, string) {
	switch {
	case c == nil:
		return nil, "no capacity was searched; set latency.capacity"
	case c.Verdict == SpeedInconclusive:
		return nil, c.Note
	case t.metric == "capacity.base":
		return []reading{{"", c.BaseRPS}}, ""
	}
	return []reading{{"", c.HeadRPS}}, ""
}

func (t Threshold) readResource(result *Result) ([]reading, string) {
	of := func(arm string) *Resource {
		for i := range result.Resources {
			if result.Resources[i].Arm == arm && result.Resources[i].Unavailable == "" {
				return &result.Resources[i]
			}
		}
		return nil
	}
	base, head := of("base"), of("head")
	if head == nil || base == nil {
		return nil, "resources were not measured"
	}
	growth := func(a, b float64) ([]reading, string) {
		if a <= 0 || b <= 0 {
			return nil, t.metric + " was not measured"
		}
		return []reading{{"", b/a - 1}}, ""
	}
	switch t.metric {
	case "cpu":
		return growth(base.CPUSeconds, head.CPUSeconds)
	case "memory":
		return growth(float64(base.PeakBytes), float64(head.PeakBytes))
	case "startup":
		if t.unit == unitMS {
			return []reading{{"", head.StartupMS}}, ""
		}
		return growth(base.StartupMS, head.StartupMS)
	case "image":
		return growth(float64(base.ImageBytes), float64(head.ImageBytes))
	}
	return []reading{{"", float64(head.Restarts)}}, ""
}
