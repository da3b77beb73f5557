package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/portforward"
	streamhttp "k8s.io/streaming/pkg/httpstream"
)

// tunnel carries local connections to one port of a pod, each as a pair of
// streams within one connection to the API server. client-go's own forwarder
// does the same, but closes its local port when that connection is lost.
type tunnel struct {
	dialer streamhttp.Dialer
	port   string          // of the pod
	pauses []time.Duration // between attempts to connect
	// hurried is closed when nobody has time for further attempts.
	hurried chan struct{}

	mu       sync.Mutex
	upstream streamhttp.Connection
	requests int
}

// dialTimeout bounds one attempt to connect to the pod.
const dialTimeout = 20 * time.Second

// tunnelPauses lie between the attempts to reach a pod that was there: the API
// server or the node's kubelet may be late, or be starting again.
var tunnelPauses = []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 2 * time.Second, 3 * time.Second}

// connect is connection, asked again when it fails. A pod that is gone is not
// waited for.
func (t *tunnel) connect(ctx context.Context) (streamhttp.Connection, error) {
	for attempt := 0; ; attempt++ {
		conn, err := t.connection(ctx)
		if err == nil || apierrors.IsNotFound(err) || attempt == len(t.pauses) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-t.hurried:
			return nil, err
		case <-time.After(t.pauses[attempt]):
		}
	}
}

// connection returns the connection to the pod, made anew if it was lost.
func (t *tunnel) connection(ctx context.Context) (streamhttp.Connection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.upstream != nil {
		select {
		case <-t.upstream.CloseChan():
		default:
			return t.upstream, nil
		}
	}
	type dialled struct {
		conn streamhttp.Connection
		err  error
	}
	result := make(chan dialled, 1)
	go func() {
		conn, _, err := t.dialer.Dial(portforward.PortForwardProtocolV1Name)
		result <- dialled{conn, err}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("the API server did not answer within %v", dialTimeout))
	defer cancel()
	var err error
	select {
	case d := <-result:
		if d.err != nil {
			return nil, d.err
		}
		t.upstream = d.conn
		return d.conn, nil
	case <-t.hurried:
		err = errors.New("there is no time left to connect")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	go func() { // the dialer knows no context
		if d := <-result; d.conn != nil {
			d.conn.Close()
		}
	}()
	return nil, err
}

// drop closes a connection that failed.
func (t *tunnel) drop(conn streamhttp.Connection) {
	conn.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.upstream == conn {
		t.upstream = nil
	}
}

func (t *tunnel) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.upstream != nil {
		t.upstream.Close()
	}
}

// serve carries connections of l until ctx ends, and closes it.
func (t *tunnel) serve(ctx context.Context, l net.Listener) {
	var carrying sync.WaitGroup
	defer carrying.Wait()
	defer t.close()
	stop := context.AfterFunc(ctx, func() { l.Close(); t.close() })
	defer stop()
	for {
		local, err := l.Accept()
		if err != nil {
			return // closed
		}
		carrying.Go(func() {
			defer local.Close()
			end := context.AfterFunc(ctx, func() { local.Close() })
			defer end()
			t.carry(ctx, local)
		})
	}
}

// carry connects one local connection to the pod. A lost connection to the
// cluster is noticed when streams are opened, so that is tried twice.
func (t *tunnel) carry(ctx context.Context, local net.Conn) {
	for range 2 {
		conn, err := t.connect(ctx)
		if err != nil {
			return
		}
		failure, data, err := t.streams(conn)
		if err != nil {
			t.drop(conn)
			continue
		}
		t.copy(local, conn, failure, data)
		conn.RemoveStreams(failure, data)
		return
	}
}

// streams opens the two streams of a forwarded connection: one for what goes
// wrong, one for the data.
func (t *tunnel) streams(conn streamhttp.Connection) (failure, data streamhttp.Stream, err error) {
	t.mu.Lock()
	t.requests++
	request := strconv.Itoa(t.requests)
	t.mu.Unlock()
	open := func(kind string) (streamhttp.Stream, error) {
		return conn.CreateStream(http.Header{
			http.CanonicalHeaderKey(corev1.StreamType):                 {kind},
			http.CanonicalHeaderKey(corev1.PortHeader):                 {t.port},
			http.CanonicalHeaderKey(corev1.PortForwardRequestIDHeader): {request},
		})
	}
	if failure, err = open(corev1.StreamTypeError); err != nil {
		return nil, nil, err
	}
	failure.Close() // nothing is written to it
	if data, err = open(corev1.StreamTypeData); err != nil {
		conn.RemoveStreams(failure)
		return nil, nil, err
	}
	return failure, data, nil
}

// copy moves bytes both ways until the pod has ended its side or the caller is
// gone. What the pod's node reports as an error ends the connection; it holds
// for this one alone, so the tunnel stays.
func (t *tunnel) copy(local net.Conn, conn streamhttp.Connection, failure, data streamhttp.Stream) {
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		if message, err := io.ReadAll(failure); err != nil || len(message) > 0 {
			local.Close()
			data.Reset()
		}
	}()
	remote := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(remote)
		_, _ = io.Copy(local, data) // ends with either side
	}()
	go func() {
		if _, err := io.Copy(data, local); err != nil {
			close(gone)
		}
		data.Close() // tells the pod that no more comes
	}()
	select {
	case <-remote:
	case <-gone:
	case <-conn.CloseChan():
	}
	local.Close()
	// Data that nobody reads would hold up the other streams.
	data.Reset()
	select {
	case <-failed:
	case <-time.After(time.Second):
	}
}
