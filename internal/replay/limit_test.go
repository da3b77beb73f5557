package replay_test

import (
	"errors"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestLimit(t *testing.T) {
	ms := func(values ...int) replay.Times {
		var out replay.Times
		for _, v := range values {
			out = append(out, time.Duration(v)*time.Millisecond)
		}
		return out
	}
	s := replay.Summary{
		Requests: 1000, Rate: 123.45,
		Status:   map[int]int64{200: 900, 404: 50, 500: 3, 503: 2},
		Failures: map[traffic.Failure]int64{traffic.FailureTimeout: 40, traffic.FailureReset: 5, traffic.FailureLimit: 7},
		Response: ms(10, 20, 30, 40, 50, 60, 70, 80, 90, 100), Service: ms(1, 2, 3, 4), Lag: ms(0, 5),
	}
	tests := []struct {
		give     string
		measured string
		failed   bool
	}{
		{"p90>89ms", "90ms", true},
		{"p90>90ms", "90ms", false},
		{" p50 < 60ms ", "50ms", true},
		{"max>99ms", "100ms", true},
		{"mean>0.1s", "55ms", false},
		{"p99.9>100ms", "100ms", false},
		{"service.p50>1500us", "2ms", true},
		{"response.p50>1s", "50ms", false},
		{"lag.max>1ms", "5ms", true},
		{"status.5xx>0.4%", "0.5 % (5 of 1000)", true},
		{"status.5xx>0.5%", "0.5 % (5 of 1000)", false},
		{"status.404>49", "50 of 1000", true},
		{"status.200<900", "900 of 1000", false},
		{"failures>44", "45 of 1000", true},
		{"failures.reset>4", "5 of 1000", true},
		{"failures.refused>0", "0 of 1000", false},
		{"failures.limit>6", "7 of 1000", true},
		{"rate<200", "123.5 a second", true},
	}
	for _, tt := range tests {
		l, err := replay.ParseLimit(tt.give)
		if err != nil {
			t.Errorf("%s: %v", tt.give, err)
			continue
		}
		if measured, failed := l.Check(s); measured != tt.measured || failed != tt.failed {
			t.Errorf("%s: %s, failed %v; want %s, %v", l, measured, failed, tt.measured, tt.failed)
		}
	}
	for _, bad := range []string{"", "p90", "p90=1ms", "p90>5", "p0>1ms", "p101>1ms", "status.6xx>1", "status>1", "failures.odd>1", "rate>5%", "p90>1%", "x>1", "status.5xx>1ms"} {
		if l, err := replay.ParseLimit(bad); err == nil {
			t.Errorf("%q: read as %v", bad, l)
		}
	}
}

// TestConclusive: what this side did not send as planned is no fault of the
// service.
func TestConclusive(t *testing.T) {
	asPlanned := replay.Summary{Reliable: true}
	late := replay.Summary{Late: true}
	leftOut := replay.Summary{Skipped: 1}
	short := replay.Summary{Failures: map[traffic.Failure]int64{traffic.FailureLimit: 1}}
	tests := []struct {
		give                            string
		asPlanned, late, leftOut, short bool
	}{
		{"p90>1ms", true, false, false, false},
		{"service.max>1ms", true, false, false, false},
		{"lag.p99>1ms", true, true, true, true},
		{"rate<10", true, true, false, false},
		{"status.2xx<10", true, true, false, false},
		{"status.5xx>0", true, true, true, true},
		{"failures>0", true, true, true, true},
		{"failures.limit>0", true, true, true, true},
	}
	for _, tt := range tests {
		l, err := replay.ParseLimit(tt.give)
		if err != nil {
			t.Fatal(err)
		}
		got := [...]bool{l.Conclusive(asPlanned), l.Conclusive(late), l.Conclusive(leftOut), l.Conclusive(short)}
		if want := [...]bool{tt.asPlanned, tt.late, tt.leftOut, tt.short}; got != want {
			t.Errorf("%s: %v, want %v", tt.give, got, want)
		}
	}
}

func TestTargetOf(t *testing.T) {
	tests := []struct {
		url     string
		allowed []string
		want    replay.Target
	}{
		{"http://127.0.0.1:8080", nil, replay.Target{Arm: "base", Addr: "127.0.0.1:8080", Host: "127.0.0.1:8080"}},
		{"http://10.1.2.3/", nil, replay.Target{Arm: "base", Addr: "10.1.2.3:80", Host: "10.1.2.3"}},
		{"https://[::1]:8443", nil, replay.Target{Arm: "base", Addr: "[::1]:8443", Host: "[::1]:8443", TLS: true}},
		{"https://[fd00::1]", nil, replay.Target{Arm: "base", Addr: "[fd00::1]:443", Host: "[fd00::1]", TLS: true}},
		{"http://198.51.100.7", []string{"198.51.100.7"}, replay.Target{Arm: "base", Addr: "198.51.100.7:80", Host: "198.51.100.7"}},
	}
	for _, tt := range tests {
		if got, err := replay.TargetOf(t.Context(), "base", tt.url, tt.allowed); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.url, got, err, tt.want)
		}
	}
	for _, public := range []string{"http://198.51.100.7", "https://[2001:db8::1]:8443", "http://169.254.169.254", "http://0.0.0.0:80", "http://[::ffff:198.51.100.7]"} {
		var refused *replay.HostError
		if got, err := replay.TargetOf(t.Context(), "base", public, []string{"other.example"}); !errors.As(err, &refused) {
			t.Errorf("%s: %+v, %v", public, got, err)
		}
	}
	for _, bad := range []string{"", "localhost:80", "ftp://127.0.0.1", "http://127.0.0.1/path", "http://127.0.0.1/?q", "http://u:p@127.0.0.1", "http://%zz"} {
		if got, err := replay.TargetOf(t.Context(), "base", bad, nil); err == nil {
			t.Errorf("%q: read as %+v", bad, got)
		}
	}
}
