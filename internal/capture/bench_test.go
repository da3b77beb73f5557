package capture

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
)

// nowhere is a sink that keeps nothing, so that the proxy alone is measured.
type nowhere struct{}

func (nowhere) SampledOut(int) {}
func (nowhere) Dropped(int)    {}

func (nowhere) Add(*traffic.Exchange) error { return nil }

// BenchmarkInbound puts the recording proxy beside httputil.ReverseProxy and
// beside no proxy at all: one caller (time per exchange, and the p50 of it),
// then many (exchanges per second).
func BenchmarkInbound(b *testing.B) {
	body := strings.Repeat("x", 1000)
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	service := benchCallee(b, answer)
	for _, peer := range []string{"direct", "reprise", "httputil"} {
		address := service
		switch peer {
		case "reprise":
			address = benchReprise(b, service)
		case "httputil":
			address = benchReverseProxy(b, service)
		}
		b.Run(peer+"/one", func(b *testing.B) {
			c := newBenchCaller(b, address, len(answer))
			times := make([]time.Duration, 0, b.N)
			for b.Loop() {
				start := time.Now()
				c.call(b)
				times = append(times, time.Since(start))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2])/1e3, "p50-µs")
		})
		b.Run(peer+"/many", func(b *testing.B) {
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				c := newBenchCaller(b, address, len(answer))
				for pb.Next() {
					c.call(b)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
		})
	}
}

func benchCallee(b *testing.B, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					if _, err := http1.ReadHead(r); err != nil {
						return
					}
					if _, err := io.WriteString(c, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func benchReprise(b *testing.B, service string) string {
	recorder, err := NewRecorder(nowhere{}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	in, err := NewInbound(service, recorder)
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- in.Serve(ctx, l) }()
	b.Cleanup(func() {
		cancel()
		<-done
		if err := recorder.Close(context.Background()); err != nil {
			b.Error(err)
		}
		if c := recorder.Counts(); c.Dropped != 0 || c.Seen != c.Stored {
			b.Errorf("lost exchanges: %v", c)
		}
	})
	return l.Addr().String()
}

func benchReverseProxy(b *testing.B, service string) string {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: service})
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	server := httptest.NewServer(proxy)
	b.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// benchCaller is a client that costs next to nothing.
type benchCaller struct {
	c net.Conn
	r *bufio.Reader
}

func newBenchCaller(b *testing.B, address string, size int) *benchCaller {
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return &benchCaller{c, bufio.NewReaderSize(c, 2*size)}
}

const benchRequest = "GET /v1/orders/4711?full=1 HTTP/1.1\r\nHost: shop.local\r\nAccept: application/json\r\nAuthorization: Bearer 0123456789abcdef\r\nUser-Agent: bench/1\r\n\r\n"

func (c *benchCaller) call(b *testing.B) {
	if _, err := io.WriteString(c.c, benchRequest); err != nil {
		b.Error(err)
		return
	}
	h, err := http1.ReadHead(c.r)
	if err != nil {
		b.Error(err)
		return
	}
	n, _ := http1.ContentLength(h.Fields)
	if _, err := c.r.Discard(int(n)); err != nil {
		b.Error(err)
	}
}
