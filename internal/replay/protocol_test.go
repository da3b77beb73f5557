package replay_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// everyWay sends exchanges in a pass, in a round and in a load, and returns
// the live exchanges of the pass.
func everyWay(t *testing.T, opts replay.Options, target replay.Target, exchanges ...*traffic.Exchange) map[string]*traffic.Exchange {
	t.Helper()
	opts.Timeout = 5 * time.Second
	e, err := replay.New(exchanges, opts)
	if err != nil {
		t.Fatal(err)
	}
	target.Arm = "base"
	live := make(map[string]*traffic.Exchange)
	if err := e.Pass(t.Context(), target, nil, 1, func(x *traffic.Exchange) { live[x.Recorded] = x }); err != nil {
		t.Fatal(err)
	}
	round, err := e.Round(t.Context(), target, target, nil, nil, 2, 1, quick(3))
	if err != nil || len(round.Pairs) < 3 || len(round.Short) > 0 || len(round.Dropped) > 0 {
		t.Errorf("round: %d pairs, dropped %v, %v", len(round.Pairs), round.Dropped, err)
	}
	p, err := e.Plan(replay.Load{Rate: 1000, Loops: 3})
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Drive(t.Context(), target, p)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Summary(nil); len(s.Response.(replay.Times)) != 3*len(exchanges) {
		t.Errorf("load: answers %v, failures %v", s.Status, r.Errors)
	}
	return live
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Proto", r.Proto)
	w.Header().Set("X-Host", r.Host)
	w.Header().Set("X-Target", r.RequestURI)
	w.Header().Set("X-Header", r.Header.Get("X-Header"))
	w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
	mark, ok := traffic.ParseMark(r.Header.Get("traceparent"))
	w.Header().Set("X-Marked", fmt.Sprint(ok && mark.Lane == traffic.LaneNumber("x000")))
	w.WriteHeader(201)
	w.Write(body)
}

func TestProtocols(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	clear := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	clear.Config.Protocols = new(http.Protocols)
	clear.Config.Protocols.SetHTTP1(true)
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	defer clear.Close()
	trust := secure.Client().Transport.(*http.Transport).TLSClientConfig
	tests := []struct {
		why    string
		opts   replay.Options
		target replay.Target
		proto  string
	}{
		{"HTTP/1.1", replay.Options{}, replay.Target{Addr: addr(clear)}, "HTTP/1.1"},
		{"HTTP/1.1 over TLS", replay.Options{TLS: trust}, replay.Target{Addr: addr(secure), Host: "example.com", TLS: true}, "HTTP/1.1"},
		{"HTTP/2 over TLS", replay.Options{TLS: trust, HTTP2: true}, replay.Target{Addr: addr(secure), Host: "example.com", TLS: true}, "HTTP/2.0"},
		{"HTTP/2 without TLS", replay.Options{HTTP2: true}, replay.Target{Addr: addr(clear)}, "HTTP/2.0"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			x := withBody(recorded(0, "POST", "/a%2Fb?c=%20d", "X-Header", "yes", "Content-Type", "text/plain"), strings.Repeat("body ", 20_000))
			live := everyWay(t, tt.opts, tt.target, x)["x000"]
			if live.Response == nil {
				t.Fatalf("%s %v", live.Failure, live.Incomplete)
			}
			r := live.Response
			host := tt.target.Host
			if host == "" {
				host = tt.target.Addr
			}
			for name, want := range map[string]string{"X-Proto": tt.proto, "X-Host": host, "X-Target": "/a%2Fb?c=%20d", "X-Header": "yes", "X-Marked": "true"} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if r.Status != 201 || r.Proto != tt.proto || string(r.Body.Raw) != string(x.Request.Body.Raw) || r.Trailer.Get("X-Sum") != "42" {
				t.Errorf("status %d, proto %s, %d bytes, trailer %v", r.Status, r.Proto, len(r.Body.Raw), r.Trailer)
			}
			if live.FirstByte <= 0 || live.Duration < live.FirstByte {
				t.Errorf("times %v, %v", live.FirstByte, live.Duration)
			}
		})
	}
}

func TestTLSFailures(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.HandlerFunc(echo)) // HTTP/1.1 only
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	clear := httptest.NewServer(http.HandlerFunc(echo))
	defer clear.Close()
	trust := secure.Client().Transport.(*http.Transport).TLSClientConfig
	tests := []struct {
		why     string
		opts    replay.Options
		address string
	}{
		{"a certificate that nobody vouches for", replay.Options{}, addr(secure)},
		{"a server without TLS", replay.Options{TLS: trust}, addr(clear)},
		{"a server without HTTP/2", replay.Options{TLS: trust, HTTP2: true}, addr(secure)},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			e, err := replay.New([]*traffic.Exchange{recorded(0, "GET", "/")}, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			target := replay.Target{Arm: "base", Addr: tt.address, Host: "example.com", TLS: true}
			err = e.Pass(t.Context(), target, nil, 1, func(x *traffic.Exchange) {
				if x.Failure != traffic.FailureTLS || len(x.Incomplete) == 0 {
					t.Errorf("failure %q, notes %v", x.Failure, x.Incomplete)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// message frames protobuf messages for gRPC.
func message(t *testing.T, messages ...proto.Message) string {
	t.Helper()
	var out []byte
	for _, m := range messages {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, 0)
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		out = append(out, data...)
	}
	return string(out)
}

func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, cancel := context.WithTimeout(stream.Context(), 50*time.Millisecond) // a watch would never end
		defer cancel()
		return handler(srv, &endingStream{stream, ctx})
	}))
	status := health.NewServer()
	status.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, status)
	go server.Serve(l)
	defer server.Stop()

	call := func(i int, method, service string) *traffic.Exchange {
		x := recorded(i, "POST", "/grpc.health.v1.Health/"+method, "content-type", "application/grpc", "te", "trailers")
		return withBody(x, message(t, &healthpb.HealthCheckRequest{Service: service}))
	}
	live := everyWay(t, replay.Options{}, replay.Target{Addr: l.Addr().String()},
		call(0, "Check", "shop"), call(1, "Check", "unknown"), call(2, "Watch", "shop"))
	serving := message(t, &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING})
	for id, want := range map[string]struct {
		code codes.Code
		body string
	}{
		"x000": {codes.OK, serving},
		"x001": {codes.NotFound, ""},
		"x002": {codes.Canceled, serving}, // a stream: one message, then its end
	} {
		r := live[id].Response
		if r == nil {
			t.Errorf("%s: %s %v", id, live[id].Failure, live[id].Incomplete)
			continue
		}
		code := r.Trailer.Get("grpc-status") + r.Header.Get("grpc-status") // in the header when there is no body
		if r.Status != 200 || code != fmt.Sprint(uint32(want.code)) || string(r.Body.Raw) != want.body {
			t.Errorf("%s: status %d, grpc-status %s, body %q; want %d and %q", id, r.Status, code, r.Body.Raw, want.code, want.body)
		}
	}
}

type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *endingStream) Context() context.Context { return s.ctx }
