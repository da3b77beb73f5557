package analysis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Each fault of head gives exactly its finding, among noise everywhere.
func TestRegressions(t *testing.T) {
	w := miniature.Record()
	tests := []struct {
		name    string
		reason  string
		faults  miniature.Faults
		want    []string
		verdict analysis.Verdict
	}{
		{"nothing", "base against itself is silent", miniature.Faults{}, nil, analysis.Pass},
		{
			"harmless", "another order of headers is no change, nor are keys (maps have none here)",
			miniature.Faults{Header: func(_ string, h *traffic.Header) { (*h)[0], (*h)[1] = (*h)[1], (*h)[0] }}, nil, analysis.Pass,
		},
		{
			"type", "a number became a string",
			miniature.Faults{Body: func(e string, b map[string]any) {
				if e == "get" {
					b["total"] = fmt.Sprint(b["total"])
				}
			}},
			[]string{"response type GET /v1/orders/{id} response.body.total 16/16"}, analysis.Fail,
		},
		{
			"missing", "a field went missing",
			miniature.Faults{Body: func(e string, b map[string]any) {
				if e == "get" {
					delete(b, "currency")
				}
			}},
			[]string{"response missing GET /v1/orders/{id} response.body.currency 16/16"}, analysis.Fail,
		},
		{
			"error on one input", "the order that failed is missing in everything after it, which follows",
			miniature.Faults{Fails: func(sku string) bool { return sku == "SKU-004" }},
			[]string{"response status POST /v1/orders response.status 1/12"}, analysis.Fail,
		},
		{
			"lost call", "the answer lost what the call gave it",
			miniature.Faults{LostCall: true},
			[]string{"outbound missing-call POST /v1/orders [POST api.payments.example/v1/charges] 12/12"}, analysis.Fail,
		},
		{
			"n+1", "one call for each item became three",
			miniature.Faults{NPlusOne: 3},
			[]string{"outbound repeated-call POST /v1/orders [GET inventory/v1/stock/{id}] 12/12"}, analysis.Fail,
		},
		{
			"batch undone", "one call for all became one for each",
			miniature.Faults{Batch: true},
			[]string{"outbound repeated-call GET /v1/orders [GET inventory/v1/stock/{id}] 4/4"}, analysis.Fail,
		},
		{
			"changed argument", "the mock has no answer, so the order fails, which follows",
			miniature.Faults{Amount: 100},
			[]string{"outbound changed-call POST /v1/orders [POST api.payments.example/v1/charges] request.body.amount 12/12"}, analysis.Fail,
		},
		{
			"new host", "a call that was never recorded",
			miniature.Faults{NewHost: true},
			[]string{"outbound new-call POST /v1/orders [POST fraud.example/v1/score] 12/12"}, analysis.Fail,
		},
		{
			"constant id", "what should be fresh repeats; the orders that hide each other follow",
			miniature.Faults{ID: func() string { return "5c1f5c0e-1b1f-4c39-9d4a-0b7a8f3f2a11" }},
			[]string{"response class POST /v1/orders response.body.id 12/12"}, analysis.Fail,
		},
		{
			"id out of class", "ids are no UUIDs any more",
			miniature.Faults{ID: func() func() string {
				n := 1000
				return func() string { n++; return fmt.Sprint("order-", n) }
			}()},
			[]string{"response class POST /v1/orders response.body.id 12/12"}, analysis.Fail,
		},
		{
			"local time", "the zone left the form",
			miniature.Faults{Created: func(t time.Time) string {
				return t.In(time.FixedZone("CET", 3600)).Format(time.RFC3339Nano)
			}},
			[]string{"response class POST /v1/orders response.body.created_at 12/12"}, analysis.Fail,
		},
		{
			"hour off", "the form is right, the time is not",
			miniature.Faults{Created: func(t time.Time) string { return t.Add(time.Hour).UTC().Format(time.RFC3339Nano) }},
			[]string{"response class POST /v1/orders response.body.created_at 12/12"}, analysis.Fail,
		},
		{
			"reordered write", "the charge comes before the reservation",
			miniature.Faults{Reorder: true},
			[]string{"outbound reordered-call POST /v1/orders [POST api.payments.example/v1/charges] 12/12"}, analysis.Fail,
		},
		{
			"cookie flag", "a cookie lost HttpOnly",
			miniature.Faults{Header: func(e string, h *traffic.Header) {
				if e == "products" {
					h.Set("Set-Cookie", "sid=6c1f5c0e-1b1f-4c39-9d4a-0b7a8f3f2a12; Path=/")
				}
			}},
			[]string{
				"response class GET /v1/products response.cookie.sid 12/12",
				"response missing GET /v1/products response.cookie.sid.httponly 12/12",
			}, analysis.Fail,
		},
		{
			"lost element", "one element of a list",
			miniature.Faults{Body: func(e string, b map[string]any) {
				if e == "products" {
					b["products"] = b["products"].([]any)[1:]
				}
			}},
			[]string{"response length GET /v1/products response.body.products 12/12"}, analysis.Fail,
		},
		{
			"one element of many", "a value deep in a list, once",
			miniature.Faults{Body: func(e string, b map[string]any) {
				if e == "products" {
					b["products"].([]any)[7].(map[string]any)["price"] = 1
				}
			}},
			[]string{"response value GET /v1/products response.body.products[].price 12/12"}, analysis.Fail,
		},
		{
			"crash", "everything after a crash follows from it",
			miniature.Faults{CrashAt: 20},
			[]string{"crash crash GET /v1/orders/{id} response 1/16"}, analysis.Fail,
		},
		{
			"crash noticed late", "the first broken connection tells when",
			miniature.Faults{CrashAt: 20, CrashUnseen: true},
			[]string{"crash crash GET /v1/orders/{id} response 1/16"}, analysis.Fail,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := judge(t, w, tt.faults)
			if diff := cmp.Diff(tt.want, summary(got.Findings)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
				for _, f := range got.Findings {
					t.Logf("%+v", f)
				}
			}
			if got.Verdict != tt.verdict {
				t.Errorf("verdict %s (%s), want %s", got.Verdict, got.Reason, tt.verdict)
			}
			if got.Replayed != got.Equal+got.Changed {
				t.Errorf("%d replayed are not %d equal and %d changed", got.Replayed, got.Equal, got.Changed)
			}
		})
	}
}
