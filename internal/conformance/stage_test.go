package conformance

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/capture"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// host is the name that clients of TLS know the server by: one that every
// machine resolves, so that they ask for it by SNI.
const host = "localhost"

// serve runs serve on a free port of loopback and returns its address and what
// ends it; the end of the test does so too.
func serve(t *testing.T, serve func(ctx context.Context, l net.Listener) error) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func newAuthority(t *testing.T) *authority.Authority {
	t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// newRoot returns an authority with its certificate.
func newRoot(t *testing.T) (*authority.Authority, *x509.Certificate) {
	t.Helper()
	ca := newAuthority(t)
	block, _ := pem.Decode(ca.CertPEM())
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return ca, root
}

// kept is where a recorder puts what it saw.
type kept struct{ exchanges []*traffic.Exchange }

func (k *kept) Add(x *traffic.Exchange) error {
	k.exchanges = append(k.exchanges, x)
	return nil
}

// SampledOut and Dropped are never called: all is recorded.
func (k *kept) SampledOut(int) {}
func (k *kept) Dropped(int)    {}

// recording is a recorder that stands before a real server. Clients take it
// for the server.
type recording struct {
	addr string
	ca   *authority.Authority // signs what it presents to clients of TLS
	stop func()
	sink *kept
}

// record puts the recorder before the server at upstream, whose certificate,
// if it has any, the given roots verify.
func record(t *testing.T, upstream string, roots ...*x509.Certificate) *recording {
	t.Helper()
	r := &recording{ca: newAuthority(t), sink: &kept{}}
	recorder, err := capture.NewRecorder(r.sink, capture.Options{Lossless: true})
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan string, 1)
	addr, stop := serve(t, func(ctx context.Context, l net.Listener) error {
		resolve := map[string]string{host: upstream, l.Addr().String(): upstream}
		outbound, err := capture.NewOutbound(r.ca, recorder, capture.OutboundOptions{Resolve: resolve, ExtraRoots: roots})
		opened <- l.Addr().String()
		if err != nil {
			l.Close()
			return err
		}
		return outbound.Serve(ctx, l)
	})
	<-opened
	r.addr = addr
	r.stop = sync.OnceFunc(func() {
		stop()
		if err := recorder.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// roots returns a file with the certificates by which clients trust the recorder,
// and then the mock.
func (r *recording) roots(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, r.ca.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// replay ends the recording and starts a mock that answers from it.
func (r *recording) replay(t *testing.T) (*mock.Mock, string) {
	t.Helper()
	r.stop()
	m, err := mock.New(r.sink.exchanges, r.ca, mock.Options{OneLane: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	addr, _ := serve(t, m.Serve)
	m.BeginPass(1)
	return m, addr
}
