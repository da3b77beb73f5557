package upstream

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Inventory is the service that knows what is on the shelves.
type Inventory struct{ client client }

// NewInventory returns a client of the inventory service at base.
func NewInventory(base, key string, c *http.Client) *Inventory {
	return &Inventory{client{base: base, headers: http.Header{"X-Api-Key": {key}}, http: c}}
}

// Stock is what inventory says of one product.
type Stock struct {
	SKU       string    `json:"sku"`
	Available int       `json:"available"`
	Warehouse string    `json:"warehouse"`
	CheckedAt time.Time `json:"checked_at"`
}

// Stock asks how many pieces of a product are there.
func (i *Inventory) Stock(ctx context.Context, sku string) (Stock, error) {
	var stock Stock
	err := i.client.call(ctx, http.MethodGet, "/v1/stock/"+url.PathEscape(sku), nil, nil, &stock)
	return stock, err
}

// Suffices asks whether quantity pieces of a product can be sold today.
func (i *Inventory) Suffices(ctx context.Context, sku string, quantity int) (bool, error) {
	var stock Stock
	path := "/v1/stock/" + url.PathEscape(sku) + "?quantity=" + strconv.Itoa(quantity)
	err := i.client.call(ctx, http.MethodGet, path, nil, nil, &stock)
	return stock.Available >= quantity, err
}

// ReservedLine is a number of pieces to be put aside.
type ReservedLine struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// Reserve asks for goods to be put aside for an order.
func (i *Inventory) Reserve(ctx context.Context, orderID string, lines []ReservedLine) error {
	request := struct {
		Order    string         `json:"order"`
		Lines    []ReservedLine `json:"lines"`
		HoldDays int            `json:"hold_days"`
	}{orderID, lines, 3}
	return i.client.call(ctx, http.MethodPost, "/v1/reservations", nil, request, nil)
}
