package snapshot_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// busy is traffic in which much repeats: orders are made and read, a few
// requests fail, one endpoint is large.
func busy() []*traffic.Exchange {
	var list []*traffic.Exchange
	add := func(direction traffic.Direction, lane, method, target string, status int, request, response string) string {
		id := fmt.Sprintf("%06d", len(list))
		if lane == "" {
			lane = id
		}
		h := traffic.Header{{Name: "Content-Type", Value: "application/json"}}
		list = append(list, &traffic.Exchange{
			ID: id, Direction: direction, Lane: traffic.Lane(lane), Start: clock().Add(time.Duration(len(list)) * time.Millisecond), Duration: 10 * time.Millisecond,
			Request:  traffic.Request{Method: method, Scheme: "http", Authority: "shop.example", Target: target, Proto: "HTTP/1.1", Header: h, Body: traffic.NewBody([]byte(request), h)},
			Response: &traffic.Response{Status: status, Proto: "HTTP/1.1", Header: h, Body: traffic.NewBody([]byte(response), h)},
		})
		return id
	}
	add(traffic.Outbound, "boot", "GET", "/config", 200, "", `{"a":1}`)
	for i := range 100 {
		order := fmt.Sprintf("ord_%04dx", i)
		lane := add(traffic.Inbound, "", "POST", "/v1/orders", 201, `{"sku":"A"}`, `{"id":"`+order+`"}`)
		add(traffic.Outbound, lane, "POST", "/charges", 200, `{"order":"`+order+`"}`, `{"ok":true}`)
		answer := `{"id":"` + order + `","status":"paid"}`
		if i == 70 {
			answer = `{"id":"` + order + `","status":"refunded","refund":{"amount":3}}`
		}
		add(traffic.Inbound, "", "GET", "/v1/orders/"+order, 200, "", answer)
		add(traffic.Outbound, "background", "GET", "/rates", 200, "", `{"eur":1}`)
	}
	add(traffic.Inbound, "", "GET", "/v1/orders/ord_none9", 404, "", `{"error":"none"}`)
	add(traffic.Inbound, "", "GET", "/v1/report", 200, "", fmt.Sprintf(`{"rows":"%060000d"}`, 1))
	return list
}

func TestShrink(t *testing.T) {
	for _, suffix := range []string{"", ".rpk"} {
		t.Run("to s"+suffix, func(t *testing.T) {
			dir := t.TempDir()
			src, dst := filepath.Join(dir, "all"), filepath.Join(dir, "s"+suffix)
			write(t, src, busy())
			s, err := snapshot.Shrink(src, dst, snapshot.ShrinkOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := read(t, dst)
			// One order made and read, the refunded one made and read (it needs
			// the order), a missing one, the report, boot, one background call.
			if len(got) != s.After.Exchanges || len(got) > 10 || len(s.LetGo) > 0 || s.Before.Exchanges != len(busy()) {
				t.Errorf("kept %d exchanges, %+v", len(got), s)
			}
			seen := map[string]bool{}
			for _, x := range got {
				seen[x.Request.Method+" "+x.Request.Target] = true
				if x.Request.Method == "GET" && x.Response.Status == 200 && x.Direction == traffic.Inbound && x.Request.Target != "/v1/report" && len(seen) == 1 {
					t.Errorf("%s is read before it is made", x.Request.Target)
				}
			}
			for _, want := range []string{"GET /config", "GET /rates", "GET /v1/report", "GET /v1/orders/ord_none9", "GET /v1/orders/ord_0070x", "POST /charges"} {
				if !seen[want] {
					t.Errorf("%s is not covered by %v", want, seen)
				}
			}
			c := s.Manifest.Completeness
			if c.Stored != len(got) || c.SampledOut != len(busy())-len(got) || c.Seen != len(busy()) {
				t.Errorf("completeness %+v", c)
			}
		})
	}
}

func TestShrinkWithinBounds(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "all")
	write(t, src, busy())
	s, err := snapshot.Shrink(src, filepath.Join(dir, "small"), snapshot.ShrinkOptions{Size: 5_000, Budget: 40 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if s.After.Bytes > 5_000 || s.After.Time > 40*time.Millisecond {
		t.Errorf("after: %+v", s.After)
	}
	if len(s.LetGo) == 0 || s.LetGo[0] != (snapshot.Coverage{Kind: snapshot.CoversEndpoint, Name: "GET /v1/report", Count: 1}) {
		t.Errorf("let go: %v, want the large endpoint first", s.LetGo)
	}
}
