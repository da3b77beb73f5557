package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"

	streamhttp "k8s.io/streaming/pkg/httpstream"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// Forwarding is a local address that leads to a port of a pod.
type Forwarding struct {
	// Addr is host:port on this machine's loopback address.
	Addr string

	stop  context.CancelFunc
	hurry func()
	done  chan struct{}
}

// Forward makes a port of a pod reachable at a local address, which stays open
// until ctx ends or Close is called. A connection to the cluster that is lost in
// between is made again for the next caller: the address never falls to another
// process while somebody still counts on it.
func (c *Cluster) Forward(ctx context.Context, namespace, pod string, port int) (*Forwarding, error) {
	dialer, err := c.forwardDialer(namespace, pod)
	if err != nil {
		return nil, fmt.Errorf("forward to %s/%s: %w", namespace, pod, err)
	}
	t := &tunnel{dialer: dialer, port: strconv.Itoa(port), pauses: tunnelPauses, hurried: make(chan struct{})}
	if _, err := t.connect(ctx); err != nil {
		return nil, fmt.Errorf("forward to %s/%s: %w", namespace, pod, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.close()
		return nil, fmt.Errorf("forward to %s/%s: %w", namespace, pod, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &Forwarding{Addr: l.Addr().String(), stop: cancel, hurry: sync.OnceFunc(func() { close(t.hurried) }), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		t.serve(ctx, l)
	}()
	return f, nil
}

// Done is closed when the address no longer leads anywhere.
func (f *Forwarding) Done() <-chan struct{} { return f.done }

// Hurry says that a connection which is lost from now on is not worth waiting
// for: the cluster may be on its way out. It may be called many times.
func (f *Forwarding) Hurry() { f.hurry() }

// Close ends the forwarding and waits for its end. It may be called many times.
func (f *Forwarding) Close() {
	f.stop()
	<-f.done
}

// forwardDialer tries WebSockets first, as kubectl does, and falls back to SPDY
// for older API servers.
func (c *Cluster) forwardDialer(namespace, pod string) (streamhttp.Dialer, error) {
	config, err := c.REST()
	if err != nil {
		return nil, err
	}
	api, err := c.API()
	if err != nil {
		return nil, err
	}
	url := api.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(tunnel, old, func(err error) bool {
		return streamhttp.IsUpgradeFailure(err) || streamhttp.IsHTTPSProxyError(err)
	}), nil
}
