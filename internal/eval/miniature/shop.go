// Package miniature is an orders service in a few lines, with its dependencies,
// its recording and a replay of it, all in memory: a world for experiments on
// the judgement. It is as noisy as real services are, and every fault that a
// pull request may bring is a hook.
package miniature

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// shop is an orders service in miniature, as noisy as real ones: fresh ids and
// times everywhere, numbers of changing length, lists sorted by random ids,
// digests of noisy bodies. Each fault is a hook that a test sets.
type shop struct {
	rng    *rand.Rand
	clock  time.Time
	orders map[string]map[string]any
	faults Faults

	// mock answers from the recording; nil while recording.
	mock   []*traffic.Exchange
	used   map[string]bool
	lane   string
	calls  []*traffic.Exchange
	serial int
}

// Faults are what a pull request may do to the service. The zero value does
// nothing.
type Faults struct {
	Body     func(endpoint string, body map[string]any) // changes an answer
	Header   func(endpoint string, h *traffic.Header)
	Answer   func(endpoint string, r *traffic.Response) // the last word on an answer
	Call     func(q *traffic.Request)                   // changes a call to a dependency
	Fails    func(sku string) bool                      // a 500 for an input
	LostCall bool                                       // payments is no longer called
	NPlusOne int                                        // stock is asked for so many times
	Amount   int64                                      // added to the amount charged
	NewHost  bool                                       // a call to a host never seen
	ID       func() string                              // ids of orders
	Created  func(time.Time) string
	Reorder  bool // stock is reserved after the charge
	Batch    bool // stock of all items is asked for one by one on the list
	CrashAt  int  // the service ends in this exchange
	// CrashUnseen says that the end was noticed only after the last exchange.
	CrashUnseen bool
}

func (s *shop) uuid() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func (s *shop) tick() time.Time {
	s.clock = s.clock.Add(time.Duration(10+s.rng.IntN(900)) * time.Millisecond)
	return s.clock
}

// call makes an outbound call: to the dependency itself while recording, else
// to the mock, which finds records of the lane by method, path and body without
// the order's id, and misses otherwise.
func (s *shop) call(method, url string, body map[string]any) (int, map[string]any) {
	s.serial++
	scheme, rest, _ := strings.Cut(url, "://")
	authority, target, _ := strings.Cut(rest, "/")
	h := traffic.Header{{Name: "traceparent", Value: s.uuid()}, {Name: "User-Agent", Value: "shop"}, {Name: "X-Request-Id", Value: s.uuid()}}
	var raw []byte
	if body != nil {
		raw, _ = json.Marshal(body)
		h.Add("Content-Type", "application/json")
	}
	x := &traffic.Exchange{
		ID: fmt.Sprintf("out-%04d", s.serial), Direction: traffic.Outbound, Lane: traffic.Lane(s.lane), Start: s.clock,
		Request: traffic.Request{Method: method, Scheme: scheme, Authority: authority, Target: "/" + target, Header: h, Body: traffic.NewBody(raw, h)},
		Origin:  traffic.Origin{Certainty: traffic.ByTrace},
	}
	if s.faults.Call != nil {
		s.faults.Call(&x.Request)
	}
	s.calls = append(s.calls, x)
	if s.mock == nil {
		answer := map[string]any{"ok": true}
		switch {
		case strings.Contains(target, "stock"):
			answer = map[string]any{"available": 7}
		case strings.Contains(target, "charges"):
			answer = map[string]any{"payment_id": "pay_" + s.uuid()[:8], "state": "captured"}
		}
		x.Response = response(200, answer, nil)
		return 200, answer
	}
	mask := func(q *traffic.Request) string {
		var v map[string]any
		if json.Unmarshal(q.Body.Raw, &v) == nil {
			delete(v, "order_id")
		}
		b, _ := json.Marshal(v)
		return q.Method + q.Authority + q.Target + string(b)
	}
	var repeat *traffic.Exchange
	for _, r := range s.mock {
		if r.Lane != x.Lane || mask(&r.Request) != mask(&x.Request) {
			continue
		}
		repeat = r
		if !s.used[r.ID] {
			s.used[r.ID] = true
			x.Match = &traffic.Match{Tier: traffic.TierExact, Record: r.ID}
			break
		}
	}
	if repeat == nil {
		x.Match = &traffic.Match{Tier: traffic.TierMiss, Reason: "no recorded call matches"}
		x.Response = response(502, map[string]any{"error": "miss"}, nil)
		return 502, nil
	}
	if x.Match == nil {
		x.Match = &traffic.Match{Tier: traffic.TierRepeat, Record: repeat.ID}
	}
	x.Recorded, x.Response = repeat.ID, repeat.Response
	var answer map[string]any
	if err := json.Unmarshal(repeat.Response.Body.Raw, &answer); err != nil {
		panic(err)
	}
	return 200, answer
}

func response(status int, body any, h traffic.Header) *traffic.Response {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	h = append(traffic.Header{{Name: "Content-Type", Value: "application/json"}}, h...)
	h.Add("Content-Length", fmt.Sprint(len(raw)))
	sum := sha256.Sum256(raw)
	h.Add("ETag", `"`+hex.EncodeToString(sum[:6])+`"`)
	return &traffic.Response{Status: status, Header: h, Body: traffic.NewBody(raw, h)}
}

// serve answers one inbound request.
func (s *shop) serve(q *traffic.Request) *traffic.Response {
	h := traffic.Header{
		{Name: "Date", Value: s.tick().UTC().Format(time.RFC1123)},
		{Name: "X-Request-Id", Value: s.uuid()},
		{Name: "Set-Cookie", Value: "sid=" + s.uuid() + "; Path=/; HttpOnly"},
	}
	status, endpoint, body := 200, q.Method+" "+strings.Trim(q.Path(), "/"), map[string]any{}
	switch {
	case q.Method == "POST":
		endpoint = "create"
		status, body = s.create(q)
	case strings.HasPrefix(q.Path(), "/v1/orders/"):
		endpoint = "get"
		order := s.orders[strings.TrimPrefix(q.Path(), "/v1/orders/")]
		if order == nil {
			status, body = 404, map[string]any{"error": "no such order"}
			break
		}
		for k, v := range order {
			body[k] = v
		}
		body["took_us"] = s.rng.IntN(2000) // a number of changing length
	case q.Path() == "/v1/orders":
		endpoint = "list"
		body = s.list()
	case q.Path() == "/v1/products":
		endpoint = "products"
		var products []any
		for i := range 20 {
			products = append(products, map[string]any{"sku": fmt.Sprintf("SKU-%03d", i), "price": 100 + i, "tags": []string{"a", "b"}})
		}
		body = map[string]any{"products": products, "served_at": s.clock.UTC().Format(time.RFC3339), "cached": s.rng.IntN(2) == 0}
	}
	if s.faults.Body != nil {
		s.faults.Body(endpoint, body)
	}
	if s.faults.Header != nil {
		s.faults.Header(endpoint, &h)
	}
	r := response(status, body, h)
	if s.faults.Answer != nil {
		s.faults.Answer(endpoint, r)
	}
	return r
}

func (s *shop) create(q *traffic.Request) (int, map[string]any) {
	var in struct {
		Items []struct {
			SKU      string `json:"sku"`
			Quantity int64  `json:"quantity"`
		} `json:"items"`
	}
	if err := json.Unmarshal(q.Body.Raw, &in); err != nil {
		return 400, map[string]any{"error": err.Error()}
	}
	id, created := s.uuid(), s.tick().UTC().Format(time.RFC3339Nano)
	if s.faults.ID != nil {
		id = s.faults.ID()
	}
	if s.faults.Created != nil {
		created = s.faults.Created(s.clock)
	}
	total := int64(0)
	var items []any
	stock := func() bool {
		for _, it := range in.Items {
			for range max(1, s.faults.NPlusOne) {
				if status, _ := s.call("GET", "http://inventory:8080/v1/stock/"+it.SKU, nil); status != 200 {
					return false
				}
			}
			if status, _ := s.call("PUT", "http://inventory:8080/v1/reservations/"+it.SKU, map[string]any{"quantity": it.Quantity}); status != 200 {
				return false
			}
		}
		return true
	}
	for _, it := range in.Items {
		if s.faults.Fails != nil && s.faults.Fails(it.SKU) {
			return 500, map[string]any{"error": "internal"}
		}
		total += it.Quantity * 1000
		items = append(items, map[string]any{"sku": it.SKU, "quantity": it.Quantity})
	}
	order := map[string]any{"id": id, "created_at": created, "total": total, "items": items, "state": "new", "currency": "EUR"}
	if s.faults.NewHost {
		s.call("POST", "https://fraud.example/v1/score", map[string]any{"total": total})
	}
	if !s.faults.Reorder && !stock() {
		return 502, map[string]any{"error": "inventory"}
	}
	if !s.faults.LostCall {
		status, paid := s.call("POST", "https://api.payments.example/v1/charges", map[string]any{"order_id": id, "amount": total + s.faults.Amount})
		if status != 200 {
			return 502, map[string]any{"error": "payments"}
		}
		order["payment_id"], order["state"] = paid["payment_id"], "paid"
	}
	if s.faults.Reorder && !stock() {
		return 502, map[string]any{"error": "inventory"}
	}
	s.orders[id] = order
	return 201, order
}

func (s *shop) list() map[string]any {
	ids := make([]string, 0, len(s.orders))
	for id := range s.orders {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	list := []any{}
	for _, id := range ids {
		list = append(list, map[string]any{"id": id, "total": s.orders[id]["total"]})
	}
	if s.faults.Batch {
		for i := range 5 {
			s.call("GET", fmt.Sprintf("http://inventory:8080/v1/stock/SKU-%03d", i), nil)
		}
	} else {
		s.call("GET", "http://inventory:8080/v1/stock?skus=SKU-000,SKU-001,SKU-002,SKU-003,SKU-004", nil)
	}
	return map[string]any{"orders": list, "count": len(list)}
}

// World is a recording, of which passes are made.
type World struct{ Recorded []*traffic.Exchange }

// Record makes the snapshot: orders are created, read and listed.
func Record() World {
	s := &shop{rng: rand.New(rand.NewPCG(1, 1)), clock: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC), orders: map[string]map[string]any{}}
	var w World
	var ids []string
	ask := func(method, target, body string) *traffic.Exchange {
		h := traffic.Header{{Name: "Content-Type", Value: "application/json"}}
		x := &traffic.Exchange{
			ID: fmt.Sprintf("in-%04d", len(w.Recorded)), Direction: traffic.Inbound, Start: s.tick(),
			Request: traffic.Request{Method: method, Scheme: "http", Authority: "shop", Target: target, Header: h, Body: traffic.NewBody([]byte(body), h)},
		}
		x.Lane = traffic.Lane(x.ID)
		s.lane = x.ID
		x.Response = s.serve(&x.Request)
		w.Recorded = append(w.Recorded, x)
		return x
	}
	for i := range 12 {
		x := ask("POST", "/v1/orders", fmt.Sprintf(`{"items":[{"sku":"SKU-%03d","quantity":%d},{"sku":"SKU-%03d","quantity":1}]}`, i, i+1, i+40))
		var order map[string]any
		if err := json.Unmarshal(x.Response.Body.Raw, &order); err != nil {
			panic(err)
		}
		ids = append(ids, order["id"].(string))
		ask("GET", "/v1/orders/"+ids[i], "")
		ask("GET", "/v1/products", "")
		if i%3 == 0 {
			ask("GET", "/v1/orders", "")
			ask("GET", "/v1/orders/"+ids[i/2], "")
		}
	}
	w.Recorded = append(w.Recorded, s.calls...)
	return w
}

// Pass replays the recording against a fresh service, with ids of orders
// rewritten as they are learned.
func (w World) Pass(arm string, seed uint64, f Faults) analysis.Observation {
	s := &shop{
		rng: rand.New(rand.NewPCG(seed, 7)), clock: time.Date(2026, 11, 23, 8, 0, int(seed), 0, time.UTC),
		orders: map[string]map[string]any{}, faults: f, used: map[string]bool{},
	}
	for _, x := range w.Recorded {
		if x.Direction == traffic.Outbound {
			s.mock = append(s.mock, x)
		}
	}
	bindings := map[string]string{}
	o := analysis.Observation{Complete: true}
	for i, r := range w.Recorded {
		if r.Direction != traffic.Inbound {
			continue
		}
		x := r.Clone()
		x.ID, x.Recorded, x.Start, x.Response = arm+"-1-"+r.ID, r.ID, s.tick(), nil
		for from, to := range bindings {
			x.Request.Target = strings.ReplaceAll(x.Request.Target, from, to)
		}
		s.lane = r.ID
		if f.CrashAt > 0 && i >= f.CrashAt {
			x.Failure = traffic.FailureReset
			if i == f.CrashAt {
				o.Crashes = append(o.Crashes, analysis.Crash{At: x.Start, Recorded: r.ID, Reason: "exit code 2", Log: "starting\npanic: index out of range"})
				if f.CrashUnseen {
					o.Crashes[0].At, o.Crashes[0].Recorded = time.Time{}, w.Recorded[len(w.Recorded)-len(s.mock)-1].ID
				}
			} else {
				x.Failure = traffic.FailureRefused
			}
			o.Inbound = append(o.Inbound, x)
			continue
		}
		x.Response = s.serve(&x.Request)
		var was, is map[string]any
		if json.Unmarshal(r.Response.Body.Raw, &was) == nil && json.Unmarshal(x.Response.Body.Raw, &is) == nil && x.Request.Method == "POST" {
			from, okA := was["id"].(string)
			to, okB := is["id"].(string)
			if okA && okB {
				bindings[from] = to
			}
		}
		o.Inbound = append(o.Inbound, x)
	}
	o.Outbound = s.calls
	return o
}

// Input replays base twice and head with faults, as a run does.
func (w World) Input(base, control, head uint64, f Faults) analysis.Input {
	return analysis.Input{
		Recorded: w.Recorded, Base: w.Pass("base", base, Faults{}), Control: w.Pass("control", control, Faults{}), Head: w.Pass("head", head, f),
	}
}
