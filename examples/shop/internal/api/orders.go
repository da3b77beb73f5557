package api

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"example.com/shop/internal/catalog"
	"example.com/shop/internal/orders"
)

// order is an order as the API shows it. Amounts are in cents.
type order struct {
	ID        string        `json:"id"`
	Status    orders.Status `json:"status"`
	CreatedAt time.Time     `json:"created_at"`
	Customer  customer      `json:"customer"`
	Lines     []line        `json:"lines"`
	Shipping  int64         `json:"shipping"`
	Total     int64         `json:"total"`
	Currency  string        `json:"currency"`
	ChargeID  string        `json:"charge_id"`
	RefundID  string        `json:"refund_id,omitempty"`
}

type customer struct {
	Name  string `json:"name"`
	Email string `json:"email"`
	Phone string `json:"phone,omitempty"`
}

type line struct {
	SKU       string `json:"sku"`
	Name      string `json:"name"`
	Quantity  int    `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
}

func viewOf(o orders.Order) order {
	view := order{
		ID:        o.ID,
		Status:    o.Status,
		CreatedAt: o.CreatedAt,
		Customer:  customer{Name: o.Customer.Name, Email: o.Customer.Email, Phone: o.Customer.Phone},
		Lines:     make([]line, len(o.Lines)),
		Shipping:  o.Shipping,
		Total:     o.Total(),
		Currency:  catalog.Currency,
		ChargeID:  o.ChargeID,
		RefundID:  o.RefundID,
	}
	for i, l := range o.Lines {
		product, _ := catalog.Find(l.SKU)
		view.Lines[i] = line{SKU: l.SKU, Name: product.Name, Quantity: l.Quantity, UnitPrice: l.UnitPrice}
	}
	return view
}

func (s *server) getOrder(w http.ResponseWriter, r *http.Request) error {
	o, err := s.Orders.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, viewOf(o))
	return nil
}

// row is an order in a list.
type row struct {
	ID        string        `json:"id"`
	Status    orders.Status `json:"status"`
	CreatedAt time.Time     `json:"created_at"`
	Customer  string        `json:"customer"`
	Items     int           `json:"items"`
	Total     int64         `json:"total"`
	Currency  string        `json:"currency"`
}

func rowOf(o orders.Order) row {
	return row{
		ID:        o.ID,
		Status:    o.Status,
		CreatedAt: o.CreatedAt,
		Customer:  o.Customer.Name,
		Items:     orders.Pieces(o.Lines),
		Total:     o.Total(),
		Currency:  catalog.Currency,
	}
}

// list is one page of orders. NextCursor is absent on the last one.
type list struct {
	Orders     []row  `json:"orders"`
	NextCursor string `json:"next_cursor,omitempty"`
}

func (s *server) listOrders(w http.ResponseWriter, r *http.Request) error {
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	page, err := s.Orders.List(query)
	if err != nil {
		return err
	}
	answer := list{Orders: make([]row, 0, len(page.Orders))}
	for _, o := range page.Orders {
		answer.Orders = append(answer.Orders, rowOf(o))
	}
	if page.Next != "" {
		answer.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(page.Next))
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// Pages hold defaultLimit orders unless the caller asks for up to maxLimit.
const (
	defaultLimit = 10
	maxLimit     = 50
)

func readQuery(r *http.Request) (orders.Query, error) {
	values := r.URL.Query()
	query := orders.Query{Status: orders.Status(values.Get("status"))}
	if query.Status != "" && !query.Status.Known() {
		return query, badRequest(fmt.Sprintf("status: %q is not a status", query.Status))
	}
	limit, err := strconv.Atoi(cmp.Or(values.Get("limit"), strconv.Itoa(defaultLimit)))
	if err != nil || limit < 1 || limit > maxLimit {
		return query, badRequest(fmt.Sprintf("limit: must be a number from 1 to %d", maxLimit))
	}
	query.Limit = limit
	after, err := base64.RawURLEncoding.DecodeString(values.Get("cursor"))
	if err != nil {
		return query, orders.ErrBadCursor
	}
	query.After = string(after)
	return query, nil
}
