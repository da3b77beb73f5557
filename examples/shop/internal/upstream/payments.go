package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"example.com/shop/internal/id"
)

// Payments is the provider that moves the money.
type Payments struct{ client client }

// NewPayments returns a client of the payments provider at base.
func NewPayments(base, key string, c *http.Client) *Payments {
	return &Payments{client{base: base, headers: http.Header{"Authorization": {"Bearer " + key}}, http: c}}
}

// ErrDeclined says that the customer's bank refused.
var ErrDeclined = errors.New("the card was declined")

// Charge is money to be taken from a card. Amounts are in cents.
type Charge struct {
	ID     string `json:"id"`
	Status string `json:"status"` // authorized, captured, refunded
	Amount int64  `json:"amount"`
	Card   Card   `json:"card"`
}

// Card is what may be shown of a card.
type Card struct {
	Brand string `json:"brand"`
	Last4 string `json:"last4"`
}

// Authorization asks for money to be blocked on a card.
type Authorization struct {
	Amount     int64  `json:"amount"`
	Currency   string `json:"currency"`
	CardNumber string `json:"card_number"`
	Email      string `json:"receipt_email"`
	Reference  string `json:"reference"` // id of the order
}

// Authorize blocks money, or returns [ErrDeclined].
func (p *Payments) Authorize(ctx context.Context, a Authorization) (Charge, error) {
	var charge Charge
	err := p.client.call(ctx, http.MethodPost, "/v1/charges", once(), a, &charge)
	if status := (*StatusError)(nil); errors.As(err, &status) && status.Status == http.StatusPaymentRequired {
		return Charge{}, ErrDeclined
	}
	return charge, err
}

// Capture takes the money that was blocked.
func (p *Payments) Capture(ctx context.Context, charge string, amount int64) error {
	request := struct {
		Amount int64 `json:"amount"`
	}{amount}
	return p.client.call(ctx, http.MethodPost, "/v1/charges/"+url.PathEscape(charge)+"/capture", once(), request, nil)
}

// Refund gives money back and returns the id of the refund.
func (p *Payments) Refund(ctx context.Context, charge string, amount int64, reason string) (string, error) {
	request := struct {
		Amount int64  `json:"amount"`
		Reason string `json:"reason,omitempty"`
	}{amount, reason}
	var refund struct {
		ID string `json:"id"`
	}
	err := p.client.call(ctx, http.MethodPost, "/v1/charges/"+url.PathEscape(charge)+"/refunds", once(), request, &refund)
	return refund.ID, err
}

// Charge asks how a charge stands.
func (p *Payments) Charge(ctx context.Context, charge string) (Charge, error) {
	var c Charge
	err := p.client.call(ctx, http.MethodGet, "/v1/charges/"+url.PathEscape(charge), nil, nil, &c)
	return c, err
}

// once returns the header by which the provider tells a repeated message from
// a new one.
func once() http.Header { return http.Header{"Idempotency-Key": {id.New()}} }
