package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/shop/internal/catalog"
	"example.com/shop/internal/token"
)

// person is a guest. The cards are test numbers that no bank gives out.
type person struct{ name, email, phone, card string }

var guests = []person{
	{"Ines Albrecht", "ines.albrecht@example.com", "+44 20 7946 0233", "4242424242424242"},
	{"Jonas Okafor", "jonas.okafor@example.org", "+1 202 555 0142", "5555555555554444"},
	{"Katya Morozova", "katya@morozova.example", "+44 131 496 0415", "4000056655665556"},
	{"Liam O'Driscoll", "liam.odriscoll@example.net", "+1 202 555 0158", "378282246310005"},
	{"Mei Tanaka", "mei.tanaka@mail.example", "+44 113 496 0777", "5200828282828210"},
	{"Nils Aamodt", "nils+coffee@example.com", "", "4012888888881881"},
}

const declinedCard = "4000000000000002"

// The two products that inventory has trouble with.
const (
	soldOut = "BREW-2003"
	broken  = "GIFT-5001"
)

type item struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

func order(p person, lines ...item) map[string]any {
	customer := map[string]string{"name": p.name, "email": p.email}
	if p.phone != "" {
		customer["phone"] = p.phone
	}
	return map[string]any{"customer": customer, "lines": lines, "card_number": p.card}
}

// shop looks around, buys something, looks at it, and often changes its mind.
func (s *session) shop(ctx context.Context) error {
	if _, err := s.send(ctx, 200, "/v1/catalog", "GET", "/v1/catalog", http.Header{"Accept-Encoding": {"gzip, deflate, br"}}, nil); err != nil {
		return err
	}
	lines := s.basket()
	for range 1 + s.random.IntN(2) {
		target := fmt.Sprintf("/v1/quote?sku=%s&qty=%d", lines[0].SKU, 10*(1+s.random.IntN(200)))
		if _, err := s.get(ctx, 200, "/v1/quote", target); err != nil {
			return err
		}
	}
	placed, err := s.send(ctx, 201, "/v1/orders", "POST", "/v1/orders", nil, order(guests[s.random.IntN(len(guests))], lines...))
	if err != nil {
		return err
	}
	location := placed.header.Get("Location")
	if _, err := s.get(ctx, 200, "/v1/orders/{id}", location); err != nil {
		return err
	}
	if _, err := s.get(ctx, 200, "/v1/orders/{id}/summary", location+"/summary"); err != nil {
		return err
	}
	if _, err := s.get(ctx, 200, "/v1/orders/{id}/delivery", location+"/delivery"); err != nil {
		return err
	}
	if s.random.IntN(2) == 0 {
		return nil
	}
	reason := map[string]string{"reason": []string{"changed my mind", "ordered twice", "too late"}[s.random.IntN(3)]}
	if _, err := s.send(ctx, 200, "/v1/orders/{id}/refund", "POST", location+"/refund", nil, reason); err != nil {
		return err
	}
	if _, err := s.get(ctx, 200, "/v1/orders/{id}", location); err != nil {
		return err
	}
	if s.random.IntN(3) > 0 {
		return nil
	}
	// A second click, and a look for the parcel that will not come.
	if _, err := s.send(ctx, 409, "/v1/orders/{id}/refund", "POST", location+"/refund", nil, reason); err != nil {
		return err
	}
	_, err = s.get(ctx, 409, "/v1/orders/{id}/delivery", location+"/delivery")
	return err
}

// basket returns one to four different products that can be had.
func (s *session) basket() []item {
	products := catalog.All()
	var lines []item
	for _, i := range s.random.Perm(len(products)) {
		if sku := products[i].SKU; sku != soldOut && sku != broken {
			lines = append(lines, item{sku, 1 + s.random.IntN(4)})
		}
		if len(lines) == 1+s.number%4 {
			break
		}
	}
	return lines
}

// browse asks for prices and goes away.
func (s *session) browse(ctx context.Context) error {
	if _, err := s.get(ctx, 200, "/v1/catalog", "/v1/catalog"); err != nil {
		return err
	}
	for _, l := range s.basket() {
		target := fmt.Sprintf("/v1/quote?sku=%s&qty=%d", l.SKU, 5+s.random.IntN(4000))
		if _, err := s.get(ctx, 200, "/v1/quote", target); err != nil {
			return err
		}
	}
	_, err := s.get(ctx, 200, "/healthz", "/healthz")
	return err
}

type orderList struct {
	Orders []struct {
		ID    string `json:"id"`
		Total int64  `json:"total"`
	} `json:"orders"`
	NextCursor string `json:"next_cursor"`
}

// backOffice pages through the orders that were shipped, opens some, looks
// where their parcels are, and now and then exports a month.
func (s *session) backOffice(ctx context.Context) error {
	status := []string{"delivered", "shipped"}[s.number/8%2]
	cursor := ""
	for page := range 2 {
		query := url.Values{"status": {status}, "limit": {[]string{"5", "8"}[s.random.IntN(2)]}}
		if page > 0 {
			query.Set("cursor", cursor)
		}
		got, err := s.get(ctx, 200, "/v1/orders", "/v1/orders?"+query.Encode())
		if err != nil {
			return err
		}
		var list orderList
		if err := got.read(&list); err != nil {
			return err
		}
		for i, o := range list.Orders {
			if i == 2 {
				break
			}
			if _, err := s.get(ctx, 200, "/v1/orders/{id}", "/v1/orders/"+o.ID); err != nil {
				return err
			}
			if _, err := s.get(ctx, 200, "/v1/orders/{id}/delivery", "/v1/orders/"+o.ID+"/delivery"); err != nil {
				return err
			}
		}
		if cursor = list.NextCursor; cursor == "" {
			break
		}
	}
	if _, err := s.get(ctx, 200, "/v1/orders", "/v1/orders?status=cancelled"); err != nil {
		return err
	}
	if _, err := s.get(ctx, 200, "/v1/orders", "/v1/orders"); err != nil {
		return err
	}
	if s.number/8%3 > 0 {
		return nil
	}
	_, err := s.get(ctx, 200, "/v1/export", "/v1/export?month=2026-01")
	return err
}

// member looks at the own profile with good tokens and bad ones.
func (s *session) member(ctx context.Context) error {
	now := time.Now()
	subject := []string{"cus_ada", "cus_bruno", "cus_chidi", "cus_dagny", "cus_emre", "cus_farah", "cus_greta", "cus_hugo"}[s.number/8%8]
	good := token.Claims{
		Subject:  subject,
		Email:    strings.TrimPrefix(subject, "cus_") + "@login.example.com",
		IssuedAt: now.Add(-time.Minute).Unix(),
		Expires:  now.Add(time.Hour).Unix(),
	}
	old := good
	old.IssuedAt, old.Expires = now.Add(-3*time.Hour).Unix(), now.Add(-2*time.Hour).Unix()
	for _, login := range []struct {
		claims token.Claims
		want   int
	}{{good, 200}, {good, 200}, {old, 401}} {
		signed, err := token.Sign(login.claims, s.key)
		if err != nil {
			return err
		}
		header := http.Header{"Authorization": {"Bearer " + signed}}
		if _, err := s.send(ctx, login.want, "/v1/me", "GET", "/v1/me", header, nil); err != nil {
			return err
		}
	}
	_, err := s.get(ctx, 401, "/v1/me", "/v1/me")
	return err
}

// mistakes does everything that a caller can do wrong.
func (s *session) mistakes(ctx context.Context) error {
	guest := guests[s.random.IntN(len(guests))]
	declined := guest
	declined.card = declinedCard
	for _, m := range []struct {
		want   int
		route  string
		method string
		target string
		body   any
	}{
		{404, "/v1/orders/{unknown}", "GET", "/v1/orders/00000000-0000-4000-8000-00000000dead", nil},
		{404, "/v1/orders/{unknown}/summary", "GET", "/v1/orders/00000000-0000-4000-8000-00000000beef/summary", nil},
		{404, "/v1/orders/{unknown}/delivery", "GET", "/v1/orders/00000000-0000-4000-8000-00000000feed/delivery", nil},
		{400, "/v1/orders", "GET", "/v1/orders?limit=1000", nil},
		{400, "/v1/orders", "GET", "/v1/orders?status=lost", nil},
		{404, "/v1/quote", "GET", "/v1/quote?sku=TEA-0001&qty=10", nil},
		{400, "/v1/quote", "GET", "/v1/quote?sku=BEAN-1001&qty=many", nil},
		{400, "/v1/orders", "POST", "/v1/orders", `{"customer": {"name": "Ines`},
		{422, "/v1/orders", "POST", "/v1/orders", map[string]any{"lines": []item{{"TEA-0001", 0}}}},
		{409, "/v1/orders", "POST", "/v1/orders", order(guest, item{"BEAN-1001", 1}, item{soldOut, 1})},
		{402, "/v1/orders", "POST", "/v1/orders", order(declined, item{"BREW-2001", 2})},
		{502, "/v1/orders", "POST", "/v1/orders", order(guest, item{broken, 1})},
		{404, "/nothing/here", "GET", "/nothing/here", nil},
	} {
		if _, err := s.send(ctx, m.want, m.route, m.method, m.target, nil, m.body); err != nil {
			return err
		}
	}
	return nil
}
