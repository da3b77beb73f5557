package api

import (
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/shop/internal/catalog"
	"example.com/shop/internal/orders"
	"example.com/shop/internal/pricing"
)

// listCatalog answers with gzip to everyone who can read it.
func (s *server) listCatalog(w http.ResponseWriter, r *http.Request) error {
	answer := struct {
		Currency string            `json:"currency"`
		Products []catalog.Product `json:"products"`
	}{catalog.Currency, catalog.All()}

	w.Header().Set("Vary", "Accept-Encoding")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		writeJSON(w, http.StatusOK, answer)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	zipped := gzip.NewWriter(w)
	if err := json.NewEncoder(zipped).Encode(answer); err != nil {
		return err
	}
	return zipped.Close()
}

// maxQuote is the largest quantity that the shop can deliver at all.
const maxQuote = 5000

// quote makes an offer for a large quantity.
func (s *server) quote(w http.ResponseWriter, r *http.Request) error {
	product, ok := catalog.Find(r.URL.Query().Get("sku"))
	if !ok {
		return notFound("sku: is not in the catalog")
	}
	quantity, err := strconv.Atoi(r.URL.Query().Get("qty"))
	if err != nil || quantity < 1 || quantity > maxQuote {
		return badRequest("qty: must be a number from 1 to " + strconv.Itoa(maxQuote))
	}
	offer := pricing.Quote(product.SKU, product.UnitPrice, quantity)
	writeJSON(w, http.StatusOK, struct {
		SKU             string  `json:"sku"`
		Quantity        int     `json:"quantity"`
		ListPrice       int64   `json:"list_price"`
		UnitPrice       int64   `json:"unit_price"`
		DiscountPercent float64 `json:"discount_percent"`
		Total           int64   `json:"total"`
		Currency        string  `json:"currency"`
	}{product.SKU, quantity, product.UnitPrice, offer.UnitPrice, offer.Discount, offer.Total, catalog.Currency})
	return nil
}

// export answers with the ledger of a month, for the accountants.
func (s *server) export(w http.ResponseWriter, r *http.Request) error {
	month, err := time.Parse("2006-01", r.URL.Query().Get("month"))
	if err != nil {
		return badRequest("month: must be written as in 2026-01")
	}
	w.Header().Set("Content-Disposition", `attachment; filename="ledger-`+month.Format("2006-01")+`.json"`)
	writeJSON(w, http.StatusOK, struct {
		Month   string         `json:"month"`
		Entries []orders.Entry `json:"entries"`
	}{month.Format("2006-01"), orders.Ledger(month)})
	return nil
}
