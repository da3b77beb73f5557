package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPairs(t *testing.T) {
	const output = `goos: linux
BenchmarkInbound
BenchmarkInbound/direct/one-2         	    3000	    100000 ns/op	      90.0 p50-µs
BenchmarkInbound/reprise/one-2        	    3000	    130000 ns/op	     120.0 p50-µs
BenchmarkInbound/httputil/one-2       	    2000	    200000 ns/op	     160.0 p50-µs
BenchmarkLonely-2                     	    2000	    200000 ns/op
--- SKIP: BenchmarkThroughput/nginx
    bench_test.go:12: nginx is not installed (apt-get install nginx-light)
`
	samples := map[string][]float64{}
	var skipped []string
	for range 3 {
		skipped = parse(output, samples)
	}
	if diff := cmp.Diff([]string{"Throughput/nginx: nginx is not installed (apt-get install nginx-light)"}, skipped); diff != "" {
		t.Error(diff)
	}
	want := []Row{
		{Name: "capture Inbound/one", Value: 120, Unit: "p50-µs", Peer: "direct", PeerValue: 90, Ratio: 120.0 / 90, Holds: true},
		{Name: "capture Inbound/one", Value: 120, Unit: "p50-µs", Peer: "httputil", PeerValue: 160, Ratio: 0.75, Goal: "at most 1.3", Holds: true},
	}
	if diff := cmp.Diff(want, pair("capture", samples)); diff != "" {
		t.Error(diff)
	}
}

func TestGoalAboveAPeer(t *testing.T) {
	for _, row := range []struct {
		value float64
		holds bool
	}{{80, true}, {160, true}, {161, false}} {
		r := Row{Name: "mock Delay", Unit: "p99-us", Peer: "spin", Value: row.value, PeerValue: 100, Ratio: row.value / 100}
		if r.judge(); r.Holds != row.holds || r.Goal != "at most 60 above" {
			t.Errorf("%v beside 100: %v, %q", row.value, r.Holds, r.Goal)
		}
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("odd: %v", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("even: %v", got)
	}
}
