package analysis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// asking makes what a run sees of a service that answers each of four requests
// after asking a database over HTTP: each arm by its own list of statements, in
// which # is the number of the request.
func asking(base, control, head []string) analysis.Input {
	start := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	var in analysis.Input
	calls := func(arm string, lane int, statements []string) (out []*traffic.Exchange) {
		for i, s := range statements {
			h := traffic.Header{{Name: "Content-Type", Value: "text/plain"}}
			x := &traffic.Exchange{
				ID: fmt.Sprint(arm, "-", lane, "-", i), Direction: traffic.Outbound, Lane: traffic.Lane(fmt.Sprint("in-", lane)),
				Start: start.Add(time.Duration(lane) * time.Second), Origin: traffic.Origin{Certainty: traffic.ByTrace},
				Request:  traffic.Request{Method: "POST", Scheme: "http", Authority: "clickhouse:8123", Target: "/", Header: h},
				Response: &traffic.Response{Status: 200},
				Match:    &traffic.Match{Tier: traffic.TierExact},
			}
			x.Request.Body = traffic.NewBody([]byte(strings.ReplaceAll(s, "#", fmt.Sprint(100+lane))), h)
			out = append(out, x)
		}
		return out
	}
	for lane := range 4 {
		answer := func(id, recorded string) *traffic.Exchange {
			return &traffic.Exchange{
				ID: id, Recorded: recorded, Direction: traffic.Inbound, Start: start.Add(time.Duration(lane) * time.Second), Lane: traffic.Lane(fmt.Sprint("in-", lane)),
				Request: traffic.Request{Method: "GET", Scheme: "http", Authority: "shop", Target: "/v1/report"}, Response: &traffic.Response{Status: 200},
			}
		}
		id := fmt.Sprint("in-", lane)
		in.Recorded = append(append(in.Recorded, answer(id, "")), calls("out", lane, base)...)
		for _, arm := range []struct {
			name       string
			of         *analysis.Observation
			statements []string
		}{{"base", &in.Base, base}, {"control", &in.Control, control}, {"head", &in.Head, head}} {
			arm.of.Complete = true
			arm.of.Inbound = append(arm.of.Inbound, answer(arm.name+"-"+id, id))
			arm.of.Outbound = append(arm.of.Outbound, calls(arm.name, lane, arm.statements)...)
		}
	}
	return in
}

// Calls to a database share one path; what they ask tells them apart.
func TestSQLByFingerprint(t *testing.T) {
	report, orders := "SELECT sum(total) FROM orders WHERE shop = #", "SELECT id, total FROM orders WHERE id IN (#, 2)"
	insert := "INSERT INTO audit (shop, note) VALUES (#, 'seen')"
	call := "[POST clickhouse/ "
	for _, tt := range []struct {
		reason              string
		base, control, head []string
		want                []string
	}{
		{"the same, written otherwise", []string{report}, []string{report}, []string{"select sum(total)\nfrom orders -- of the shop\nwhere shop=#"}, nil},
		{
			"another literal is a value of the same statement", []string{report}, []string{report}, []string{"SELECT sum(total) FROM orders WHERE shop = 7"},
			[]string{"outbound changed-call GET /v1/report " + call + "SELECT sum(total) FROM orders WHERE shop = ?] request.body.values[] 4/4"},
		},
		{
			"a literal that base itself does not repeat is noise",
			[]string{report + " AND at < '2026-11-02T09:00:01Z'"}, []string{report + " AND at < '2026-11-02T09:00:05Z'"}, []string{report + " AND at < '2026-11-02T09:00:09Z'"}, nil,
		},
		{
			"another statement is one finding", []string{report, insert}, []string{report, insert}, []string{"SELECT sum(total), count(*) FROM orders WHERE shop = # AND paid = 1", insert},
			[]string{"outbound changed-call GET /v1/report " + call + "SELECT sum(total) FROM orders WHERE shop = ?] request.body.statement 4/4"},
		},
		{
			"a list in another order of statements to read is no change", []string{report, orders}, []string{report, orders}, []string{orders, report}, nil,
		},
		{
			"N+1: one call for all became one for each",
			[]string{report, orders}, []string{report, orders},
			[]string{report, "SELECT id, total FROM orders WHERE id = #", "SELECT id, total FROM orders WHERE id = 2", "SELECT id, total FROM orders WHERE id = 3"},
			[]string{"outbound repeated-call GET /v1/report " + call + "SELECT id, total FROM orders WHERE id = ?] 4/4"},
		},
		{
			"the same statement more often, whatever its values",
			[]string{report, orders}, []string{report, orders}, []string{report, orders, "SELECT id, total FROM orders WHERE id IN (7)", "SELECT id, total FROM orders WHERE id IN (8, 9, 10)"},
			[]string{"outbound repeated-call GET /v1/report " + call + "SELECT id, total FROM orders WHERE id IN (?)] 4/4"},
		},
		{
			"a statement about another table is new", []string{report}, []string{report}, []string{report, insert},
			[]string{"outbound new-call GET /v1/report " + call + "INSERT INTO audit(shop, note) VALUES (?, ?)] 4/4"},
		},
		{
			"and one that is not made any more is missing", []string{report, insert}, []string{report, insert}, []string{report},
			[]string{"outbound missing-call GET /v1/report " + call + "INSERT INTO audit(shop, note) VALUES (?, ?)] 4/4"},
		},
		{
			"writes keep their order", []string{insert, "DELETE FROM cache WHERE shop = #"}, []string{insert, "DELETE FROM cache WHERE shop = #"}, []string{"DELETE FROM cache WHERE shop = #", insert},
			[]string{"outbound reordered-call GET /v1/report " + call + "DELETE FROM cache WHERE shop = ?] 4/4"},
		},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got := analysis.Run(asking(tt.base, tt.control, tt.head), analysis.Options{})
			if diff := cmp.Diff(tt.want, summary(got.Findings)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestAChangedStatementNamesBoth(t *testing.T) {
	base, head := []string{"SELECT a FROM t WHERE b = #"}, []string{"SELECT a, c FROM t WHERE b = # AND d = 1"}
	got := analysis.Run(asking(base, base, head), analysis.Options{})
	if len(got.Findings) != 1 || got.Findings[0].Base != "SELECT a FROM t WHERE b = ?" || got.Findings[0].Head != "SELECT a, c FROM t WHERE b = ? AND d = ?" {
		t.Errorf("findings %+v", got.Findings)
	}
	if len(got.Outbound) != 2 || got.Outbound[0].Call != "POST clickhouse/ SELECT a FROM t WHERE b = ?" || got.Outbound[0].Base != 4 || got.Outbound[0].Head != 0 {
		t.Errorf("the account of calls is %+v", got.Outbound)
	}
}

// Long statements have short names that differ where the statements do.
func TestLongStatementsHaveShortNames(t *testing.T) {
	long := "SELECT a FROM t WHERE " + strings.Repeat("b = # AND ", 50)
	base := []string{long + "c = 1", long + "d = 1"}
	got := analysis.Run(asking(base, base, base), analysis.Options{})
	if len(got.Outbound) != 2 || len(got.Outbound[0].Call) > 220 {
		t.Errorf("the account of calls is %+v", got.Outbound)
	}
}

func TestAnSQLRuleForNoPlaceIsAMistake(t *testing.T) {
	base := []string{"SELECT a FROM t WHERE b = #"}
	opts := analysis.Options{Compare: compare.Options{Reading: compare.Reading{SQL: []traffic.Pattern{pattern(t, "request.body.sql")}}}}
	if got := analysis.Run(asking(base, base, base), opts); len(got.Mistakes) != 1 || got.Verdict != analysis.Error {
		t.Errorf("%s, mistakes %q", got.Verdict, got.Mistakes)
	}
}
