package conformance

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// interopEnv makes the test program grpc-go's interop client, which ends the
// process when it gets another answer than it wants: "ADDRESS CASE".
const interopEnv = "REPRISE_INTEROP"

func TestMain(m *testing.M) {
	if spec := os.Getenv(interopEnv); spec != "" {
		if err := runInterop(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// interopCases are the cases of grpc-go's client that need no credentials of
// a cloud and no balancer.
var interopCases = map[string]func(context.Context, *grpc.ClientConn){
	"empty_unary":  onService(interop.DoEmptyUnaryCall),
	"large_unary":  onService(interop.DoLargeUnaryCall),
	"empty_stream": onService(interop.DoEmptyStream),
	"ping_pong":    onService(interop.DoPingPong),

	"client_streaming":            onService(interop.DoClientStreaming),
	"server_streaming":            onService(interop.DoServerStreaming),
	"timeout_on_sleeping_server":  onService(interop.DoTimeoutOnSleepingServer),
	"cancel_after_begin":          onService(interop.DoCancelAfterBegin),
	"cancel_after_first_response": onService(interop.DoCancelAfterFirstResponse),

	"custom_metadata":         onService(interop.DoCustomMetadata),
	"status_code_and_message": onService(interop.DoStatusCodeAndMessage),
	"special_status_message":  onService(interop.DoSpecialStatusMessage),
	"unimplemented_method":    interop.DoUnimplementedMethod,
	"unimplemented_service": func(ctx context.Context, conn *grpc.ClientConn) {
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(conn))
	},
}

func onService(do func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn) {
	return func(ctx context.Context, conn *grpc.ClientConn) { do(ctx, testgrpc.NewTestServiceClient(conn)) }
}

func runInterop(spec string) error {
	var addr, name string
	if _, err := fmt.Sscan(spec, &addr, &name); err != nil {
		return fmt.Errorf("read %s=%q: %w", interopEnv, spec, err)
	}
	if !strings.Contains(addr, "://") {
		addr = "passthrough:///" + addr
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "x-case", name), 30*time.Second)
	defer cancel()
	interopCases[name](ctx, conn)
	return nil
}

// Every case of grpc-go's interop client that a recording can answer passes on
// the mock, as it does on grpc-go's interop server.
func TestInteropOfGRPC(t *testing.T) {
	for name := range interopCases {
		t.Run(name, func(t *testing.T) {
			addr, _ := serve(t, func(ctx context.Context, l net.Listener) error {
				server := grpc.NewServer()
				testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
				defer context.AfterFunc(ctx, server.Stop)()
				return server.Serve(l)
			})
			try := func(addr string) error {
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), interopEnv+"="+addr+" "+name)
				if out, err := cmd.CombinedOutput(); err != nil {
					return fmt.Errorf("%w: %.3000s", err, out)
				}
				return nil
			}
			r := record(t, addr)
			if err := try(r.addr); err != nil {
				t.Fatalf("through the recorder: %v", err)
			}
			m, mocked := r.replay(t)
			if err := try(mocked); err != nil {
				t.Errorf("on the mock: %v", err)
			}
			a := m.Account(1)
			if name == "cancel_after_begin" && a.Recorded == 0 {
				return // grpc-go gave the call up before a byte of it was sent, so there was none to record
			}
			if a.Err != nil || a.Missed > 0 || a.Extra > 0 {
				t.Errorf("account: %+v", a)
			}
		})
	}
}

// As in a cluster, grpc-go finds the mock by asking the mock's name server for
// the name of the service, a question for a configuration in TXT included.
func TestGRPCByName(t *testing.T) {
	addr, _ := serve(t, func(ctx context.Context, l net.Listener) error {
		server := grpc.NewServer()
		testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
		defer context.AfterFunc(ctx, server.Stop)()
		return server.Serve(l)
	})
	try := func(target string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), interopEnv+"="+target+" server_streaming", "NO_PROXY=*")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %.3000s", target, err, out)
		}
	}
	r := record(t, addr)
	try(r.addr)
	r.stop()
	for _, x := range r.sink.exchanges {
		x.Request.Authority = "shipping:9090"
	}
	m, mocked := r.replay(t)
	_, port, _ := strings.Cut(mocked, ":")
	questions, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, func(ctx context.Context, l net.Listener) error {
		return m.ServeDNS(ctx, questions, l, mock.DNSOptions{Address: netip.MustParseAddr("127.0.0.1")})
	})
	try("dns://" + questions.LocalAddr().String() + "/shipping:" + port)
	calls := m.Calls(1)
	if len(calls) != 1 || calls[0].Match.Tier != traffic.TierExact {
		t.Errorf("calls: %+v", calls)
	}
	if names := m.Names(); len(names) != 1 || names[0].Name != "shipping" || !names[0].Recorded {
		t.Errorf("names: %+v", names)
	}
}
