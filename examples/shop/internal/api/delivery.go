package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"example.com/shop/internal/orders"
	"example.com/shop/internal/upstream"
)

// delivery is the way of an order's parcel. Parcel is absent, and Scans is
// empty, as long as the carrier knows nothing of it.
type delivery struct {
	OrderID string        `json:"order_id"`
	Status  orders.Status `json:"status"`
	Parcel  string        `json:"parcel,omitempty"`
	Scans   []scan        `json:"scans"`
}

type scan struct {
	At    time.Time `json:"at"`
	Place string    `json:"place"`
	Kind  string    `json:"kind"`
}

// trackOrder asks shipping where the parcel of an order is.
func (s *server) trackOrder(w http.ResponseWriter, r *http.Request) error {
	o, err := s.Orders.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	if o.Status == orders.Cancelled || o.Status == orders.Refunded {
		return conflict("nothing is sent for an order that is " + string(o.Status))
	}
	scans, err := s.Shipping.Track(r.Context(), o.ID)
	if err != nil && !errors.Is(err, upstream.ErrNoParcel) {
		return &failedUpstream{"shipping", err}
	}
	answer := delivery{OrderID: o.ID, Status: o.Status, Scans: make([]scan, len(scans))}
	for i, s := range scans {
		answer.Parcel = s.Parcel
		answer.Scans[i] = scan{At: s.At, Place: s.Place, Kind: s.Kind}
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// announce tells the carrier of a new parcel. A parcel that was not announced
// is picked up a day later, so a failure is only logged.
func (s *server) announce(ctx context.Context, o orders.Order) {
	parcel := upstream.Parcel{OrderID: o.ID, Pieces: orders.Pieces(o.Lines), Grams: orders.Weight(o.Lines)}
	if err := s.Shipping.Announce(ctx, parcel); err != nil {
		s.Log.Warn("parcel not announced", "order", o.ID, "error", err.Error())
	}
}
