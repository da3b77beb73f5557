package compare_test

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf/protobuftest"
)

// interop are the types of grpc-go's interop service.
func interop(t *testing.T) compare.Reading {
	t.Helper()
	types, err := protobuf.ReadTypes(protobuftest.Interop(t))
	if err != nil {
		t.Fatal(err)
	}
	return compare.Reading{Types: types}
}

func wire(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func framed(message []byte) string {
	return string(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
}

func TestDescriptors(t *testing.T) {
	const grpc = "Content-Type: application/grpc"
	reading := interop(t)
	ask := func(path, kind, body string) *traffic.Exchange { return call("POST", "http://pay"+path, body, kind) }
	unary := func(m *testpb.SimpleRequest) *traffic.Exchange {
		return ask("/grpc.testing.TestService/UnaryCall", grpc, framed(wire(t, m)))
	}
	sizes := func(list ...uint64) *traffic.Exchange {
		var m []byte
		for _, size := range list {
			var interval []byte
			interval = protowire.AppendVarint(protowire.AppendTag(interval, 1, protowire.VarintType), size)
			m = protowire.AppendBytes(protowire.AppendTag(m, 2, protowire.BytesType), interval)
		}
		return ask("/grpc.testing.TestService/StreamingOutputCall", grpc, framed(m))
	}
	for _, tt := range []struct {
		reason string
		a, b   *traffic.Exchange
		want   []string
	}{
		{"a number by its name", unary(&testpb.SimpleRequest{ResponseSize: 7}), unary(&testpb.SimpleRequest{ResponseSize: 70}),
			[]string{"value request.body[0].response_size: 7 -> 70"}},
		{"what is given and not given, and a value without a name in its enum", unary(&testpb.SimpleRequest{Payload: &testpb.Payload{Type: 7, Body: []byte("x")}}), unary(&testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("y")}, ResponseType: 8}),
			[]string{"missing request.body[0].payload.type: 7 -> ", "value request.body[0].payload.body: x -> y", "extra request.body[0].response_type:  -> 8"}},
		{"a bool", unary(&testpb.SimpleRequest{FillUsername: true}), unary(&testpb.SimpleRequest{}),
			[]string{"missing request.body[0].fill_username: true -> "}},
		{"a lost element of a repeated field", sizes(1, 2, 3), sizes(1, 3),
			[]string{`length request.body[0].response_parameters: 3 -> 2 (missing [1] {"size":2})`}},
		{"one element is a list as well", sizes(1), sizes(1, 2),
			[]string{`length request.body[0].response_parameters: 1 -> 2 (extra [1] {"size":2})`}},
		{"Connect and Twirp name methods alike", ask("/twirp/grpc.testing.TestService/UnaryCall", "Content-Type: application/protobuf", string(wire(t, &testpb.SimpleRequest{ResponseSize: 7}))),
			ask("/twirp/grpc.testing.TestService/UnaryCall", "Content-Type: application/protobuf", string(wire(t, &testpb.SimpleRequest{ResponseSize: 8}))),
			[]string{"value request.body.response_size: 7 -> 8"}},
		{"the type that Content-Type names", ask("/orders", `Content-Type: application/x-protobuf; messageType="grpc.testing.SimpleRequest"`, string(wire(t, &testpb.SimpleRequest{ResponseSize: 7}))),
			ask("/orders", `Content-Type: application/x-protobuf; messageType="grpc.testing.SimpleRequest"`, string(wire(t, &testpb.SimpleRequest{ResponseSize: 8}))),
			[]string{"value request.body.response_size: 7 -> 8"}},
		{"a service that the descriptors do not know", ask("/other.S/M", grpc, framed(wire(t, &testpb.SimpleRequest{ResponseSize: 7}))), ask("/other.S/M", grpc, framed(wire(t, &testpb.SimpleRequest{ResponseSize: 8}))),
			[]string{"value request.body[0].2: 7 -> 8"}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got := show(compare.Requests(tt.a, tt.b, compare.Options{Reading: reading}))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	answered := func(status testpb.GrpclbRouteType) *traffic.Exchange {
		x := answer(200, framed(wire(t, &testpb.SimpleResponse{Username: "u", GrpclbRouteType: status})), grpc)
		x.Request = traffic.Request{Method: "POST", Target: "/grpc.testing.TestService/UnaryCall"}
		return x
	}
	a, b := answered(testpb.GrpclbRouteType_GRPCLB_ROUTE_TYPE_FALLBACK), answered(testpb.GrpclbRouteType_GRPCLB_ROUTE_TYPE_BACKEND)
	want := []string{"value response.body[0].grpclb_route_type: GRPCLB_ROUTE_TYPE_FALLBACK -> GRPCLB_ROUTE_TYPE_BACKEND"}
	if diff := cmp.Diff(want, show(compare.Responses(a, b, compare.Options{Reading: reading}))); diff != "" {
		t.Errorf("answers: -want +got\n%s", diff)
	}
	if v, ok := reading.ValueAt(b, traffic.At("response", "body").Elem(0).Child("grpclb_route_type")); !ok || v != "GRPCLB_ROUTE_TYPE_BACKEND" {
		t.Errorf("the value at the address is %q (%t)", v, ok)
	}
}
