package capture

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/reprise-ci/reprise/internal/timing"
)

// proxyVariable makes the test binary a proxy: "PEER ADDRESS", the address
// being where it leads.
const proxyVariable = "REPRISE_BENCH_PROXY"

func TestMain(m *testing.M) {
	if peer, service, ok := strings.Cut(os.Getenv(proxyVariable), " "); ok {
		if err := serveProxy(peer, service); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// BenchmarkAdded measures what a proxy adds to the median of an exchange at
// 1,000 requests a second: ours, which records, and toxiproxy, which only
// passes on, each as a program of its own. Every exchange through the proxy has
// one without it beside it, half a millisecond later.
func BenchmarkAdded(b *testing.B) {
	body := strings.Repeat("x", 1000)
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	service := benchCallee(b, answer)
	for _, peer := range []string{"reprise", "toxiproxy"} {
		b.Run(peer, func(b *testing.B) {
			through, direct := newBenchCaller(b, startProxy(b, peer, service), len(answer)), newBenchCaller(b, service, len(answer))
			waiter := timing.Waiter{Spin: 50 * time.Microsecond}
			defer waiter.Close()
			at := func(c *benchCaller, t time.Time) time.Duration {
				if err := waiter.Until(b.Context(), t); err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				c.call(b)
				return time.Since(start)
			}
			var with, without []time.Duration
			for next := time.Now(); b.Loop(); next = next.Add(time.Millisecond) {
				with = append(with, at(through, next))
				without = append(without, at(direct, next.Add(time.Millisecond/2)))
			}
			slices.Sort(with)
			slices.Sort(without)
			b.ReportMetric(float64(with[len(with)/2]-without[len(without)/2])/1e3, "added-p50-µs")
		})
	}
}

// startProxy runs a proxy to the service and returns its address. At the end
// it must say that it has lost nothing.
func startProxy(b *testing.B, peer, service string) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), proxyVariable+"="+peer+" "+service), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("%s: %v", peer, err)
		}
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// serveProxy serves until standard input ends, and prints its address first.
func serveProxy(peer, service string) error {
	if peer == "toxiproxy" {
		proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "bench", "127.0.0.1:0", service)
		if err := proxy.Start(); err != nil {
			return err
		}
		defer proxy.Stop()
		fmt.Println(proxy.Listen)
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	recorder, err := NewRecorder(nowhere{}, Options{})
	if err != nil {
		return err
	}
	in, err := NewInbound(service, recorder)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- in.Serve(ctx, l) }()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	if err := <-done; err != nil {
		return err
	}
	if err := recorder.Close(context.Background()); err != nil {
		return err
	}
	if c := recorder.Counts(); c.Dropped != 0 || c.Seen != c.Stored {
		return fmt.Errorf("lost exchanges: %v", c)
	}
	return nil
}
