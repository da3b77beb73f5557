package api_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/shop/internal/api"
	"example.com/shop/internal/orders"
	"example.com/shop/internal/shippingpb"
	"example.com/shop/internal/token"
	"example.com/shop/internal/upstream"
)

var (
	now      = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	tokenKey = []byte("key of the tests")
)

// calls remembers what the dependencies were asked.
type calls struct {
	mu   sync.Mutex
	list []string
	head []http.Header
}

func (c *calls) add(r *http.Request) { c.note(r.Method+" "+r.URL.RequestURI(), r.Header.Clone()) }

func (c *calls) note(what string, head http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, what)
	c.head = append(c.head, head)
}

// carrier is a shipping service that knows one parcel for every order but two.
type carrier struct {
	shippingpb.UnimplementedShippingServer
	seen *calls
}

// The orders, by their place in the seed, whose parcel was never scanned, and
// at whose parcel shipping fails after the first scan.
const unscanned, failing = 1, 2

func (c carrier) note(ctx context.Context, what string) {
	md, _ := metadata.FromIncomingContext(ctx)
	c.seen.note(what, http.Header{"Traceparent": md.Get("traceparent")})
}

func (c carrier) Announce(ctx context.Context, in *shippingpb.AnnounceRequest) (*shippingpb.Announcement, error) {
	c.note(ctx, fmt.Sprintf("Announce %d %d", in.GetPieces(), in.GetGrams()))
	return &shippingpb.Announcement{ParcelId: "PX1"}, nil
}

func (c carrier) Track(in *shippingpb.TrackRequest, stream grpc.ServerStreamingServer[shippingpb.Event]) error {
	c.note(stream.Context(), "Track")
	seed := orders.Seed()
	if in.GetOrderId() == seed[unscanned].ID {
		return status.Error(codes.NotFound, "nothing")
	}
	for i, kind := range []shippingpb.Event_Kind{shippingpb.Event_KIND_ANNOUNCED, shippingpb.Event_KIND_PICKED_UP} {
		event := &shippingpb.Event{ParcelId: "PX1", At: int64(1000 + i), Place: "AMS", Kind: kind}
		if err := stream.Send(event); err != nil {
			return err
		}
		if in.GetOrderId() == seed[failing].ID {
			return status.Error(codes.Unavailable, "the carrier is gone")
		}
	}
	return nil
}

// newShipping starts a carrier and returns the shop's client of it.
func newShipping(t *testing.T, seen *calls) *upstream.Shipping {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	shippingpb.RegisterShippingServer(server, carrier{seen: seen})
	go server.Serve(listener) // ends with Stop
	t.Cleanup(server.Stop)
	shipping, err := upstream.NewShipping(listener.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shipping.Close() })
	return shipping
}

// newShop starts the shop with dependencies that answer what the tests need:
// inventory has nothing of BREW-2003 and fails for GIFT-5001; payments, over
// TLS, declines cards that end in 0002.
func newShop(t *testing.T) (*httptest.Server, *calls) {
	t.Helper()
	seen := new(calls)
	inventory := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.add(r)
		switch sku := strings.TrimPrefix(r.URL.Path, "/v1/stock/"); sku {
		case "GIFT-5001":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "BREW-2003":
			fmt.Fprintf(w, `{"sku":%q,"available":0}`, sku)
		default:
			fmt.Fprintf(w, `{"sku":%q,"available":70,"warehouse":"AMS-1"}`, sku)
		}
	}))
	t.Cleanup(inventory.Close)
	payments := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.add(r)
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `0002"`) {
			w.WriteHeader(http.StatusPaymentRequired)
			return
		}
		io.WriteString(w, `{"id":"ch_1","status":"captured","amount":100,"card":{"brand":"visa","last4":"4242"}}`)
	}))
	t.Cleanup(payments.Close)
	shop := httptest.NewServer(api.New(api.Services{
		Orders:    orders.NewStore(orders.Seed()),
		Inventory: upstream.NewInventory(inventory.URL, "inventory key", inventory.Client()),
		Payments:  upstream.NewPayments(payments.URL, "payments key", payments.Client()),
		Shipping:  newShipping(t, seen),
		TokenKey:  tokenKey,
		Log:       slog.New(slog.DiscardHandler),
		Now:       func() time.Time { return now },
	}))
	t.Cleanup(shop.Close)
	return shop, seen
}

// send returns the status, the header and the body of an answer.
func send(t *testing.T, method, url, body string, header ...string) (int, http.Header, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s %s: %d: %v", method, url, resp.StatusCode, err)
	}
	return resp.StatusCode, resp.Header, answer
}

const checkout = `{"customer":{"name":"Ines","email":"ines@example.com"},"card_number":"4242424242424242",
	"lines":[{"sku":"BEAN-1001","quantity":2},{"sku":"BREW-2004","quantity":1}]}`

func TestOrderFromCheckoutToRefund(t *testing.T) {
	shop, seen := newShop(t)
	status, header, created := send(t, "POST", shop.URL+"/v1/orders", checkout, "Traceparent", "00-abc-def-00")
	if status != http.StatusCreated || created["total"] != 4860.0 || created["status"] != "paid" {
		t.Fatalf("create: %d %v", status, created)
	}
	location := header.Get("Location")
	if location != "/v1/orders/"+created["id"].(string) {
		t.Errorf("Location is %q, the id %q", location, created["id"])
	}
	want := []string{
		"GET /v1/stock/BEAN-1001?quantity=2", "GET /v1/stock/BREW-2004?quantity=1",
		"POST /v1/charges", "POST /v1/charges/ch_1/capture", "POST /v1/reservations", "Announce 3 990",
	}
	if got := strings.Join(seen.list, ", "); got != strings.Join(want, ", ") {
		t.Errorf("calls: %s", got)
	}
	for i, h := range seen.head {
		if h.Get("Traceparent") != "00-abc-def-00" {
			t.Errorf("%s: the trace was not passed on", seen.list[i])
		}
	}
	if seen.head[2].Get("Idempotency-Key") == "" || seen.head[2].Get("Idempotency-Key") == seen.head[3].Get("Idempotency-Key") {
		t.Error("each message to payments needs an idempotency key of its own")
	}

	if status, _, got := send(t, "GET", shop.URL+location, ""); status != http.StatusOK || got["charge_id"] != "ch_1" {
		t.Errorf("get: %d %v", status, got)
	}
	if status, _, got := send(t, "GET", shop.URL+location+"/summary", ""); status != http.StatusOK || len(got["lines"].([]any)) != 2 {
		t.Errorf("summary: %d %v", status, got)
	}
	if status, _, got := send(t, "GET", shop.URL+location+"/delivery", ""); status != http.StatusOK || got["parcel"] != "PX1" {
		t.Errorf("delivery: %d %v", status, got)
	}
	if status, _, got := send(t, "POST", shop.URL+location+"/refund", `{"reason":"late"}`); status != http.StatusOK || got["status"] != "refunded" {
		t.Errorf("refund: %d %v", status, got)
	}
	if status, _, _ := send(t, "POST", shop.URL+location+"/refund", ""); status != http.StatusConflict {
		t.Errorf("second refund: %d", status)
	}
	if status, _, _ := send(t, "GET", shop.URL+location+"/delivery", ""); status != http.StatusConflict {
		t.Errorf("delivery of what was refunded: %d", status)
	}
}

func TestDeliveryFollowsTheParcel(t *testing.T) {
	shop, seen := newShop(t)
	seed := orders.Seed()
	for name, row := range map[string]struct {
		order, status, scans int
	}{
		"every scan":                       {0, 200, 2},
		"a parcel that was never scanned":  {unscanned, 200, 0},
		"shipping fails within its answer": {failing, 502, 0},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, got := send(t, "GET", shop.URL+"/v1/orders/"+seed[row.order].ID+"/delivery", "", "Traceparent", "00-abc-def-00")
			scans, _ := got["scans"].([]any)
			if status != row.status || len(scans) != row.scans {
				t.Errorf("%d %v", status, got)
			}
		})
	}
	for _, h := range seen.head {
		if h.Get("Traceparent") != "00-abc-def-00" {
			t.Errorf("the trace was not passed on: %v", h)
		}
	}
}

func TestPagesHoldEveryOrderOnce(t *testing.T) {
	shop, _ := newShop(t)
	ids := make(map[string]bool)
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		_, _, page := send(t, "GET", shop.URL+"/v1/orders?limit=7&cursor="+cursor, "")
		for _, o := range page["orders"].([]any) {
			ids[o.(map[string]any)["id"].(string)] = true
		}
		cursor, _ = page["next_cursor"].(string)
	}
	if want := len(orders.Seed()); len(ids) != want {
		t.Errorf("the pages hold %d orders, there are %d", len(ids), want)
	}
}

func TestProblems(t *testing.T) {
	shop, _ := newShop(t)
	order := func(sku, card string) string {
		return strings.ReplaceAll(strings.ReplaceAll(checkout, "BREW-2004", sku), "4242424242424242", card)
	}
	for name, row := range map[string]struct {
		method, target, body string
		want                 int
	}{
		"unknown route":        {"GET", "/v2/orders", "", 404},
		"unknown order":        {"GET", "/v1/orders/none", "", 404},
		"limit out of range":   {"GET", "/v1/orders?limit=51", "", 400},
		"unknown status":       {"GET", "/v1/orders?status=lost", "", 400},
		"cursor of nobody":     {"GET", "/v1/orders?cursor=bm9uZQ", "", 400},
		"cursor not base64":    {"GET", "/v1/orders?cursor=!", "", 400},
		"quantity not number":  {"GET", "/v1/quote?sku=BEAN-1001&qty=x", "", 400},
		"quote of no product":  {"GET", "/v1/quote?sku=TEA&qty=1", "", 404},
		"month cannot be read": {"GET", "/v1/export?month=May", "", 400},
		"not JSON":             {"POST", "/v1/orders", "{", 400},
		"unknown field":        {"POST", "/v1/orders", `{"voucher":"X"}`, 400},
		"body too large":       {"POST", "/v1/orders", `{"card_number":"` + strings.Repeat("4", 70000), 413},
		"incomplete":           {"POST", "/v1/orders", `{}`, 422},
		"sold out":             {"POST", "/v1/orders", order("BREW-2003", "4242424242424242"), 409},
		"declined":             {"POST", "/v1/orders", order("BREW-2004", "4000000000000002"), 402},
		"inventory fails":      {"POST", "/v1/orders", order("GIFT-5001", "4242424242424242"), 502},
		"no token":             {"GET", "/v1/me", "", 401},
	} {
		t.Run(name, func(t *testing.T) {
			status, header, body := send(t, row.method, shop.URL+row.target, row.body)
			if status != row.want || body["status"] != float64(row.want) || header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s %v, want %d", status, header.Get("Content-Type"), body, row.want)
			}
		})
	}
}

func TestProfileNeedsAValidToken(t *testing.T) {
	shop, _ := newShop(t)
	for name, row := range map[string]struct {
		claims token.Claims
		key    string
		want   int
	}{
		"valid":            {token.Claims{Subject: "cus_ada", Expires: now.Unix() + 60}, string(tokenKey), 200},
		"expired":          {token.Claims{Subject: "cus_ada", Expires: now.Unix()}, string(tokenKey), 401},
		"other key":        {token.Claims{Subject: "cus_ada", Expires: now.Unix() + 60}, "guess", 401},
		"unknown customer": {token.Claims{Subject: "cus_none", Expires: now.Unix() + 60}, string(tokenKey), 404},
	} {
		t.Run(name, func(t *testing.T) {
			signed, err := token.Sign(row.claims, []byte(row.key))
			if err != nil {
				t.Fatal(err)
			}
			status, _, body := send(t, "GET", shop.URL+"/v1/me", "", "Authorization", "Bearer "+signed)
			if status != row.want || status == 200 && body["id"] != row.claims.Subject {
				t.Errorf("%d %v, want %d", status, body, row.want)
			}
		})
	}
}

func TestCatalogIsZippedOnRequest(t *testing.T) {
	shop, _ := newShop(t)
	_, _, plain := send(t, "GET", shop.URL+"/v1/catalog", "", "Accept-Encoding", "identity")
	req, _ := http.NewRequestWithContext(t.Context(), "GET", shop.URL+"/v1/catalog", nil)
	req.Header.Set("Accept-Encoding", "gzip") // said by us, so the client leaves the body as it is
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	unzipped, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var zipped map[string]any
	if err := json.NewDecoder(unzipped).Decode(&zipped); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(zipped) != fmt.Sprint(plain) || len(zipped["products"].([]any)) == 0 {
		t.Error("the zipped catalog differs from the plain one")
	}
}
