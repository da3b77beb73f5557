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
