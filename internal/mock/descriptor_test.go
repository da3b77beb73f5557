package mock_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf/protobuftest"
)

func framed(message []byte) string {
	frame := make([]byte, 5, 5+len(message))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(message)))
	return string(append(frame, message...))
}

// With descriptors a call is compared by what its fields mean.
func TestGRPCByNames(t *testing.T) {
	encode := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const target = "/grpc.testing.TestService/UnaryCall"
	request := func(size int32, body string) []byte {
		return encode(&testpb.SimpleRequest{ResponseSize: size, Payload: &testpb.Payload{Body: []byte(body)}, FillUsername: true})
	}
	recorded := request(7, "order-1")
	x := &traffic.Exchange{ID: "out-1", Direction: traffic.Outbound, Lane: "a",
		Request:  traffic.Request{Method: "POST", Scheme: "http", Authority: "pay", Target: target, Proto: "HTTP/2.0"},
		Response: &traffic.Response{Status: 200, Header: traffic.Header{{Name: "Content-Type", Value: "application/grpc"}, {Name: "Grpc-Status", Value: "0"}}}}
	x.Request.Header.Add("Content-Type", "application/grpc")
	x.Request.Body = traffic.NewBody([]byte(framed(recorded)), x.Request.Header)
	defaults := protowire.AppendTag(bytes.Clone(recorded), 5, protowire.VarintType) // fill_oauth_scope, false
	defaults = protowire.AppendVarint(defaults, 0)
	odd := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "seven") // response_size is a number
	for _, tt := range []struct {
		reason      string
		descriptors []byte
		body        []byte
		tier        traffic.Tier
		differs     string
	}{
		{"the same", protobuftest.Interop(t), recorded, traffic.TierExact, ""},
		{"a default that is written out means nothing", protobuftest.Interop(t), defaults, traffic.TierExact, ""},
		{"without descriptors it is another field", nil, defaults, traffic.TierMiss, "request.body[0].5"},
		{"another number has a name", protobuftest.Interop(t), request(8, "order-1"), traffic.TierMiss, "request.body[0].response_size"},
		{"and so has a place inside", protobuftest.Interop(t), request(7, "order-2"), traffic.TierMiss, "request.body[0].payload.body"},
		{"what does not fit its type is compared by numbers", protobuftest.Interop(t), odd, traffic.TierMiss, "request.body[0].2"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			s := start(t, []*traffic.Exchange{x}, mock.Options{Descriptors: tt.descriptors})
			s.BeginPass(1)
			s.Enter(1, "a")
			send(t, s.proxied(), "POST", "http://pay"+target, framed(tt.body), "Content-Type", "application/grpc")
			m := s.Calls(1)[0].Match
			if m.Tier != tt.tier {
				t.Fatalf("%s (%s), want %s", m.Tier, m.Reason, tt.tier)
			}
			found := tt.differs == ""
			if !found {
				for _, d := range m.Nearest[0].Differences {
					found = found || d.Path.String() == tt.differs
				}
			}
			if !found {
				t.Errorf("differs at %+v, want %s", m.Nearest[0].Differences, tt.differs)
			}
		})
	}
	err := mock.Options{Descriptors: []byte("no descriptors")}.Validate()
	if err == nil || !strings.HasPrefix(err.Error(), "mock.descriptors: not a descriptor set") {
		t.Errorf("what is no set: %v", err)
	}
}

// So is a message in the body of a call over HTTP whose path names the method, or
// whose Content-Type names the message.
func TestProtobufByNames(t *testing.T) {
	recorded, err := proto.Marshal(&testpb.SimpleRequest{ResponseSize: 7, FillUsername: true})
	if err != nil {
		t.Fatal(err)
	}
	defaults := protowire.AppendVarint(protowire.AppendTag(bytes.Clone(recorded), 5, protowire.VarintType), 0) // fill_oauth_scope, false
	other := protowire.AppendVarint(protowire.AppendTag(bytes.Clone(recorded), 2, protowire.VarintType), 8)    // the last one counts
	const connect, twirp = "/grpc.testing.TestService/UnaryCall", "/twirp/grpc.testing.TestService/UnaryCall"
	for _, tt := range []struct {
		reason, target, contentType string
		body                        []byte
		tier                        traffic.Tier
		differs                     string
	}{
		{"Connect, as recorded", connect, "application/proto", recorded, traffic.TierExact, ""},
		{"Connect, a default written out", connect, "application/proto", defaults, traffic.TierExact, ""},
		{"Twirp, a default written out", twirp, "application/protobuf", defaults, traffic.TierExact, ""},
		{"Twirp, another number", twirp, "application/protobuf", other, traffic.TierMiss, "request.body.response_size"},
		{"a path that names no method", "/push", "application/x-protobuf", defaults, traffic.TierMiss, "request.body.5"},
		{"a type that Content-Type names", "/push", `application/x-protobuf; messageType="grpc.testing.SimpleRequest"`, defaults, traffic.TierExact, ""},
		{"the same, another number", "/push", "application/vnd.google.protobuf; proto=grpc.testing.SimpleRequest", other, traffic.TierMiss, "request.body.response_size"},
		{"a type that ends so", twirp, "application/vnd.shop.v1+proto", defaults, traffic.TierExact, ""},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			header := traffic.Header{{Name: "Content-Type", Value: tt.contentType}}
			x := &traffic.Exchange{ID: "out-1", Direction: traffic.Outbound, Lane: "a",
				Request:  traffic.Request{Method: "POST", Scheme: "http", Authority: "pay", Target: tt.target, Header: header, Body: traffic.NewBody(recorded, header)},
				Response: &traffic.Response{Status: 200}}
			s := start(t, []*traffic.Exchange{x}, mock.Options{Descriptors: protobuftest.Interop(t)})
			s.BeginPass(1)
			s.Enter(1, "a")
			send(t, s.proxied(), "POST", "http://pay"+tt.target, string(tt.body), "Content-Type", tt.contentType)
			m := s.Calls(1)[0].Match
			if m.Tier != tt.tier {
				t.Fatalf("%s (%s), want %s", m.Tier, m.Reason, tt.tier)
			}
			if tt.differs != "" && (len(m.Nearest) == 0 || len(m.Nearest[0].Differences) != 1 || m.Nearest[0].Differences[0].Path.String() != tt.differs) {
				t.Errorf("differs at %+v, want %s", m.Nearest, tt.differs)
			}
		})
	}
}

// FuzzGRPCByNames feeds the decoder what any caller may send.
func FuzzGRPCByNames(f *testing.F) {
	good, err := proto.Marshal(&testpb.SimpleRequest{ResponseSize: 7, Payload: &testpb.Payload{Body: []byte("x")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0x1a, 0x02, 0x08, 0x80})
	descriptors := protobuftest.Interop(f)
	f.Fuzz(func(t *testing.T, message []byte) {
		x := &traffic.Exchange{ID: "out-1", Direction: traffic.Outbound, Lane: traffic.LaneBackground,
			Request:  traffic.Request{Method: "POST", Scheme: "http", Authority: "pay", Target: "/grpc.testing.TestService/UnaryCall", Proto: "HTTP/2.0"},
			Response: &traffic.Response{Status: 200}}
		x.Request.Header.Add("Content-Type", "application/grpc")
		x.Request.Body = traffic.NewBody([]byte(framed(message)), x.Request.Header)
		s := start(t, []*traffic.Exchange{x}, mock.Options{Descriptors: descriptors, OneLane: true})
		if e := s.ExplainCall(x); len(e.Looked) == 0 || e.Looked[0].Found != "1 recorded call" {
			t.Errorf("a call does not find itself: %+v", e.Looked)
		}
	})
}
