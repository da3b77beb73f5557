package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	streamhttp "k8s.io/streaming/pkg/httpstream"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// Forwarding is a local address that leads to a port of a pod.
type Forwarding struct {
	// Addr is host:port on this machine's loopback address.
	Addr string

	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Forward makes a port of a pod reachable at a local address. It lives until
// ctx ends, Close is called, or the connection to the pod is lost.
func (c *Cluster) Forward(ctx context.Context, namespace, pod string, port int) (*Forwarding, error) {
	dialer, err := c.forwardDialer(namespace, pod)
	if err != nil {
		return nil, fmt.Errorf("forward to %s/%s: %w", namespace, pod, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ready := make(chan struct{})
	forwarder, err := portforward.NewOnAddressesForStreamingWithContext(ctx, dialer, []string{"127.0.0.1"},
		[]string{"0:" + strconv.Itoa(port)}, ready, io.Discard, io.Discard)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("forward to %s/%s: %w", namespace, pod, err)
	}
	f := &Forwarding{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.err = forwarder.ForwardPorts()
	}()
	select {
	case <-ready:
	case <-f.done:
		cancel()
		return nil, fmt.Errorf("forward to %s/%s: %w", namespace, pod, errors.Join(f.err, context.Cause(ctx)))
	case <-time.After(20 * time.Second):
		f.Close()
		return nil, fmt.Errorf("forward to %s/%s: the API server did not answer within 20 s", namespace, pod)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("forward to %s/%s: %w", namespace, pod, err)
	}
	f.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local)))
	return f, nil
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

// Done is closed when the address no longer leads anywhere.
func (f *Forwarding) Done() <-chan struct{} { return f.done }

// Close ends the forwarding and waits for its end. It may be called many times.
func (f *Forwarding) Close() {
	f.stop()
	<-f.done
}
