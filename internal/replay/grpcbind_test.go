package replay_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// orders is a service of gRPC that gives each order an id of its own, and knows
// no other.
type orders struct {
	mu    sync.Mutex
	known map[string]bool
	got   int
}

// create answers with the new order, its id two messages deep.
func (o *orders) create(_ context.Context, _ *structpb.Struct) (*structpb.Struct, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := "ord-" + rand.Text()
	o.known[id] = true
	return structpb.NewStruct(map[string]any{"order": map[string]any{"id": id}})
}

// get wants an id back, in a list.
func (o *orders) get(_ context.Context, in *structpb.Struct) (*structpb.Struct, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := in.GetFields()["ids"].GetListValue().GetValues()[0].GetStringValue()
	if !o.known[id] {
		return nil, status.Errorf(codes.NotFound, "no order %s", id)
	}
	o.got++
	return in, nil
}

// found returns how many orders were asked for and known.
func (o *orders) found() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.got
}

// serveOrders starts the service and returns its address.
func serveOrders(t *testing.T, o *orders) string {
	t.Helper()
	method := func(name string, do func(context.Context, *structpb.Struct) (*structpb.Struct, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(structpb.Struct)
			if err := decode(in); err != nil {
				return nil, err
			}
			return do(ctx, in)
		}}
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "shop.Orders", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{method("Create", o.create), method("Get", o.get)},
		Streams: []grpc.StreamDesc{{StreamName: "Talk", Handler: o.talk, ServerStreams: true, ClientStreams: true}},
	}, o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

// grpcFrame is a body of gRPC with one message.
func grpcFrame(t *testing.T, m proto.Message) string {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...))
}

// TestGRPCBinding records two calls of a real client to a real service and
// replays them against another instance, which gives other ids.
func TestGRPCBinding(t *testing.T) {
	conn, err := grpc.NewClient(serveOrders(t, &orders{known: map[string]bool{}}), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var exchanges []*traffic.Exchange
	call := func(method string, in *structpb.Struct) *structpb.Struct {
		out := new(structpb.Struct)
		if err := conn.Invoke(t.Context(), "/shop.Orders/"+method, in, out); err != nil {
			t.Fatal(err)
		}
		header := []string{"content-type", "application/grpc", "te", "trailers"}
		x := withBody(recorded(len(exchanges), "POST", "/shop.Orders/"+method, header...), grpcFrame(t, in))
		x.Response.Proto = "HTTP/2.0"
		x.Response.Header = traffic.Header{{Name: "content-type", Value: "application/grpc"}}
		x.Response.Body = traffic.NewBody([]byte(grpcFrame(t, out)), x.Response.Header)
		exchanges = append(exchanges, x)
		return out
	}
	for range 3 {
		created := call("Create", &structpb.Struct{})
		id := created.GetFields()["order"].GetStructValue().GetFields()["id"].GetStringValue()
		call("Get", &structpb.Struct{Fields: map[string]*structpb.Value{
			"ids": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue(id)}}), "page": structpb.NewNumberValue(1),
		}})
	}
	bindings, err := transform.Learn(exchanges, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rebinds(t, exchanges, bindings, replay.Options{Timeout: time.Minute})
}

// talk gives an order an id, and wants it back in the same call.
func (o *orders) talk(_ any, stream grpc.ServerStream) error {
	for {
		in := new(structpb.Struct)
		if err := stream.RecvMsg(in); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		do := o.create
		if in.GetFields()["ids"] != nil {
			do = o.get
		}
		answer, err := do(stream.Context(), in)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(answer); err != nil {
			return err
		}
	}
}

// TestGRPCBindingWithinAStream: a message that uses what an earlier answer of the
// same stream said takes what this service said, each message in its turn.
func TestGRPCBindingWithinAStream(t *testing.T) {
	value := func(id string) *structpb.Struct {
		return &structpb.Struct{Fields: map[string]*structpb.Value{
			"ids": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue(id)}}), "page": structpb.NewNumberValue(1),
		}}
	}
	created := func(id string) *structpb.Struct {
		s, err := structpb.NewStruct(map[string]any{"order": map[string]any{"id": id}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, two := "ord-RECORDED00000000000000AA1", "ord-RECORDED00000000000000AA2"
	x := withBody(recorded(0, "POST", "/shop.Orders/Talk", "content-type", "application/grpc", "te", "trailers"),
		grpcFrame(t, &structpb.Struct{})+grpcFrame(t, value(one))+grpcFrame(t, &structpb.Struct{})+grpcFrame(t, value(two)))
	x.Request.Body.Times = ms(0, 20, 40, 60, 80)
	x.Response.Proto = "HTTP/2.0"
	x.Response.Header = traffic.Header{{Name: "content-type", Value: "application/grpc"}}
	x.Response.Body = traffic.NewBody([]byte(grpcFrame(t, created(one))+grpcFrame(t, value(one))+grpcFrame(t, created(two))+grpcFrame(t, value(two))), x.Response.Header)
	x.Response.Body.Times = ms(10, 30, 50, 70)
	use := withBody(recorded(1, "POST", "/shop.Orders/Get", "content-type", "application/grpc", "te", "trailers"), grpcFrame(t, value(two)))
	use.Response.Proto, use.Response.Header = x.Response.Proto, x.Response.Header
	exchanges := []*traffic.Exchange{x, use}
	bindings, err := transform.Learn(exchanges, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rebinds(t, exchanges, bindings, replay.Options{Timeout: time.Minute, Pause: new(pauses).pause})
}

// rebinds replays exchanges, which ask for three orders that the service has just
// made, against a fresh service in a pass and in a load of two copies, and wants
// every order to be found.
func rebinds(t *testing.T, exchanges []*traffic.Exchange, bindings *transform.Bindings, options replay.Options) {
	t.Helper()
	fresh := &orders{known: map[string]bool{}}
	e, err := replay.New(exchanges, options)
	if err != nil {
		t.Fatal(err)
	}
	target := replay.Target{Arm: "head", Addr: serveOrders(t, fresh)}
	err = e.Pass(t.Context(), target, transform.NewRewriter(bindings, transform.Options{}), 1, func(x *traffic.Exchange) {
		if x.Response == nil || x.Response.Trailer.Get("grpc-status")+x.Response.Header.Get("grpc-status") != "0" {
			t.Errorf("%s: %v, %v", x.ID, x.Failure, x.Response)
		}
	})
	if err != nil || fresh.found() != 3 {
		t.Errorf("%d orders were found in the pass, want 3: %v; learned %v", fresh.found(), err, bindings)
	}
	p, err := e.Plan(replay.Load{Copies: 2, Rewriter: func(int, int) replay.Rewriter { return transform.NewRewriter(bindings, transform.Options{}) }, Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Drive(t.Context(), target, p); err != nil || fresh.found() != 3+6 {
		t.Errorf("%d orders were found after the load, want 9: %v", fresh.found(), err)
	}
}
