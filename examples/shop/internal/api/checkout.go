package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"example.com/shop/internal/catalog"
	"example.com/shop/internal/id"
	"example.com/shop/internal/orders"
	"example.com/shop/internal/upstream"
)

// checkout is the body of POST /v1/orders.
type checkout struct {
	Customer   customer       `json:"customer"`
	Lines      []checkoutLine `json:"lines"`
	CardNumber string         `json:"card_number"`
}

type checkoutLine struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// maxQuantity is the most that one line may order; beyond it, ask for a quote.
const maxQuantity = 50

// check returns all that is wrong with a checkout as one problem.
func (c checkout) check() error {
	var errs []invalidField
	wrong := func(field, reason string) { errs = append(errs, invalidField{field, reason}) }
	if strings.TrimSpace(c.Customer.Name) == "" {
		wrong("customer.name", "is missing")
	}
	if at := strings.IndexByte(c.Customer.Email, '@'); at < 1 || at == len(c.Customer.Email)-1 {
		wrong("customer.email", "is not an e-mail address")
	}
	if digits := len(c.CardNumber); digits < 12 || digits > 19 || strings.Trim(c.CardNumber, "0123456789") != "" {
		wrong("card_number", "must have 12 to 19 digits")
	}
	if len(c.Lines) == 0 {
		wrong("lines", "there must be at least one")
	}
	for i, l := range c.Lines {
		if _, ok := catalog.Find(l.SKU); !ok {
			wrong(fmt.Sprintf("lines[%d].sku", i), "is not in the catalog")
		}
		if l.Quantity < 1 || l.Quantity > maxQuantity {
			wrong(fmt.Sprintf("lines[%d].quantity", i), fmt.Sprintf("must be from 1 to %d", maxQuantity))
		}
	}
	if len(errs) > 0 {
		return &problem{Status: http.StatusUnprocessableEntity, Detail: "the order is not complete", Errors: errs}
	}
	return nil
}

// lines prices what was ordered; check must have passed.
func (c checkout) lines() []orders.Line {
	lines := make([]orders.Line, len(c.Lines))
	for i, l := range c.Lines {
		product, _ := catalog.Find(l.SKU)
		lines[i] = orders.Line{SKU: l.SKU, Quantity: l.Quantity, UnitPrice: product.UnitPrice}
	}
	return lines
}

// receipt is the answer to an order. The confirmation is a number for the
// customer to quote; it is printed on the parcel and stored nowhere else.
type receipt struct {
	order
	ConfirmationID string `json:"confirmation_id"`
}

// createOrder checks the stock, takes the money, and keeps the order.
func (s *server) createOrder(w http.ResponseWriter, r *http.Request) error {
	var request checkout
	if err := readJSON(w, r, &request, false); err != nil {
		return err
	}
	if err := request.check(); err != nil {
		return err
	}
	ctx := r.Context()
	o := orders.Order{
		ID:        id.New(),
		Status:    orders.Paid,
		CreatedAt: s.Now().UTC(),
		Customer:  orders.Customer{Name: request.Customer.Name, Email: request.Customer.Email, Phone: request.Customer.Phone},
		Lines:     request.lines(),
	}
	o.Shipping = orders.ShippingFor(o.Lines)
	if err := s.checkStock(ctx, o.Lines); err != nil {
		return err
	}
	chargeID, err := s.charge(ctx, o, request.CardNumber)
	if err != nil {
		return err
	}
	o.ChargeID = chargeID
	s.Orders.Add(o)
	s.reserve(ctx, o)
	s.announce(ctx, o)

	w.Header().Set("Location", "/v1/orders/"+o.ID)
	writeJSON(w, http.StatusCreated, receipt{order: viewOf(o), ConfirmationID: id.New()})
	return nil
}

// checkStock asks inventory for each line in turn, and stops at the first that
// cannot be had.
func (s *server) checkStock(ctx context.Context, lines []orders.Line) error {
	for _, l := range lines {
		enough, err := s.Inventory.Suffices(ctx, l.SKU, l.Quantity)
		if err != nil {
			return &failedUpstream{"inventory", err}
		}
		if !enough {
			return conflict(fmt.Sprintf("%s is out of stock", l.SKU))
		}
	}
	return nil
}

// charge blocks the money and takes it, and returns the id of the charge.
func (s *server) charge(ctx context.Context, o orders.Order, card string) (string, error) {
	charge, err := s.Payments.Authorize(ctx, upstream.Authorization{
		Amount:     o.Total(),
		Currency:   catalog.Currency,
		CardNumber: card,
		Email:      o.Customer.Email,
		Reference:  o.ID,
	})
	if err != nil {
		return "", &failedUpstream{"payments", err}
	}
	if err := s.Payments.Capture(ctx, charge.ID, o.Total()); err != nil {
		return "", &failedUpstream{"payments", err}
	}
	return charge.ID, nil
}

// reserve puts the goods aside. An order is good without it: the warehouse
// picks from all paid orders every night, so a failure is only logged.
func (s *server) reserve(ctx context.Context, o orders.Order) {
	lines := make([]upstream.ReservedLine, len(o.Lines))
	for i, l := range o.Lines {
		lines[i] = upstream.ReservedLine{SKU: l.SKU, Quantity: l.Quantity}
	}
	if err := s.Inventory.Reserve(ctx, o.ID, lines); err != nil {
		s.Log.Warn("goods not reserved", "order", o.ID, "error", err.Error())
	}
}

// refundOrder gives back the money of an order that has not been shipped.
func (s *server) refundOrder(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		Reason string `json:"reason"`
	}
	if err := readJSON(w, r, &request, true); err != nil {
		return err
	}
	o, err := s.Orders.Refund(r.PathValue("id"), func(o orders.Order) (string, error) {
		refundID, err := s.Payments.Refund(r.Context(), o.ChargeID, o.Total(), request.Reason)
		if err != nil {
			return "", &failedUpstream{"payments", err}
		}
		return refundID, nil
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, viewOf(o))
	return nil
}
