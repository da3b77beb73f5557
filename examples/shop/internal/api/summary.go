package api

import (
	"context"
	"net/http"
	"sync"

	"example.com/shop/internal/catalog"
	"example.com/shop/internal/orders"
	"example.com/shop/internal/upstream"
)

// summary is all that the back office wants to see of an order at a glance.
type summary struct {
	ID      string         `json:"id"`
	Status  orders.Status  `json:"status"`
	Total   int64          `json:"total"`
	Lines   []summaryLine  `json:"lines"`
	Payment summaryPayment `json:"payment"`
}

type summaryLine struct {
	SKU       string `json:"sku"`
	Name      string `json:"name"`
	Quantity  int    `json:"quantity"`
	Available int    `json:"available"`
	Warehouse string `json:"warehouse"`
}

type summaryPayment struct {
	Status string        `json:"status"`
	Amount int64         `json:"amount"`
	Card   upstream.Card `json:"card"`
}

// summarizeOrder asks both dependencies at once: payments for the charge, and
// inventory for every line.
func (s *server) summarizeOrder(w http.ResponseWriter, r *http.Request) error {
	o, err := s.Orders.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	var (
		group     sync.WaitGroup
		charge    upstream.Charge
		chargeErr error
		stock     []upstream.Stock
		stockErr  error
	)
	group.Go(func() { charge, chargeErr = s.Payments.Charge(r.Context(), o.ChargeID) })
	group.Go(func() { stock, stockErr = s.stockOf(r.Context(), o.Lines) })
	group.Wait()
	switch {
	case chargeErr != nil:
		return &failedUpstream{"payments", chargeErr}
	case stockErr != nil:
		return &failedUpstream{"inventory", stockErr}
	}

	answer := summary{
		ID:      o.ID,
		Status:  o.Status,
		Total:   o.Total(),
		Payment: summaryPayment{Status: charge.Status, Amount: charge.Amount, Card: charge.Card},
	}
	for i, l := range o.Lines {
		product, _ := catalog.Find(l.SKU)
		answer.Lines = append(answer.Lines, summaryLine{
			SKU:       l.SKU,
			Name:      product.Name,
			Quantity:  l.Quantity,
			Available: stock[i].Available,
			Warehouse: stock[i].Warehouse,
		})
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// stockOf asks inventory once for each line, all at the same time. The answers
// are in the order of the lines.
func (s *server) stockOf(ctx context.Context, lines []orders.Line) ([]upstream.Stock, error) {
	var group sync.WaitGroup
	stock := make([]upstream.Stock, len(lines))
	errs := make([]error, len(lines))
	for i, l := range lines {
		group.Go(func() { stock[i], errs[i] = s.Inventory.Stock(ctx, l.SKU) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return stock, nil
}
