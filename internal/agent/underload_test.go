package agent

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// TestUnderLoad sends an open-loop round and searches a capacity through the
// control API.
func TestUnderLoad(t *testing.T) {
	quick := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer quick.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer broken.Close()
	r := NewReplayer(start(t, ServeReplay))
	if _, err := r.Load(t.Context(), ReplaySettings{}, List(ofDirection(recording(), traffic.Inbound))); err != nil {
		t.Fatal(err)
	}
	base := Target{Arm: "base", Addr: quick.Listener.Addr().String()}
	head := Target{Arm: "head", Addr: broken.Listener.Addr().String()}

	round, err := r.OpenRound(t.Context(), base, base, OpenRound{Pass: 5, Rate: 100, For: 200 * time.Millisecond})
	if err != nil || round.Pass != 5 || len(round.Pairs) != 20 || len(round.SendLag) != 40 {
		t.Errorf("pass %d, %d pairs, %d lags, dropped %v, %v", round.Pass, len(round.Pairs), len(round.SendLag), round.Dropped, err)
	}
	found, err := r.Capacity(t.Context(), []Target{base, head}, Capacity{Pass: 6, Limit: "p90>10s", Probe: 20 * time.Millisecond})
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	if found[0].Arm != "base" || len(found[0].Probes) == 0 || found[1].Rate != 0 || !found[1].Bounded || found[1].Probes[0].Why == "" {
		t.Errorf("%+v", found)
	}
	if _, err := r.Capacity(t.Context(), []Target{base}, Capacity{Limit: "p90"}); err == nil {
		t.Error("a limit without a value was taken")
	}
	if _, err := r.OpenRound(t.Context(), base, head, OpenRound{Rate: -1}); err == nil {
		t.Error("a negative rate was taken")
	}
}
