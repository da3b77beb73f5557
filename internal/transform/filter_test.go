package transform_test

import (
	"slices"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

func TestSelect(t *testing.T) {
	c := new(talk).
		ask("GET", "/v1/orders", "", "X-Tenant: acme").answer("").
		ask("POST", "/v1/orders", `{"kind":"gift"}`, jsonType).answer(`{"id":7}`, jsonType).
		ask("GET", "/v1/orders/77", "").answer("").
		ask("GET", "/v1/orders/77/lines/3", "").answer("").
		ask("GET", "/healthz", "")
	c.exchanges[2].Response.Status = 404
	outbound := func(id string, lane traffic.Lane) *traffic.Exchange {
		return &traffic.Exchange{ID: id, Lane: lane, Direction: traffic.Outbound, Request: traffic.Request{Method: "GET", Target: "/"}}
	}
	all := append(c.exchanges, outbound("o1", "x1"), outbound("boot", traffic.LaneBoot))
	at := func(s string) *traffic.Pattern {
		p, err := traffic.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return &p
	}
	tests := []struct {
		why  string
		give transform.Filter
		want []string // inbound ids
	}{
		{"everything", transform.Filter{}, []string{"x0", "x1", "x2", "x3", "x4"}},
		{"endpoint", transform.Filter{Endpoint: "GET /v1/orders/{id}"}, []string{"x2"}},
		{"method in any case", transform.Filter{Method: "post"}, []string{"x1"}},
		{"path with one free segment", transform.Filter{Path: "/v1/orders/*"}, []string{"x2"}},
		{"path and all below", transform.Filter{Path: "/v1/orders/**"}, []string{"x0", "x1", "x2", "x3"}},
		{"path with a free segment and all below", transform.Filter{Path: "/v1/orders/*/**"}, []string{"x2", "x3"}},
		{"status", transform.Filter{Status: "404"}, []string{"x2"}},
		{"status class", transform.Filter{Status: "2xx"}, []string{"x0", "x1", "x3"}},
		{"status range", transform.Filter{Status: "201-599"}, []string{"x2"}},
		{"no answer", transform.Filter{Status: "none"}, []string{"x4"}},
		{"header is there", transform.Filter{Header: "x-tenant"}, []string{"x0"}},
		{"header matches", transform.Filter{Header: "X-Tenant", Value: "^other$"}, nil},
		{"body address", transform.Filter{At: at("request.body.kind"), Value: "gift"}, []string{"x1"}},
		{"answer address", transform.Filter{At: at("response.body.id")}, []string{"x1"}},
		{"after, included", transform.Filter{After: epoch.Add(3 * time.Second)}, []string{"x3", "x4"}},
		{"before, not included", transform.Filter{Before: epoch.Add(time.Second)}, []string{"x0"}},
		{"lane", transform.Filter{Lane: "x3"}, []string{"x3"}},
		{"fields are joined by AND", transform.Filter{Method: "GET", Status: "2xx"}, []string{"x0", "x3"}},
		{"any", transform.Filter{Any: []transform.Filter{{Method: "POST"}, {Status: "404"}}}, []string{"x1", "x2"}},
		{"all", transform.Filter{All: []transform.Filter{{Method: "GET"}, {Path: "/healthz"}}}, []string{"x4"}},
		{"not", transform.Filter{Not: &transform.Filter{Path: "/v1/**"}}, []string{"x4"}},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			kept, err := transform.Options{Keep: &tt.give}.Select(all)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			var withLane, boot bool
			for _, x := range kept {
				switch x.ID {
				case "o1":
					withLane = true
				case "boot":
					boot = true
				default:
					ids = append(ids, x.ID)
				}
			}
			if !slices.Equal(ids, tt.want) {
				t.Errorf("kept %v, want %v", ids, tt.want)
			}
			if withLane != slices.Contains(tt.want, "x1") || !boot {
				t.Errorf("outbound of lane x1 kept: %v; of boot: %v", withLane, boot)
			}
		})
	}
}
