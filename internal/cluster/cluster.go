package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Cluster is a Kubernetes cluster, made here ([Start]) or given ([Use]). Its
// methods are safe for concurrent use.
type Cluster struct {
	// Owned says that reprise made the cluster and removes it.
	Owned bool
	// Kubeconfig is the path of the cluster's kubeconfig file. For an owned
	// cluster it exists once Ready has returned nil.
	Kubeconfig string

	name     string // of the context of a given cluster
	docker   docker
	nodes    []string // containers of a given cluster's nodes on this machine
	network  bool     // the creation made Docker's kind network
	creation *creation
	progress func(string)

	mu     sync.Mutex
	config *rest.Config
	api    kubernetes.Interface
}

// Create makes a kind cluster and waits until it is ready: [Start] followed by
// [Cluster.Ready]. After an error nothing is left of it.
func Create(ctx context.Context, opts Options) (*Cluster, error) {
	c, err := Start(ctx, opts)
	if err != nil {
		return nil, err
	}
	if err := c.Ready(ctx); err != nil {
		return nil, errors.Join(err, c.Delete(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// Start begins to make a kind cluster and returns at once, so that images can
// be built and loaded meanwhile. A creation that fails is tried once more under a
// fresh name, with what was loaded before; that takes as long again and is told
// to Progress. The caller must call Delete, whatever happens.
// When ctx ends during the creation, the creation is undone.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	if opts.Name == "" {
		opts.Name = NewName()
	}
	if opts.NodeImage == "" {
		opts.NodeImage = nodeImage(opts.Env)
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opts.KubeconfigDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory for the kubeconfig: %w", err)
	}
	c := &Cluster{
		Owned:      true,
		Kubeconfig: kubeconfigPath(opts.KubeconfigDir, opts.Name),
		docker:     docker{opts.Env},
		progress:   serialised(opts.Progress),
	}
	c.network = !c.docker.hasNetwork(ctx)
	startCreation(ctx, c, opts)
	return c, nil
}

// Use takes a cluster that exists: a named context of a kubeconfig file. There
// is no default for either, because taking whatever the environment points to
// has installed things into production before. The API server must answer
// within 10 s. Delete does nothing to it. env is that of the docker tool, which
// is asked whether the cluster is one of kind's on this machine: then images
// can be loaded into its nodes.
func Use(ctx context.Context, kubeconfig, contextName string, env []string) (*Cluster, error) {
	if kubeconfig == "" || contextName == "" {
		return nil, errors.New("name the kubeconfig file and the context in it")
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: contextName})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read context %q of %s: %w", contextName, kubeconfig, err)
	}
	c := &Cluster{name: contextName, Kubeconfig: kubeconfig, docker: docker{env}, progress: serialised(nil)}
	if err := c.connect(config); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.answers(ctx); err != nil {
		return nil, fmt.Errorf("context %q of %s at %s does not answer: %w", contextName, kubeconfig, config.Host, err)
	}
	c.nodes = c.docker.kindNodes(ctx, config.Host)
	return c, nil
}

// Delete removes an owned cluster with everything that came with it: node
// container, volumes, kubeconfig file, and Docker's kind network if the
// creation made that and nobody else uses it. It ends a creation that is still
// under way, may be called many times, and does nothing to a given cluster.
func (c *Cluster) Delete(ctx context.Context) error {
	if !c.Owned {
		return nil
	}
	var err error
	select {
	case <-c.creation.done:
	default: // the node may appear after the first removal, and make a second one necessary
		c.creation.stop()
		err = c.docker.remove(ctx, c.node())
		select {
		case <-c.creation.done:
		case <-ctx.Done():
			err = errors.Join(err, fmt.Errorf("wait for the end of the creation of %s: %w", c.Name(), ctx.Err()))
		}
	}
	err = errors.Join(err, c.docker.remove(ctx, c.node()))
	if c.network {
		c.docker.removeNetwork(ctx)
	}
	if rmErr := os.Remove(c.Kubeconfig); rmErr != nil && !errors.Is(rmErr, os.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	return wrap(err, "remove cluster "+c.Name())
}

// Name is that of the kind cluster or of the given context. A kind cluster whose
// first creation fails gets another one; once Ready has returned it stays.
func (c *Cluster) Name() string {
	if c.creation == nil {
		return c.name
	}
	return c.creation.current().name
}

// node is the container of the only node of an owned cluster.
func (c *Cluster) node() string { return c.creation.current().node() }

// serialised wraps a progress function so that it is never nil and never
// called twice at a time.
func serialised(progress func(string)) func(string) {
	if progress == nil {
		return func(string) {}
	}
	var mu sync.Mutex
	return func(s string) {
		mu.Lock()
		defer mu.Unlock()
		progress(s)
	}
}
