package mock_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// testService does what grpc-go's interop server does.
type testService struct {
	testpb.UnimplementedTestServiceServer
}

func (testService) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get("x-grpc-test-echo-initial"); len(v) > 0 {
		if err := grpc.SendHeader(ctx, metadata.Pairs("x-grpc-test-echo-initial", v[0])); err != nil {
			return nil, err
		}
	}
	if v := md.Get("x-grpc-test-echo-trailing-bin"); len(v) > 0 {
		if err := grpc.SetTrailer(ctx, metadata.Pairs("x-grpc-test-echo-trailing-bin", v[0])); err != nil {
			return nil, err
		}
	}
	if s := in.ResponseStatus; s != nil {
		return nil, status.Error(codes.Code(s.Code), s.Message)
	}
	return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: make([]byte, in.ResponseSize)}}, nil
}

func (testService) StreamingInputCall(stream testpb.TestService_StreamingInputCallServer) error {
	sum := 0
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)})
		}
		if err != nil {
			return err
		}
		sum += len(in.Payload.Body)
	}
}

func answerAll(in *testpb.StreamingOutputCallRequest, send func(*testpb.StreamingOutputCallResponse) error) error {
	for _, p := range in.ResponseParameters {
		if err := send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, p.Size)}}); err != nil {
			return err
		}
	}
	return nil
}

func (testService) StreamingOutputCall(in *testpb.StreamingOutputCallRequest, stream testpb.TestService_StreamingOutputCallServer) error {
	return answerAll(in, stream.Send)
}

func (testService) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := answerAll(in, stream.Send); err != nil {
			return err
		}
	}
}

// conversation is a run of grpc-go's interop calls over one client, with all
// that the client sees written down.
func conversation(t *testing.T, addr string) string {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("dep"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := testpb.NewTestServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var seen strings.Builder
	note := func(what string, err error, values ...any) {
		s := status.Convert(err)
		fmt.Fprintf(&seen, "%s: %s %q %v\n", what, s.Code(), s.Message(), values)
	}
	payload := func(n int) *testpb.Payload { return &testpb.Payload{Body: []byte(strings.Repeat("\x01", n))} }

	var header, trailer metadata.MD
	withData := metadata.AppendToOutgoingContext(ctx, "x-grpc-test-echo-initial", "first", "x-grpc-test-echo-trailing-bin", "\x0a\x0b")
	unary, err := c.UnaryCall(withData, &testpb.SimpleRequest{ResponseSize: 1000, Payload: payload(200)}, grpc.Header(&header), grpc.Trailer(&trailer))
	note("unary", err, len(unary.GetPayload().GetBody()), header["x-grpc-test-echo-initial"], trailer["x-grpc-test-echo-trailing-bin"])
	_, err = c.UnaryCall(ctx, &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: int32(codes.DataLoss), Message: "\t\nlost ☺ %"}})
	note("status", err)
	unary, err = c.UnaryCall(ctx, &testpb.SimpleRequest{ResponseSize: 10, Payload: payload(500)}, grpc.UseCompressor(gzip.Name))
	note("compressed", err, len(unary.GetPayload().GetBody()))
	_, err = c.UnimplementedCall(ctx, &testpb.Empty{})
	note("unimplemented", err)

	up, err := c.StreamingInputCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{100, 8, 30} {
		if err := up.Send(&testpb.StreamingInputCallRequest{Payload: payload(n)}); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := up.CloseAndRecv()
	note("client streaming", err, sum.GetAggregatedPayloadSize())

	down, err := c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 31}, {Size: 9}, {Size: 2653}}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := down.Recv()
		note("server streaming", notEOF(err), len(m.GetPayload().GetBody()))
		if err != nil {
			break
		}
	}
	both, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []int32{31, 9, 2653} { // each waits for its answer
		req := &testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: n}}, Payload: payload(i + 1)}
		if err := both.Send(req); err != nil {
			t.Fatal(err)
		}
		m, err := both.Recv()
		note("ping pong", err, len(m.GetPayload().GetBody()))
	}
	if err := both.CloseSend(); err != nil {
		t.Fatal(err)
	}
	_, err = both.Recv()
	note("ping pong ends", notEOF(err))
	return seen.String()
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// What grpc-go's client sees from the mock is what it saw from grpc-go's
// server.
func TestGRPCConformance(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	testpb.RegisterTestServiceServer(server, testService{})
	go server.Serve(l) // ends with Stop
	t.Cleanup(server.Stop)
	rec := record(t, l.Addr().String())
	want := conversation(t, rec.addr())
	if direct := conversation(t, l.Addr().String()); direct != want {
		t.Fatalf("the recorder is in the way:\n%s\nwithout it:\n%s", want, direct)
	}
	s := start(t, rec.recorded("dep"), mock.Options{})
	s.BeginPass(1)
	s.Enter(1, "a")
	if got := conversation(t, s.addr); got != want {
		t.Errorf("the mock answered\n%s\nthe server had answered\n%s", got, want)
	}
	if a := s.balanced(1); a.Matched != a.Recorded || a.Live != a.Matched {
		t.Errorf("account: %+v", a)
	}
}

func TestGRPCMissIsAStatus(t *testing.T) {
	s := start(t, nil, mock.Options{})
	conn, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var trailer metadata.MD // an answer of trailers only
	_, err = testpb.NewTestServiceClient(conn).EmptyCall(t.Context(), &testpb.Empty{}, grpc.Trailer(&trailer))
	got := status.Convert(err)
	if got.Code() != codes.Unimplemented || !strings.Contains(got.Message(), "no call to 127.0.0.1:") {
		t.Errorf("status %s %q", got.Code(), got.Message())
	}
	if id := trailer.Get(mock.MissHeader); !slices.Equal(id, []string{s.Calls(0)[0].ID}) {
		t.Errorf("the miss is called %q in the answer and %q in the journal", id, s.Calls(0)[0].ID)
	}
}

// Fields and map entries come in any order; the address of a difference is a
// path of field numbers.
func TestGRPCWithoutSchema(t *testing.T) {
	entry := func(key, value string) []byte {
		b := protowire.AppendTag(nil, 1, protowire.BytesType)
		b = protowire.AppendString(b, key)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		return protowire.AppendString(b, value)
	}
	message := func(amount uint64, order ...string) []byte {
		var b []byte
		for _, part := range order {
			switch part {
			case "amount":
				b = protowire.AppendTag(b, 3, protowire.VarintType)
				b = protowire.AppendVarint(b, amount)
			default: // a label
				b = protowire.AppendTag(b, 7, protowire.BytesType)
				b = protowire.AppendBytes(b, entry(part, "x"))
			}
		}
		return append([]byte{0, 0, 0, 0, byte(len(b))}, b...)
	}
	call := func(body []byte) traffic.Request {
		r := traffic.Request{Method: "POST", Scheme: "http", Authority: "pay", Target: "/pay.v1.Pay/Charge", Proto: "HTTP/2.0"}
		r.Header.Add("Content-Type", "application/grpc+proto")
		r.Body = traffic.NewBody(body, r.Header)
		return r
	}
	x := &traffic.Exchange{ID: "out-1", Direction: traffic.Outbound, Lane: "a", Request: call(message(2000, "amount", "colour", "size")),
		Response: &traffic.Response{Status: 200, Header: traffic.Header{{Name: "Content-Type", Value: "application/grpc"}, {Name: "Grpc-Status", Value: "0"}}}}
	s := start(t, []*traffic.Exchange{x}, mock.Options{})
	s.BeginPass(1)
	s.Enter(1, "a")
	client := s.proxied()
	bodies := [][]byte{message(2100, "amount", "colour", "size"), message(2000, "size", "amount", "colour")}
	for _, body := range bodies {
		send(t, client, "POST", "http://pay/pay.v1.Pay/Charge", string(body), "Content-Type", "application/grpc+proto")
	}
	calls := s.Calls(1)
	if near := calls[0].Match.Nearest; len(near) != 1 || len(near[0].Differences) != 1 || near[0].Differences[0].Path.String() != "request.body[0].3" {
		t.Errorf("nearest: %+v", near)
	}
	if calls[1].Match.Tier != traffic.TierExact {
		t.Errorf("another order of fields is a %s", calls[1].Match.Tier)
	}
}
