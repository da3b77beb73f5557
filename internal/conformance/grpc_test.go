package conformance

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// interopEnv makes the test program grpc-go's interop client, which ends the
// process when it gets another answer than it wants: "ADDRESS CASE ROOTS", where
// ROOTS is the file of certificates that it trusts, or - for no TLS.
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
	var addr, name, roots string
	if _, err := fmt.Sscan(spec, &addr, &name, &roots); err != nil {
		return fmt.Errorf("read %s=%q: %w", interopEnv, spec, err)
	}
	if !strings.Contains(addr, "://") {
		addr = "passthrough:///" + addr
	}
	trust := insecure.NewCredentials()
	if roots != "-" {
		var err error
		if trust, err = credentials.NewClientTLSFromFile(roots, ""); err != nil {
			return err
		}
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(trust))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "x-case", name), 30*time.Second)
	defer cancel()
	interopCases[name](ctx, conn)
	return nil
}

// interopClient returns grpc-go's interop client, which runs one case.
func interopClient(t *testing.T, addr, name, roots string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	// A program with the race detector else sleeps for a second before its end.
	race := "GORACE=atexit_sleep_ms=0 " + os.Getenv("GORACE")
	cmd.Env = append(os.Environ(), interopEnv+"="+addr+" "+name+" "+roots, race)
	return cmd
}

// Every case of grpc-go's interop client that a recording can answer passes on
// the mock, as it does on grpc-go's interop server.
func TestInteropOfGRPC(t *testing.T) {
	for name := range interopCases {
		t.Run(name, func(t *testing.T) { testInterop(t, name, false) })
	}
}

// One case of each kind of stream over TLS as well.
func TestInteropOfGRPCOverTLS(t *testing.T) {
	for _, name := range []string{"large_unary", "client_streaming", "server_streaming", "ping_pong"} {
		t.Run(name, func(t *testing.T) { testInterop(t, name, true) })
	}
}

func testInterop(t *testing.T, name string, secure bool) {
	var options []grpc.ServerOption
	var trusted []*x509.Certificate
	if secure {
		ca, root := newRoot(t)
		options, trusted = []grpc.ServerOption{grpc.Creds(credentials.NewTLS(ca.ServerConfig(host)))}, []*x509.Certificate{root}
	}
	addr, _ := serve(t, func(ctx context.Context, l net.Listener) error {
		server := grpc.NewServer(options...)
		testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
		defer context.AfterFunc(ctx, server.Stop)()
		return server.Serve(l)
	})
	r := record(t, addr, trusted...)
	try := func(addr string) error {
		roots := "-"
		if secure {
			_, port, _ := strings.Cut(addr, ":")
			addr, roots = host+":"+port, r.roots(t)
		}
		cmd := interopClient(t, addr, name, roots)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %.3000s", err, out)
		}
		return nil
	}
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
	if a.Err != nil || a.Missed > 0 || a.Extra > 0 || secure && a.Matched == 0 {
		t.Errorf("account: %+v", a)
	}
	for _, x := range m.Calls(1) {
		if secure != (x.Request.Scheme == "https") {
			t.Errorf("the call came over %s", x.Request.Scheme)
		}
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
		cmd := interopClient(t, target, "server_streaming", "-")
		cmd.Env = append(cmd.Env, "NO_PROXY=*")
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
