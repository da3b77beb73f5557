// Command shipping stands in for the service that knows the carrier while a
// snapshot is recorded. It speaks gRPC without TLS, as services in a cluster
// do.
package main

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/shop/internal/shippingpb"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:9090", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "shipping:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	shippingpb.RegisterShippingServer(server, &carrier{now: time.Now, announced: make(map[string]shipment)})
	defer context.AfterFunc(ctx, server.Stop)()
	return server.Serve(listener)
}

// carrier knows the parcels that were announced since it was started, and
// makes up those of older orders: one of eight was never scanned.
type carrier struct {
	shippingpb.UnimplementedShippingServer
	now func() time.Time

	mu        sync.Mutex
	announced map[string]shipment // by order
}

type shipment struct {
	parcel string
	at     time.Time
}

// Announce implements the service.
func (c *carrier) Announce(_ context.Context, in *shippingpb.AnnounceRequest) (*shippingpb.Announcement, error) {
	if in.GetOrderId() == "" || in.GetPieces() < 1 || in.GetGrams() < 1 {
		return nil, status.Error(codes.InvalidArgument, "a parcel needs an order, pieces and a weight")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.announced[in.GetOrderId()]
	if !ok {
		s = shipment{parcelOf(in.GetOrderId()), c.now()}
		c.announced[in.GetOrderId()] = s
	}
	return &shippingpb.Announcement{ParcelId: s.parcel, Pickup: s.at.UTC().AddDate(0, 0, 1).Format(time.DateOnly)}, nil
}

// Track implements the service.
func (c *carrier) Track(in *shippingpb.TrackRequest, stream grpc.ServerStreamingServer[shippingpb.Event]) error {
	events := c.eventsOf(in.GetOrderId())
	if events == nil {
		return status.Error(codes.NotFound, "no parcel of this order was scanned")
	}
	for _, e := range events {
		if err := stream.Send(e); err != nil {
			return err
		}
	}
	return nil
}

func (c *carrier) eventsOf(order string) []*shippingpb.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.announced[order]; ok {
		return []*shippingpb.Event{{ParcelId: s.parcel, At: s.at.Unix(), Place: "AMS", Kind: shippingpb.Event_KIND_ANNOUNCED}}
	}
	h := hash(order)
	if h%8 == 0 {
		return nil
	}
	at := time.Date(2026, time.January, 7, 8, 0, 0, 0, time.UTC).Add(time.Duration(h%400) * time.Hour)
	var events []*shippingpb.Event
	for i, stop := range []struct {
		place string
		kind  shippingpb.Event_Kind
	}{
		{"AMS", shippingpb.Event_KIND_ANNOUNCED},
		{"AMS", shippingpb.Event_KIND_PICKED_UP},
		{"LEJ", shippingpb.Event_KIND_SORTED},
		{"LIS", shippingpb.Event_KIND_SORTED},
		{"LIS", shippingpb.Event_KIND_DELIVERED},
	}[:2+h%4] {
		events = append(events, &shippingpb.Event{
			ParcelId: parcelOf(order), At: at.Add(time.Duration(9*i) * time.Hour).Unix(), Place: stop.place, Kind: stop.kind,
		})
	}
	return events
}

// parcelOf returns the number on the label.
func parcelOf(order string) string { return fmt.Sprintf("PX%010d", hash(order)) }

func hash(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}
