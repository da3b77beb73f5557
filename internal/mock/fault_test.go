package mock

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Names and handshakes come before a call. Those of a lane fail alike whatever
// lanes came before it, and how often a name was asked for between the lanes.
func TestNamesFailByLane(t *testing.T) {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	kinds := []FaultKind{FaultDNS, FaultTLS}
	faults := &Faults{Seed: 7}
	for _, kind := range kinds {
		faults.Faults = append(faults.Faults, Fault{Dependency: "de*", Kind: kind, Share: 0.5})
	}
	run := func(between int, lanes ...traffic.Lane) map[traffic.Lane]string {
		m, err := New(nil, ca, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		m.BeginPass(1)
		if err := m.SetFaults(1, faults); err != nil {
			t.Fatal(err)
		}
		seen := map[traffic.Lane]string{}
		for _, lane := range lanes {
			for range between {
				m.faultName(FaultTLS, "dep")
			}
			m.Enter(1, lane)
			var came strings.Builder
			for range 20 {
				for _, kind := range kinds {
					fate := byte('.')
					if m.faultName(kind, "dep") {
						fate = 'x'
					}
					came.WriteByte(fate)
				}
				if m.faultName(FaultTLS, "solid") {
					t.Error("another dependency fails")
				}
			}
			m.Leave(1, lane)
			seen[lane] = came.String()
		}
		return seen
	}
	first := run(0, "a", "b", "c")
	if diff := cmp.Diff(first, run(3, "c", "a", "b")); diff != "" {
		t.Errorf("in another order:\n%s", diff)
	}
	if first["a"] == first["b"] || !strings.Contains(first["a"], "x") || !strings.Contains(first["a"], ".") {
		t.Errorf("the dice have one side: %v", first)
	}
}

// While several lanes are active, a name is that of the only one which called the
// host when it was recorded: it fails as it does while that lane is alone.
func TestNamesFailByTheLaneThatCalls(t *testing.T) {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	call := func(lane traffic.Lane, scheme, authority string) *traffic.Exchange {
		return &traffic.Exchange{
			ID: string(lane) + " " + authority, Direction: traffic.Outbound, Lane: lane,
			Request:  traffic.Request{Method: "GET", Scheme: scheme, Authority: authority, Target: "/"},
			Response: &traffic.Response{Status: 200},
		}
	}
	recorded := []*traffic.Exchange{
		call("a", "https", "dep.example"), call("a", "http", "stock.shop.svc:8080"),
		call("b", "https", "other.example"),
		call("c", "https", "dep.example:8443"),
	}
	run := func(host string, lanes ...traffic.Lane) string {
		m, err := New(recorded, ca, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		m.BeginPass(1)
		if err := m.SetFaults(1, &Faults{Seed: 7, Faults: []Fault{{Dependency: "*", Kind: FaultTLS, Share: 0.5}}}); err != nil {
			t.Fatal(err)
		}
		for _, lane := range lanes {
			m.Enter(1, lane)
		}
		var came strings.Builder
		for range 20 {
			fate := byte('.')
			if m.faultName(FaultTLS, host) {
				fate = 'x'
			}
			came.WriteByte(fate)
		}
		return came.String()
	}
	for _, tt := range []struct {
		reason, host string
		lanes        []traffic.Lane
		alone        traffic.Lane // the lane whose fates they are; "" is none
	}{
		{"only one called it", "dep.example", []traffic.Lane{"a", "b"}, "a"},
		{"in whatever order they came", "dep.example", []traffic.Lane{"b", "a"}, "a"},
		{"under another name of the same Service", "stock", []traffic.Lane{"b", "a"}, "a"},
		{"two called it", "dep.example", []traffic.Lane{"a", "c"}, ""},
		{"nobody called it", "new.example", []traffic.Lane{"a", "b"}, ""},
	} {
		want := run(tt.host) // with no lane active
		if tt.alone != "" {
			want = run(tt.host, tt.alone)
		}
		if got := run(tt.host, tt.lanes...); got != want {
			t.Errorf("%s: %s, want %s", tt.reason, got, want)
		}
	}
	if run("dep.example") == run("dep.example", "a") {
		t.Error("a lane has no fates of its own")
	}
}
