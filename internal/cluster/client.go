package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Quiet sends what the Kubernetes libraries log to w instead of standard error.
// Their logger belongs to the whole process, so this is for the outermost layer
// to call, once.
func Quiet(w io.Writer) {
	// klog's own switch leaves errors on standard error.
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(w, nil)))
}

// REST returns the configuration for clients of the cluster's API. The caller
// gets a copy of its own. It is an error to ask before Ready has returned nil.
func (c *Cluster) REST() (*rest.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config == nil {
		return nil, fmt.Errorf("cluster %s is not ready", c.Name())
	}
	return rest.CopyConfig(c.config), nil
}

// API returns a client of the cluster's API, under the same condition.
func (c *Cluster) API() (kubernetes.Interface, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api == nil {
		return nil, fmt.Errorf("cluster %s is not ready", c.Name())
	}
	return c.api, nil
}

// connect makes the client. Requests are limited by the server alone: the
// client's own limit only makes short runs wait, and says so in the log. What
// fails in passing is repeated (see [patient]).
func (c *Cluster) connect(config *rest.Config) error {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 100, 200
	config.WarningHandlerWithContext = rest.NoWarnings{}
	config.UserAgent = "reprise"
	config.Wrap((&patient{pauses: apiPauses}).around)
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client for cluster %s: %w", c.Name(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config, c.api = config, api
	return nil
}

// connectNode makes the client with the credentials that kubeadm has written
// into the node, which exist long before the API answers and kind hands out a
// kubeconfig file.
func (c *Cluster) connectNode(ctx context.Context) error {
	conf, err := c.docker.run(ctx, "exec", c.node(), "cat", "/etc/kubernetes/admin.conf")
	if err != nil {
		return err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(conf))
	if err != nil {
		return fmt.Errorf("read the node's admin.conf: %w", err)
	}
	port, err := c.docker.run(ctx, "port", c.node(), "6443/tcp")
	if err != nil {
		return err
	}
	port, _, _ = strings.Cut(port, "\n")
	config.Host = "https://" + port
	return c.connect(config)
}

// answers asks the API server for its version.
func (c *Cluster) answers(ctx context.Context) error {
	api, err := c.API()
	if err != nil {
		return err
	}
	body, err := api.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx)
	if err == nil && len(body) == 0 {
		err = errors.New("empty answer")
	}
	return err
}
