package capture

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// h2cServer serves HTTP/2 without TLS.
func h2cServer(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func h2cClient(t *testing.T) *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestInboundHTTP2WithoutTLS(t *testing.T) {
	var seen *http.Request
	var seenTrailer string
	service := h2cServer(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r
		w.Header()["Date"] = nil
		w.Header().Set("Trailer", "X-End")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.Copy(w, r.Body)
		seenTrailer = r.Trailer.Get("X-Sum")
		w.Header().Set("X-End", "done")
		w.Header().Set(http.TrailerPrefix+"X-Extra", "too")
	})
	s := newStage(t, Options{})
	r, _ := http.NewRequest("POST", "http://"+s.inbound(service)+"/a%2Fb?c=%20d", io.MultiReader(strings.NewReader("hello"), strings.NewReader(" world")))
	r.Trailer = http.Header{"X-Sum": {"11"}}
	r.Header.Set("X-Multi", "1")
	r.Header.Add("X-Multi", "2")
	response, err := h2cClient(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != "hello world" || response.Trailer.Get("X-End") != "done" || response.Trailer.Get("X-Extra") != "too" {
		t.Errorf("body %q, trailer %v, %v", body, response.Trailer, err)
	}
	if _, ok := response.Header["Date"]; ok {
		t.Errorf("the proxy added a date: %v", response.Header)
	}
	x := s.only()
	if seen.RequestURI != "/a%2Fb?c=%20d" || len(seen.Header["X-Multi"]) != 2 || seenTrailer != "11" || seen.Header.Get("Traceparent") == "" {
		t.Errorf("the service got %s %v %v", seen.RequestURI, seen.Header, seen.Trailer)
	}
	if x.Request.Proto != "HTTP/2.0" || x.Request.Target != "/a%2Fb?c=%20d" || string(x.Request.Body.Raw) != "hello world" ||
		x.Request.Trailer.Get("x-sum") != "11" || x.Request.Header.Has("Traceparent") {
		t.Errorf("recorded request %+v", x.Request)
	}
	if x.Response == nil || string(x.Response.Body.Raw) != "hello world" || x.Response.Trailer.Get("x-end") != "done" || len(x.Incomplete) != 0 {
		t.Errorf("recorded response %+v, incomplete %v", x.Response, x.Incomplete)
	}
}

// A service that never reads what it is sent ends the stream as soon as it has
// answered. The caller sent the body all the same, and replay must know it.
func TestInboundHTTP2BodyThatNobodyReads(t *testing.T) {
	service := h2cServer(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "done") })
	s := newStage(t, Options{})
	client, url := h2cClient(t), "http://"+s.inbound(service)+"/capture"
	for range 20 { // the answer wins the race only sometimes
		response, err := client.Post(url, "application/json", strings.NewReader(`{"amount":42}`))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	for _, x := range s.stop() {
		if string(x.Request.Body.Raw) != `{"amount":42}` || len(x.Incomplete) > 0 {
			t.Errorf("recorded body %q, incomplete %q", x.Request.Body.Raw, x.Incomplete)
		}
	}
}

func TestInboundHTTP2Failures(t *testing.T) {
	service := h2cServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			fmt.Fprint(w, "half of")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	})
	s := newStage(t, Options{})
	proxy, client := s.inbound(service), h2cClient(t)
	if response, err := client.Get("http://" + proxy + "/reset"); err == nil {
		t.Errorf("a reset stream came back as %d", response.StatusCode)
	}
	response, err := client.Get("http://" + proxy + "/half")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("half an answer looks whole")
	}
	response.Body.Close()
	all := s.stop()
	if len(all) != 2 || all[0].Failure != traffic.FailureReset || all[1].Response == nil || len(all[1].Incomplete) != 1 {
		t.Errorf("recorded %+v", all)
	}
}

func TestOutboundHTTP2OverTLS(t *testing.T) {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf("pay.example")
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(leaf.Certificate[1])
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", r.URL) }))
	server.TLS = ca.ServerConfig("pay.example")
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	server.TLS.Certificates = nil
	s := newStage(t, Options{})
	_, client := s.outbound(OutboundOptions{Resolve: map[string]string{"pay.example": server.Listener.Addr().String()}, ExtraRoots: []*x509.Certificate{root}})
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	for i := range 3 {
		if got, want := get(t, client, fmt.Sprintf("https://pay.example/%d", i), nil), fmt.Sprintf("HTTP/2.0 /%d", i); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for i, x := range s.stop() {
		if x.Request.URL() != fmt.Sprintf("https://pay.example/%d", i) || x.Request.Proto != "HTTP/2.0" {
			t.Errorf("recorded %s %s", x.Request.Proto, x.Request.URL())
		}
	}
}

// grpcService answers unary calls and echoes streams.
type grpcService struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (grpcService) UnaryCall(_ context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	if in.GetResponseStatus() != nil {
		return nil, status.Error(codes.Code(in.ResponseStatus.Code), in.ResponseStatus.Message)
	}
	return &grpc_testing.SimpleResponse{Payload: in.Payload}, nil
}

func (grpcService) FullDuplexCall(stream grpc_testing.TestService_FullDuplexCallServer) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

func TestInboundGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(server, grpcService{})
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	s := newStage(t, Options{})
	conn, err := grpc.NewClient("passthrough:///"+s.inbound(l.Addr().String()), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := grpc_testing.NewTestServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	payload := &grpc_testing.Payload{Body: []byte("ping")}

	answer, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: payload})
	if err != nil || string(answer.Payload.Body) != "ping" {
		t.Errorf("unary call: %v, %v", answer, err)
	}
	_, err = client.UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseStatus: &grpc_testing.EchoStatus{Code: int32(codes.NotFound), Message: "no such thing"}})
	if status.Code(err) != codes.NotFound || status.Convert(err).Message() != "no such thing" {
		t.Errorf("failing unary call: %v", err)
	}
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // each answer comes before the next message is sent
		if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: payload}); err != nil {
			t.Fatal(err)
		}
		if in, err := stream.Recv(); err != nil || string(in.Payload.Body) != "ping" {
			t.Fatalf("message %d: %v, %v", i, in, err)
		}
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
	conn.Close()

	all := s.stop()
	if len(all) != 3 {
		t.Fatalf("recorded %d exchanges", len(all))
	}
	for i, want := range []struct {
		target, status  string
		inBody, outBody int // messages
	}{{"/grpc.testing.TestService/UnaryCall", "0", 1, 1}, {"/grpc.testing.TestService/UnaryCall", "5", 1, 0}, {"/grpc.testing.TestService/FullDuplexCall", "0", 3, 3}} {
		x := all[i]
		status := x.Response.Trailer.Get("grpc-status") + x.Response.Header.Get("grpc-status")
		if x.Request.Target != want.target || status != want.status || len(x.Incomplete) != 0 {
			t.Errorf("%s: %s, status %q, incomplete %v", x.ID, x.Request.Target, status, x.Incomplete)
		}
		timed(t, x, want.inBody+1, want.outBody) // and the half-close
		if i != 1 && (bytes.Count(x.Request.Body.Raw, []byte("ping")) != want.inBody || bytes.Count(x.Response.Body.Raw, []byte("ping")) != want.outBody) {
			t.Errorf("%s: bodies %q and %q", x.ID, x.Request.Body.Raw, x.Response.Body.Raw)
		}
	}
}

// TestLanesByBodies has two requests to one path active at once: only their
// bodies tell which of them a call belongs to.
func TestLanesByBodies(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			s := newStage(t, Options{})
			stock, _ := dependency(t, false, func(w http.ResponseWriter, r *http.Request) {})
			_, client := s.outbound(OutboundOptions{Resolve: map[string]string{"stock.example": stock}})
			var both sync.WaitGroup
			both.Add(2)
			handler := func(w http.ResponseWriter, r *http.Request) {
				var order struct{ SKU string }
				if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
					t.Error(err)
				}
				both.Done()
				both.Wait()
				get(t, client, "http://stock.example/items/"+order.SKU, nil)
			}
			caller, service := http.DefaultClient, ""
			if protocol == "HTTP/2.0" {
				caller, service = h2cClient(t), h2cServer(t, handler)
			} else {
				server := httptest.NewServer(http.HandlerFunc(handler))
				t.Cleanup(server.Close)
				service = server.Listener.Addr().String()
			}
			inbound := s.inbound(service)
			var done sync.WaitGroup
			for _, sku := range []string{"4711", "4712"} {
				done.Go(func() {
					response, err := caller.Post("http://"+inbound+"/orders", "application/json", strings.NewReader(`{"sku":"`+sku+`"}`))
					if err != nil {
						t.Error(err)
						return
					}
					response.Body.Close()
				})
			}
			done.Wait()
			caller.CloseIdleConnections()
			owner := map[string]traffic.Lane{}
			all := s.stop()
			for _, x := range all {
				if x.Direction == traffic.Inbound {
					owner[string(x.Request.Body.Raw)] = x.Lane
				}
			}
			for _, x := range all {
				sku, call := strings.CutPrefix(x.Request.Target, "/items/")
				if call && (x.Lane != owner[`{"sku":"`+sku+`"}`] || x.Origin.Certainty != traffic.ByValue) {
					t.Errorf("the call for %s is in lane %s by %q; the lanes are %v", sku, x.Lane, x.Origin.Certainty, owner)
				}
			}
			if len(all) != 4 {
				t.Errorf("recorded %d exchanges", len(all))
			}
		})
	}
}
