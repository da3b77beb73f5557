package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/shop/internal/shippingpb"
)

// Shipping is the service that hands parcels to the carrier. It speaks gRPC.
type Shipping struct {
	conn    *grpc.ClientConn
	client  shippingpb.ShippingClient
	timeout time.Duration
}

// NewShipping returns a client of the shipping service at address, a host and
// a port in the cluster. It connects with the first call; Close ends it. Like
// the HTTP clients it honours HTTPS_PROXY and NO_PROXY.
func NewShipping(address string, timeout time.Duration) (*Shipping, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("shop/1.4"))
	if err != nil {
		return nil, fmt.Errorf("shipping: %w", err)
	}
	return &Shipping{conn, shippingpb.NewShippingClient(conn), timeout}, nil
}

// Close ends the connection.
func (s *Shipping) Close() error { return s.conn.Close() }

// ErrNoParcel says that the carrier knows of no parcel.
var ErrNoParcel = errors.New("there is no parcel")

// Parcel is what the carrier is told in advance.
type Parcel struct {
	OrderID string
	Pieces  int
	Grams   int
}

// Announce tells that a parcel will be ready for the next pick-up.
func (s *Shipping) Announce(ctx context.Context, p Parcel) error {
	ctx, cancel := s.call(ctx)
	defer cancel()
	request := &shippingpb.AnnounceRequest{OrderId: p.OrderID, Pieces: int32(p.Pieces), Grams: int32(p.Grams)}
	if _, err := s.client.Announce(ctx, request); err != nil {
		return fmt.Errorf("announce a parcel: %w", err)
	}
	return nil
}

// Scan is one thing that happened to a parcel.
type Scan struct {
	Parcel string
	At     time.Time
	Place  string
	Kind   string // announced, picked_up, sorted, delivered
}

// Track asks what happened to the parcel of an order, oldest first. It
// returns [ErrNoParcel] where nothing did.
func (s *Shipping) Track(ctx context.Context, orderID string) ([]Scan, error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	stream, err := s.client.Track(ctx, &shippingpb.TrackRequest{OrderId: orderID})
	if err != nil {
		return nil, fmt.Errorf("track a parcel: %w", err)
	}
	var scans []Scan
	for {
		event, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return scans, nil
		case status.Code(err) == codes.NotFound:
			return nil, ErrNoParcel
		case err != nil:
			return nil, fmt.Errorf("track a parcel: %w", err)
		}
		scans = append(scans, Scan{
			Parcel: event.GetParcelId(),
			At:     time.Unix(event.GetAt(), 0).UTC(),
			Place:  event.GetPlace(),
			Kind:   strings.ToLower(strings.TrimPrefix(event.GetKind().String(), "KIND_")),
		})
	}
}

// call returns the context of one call: with a deadline, and with the trace as
// metadata.
func (s *Shipping) call(ctx context.Context) (context.Context, context.CancelFunc) {
	for name, values := range traceOf(ctx) {
		for _, value := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), value)
		}
	}
	return context.WithTimeout(ctx, s.timeout)
}
