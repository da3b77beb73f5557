package mock_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

const (
	uuidA = "3f2b8c1e-7a54-4d0b-9c55-0d8f6a1b2c3d"
	uuidB = "9d1c7e20-1b2a-4f3c-8d4e-5f6a7b8c9d0e"
	uuidC = "00c0ffee-aaaa-4bbb-8ccc-123456789abc"
)

// step is a live call and what must come of it.
type step struct {
	lane   traffic.Lane // "" sends no mark
	method string       // GET without a body, POST with one
	url    string
	body   string
	tier   traffic.Tier
	record string // id that must answer
}

func (st step) send(t *testing.T, client *http.Client) answer {
	t.Helper()
	method := st.method
	if method == "" {
		if method = "GET"; st.body != "" {
			method = "POST"
		}
	}
	var header []string
	if st.lane != "" {
		header = mark(1, st.lane)
	}
	return send(t, client, method, st.url, st.body, header...)
}

func TestTiers(t *testing.T) {
	const dep = "http://dep"
	ok := func(body string) *traffic.Response { return response(200, body) }
	tests := []struct {
		reason  string
		record  func(r *recording)
		opts    mock.Options
		bind    [][2]string
		steps   []step
		matched int
		extra   int
		missed  int
		unused  int
	}{
		{
			reason: "read, write, read again: one signature, its answers in order",
			record: func(r *recording) {
				r.call("a", "GET", dep+"/stock", "", ok("5"))   // 0
				r.call("a", "POST", dep+"/stock", "{}", ok("")) // 1
				r.call("a", "GET", dep+"/stock", "", ok("4"))   // 2
			},
			steps: []step{
				{"a", "", dep + "/stock", "", traffic.TierExact, "out-0000"},
				{"a", "", dep + "/stock", "{}", traffic.TierExact, "out-0001"},
				{"a", "", dep + "/stock", "", traffic.TierExact, "out-0002"},
			},
			matched: 3,
		},
		{
			reason: "a read after a write gets what was recorded after it, though one read less came before",
			record: func(r *recording) {
				r.call("a", "GET", dep+"/stock/7", "", ok("5"))     // 0
				r.call("a", "GET", dep+"/stock/7", "", ok("5 old")) // 1
				r.call("a", "POST", dep+"/stock", "{}", ok(""))     // 2
				r.call("a", "GET", dep+"/stock/7", "", ok("4"))     // 3
				r.call("a", "GET", dep+"/stock/7", "", ok("4 old")) // 4
			},
			steps: []step{
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0000"},
				{"a", "", dep + "/stock", "{}", traffic.TierExact, "out-0002"},
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0003"},
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0004"},
				{"a", "", dep + "/stock/7", "", traffic.TierRepeat, "out-0004"},
			},
			matched: 4, extra: 1, unused: 1,
		},
		{
			reason: "one read more before the write does not take what was recorded after it",
			record: func(r *recording) {
				r.call("a", "GET", dep+"/stock/7", "", ok("5"))      // 0
				r.call("a", "PUT", dep+"/stock/7/n", "{}", ok(""))   // 1
				r.call("a", "GET", dep+"/stock/7", "", ok("4"))      // 2
				r.call("a", "DELETE", dep+"/stock/7/n", "", ok(""))  // 3
				r.call("a", "GET", dep+"/stock/7?full", "", ok("0")) // 4
			},
			steps: []step{
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0000"},
				{"a", "", dep + "/stock/7", "", traffic.TierRepeat, "out-0000"},
				{"a", "PUT", dep + "/stock/7/n", "{}", traffic.TierExact, "out-0001"},
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0002"},
			},
			matched: 3, extra: 1, unused: 2,
		},
		{
			reason: "a write elsewhere begins no epoch: its reads go on in order",
			record: func(r *recording) {
				r.call("a", "GET", dep+"/stock/7", "", ok("5"))           // 0
				r.call("a", "POST", dep+"/orders", "{}", ok(""))          // 1
				r.call("a", "POST", "http://other/stock/7", "{}", ok("")) // 2
				r.call("a", "GET", dep+"/stock/7", "", ok("4"))           // 3
			},
			steps: []step{
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0000"},
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0003"},
			},
			matched: 2, unused: 2,
		},
		{
			reason: "where a write changed nothing, an answer of before it does for after it",
			record: func(r *recording) {
				r.call("a", "GET", dep+"/stock/7", "", ok("5")) // 0
				r.call("a", "GET", dep+"/stock/7", "", ok("5")) // 1
				r.call("a", "POST", dep+"/stock", "{}", ok("")) // 2
				r.call("a", "GET", dep+"/stock/7", "", ok("5")) // 3
			},
			steps: []step{ // the service calls both at once, and the write wins
				{"a", "", dep + "/stock", "{}", traffic.TierExact, "out-0002"},
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0003"},
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0000"},
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0001"},
			},
			matched: 4,
		},
		{
			reason: "a state that was not recorded takes the next answer there is",
			record: func(r *recording) {
				r.call("a", "DELETE", dep+"/stock/7", "", ok("")) // 0
				r.call("a", "GET", dep+"/stock/7", "", ok("0"))   // 1
				r.call("a", "GET", dep+"/stock/7", "", ok("00"))  // 2
			},
			steps: []step{
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0001"},
				{"a", "DELETE", dep + "/stock/7", "", traffic.TierExact, "out-0000"},
				{"a", "", dep + "/stock/7", "", traffic.TierExact, "out-0002"},
			},
			matched: 3,
		},
		{
			reason: "epochs hold for reads whose ids the service draws",
			record: func(r *recording) {
				r.call("a", "GET", dep+"/stock?trace="+uuidA, "", ok("5")) // 0
				r.call("a", "GET", dep+"/stock?trace="+uuidB, "", ok("6")) // 1
				r.call("a", "POST", dep+"/stock", "{}", ok(""))            // 2
				r.call("a", "GET", dep+"/stock?trace="+uuidC, "", ok("4")) // 3
			},
			steps: []step{
				{"a", "", dep + "/stock?trace=11111111-1a2b-4f3c-8d4e-000000000001", "", traffic.TierClassed, "out-0000"},
				{"a", "", dep + "/stock", "{}", traffic.TierExact, "out-0002"},
				{"a", "", dep + "/stock?trace=11111111-1a2b-4f3c-8d4e-000000000002", "", traffic.TierClassed, "out-0003"},
			},
			matched: 3, unused: 1,
		},
		{
			reason: "likeness answers nothing unless it is asked to",
			record: func(r *recording) { r.call("a", "GET", dep+"/v1/search?q=a&page=1&limit=10", "", ok("5")) },
			steps:  []step{{"a", "", dep + "/v1/search?q=a&page=1&limit=20", "", traffic.TierMiss, ""}},
			missed: 1, unused: 1,
		},
		{
			reason: "likeness answers reads that are like one recorded call and no other",
			opts:   mock.Options{Fuzzy: mock.Fuzzy{On: true}},
			record: func(r *recording) {
				r.call("a", "GET", dep+"/v1/search?q=a&page=1&limit=10&sort=up", "", ok("5"))     // 0
				r.call("b", "GET", dep+"/v1/search?q=a&page=1&limit=10&sort=up", "", ok("5"))     // 1: the same answer
				r.call("b", "GET", dep+"/v1/search?q=zz&page=9&limit=99&sort=down", "", ok("no")) // 2
				r.call("a", "POST", dep+"/v1/search", `{"q":"a","page":1,"limit":10}`, ok("w"))   // 3
				r.call("a", "GET", dep+"/v1/item/7?full=1", "", ok("7"))                          // 4
			},
			steps: []step{
				{"a", "", dep + "/v1/search?q=a&page=1&limit=20&sort=up", "", traffic.TierFuzzy, "out-0000"},
				{"a", "", dep + "/v1/search?q=a&page=5&limit=50&sort=down", "", traffic.TierMiss, ""}, // not like enough
				{"a", "", dep + "/v1/search", `{"q":"a","page":1,"limit":20}`, traffic.TierMiss, ""},  // it may write
				{"a", "", dep + "/v1/item/8?full=1", "", traffic.TierMiss, ""},                        // another thing
				{"a", "", dep + "/v1/search?q=a&page=1&limit=10&sort=up", "", traffic.TierExact, "out-0000"},
			},
			matched: 1, extra: 1, missed: 3, unused: 2,
		},
		{
			reason: "likeness answers nothing where two recorded calls with different answers are about as like",
			opts:   mock.Options{Fuzzy: mock.Fuzzy{On: true, Score: 0.5}},
			record: func(r *recording) {
				r.call("a", "GET", dep+"/v1/search?q=a&page=1&limit=10", "", ok("5"))
				r.call("a", "GET", dep+"/v1/search?q=b&page=1&limit=10", "", ok("6"))
			},
			steps:  []step{{"a", "", dep + "/v1/search?q=c&page=1&limit=10", "", traffic.TierMiss, ""}},
			missed: 1, unused: 2,
		},
		{
			reason: "beyond the recorded calls reads repeat the last answer and writes fail",
			record: func(r *recording) {
				r.call("a", "GET", dep+"/n", "", ok("1"))
				r.call("a", "GET", dep+"/n", "", ok("2"))
				r.call("a", "DELETE", dep+"/n", "", ok(""))
			},
			steps: []step{
				{"a", "", dep + "/n", "", traffic.TierExact, "out-0000"},
				{"a", "", dep + "/n", "", traffic.TierExact, "out-0001"},
				{"a", "", dep + "/n", "", traffic.TierRepeat, "out-0001"},
				{"a", "DELETE", dep + "/n", "", traffic.TierExact, "out-0002"},
				{"a", "DELETE", dep + "/n", "", traffic.TierMiss, ""},
			},
			matched: 3, extra: 1, missed: 1,
		},
		{
			reason: "a dependency may cycle, another may fail",
			record: func(r *recording) {
				r.call("a", "POST", dep+"/q", "{}", ok("1"))
				r.call("a", "POST", dep+"/q", "{}", ok("2"))
				r.call("a", "GET", "http://strict:8080/q", "", ok("3"))
			},
			opts: mock.Options{Repeat: map[string]mock.Repeat{"dep": mock.RepeatCycle, "strict": mock.RepeatFail}},
			steps: []step{
				{"a", "", dep + "/q", "{}", traffic.TierExact, "out-0000"},
				{"a", "", dep + "/q", "{}", traffic.TierExact, "out-0001"},
				{"a", "", dep + "/q", "{}", traffic.TierRepeat, "out-0000"},
				{"a", "", dep + "/q", "{}", traffic.TierRepeat, "out-0001"},
				{"a", "", dep + "/q", "{}", traffic.TierRepeat, "out-0000"},
				{"a", "", "http://strict:8080/q", "", traffic.TierExact, "out-0002"},
				{"a", "", "http://strict:8080/q", "", traffic.TierMiss, ""},
			},
			matched: 3, extra: 3, missed: 1,
		},
		{
			reason: "an id that the service draws may differ, and binds later calls that carry it",
			record: func(r *recording) {
				r.inbound("a", "/buy", `{}`)
				r.call("a", "POST", dep+"/pay", `{"key":"`+uuidA+`"}`, ok("1"))
				r.call("a", "POST", dep+"/pay", `{"key":"`+uuidB+`"}`, ok("2"))
				r.call("a", "GET", dep+"/pay/"+uuidA, "", ok("3"))
				r.call("a", "GET", dep+"/pay/"+uuidB, "", ok("4"))
			},
			steps: []step{
				{"a", "", dep + "/pay", `{"key":"11111111-2222-4333-8444-555555555555"}`, traffic.TierClassed, "out-0001"},
				{"a", "", dep + "/pay", `{"key":"66666666-7777-4888-9999-000000000000"}`, traffic.TierClassed, "out-0002"},
				{"a", "", dep + "/pay/66666666-7777-4888-9999-000000000000", "", traffic.TierBound, "out-0004"},
				{"a", "", dep + "/pay/11111111-2222-4333-8444-555555555555", "", traffic.TierBound, "out-0003"},
			},
			matched: 4,
		},
		{
			reason: "a classed match never takes the answer of a call that an exact match would find",
			record: func(r *recording) {
				r.inbound("a", "/both", `["`+uuidA+`","`+uuidB+`"]`)
				r.call("a", "GET", dep+"/item/"+uuidA, "", ok("A"))
				r.call("a", "GET", dep+"/item/"+uuidB, "", ok("B"))
			},
			steps: []step{
				{"a", "", dep + "/item/" + uuidC, "", traffic.TierMiss, ""},
				{"a", "", dep + "/item/" + uuidB, "", traffic.TierExact, "out-0002"},
				{"a", "", dep + "/item/" + uuidB, "", traffic.TierRepeat, "out-0002"},
				{"a", "", dep + "/item/" + uuidA, "", traffic.TierExact, "out-0001"},
			},
			matched: 2, extra: 1, missed: 1,
		},
		{
			reason: "a passed-on id may differ where there is only one such call to swap it with",
			record: func(r *recording) {
				r.inbound("a", "/one", `"`+uuidA+`"`)
				r.call("a", "GET", dep+"/item/"+uuidA, "", ok("A"))
			},
			steps:   []step{{"a", "", dep + "/item/" + uuidC, "", traffic.TierClassed, "out-0001"}},
			matched: 1,
		},
		{
			reason: "another class at the same place is another call",
			record: func(r *recording) {
				r.call("a", "POST", dep+"/t", `{"at":"2026-03-01T12:00:00Z","id":"`+uuidA+`"}`, ok("1"))
			},
			steps: []step{
				{"a", "", dep + "/t", `{"at":"tomorrow","id":"` + uuidA + `"}`, traffic.TierMiss, ""},
				{"a", "", dep + "/t", `{"id":"` + uuidB + `","at":"2027-04-05T06:07:08.9Z"}`, traffic.TierClassed, "out-0000"},
			},
			matched: 1, missed: 1,
		},
		{
			reason: "learned pairs are replaced, also inside of values",
			record: func(r *recording) {
				r.call("a", "GET", dep+"/orders/ord_recorded", "", ok("1"))
				r.call("a", "POST", dep+"/mail", `{"text":"Order ord_recorded is on its way","n":41}`, ok("2"))
			},
			bind: [][2]string{{"ord_recorded", "ord_live99"}, {"41", "52"}},
			steps: []step{
				{"a", "", dep + "/mail", `{"n":52,"text":"Order ord_live99 is on its way"}`, traffic.TierBound, "out-0001"},
				{"a", "", dep + "/orders/ord_live99", "", traffic.TierBound, "out-0000"},
			},
			matched: 2,
		},
		{
			reason: "what was recorded at boot may come later, once; what was recorded in another lane only if it reads",
			record: func(r *recording) {
				r.call(traffic.LaneBoot, "POST", dep+"/token", "{}", ok("t"))
				r.call("b", "GET", dep+"/config", "", ok("c"))
				r.call("b", "PUT", dep+"/config", "", ok("c"))
				r.call("b", "GET", dep+"/counter", "", ok("1"))
				r.call("b", "GET", dep+"/counter", "", ok("2"))
			},
			steps: []step{
				{"a", "", dep + "/token", "{}", traffic.TierOtherLane, "out-0000"},
				{"a", "", dep + "/token", "{}", traffic.TierMiss, ""},
				{"a", "", dep + "/config", "", traffic.TierOtherLane, "out-0001"},
				{"a", "", dep + "/config", "", traffic.TierOtherLane, "out-0001"},
				{"a", "PUT", dep + "/config", "", traffic.TierMiss, ""},
				{"a", "", dep + "/counter", "", traffic.TierMiss, ""},
			},
			matched: 1, extra: 2, missed: 3,
		},
		{
			reason: "a lane that comes late still finds what was lent from it",
			record: func(r *recording) {
				r.call(traffic.LaneBackground, "GET", dep+"/poll", "", ok("1"))
			},
			steps: []step{
				{"a", "", dep + "/poll", "", traffic.TierOtherLane, "out-0000"},
				{"background", "", dep + "/poll", "", traffic.TierExact, "out-0000"},
			},
			matched: 1, extra: 1,
		},
		{
			reason: "the order of names, spaces and ways to write a number do not matter; values, types and the order of lists do",
			record: func(r *recording) {
				for range 4 {
					r.call("a", "POST", dep+"/c?b=2&a=1&a=0", `{"x":{"p":1,"q":[1,2]},"y":"é"}`, ok("1"))
				}
			},
			steps: []step{
				{"a", "", dep + "/c?a=1&a=0&b=2", ` {"y":"\u00e9", "x":{"q":[1.0,20e-1],"p":1}} `, traffic.TierExact, "out-0000"},
				{"a", "", dep + "/c?a=1&b=2&a=%30", `{"x":{"p":1,"q":[1,2]},"y":"é"}`, traffic.TierExact, "out-0001"},
				{"a", "", dep + "/c?a=0&a=1&b=2", `{"x":{"p":1,"q":[1,2]},"y":"é"}`, traffic.TierMiss, ""},
				{"a", "", dep + "/c?a=1&a=0&b=2", `{"x":{"p":1,"q":[2,1]},"y":"é"}`, traffic.TierMiss, ""},
				{"a", "", dep + "/c?a=1&a=0&b=2", `{"x":{"p":"1","q":[1,2]},"y":"é"}`, traffic.TierMiss, ""},
			},
			matched: 2, missed: 3, unused: 2,
		},
		{
			reason: "one lane serves everything in recorded order, for a mock on its own",
			record: func(r *recording) {
				r.call("x", "GET", dep+"/n", "", ok("1"))
				r.call("y", "GET", dep+"/n", "", ok("2"))
			},
			opts: mock.Options{OneLane: true},
			steps: []step{
				{"", "", dep + "/n", "", traffic.TierExact, "out-0000"},
				{"", "", dep + "/n", "", traffic.TierExact, "out-0001"},
				{"", "", dep + "/n", "", traffic.TierRepeat, "out-0001"},
			},
			matched: 2, extra: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			var rec recording
			tt.record(&rec)
			s := start(t, rec.exchanges, tt.opts)
			s.BeginPass(1)
			s.Enter(1, "a")
			for _, b := range tt.bind {
				s.Bind(1, "a", b[0], b[1])
			}
			client := s.proxied()
			for i, st := range tt.steps {
				got := st.send(t, client)
				m := s.Calls(1)[i].Match
				if m.Tier != st.tier || m.Record != st.record {
					t.Errorf("step %d: %s from %q (%s), want %s from %q", i, m.Tier, m.Record, m.Reason, st.tier, st.record)
				}
				if missed := got.StatusCode == mock.StatusMiss; missed != (st.tier == traffic.TierMiss) {
					t.Errorf("step %d: status %d for tier %s", i, got.StatusCode, st.tier)
				}
			}
			a := s.balanced(1)
			if a.Matched != tt.matched || a.Extra != tt.extra || a.Missed != tt.missed || a.Unused != tt.unused {
				t.Errorf("matched %d extra %d missed %d unused %d, want %d %d %d %d", a.Matched, a.Extra, a.Missed, a.Unused, tt.matched, tt.extra, tt.missed, tt.unused)
			}
		})
	}
}

func TestLaneOfACall(t *testing.T) {
	var rec recording
	rec.inbound("a", "/orders/ord-1111", `{}`)
	rec.call("a", "GET", "http://dep/common", "", response(200, "from a"))
	rec.call("a", "GET", "http://dep/only-a", "", response(200, "only a"))
	rec.inbound("b", "/orders/ord-2222", `{}`)
	rec.call("b", "GET", "http://dep/common", "", response(200, "from b"))
	rec.call(traffic.LaneBoot, "GET", "http://dep/boot", "", response(200, "boot"))
	id := func(lane traffic.Lane) string { return mark(1, lane)[1][3:35] }
	low := fmt.Sprint(traffic.LaneNumber("b"))
	tests := []struct {
		reason string
		active []traffic.Lane
		url    string
		header []string
		lane   traffic.Lane
		by     traffic.Certainty
	}{
		{"traceparent", []traffic.Lane{"a", "b"}, "/common", mark(1, "b"), "b", traffic.ByTrace},
		{"traceparent of a lane that is not active any more", []traffic.Lane{"a"}, "/common", mark(1, "b"), "b", traffic.ByTrace},
		{"baggage", nil, "/common", []string{"Baggage", "user=7, reprise=" + mark(1, "b")[1] + ";ttl=1"}, "b", traffic.ByTrace},
		{"B3, one field", nil, "/common", []string{"B3", id("b") + "-00f067aa0ba902b7-1"}, "b", traffic.ByTrace},
		{"B3, many fields", nil, "/common", []string{"X-B3-Traceid", id("b")}, "b", traffic.ByTrace},
		{"Jaeger", nil, "/common", []string{"Uber-Trace-Id", id("b") + ":1:0:1"}, "b", traffic.ByTrace},
		{"X-Ray", nil, "/common", []string{"X-Amzn-Trace-Id", "Self=1;Root=1-" + id("b")[:8] + "-" + id("b")[8:] + ";Sampled=0"}, "b", traffic.ByTrace},
		{"Google Cloud", nil, "/common", []string{"X-Cloud-Trace-Context", id("b") + "/1;o=0"}, "b", traffic.ByTrace},
		{"Datadog", nil, "/common", []string{"X-Datadog-Trace-Id", low, "X-Datadog-Tags", "a=b,_dd.p.tid=" + id("b")[:16]}, "b", traffic.ByTrace},
		{"somebody else's trace", []traffic.Lane{"b"}, "/common", []string{"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, "b", traffic.ByOnlyActive},
		{"a call that only one active lane recorded", []traffic.Lane{"b", "a"}, "/only-a", nil, "a", traffic.ByValue},
		{"a value that only one active lane was sent", []traffic.Lane{"a", "b"}, "/new?order=ord-2222", nil, "b", traffic.ByValue},
		{"values of two lanes", []traffic.Lane{"a", "b"}, "/new?x=ord-1111&y=ord-2222", nil, traffic.LaneBackground, traffic.ByNothing},
		{"no lane is active", nil, "/common", nil, traffic.LaneBackground, traffic.ByNothing},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			s := start(t, rec.exchanges, mock.Options{})
			s.BeginPass(1)
			for _, l := range tt.active {
				s.Enter(1, l)
			}
			send(t, s.proxied(), "GET", "http://dep"+tt.url, "", tt.header...)
			x := s.Calls(1)[0]
			if x.Lane != tt.lane || x.Origin.Certainty != tt.by {
				t.Errorf("lane %q by %q, want %q by %q", x.Lane, x.Origin.Certainty, tt.lane, tt.by)
			}
			if a := s.balanced(1); a.Attributed[tt.by] != 1 {
				t.Errorf("attributed: %v", a.Attributed)
			}
		})
	}
	t.Run("a connection that carried one lane only", func(t *testing.T) {
		s := start(t, rec.exchanges, mock.Options{})
		s.BeginPass(1)
		s.Enter(1, "a")
		s.Enter(1, "b")
		client := s.proxied()
		send(t, client, "GET", "http://dep/common", "", mark(1, "b")...)
		send(t, client, "GET", "http://dep/unknown", "")
		send(t, client, "GET", "http://dep/common", "", mark(1, "a")...)
		send(t, client, "GET", "http://dep/unknown", "")
		var by []traffic.Certainty
		for _, x := range s.Calls(1) {
			by = append(by, x.Origin.Certainty)
		}
		if want := []traffic.Certainty{traffic.ByTrace, traffic.ByConnection, traffic.ByTrace, traffic.ByNothing}; !slices.Equal(by, want) {
			t.Errorf("attributed by %q, want %q", by, want)
		}
	})
	t.Run("before the first pass everything is boot", func(t *testing.T) {
		s := start(t, rec.exchanges, mock.Options{})
		send(t, s.proxied(), "GET", "http://dep/boot", "")
		if x := s.Calls(0)[0]; x.Lane != traffic.LaneBoot || x.Match.Tier != traffic.TierExact {
			t.Errorf("lane %q, tier %s", x.Lane, x.Match.Tier)
		}
		if a := s.balanced(0); a.Recorded != 1 || a.Matched != 1 {
			t.Errorf("account: %+v", a)
		}
	})
	t.Run("passes do not share cursors, and a forgotten one begins anew", func(t *testing.T) {
		s := start(t, rec.exchanges, mock.Options{})
		client := s.proxied()
		for _, pass := range []uint32{2, 3, 2} {
			s.Forget(pass)
			s.BeginPass(pass)
			s.Enter(pass, "a")
			send(t, client, "GET", "http://dep/only-a", "")
			s.Leave(pass, "a")
			if x := s.Calls(pass)[0]; x.Match.Tier != traffic.TierExact || x.Match.Pass != pass {
				t.Errorf("pass %d: %+v", pass, x.Match)
			}
		}
		s.Forget(3)
		if calls := s.Calls(3); len(calls) != 0 {
			t.Errorf("%d calls of a forgotten pass", len(calls))
		}
	})
}

func TestDependencyNames(t *testing.T) {
	tests := []struct {
		recorded []string
		live     string
		found    bool
		reason   string
	}{
		{[]string{"http://inventory.shop.svc.cluster.local:8080"}, "http://inventory", true, "the short name"},
		{[]string{"http://inventory.shop.svc.cluster.local:8080"}, "http://inventory.shop:8080", true, "with namespace and port"},
		{[]string{"http://inventory.shop.svc.cluster.local:8080"}, "http://inventory.shop.svc:80", true, "another port, one recorded name"},
		{[]string{"http://inventory:8080"}, "http://inventory.head.svc.cluster.local:8080", true, "recorded short, called long"},
		{[]string{"http://inventory.shop.svc.cluster.local"}, "http://inventory.head.svc.cluster.local", true, "the namespace of the arm"},
		{[]string{"http://inventory.shop", "http://inventory.test"}, "http://inventory", false, "two recorded names fit"},
		{[]string{"http://inventory.shop", "http://inventory.test"}, "http://inventory.test.svc", true, "two recorded names, one fits"},
		{[]string{"http://dep:8080", "http://dep:9090"}, "http://dep:9090", true, "two ports, one meant"},
		{[]string{"http://dep:8080", "http://dep:9090"}, "http://dep:7070", false, "two ports, neither meant"},
		{[]string{"https://API.Example.com:443"}, "https://api.example.com", true, "case and default port"},
		{[]string{"https://api.example.com"}, "https://api.example.com.", true, "a name written to its root"},
		{[]string{"https://github.com"}, "http://github", false, "an ordinary domain is no service"},
		{[]string{"http://10.0.0.7:8080"}, "http://10.0.0.7:8080", true, "an address"},
		{[]string{"http://10.0.0.7:8080"}, "http://10.0.0.8:8080", false, "another address"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			var rec recording
			for _, r := range tt.recorded {
				x := rec.call("a", "GET", strings.ToLower(r)+"/x", "", response(200, r))
				x.Request.Authority = strings.SplitN(r, "//", 2)[1]
			}
			s := start(t, rec.exchanges, mock.Options{})
			s.BeginPass(1)
			s.Enter(1, "a")
			got := send(t, s.proxied(), "GET", tt.live+"/x", "")
			if found := got.StatusCode == 200; found != tt.found {
				t.Errorf("status %d for %s", got.StatusCode, tt.live)
			}
		})
	}
}
