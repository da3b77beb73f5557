package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	streamhttp "k8s.io/streaming/pkg/httpstream"
)

// fakePod answers each line with the same line. Its dialer counts connections
// and refuses as many as refuse says.
type fakePod struct {
	mu     sync.Mutex
	conns  []*fakeConnection
	refuse int
	with   error
}

func (p *fakePod) Dial(...string) (streamhttp.Connection, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse > 0 {
		p.refuse--
		return nil, "", p.with
	}
	c := &fakeConnection{closed: make(chan bool)}
	p.conns = append(p.conns, c)
	return c, "", nil
}

type fakeConnection struct {
	once    sync.Once
	closed  chan bool
	mu      sync.Mutex
	streams []net.Conn
}

func (c *fakeConnection) CreateStream(h http.Header) (streamhttp.Stream, error) {
	select {
	case <-c.closed:
		return nil, errors.New("connection lost")
	default:
	}
	near, far := net.Pipe()
	c.mu.Lock()
	c.streams = append(c.streams, near, far)
	c.mu.Unlock()
	if h.Get(corev1.StreamType) == corev1.StreamTypeData {
		go func() {
			defer far.Close()
			lines := bufio.NewScanner(far)
			for lines.Scan() {
				fmt.Fprintln(far, lines.Text())
			}
		}()
	}
	return fakeStream{near, h}, nil
}

func (c *fakeConnection) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		s.Close()
	}
	return nil
}

func (c *fakeConnection) CloseChan() <-chan bool             { return c.closed }
func (c *fakeConnection) SetIdleTimeout(time.Duration)       {}
func (c *fakeConnection) RemoveStreams(...streamhttp.Stream) {}

type fakeStream struct {
	net.Conn
	header http.Header
}

// Close of an error stream ends only what is written; reading goes on.
func (s fakeStream) Close() error {
	if s.header.Get(corev1.StreamType) == corev1.StreamTypeError {
		return nil
	}
	return s.Conn.Close()
}
func (s fakeStream) Reset() error         { return s.Conn.Close() }
func (s fakeStream) Headers() http.Header { return s.header }
func (s fakeStream) Identifier() uint32   { return 1 }

// TestTunnelOutlivesItsConnection loses the connection to the cluster twice: the
// local address keeps answering.
func TestTunnelOutlivesItsConnection(t *testing.T) {
	pod := &fakePod{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() { defer close(served); (&tunnel{dialer: pod, port: "1"}).serve(ctx, l) }()
	for i := range 3 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintln(conn, "hello", i)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if want := fmt.Sprintf("hello %d\n", i); err != nil || line != want {
			t.Fatalf("got %q, %v; want %q", line, err, want)
		}
		pod.mu.Lock()
		last := pod.conns[len(pod.conns)-1]
		pod.mu.Unlock()
		last.Close()
		if _, err := io.ReadAll(conn); err != nil {
			t.Logf("the open connection ended with %v, as it should", err)
		}
		conn.Close()
	}
	if len(pod.conns) != 3 {
		t.Errorf("%d connections to the cluster, want one for each loss", len(pod.conns))
	}
	cancel()
	select {
	case <-served:
	case <-time.After(10 * time.Second):
		t.Fatal("the forwarding does not end with its context")
	}
	if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
		conn.Close()
		t.Error("the address answers after its end")
	}
}

// TestTunnelIsPatient has an API server that does not lead to the pod at once.
func TestTunnelIsPatient(t *testing.T) {
	gone := apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "mock")
	for name, tc := range map[string]struct {
		refuse int
		with   error
		left   int // refusals that nobody asked for
		fails  bool
	}{
		"refused three times": {3, errors.New("error dialing backend: EOF"), 0, false},
		"refused for good":    {9, errors.New("error dialing backend: EOF"), 5, true},
		"the pod is gone":     {9, gone, 8, true},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &fakePod{refuse: tc.refuse, with: tc.with}
			tun := &tunnel{dialer: pod, port: "1", pauses: []time.Duration{0, 0, 0}}
			_, err := tun.connect(t.Context())
			if (err != nil) != tc.fails || pod.refuse != tc.left {
				t.Errorf("%v with %d refusals left, want %d", err, pod.refuse, tc.left)
			}
		})
	}
}

// TestTunnelHurries has a cluster that goes away while somebody still asks.
func TestTunnelHurries(t *testing.T) {
	pod := &fakePod{refuse: 99, with: errors.New("connection refused")}
	tun := &tunnel{dialer: pod, port: "1", pauses: []time.Duration{time.Hour}, hurried: make(chan struct{})}
	failed := make(chan error, 1)
	go func() { _, err := tun.connect(t.Context()); failed <- err }()
	close(tun.hurried)
	select {
	case err := <-failed:
		if err == nil {
			t.Error("connected to nothing")
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits on")
	}
}
