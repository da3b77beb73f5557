package mock_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// recorder stands between a client and a real server and keeps what they say.
// It is as small as a test can have it: no TLS, no upgrades.
type recorder struct {
	*httptest.Server
	upstream string
	h1       *http.Transport
	h2       *http2.Transport

	mu        sync.Mutex
	exchanges []*traffic.Exchange
}

// record starts a recorder before the server at addr.
func record(t *testing.T, addr string) *recorder {
	t.Helper()
	r := &recorder{upstream: addr, h1: &http.Transport{DisableCompression: true}}
	r.h2 = &http2.Transport{AllowHTTP: true, DisableCompression: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	r.Server = httptest.NewUnstartedServer(r)
	r.Server.Config.Protocols = new(http.Protocols)
	r.Server.Config.Protocols.SetHTTP1(true)
	r.Server.Config.Protocols.SetUnencryptedHTTP2(true)
	r.Server.Start()
	t.Cleanup(func() { r.Server.Close(); r.h1.CloseIdleConnections(); r.h2.CloseIdleConnections() })
	return r
}

func (r *recorder) addr() string { return r.Listener.Addr().String() }

func (r *recorder) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	start := time.Now()
	var asked, said bytes.Buffer
	out := in.Clone(in.Context())
	out.URL = &url.URL{Scheme: "http", Host: r.upstream, Path: in.URL.Path, RawPath: in.URL.RawPath, RawQuery: in.URL.RawQuery}
	out.RequestURI = ""
	if in.ContentLength != 0 {
		out.Body = io.NopCloser(io.TeeReader(in.Body, &asked))
	} else {
		out.Body = nil
	}
	var transport http.RoundTripper = r.h1
	if in.ProtoMajor == 2 {
		transport = r.h2
	}
	resp, err := transport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	for _, name := range []string{"Date", "Content-Type"} {
		if len(resp.Header[name]) == 0 {
			w.Header()[name] = nil
		}
	}
	w.WriteHeader(resp.StatusCode)
	first := time.Since(start)
	buffer := make([]byte, 32<<10)
	for {
		if in.ProtoMajor == 2 && resp.ContentLength != 0 || resp.ContentLength < 0 {
			http.NewResponseController(w).Flush()
		}
		n, err := resp.Body.Read(buffer)
		said.Write(buffer[:n])
		w.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	for name, values := range resp.Trailer {
		for _, v := range values {
			w.Header().Add(http.TrailerPrefix+name, v)
		}
	}
	r.keep(in, resp, asked.Bytes(), said.Bytes(), start, first)
}

func (r *recorder) keep(in *http.Request, resp *http.Response, asked, said []byte, start time.Time, first time.Duration) {
	x := &traffic.Exchange{
		Direction: traffic.Outbound, Lane: "a", Start: start, FirstByte: first, Duration: time.Since(start),
		Request:  traffic.Request{Method: in.Method, Scheme: "http", Authority: strings.ToLower(in.Host), Target: in.RequestURI, Proto: in.Proto, Header: traffic.HeaderFrom(in.Header)},
		Response: &traffic.Response{Status: resp.StatusCode, Proto: resp.Proto, Header: traffic.HeaderFrom(resp.Header), Trailer: traffic.HeaderFrom(resp.Trailer)},
	}
	x.Request.Body = traffic.NewBody(asked, x.Request.Header)
	x.Response.Body = traffic.NewBody(said, x.Response.Header)
	r.mu.Lock()
	defer r.mu.Unlock()
	x.ID = fmt.Sprintf("out-%04d", len(r.exchanges))
	r.exchanges = append(r.exchanges, x)
}

// recorded returns what was kept so far, as said to the given authority.
func (r *recorder) recorded(authority string) []*traffic.Exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*traffic.Exchange, len(r.exchanges))
	for i, x := range r.exchanges {
		out[i] = x.Clone()
		out[i].Request.Authority = authority
	}
	return out
}
