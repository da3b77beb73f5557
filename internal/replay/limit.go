package replay

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Limit is a condition on a summary that makes a load fail, as in
// "p90>200ms" or "status.5xx>0.1%".
type Limit struct {
	text   string
	metric string
	above  bool // fails above the value; below it otherwise
	value  float64
	kind   limitKind
}

type limitKind uint8

const (
	inTime  limitKind = iota // value is seconds
	inCount                  // value is a count
	inShare                  // value is a share of all requests
	inRate                   // value is requests a second
)

var limitPattern = regexp.MustCompile(`^([a-z0-9.]+)\s*([<>])\s*([0-9.]+)\s*(%|[a-zµ]*)$`)

// ParseLimit reads a condition: a metric, > or <, and a value. The metrics are
//
//	p50 p90 p99.9 max mean          of the response time, from the planned moment
//	service.p90 …                   of the service time, from the moment of sending
//	lag.p99 …                       of the sender's own lateness
//	status.404 status.5xx           answers with that status, or in that class
//	failures failures.timeout …     requests without an answer, of all kinds or of one
//	rate                            requests sent a second
//
// What this side had no file or port for (failures.limit) is in failures only
// where it is named. Times take a unit (200ms); counts are plain numbers or a share in percent.
func ParseLimit(text string) (Limit, error) {
	l := Limit{text: strings.TrimSpace(text)}
	parts := limitPattern.FindStringSubmatch(l.text)
	if parts == nil {
		return l, fmt.Errorf("limit %q: write a metric, > or <, and a value, as in p90>200ms or status.5xx>0.1%%", text)
	}
	l.metric, l.above = parts[1], parts[2] == ">"
	var ok bool
	if l.kind, ok = limitKindOf(l.metric); !ok {
		return l, fmt.Errorf("limit %q: unknown metric %s; there are p90, service.p90, lag.p90, max, mean, status.5xx, failures and rate", text, l.metric)
	}
	number, unit := parts[3], parts[4]
	var err error
	switch {
	case l.kind == inTime:
		var d time.Duration
		d, err = time.ParseDuration(number + unit)
		l.value = d.Seconds()
		if err != nil {
			return l, fmt.Errorf("limit %q: %s is compared with a time, as in 200ms", text, l.metric)
		}
		return l, nil
	case unit == "%" && l.kind == inCount:
		l.kind = inShare
		l.value, err = strconv.ParseFloat(number, 64)
		l.value /= 100
	case unit == "":
		l.value, err = strconv.ParseFloat(number, 64)
	default:
		err = errors.New("unit")
	}
	if err != nil {
		return l, fmt.Errorf("limit %q: %s is compared with a number", text, l.metric)
	}
	return l, nil
}

var statusMetric = regexp.MustCompile(`^status\.([1-5]xx|[1-9][0-9][0-9])$`)

func limitKindOf(metric string) (limitKind, bool) {
	if rest, ok := strings.CutPrefix(metric, "failures."); ok {
		return inCount, rest != "" && slices.Contains(failures[1:], traffic.Failure(rest))
	}
	switch {
	case metric == "rate":
		return inRate, true
	case metric == "failures", statusMetric.MatchString(metric):
		return inCount, true
	}
	_, statistic := splitMetric(metric)
	if statistic == "max" || statistic == "mean" {
		return inTime, true
	}
	_, ok := quantileOf(statistic)
	return inTime, ok
}

// splitMetric splits service.p90 at its first dot when a clock stands there.
func splitMetric(metric string) (clock, statistic string) {
	for _, clock := range []string{"service", "lag", "response"} {
		if rest, ok := strings.CutPrefix(metric, clock+"."); ok {
			return clock, rest
		}
	}
	return "response", metric
}

func quantileOf(statistic string) (float64, bool) {
	digits, ok := strings.CutPrefix(statistic, "p")
	q, err := strconv.ParseFloat(digits, 64)
	return q / 100, ok && err == nil && q > 0 && q <= 100
}

// Conclusive reports whether the condition can be judged by s. Times of the
// service cannot when the load was not sent as planned; nor can its rate, and
// what there must be enough of, when some requests were not sent.
func (l Limit) Conclusive(s Summary) bool {
	clock, _ := splitMetric(l.metric)
	switch {
	case l.kind == inTime && clock != "lag":
		return s.Reliable
	case l.kind == inRate, l.kind != inTime && !l.above:
		return s.Skipped == 0 && s.Short() == 0
	}
	return true
}

// String returns the condition as it was written.
func (l Limit) String() string { return l.text }

// Check returns the measured value as text and whether the condition holds,
// which means that the load failed. A time of no answers at all fails a
// condition that it be below something, and no other.
func (l Limit) Check(s Summary) (measured string, failed bool) {
	value, text := l.measure(s)
	if l.above {
		return text, value > l.value
	}
	return text, value < l.value
}

func (l Limit) measure(s Summary) (float64, string) {
	switch l.kind {
	case inTime:
		clock, statistic := splitMetric(l.metric)
		times := map[string]Distribution{"response": s.Response, "service": s.Service, "lag": s.Lag}[clock]
		var d time.Duration
		switch statistic {
		case "max":
			d = times.Quantile(1)
		case "mean":
			d = times.Mean()
		default:
			q, _ := quantileOf(statistic)
			d = times.Quantile(q)
		}
		return d.Seconds(), d.Round(time.Microsecond).String()
	case inRate:
		return s.Rate, strconv.FormatFloat(s.Rate, 'f', 1, 64) + " a second"
	}
	count := l.count(s)
	share := 0.0
	if s.Requests > 0 {
		share = float64(count) / float64(s.Requests)
	}
	text := fmt.Sprintf("%d of %d", count, s.Requests)
	if l.kind == inShare {
		return share, fmt.Sprintf("%.3g %% (%s)", share*100, text)
	}
	return float64(count), text
}

func (l Limit) count(s Summary) int64 {
	var n int64
	if failure, ok := strings.CutPrefix(l.metric, "failures"); ok {
		for kind, count := range s.Failures {
			if failure == "" && kind != traffic.FailureLimit || failure == "."+string(kind) {
				n += count
			}
		}
		return n
	}
	want := strings.TrimPrefix(l.metric, "status.")
	for status, count := range s.Status {
		if text := strconv.Itoa(status); text == want || text[:1]+"xx" == want {
			n += count
		}
	}
	return n
}
