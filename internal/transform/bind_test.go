package transform_test

import (
	"testing"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

func TestBindRules(t *testing.T) {
	pattern := func(s string) traffic.Pattern {
		p, err := traffic.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	seat := transform.BindRule{Answer: "POST /v1/bookings", From: pattern("response.body.seat"), Request: "POST /v1/checkin", To: pattern("request.query.place")}
	everywhere := transform.BindRule{From: pattern("response.body.seat"), To: pattern("request.body.place")}
	tests := []struct {
		why           string
		rules         []transform.BindRule
		target, body  string
		wantTarget    string
		wantBody      string
		recordedFirst string // target of the answer that gives the seat
	}{
		{"a short value, by rule", []transform.BindRule{seat}, "/v1/checkin?place=12A&row=12A", `{"place":"12A"}`, "/v1/checkin?place=40F&row=12A", `{"place":"12A"}`, "/v1/bookings"},
		{"of any endpoint", []transform.BindRule{everywhere}, "/v1/checkin?place=12A", `{"place":"12A"}`, "/v1/checkin?place=12A", `{"place":"40F"}`, "/v1/bookings"},
		{"another value stays", []transform.BindRule{seat}, "/v1/checkin?place=7C", "{}", "/v1/checkin?place=7C", "{}", "/v1/bookings"},
		{"the answer of another endpoint gives nothing", []transform.BindRule{seat}, "/v1/checkin?place=12A", "{}", "/v1/checkin?place=12A", "{}", "/v1/flights"},
		{"without the rule", nil, "/v1/checkin?place=12A", "{}", "/v1/checkin?place=12A", "{}", "/v1/bookings"},
		{"what the client sent before, too", []transform.BindRule{seat}, "/v1/checkin?place=12A", "{}", "/v1/checkin?place=40F", "{}", "/v1/bookings?place=12A"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			opts := transform.Options{Bind: tt.rules}
			c := new(talk).ask("POST", tt.recordedFirst, "").answer(`{"seat":"12A"}`, jsonType).ask("POST", tt.target, tt.body, jsonType)
			b, err := transform.Learn(c.exchanges, opts)
			if err != nil {
				t.Fatal(err)
			}
			rw := transform.NewRewriter(b, opts)
			rw.Observe(c.exchanges[0], &traffic.Exchange{Response: answer(200, `{"seat":"40F"}`, jsonType)})
			got := rw.Request(c.exchanges[1])
			if got.Target != tt.wantTarget || string(got.Body.Raw) != tt.wantBody {
				t.Errorf("%s %s, want %s %s", got.Target, got.Body.Raw, tt.wantTarget, tt.wantBody)
			}
		})
	}
	for want, rule := range map[string]transform.BindRule{
		`bind[0]: endpoint "/v1" must be a method and a path, as in "GET /v1/orders/{id}"`: {Answer: "/v1", From: pattern("response.body"), To: pattern("request.path")},
		"bind[0]: from must address an answer, as in response.body.number":                 {From: pattern("request.path"), To: pattern("request.path")},
		"bind[0]: to must address a request, as in request.query.number":                   {From: pattern("response.body"), To: pattern("response.body")},
	} {
		if err := (transform.Options{Bind: []transform.BindRule{rule}}).Validate(); err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
