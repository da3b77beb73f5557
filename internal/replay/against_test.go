package replay_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestReplayAgainstAnAddress(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/3" {
			w.WriteHeader(503)
		}
	}))
	defer s.Close()
	limits := func(texts ...string) []replay.Limit {
		var out []replay.Limit
		for _, text := range texts {
			l, err := replay.ParseLimit(text)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, l)
		}
		return out
	}
	var announced string
	o, err := replay.Replay(t.Context(), many(10, 0), replay.Against{
		URL: s.URL, Load: replay.Load{Rate: 1000}, Limits: limits("status.5xx>5%", "status.4xx>0", "p50>1h", "failures>0"),
		Announce: func(p *replay.Plan) { announced = p.String() },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Breaches) != 1 || o.Breaches[0].String() != "status.5xx>5%: 10 % (1 of 10)" {
		t.Errorf("breaches %v", o.Breaches)
	}
	if announced != "10 requests in 9ms, 1000 a second; 10 exchanges of 10 sessions" || o.Summary.Requests != 10 {
		t.Errorf("announced %q, then sent %d", announced, o.Summary.Requests)
	}

	t.Run("refusals", func(t *testing.T) {
		var host *replay.HostError
		sent := func(*replay.Plan) { t.Error("a plan was announced") }
		if _, err := replay.Replay(t.Context(), many(1, 0), replay.Against{URL: "http://198.51.100.7", Announce: sent}); !errors.As(err, &host) {
			t.Errorf("a public host: %v", err)
		}
		if _, err := replay.Replay(t.Context(), []*traffic.Exchange{{ID: "o", Direction: traffic.Outbound}}, replay.Against{URL: s.URL, Announce: sent}); err == nil || !strings.Contains(err.Error(), "no inbound exchange") {
			t.Errorf("nothing to send: %v", err)
		}
		if _, err := replay.Replay(t.Context(), many(1, 0), replay.Against{URL: s.URL, Load: replay.Load{Rate: -1}, Announce: sent}); err == nil {
			t.Error("a bad load is no error")
		}
	})
	t.Run("the end of the run", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		o, err := replay.Replay(ctx, many(10, 0), replay.Against{
			URL: s.URL, Load: replay.Load{Rate: 1}, Limits: limits("rate<1000"), Announce: func(*replay.Plan) { cancel() },
		})
		if !errors.Is(err, context.Canceled) || o == nil || len(o.Breaches) != 0 || o.Summary.Requests+o.Result.Unsent != 10 {
			t.Errorf("%+v, %v", o, err)
		}
	})
}
