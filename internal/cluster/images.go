package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
)

// ErrElsewhere is wrapped by errors of what can be done only to clusters whose
// nodes are containers of this machine.
var ErrElsewhere = errors.New("the cluster's nodes are not on this machine")

// TakesImages reports whether images can be loaded into the cluster's nodes:
// one that reprise made, or a given one of kind's on this machine.
func (c *Cluster) TakesImages() bool { return c.Owned || len(c.nodes) > 0 }

// put brings images onto nodes, from the beginning each time it is called.
type put func(ctx context.Context, nodes []string) error

// LoadImages streams a docker-archive (docker save) or OCI tar into all nodes.
// It waits for the node's container engine, not for Kubernetes, so it may be
// called while the cluster is being made. archive opens the stream, which is
// closed here; a load that fails is tried once more. On a cluster that does not
// take images it fails with [ErrElsewhere]: they must come from a registry there.
func (c *Cluster) LoadImages(ctx context.Context, archive func() io.ReadCloser) error {
	return c.load(ctx, func(ctx context.Context, nodes []string) error {
		stream := archive()
		defer stream.Close()
		return c.importInto(ctx, nodes, stream)
	})
}

// LoadDockerImages copies images of the local Docker daemon into the node, all
// in one stream, so that layers they share travel once.
func (c *Cluster) LoadDockerImages(ctx context.Context, refs ...string) error {
	if len(refs) == 0 {
		return nil
	}
	for _, ref := range refs {
		if _, err := c.docker.run(ctx, "image", "inspect", "--format", "{{.Id}}", ref); err != nil {
			return fmt.Errorf("image %s is not in the local Docker daemon: %w", ref, err)
		}
	}
	err := c.load(ctx, func(ctx context.Context, nodes []string) error {
		// A store of multi-platform images would otherwise save an index whose
		// other platforms it does not have, which the node refuses.
		err := c.copyImages(ctx, nodes, append([]string{"save", "--platform", "linux/" + runtime.GOARCH}, refs...))
		if err != nil && lacksPlatform(err) {
			err = c.copyImages(ctx, nodes, append([]string{"save"}, refs...))
		}
		return err
	})
	return wrap(err, "load "+strings.Join(refs, ", ")+" into the node")
}

// load puts something onto the nodes, and tries once more when that fails: an
// import may be refused for what another one is doing at that moment, and a node
// may be taken away by a creation that failed, and be made anew.
func (c *Cluster) load(ctx context.Context, p put) error {
	if !c.TakesImages() {
		return fmt.Errorf("load images: %w", ErrElsewhere)
	}
	if !c.Owned {
		if err := p(ctx, c.nodes); err == nil || ctx.Err() != nil {
			return err
		}
		return p(ctx, c.nodes)
	}
	onto, err := c.creation.enter(ctx, p)
	if err != nil {
		return fmt.Errorf("load images: %w", err)
	}
	if err := p(ctx, []string{onto.node()}); err == nil || ctx.Err() != nil {
		return err
	}
	select {
	case <-c.creation.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.creation.err != nil {
		return fmt.Errorf("load images: %w", c.creation.err)
	}
	if c.creation.current() != onto {
		return nil // the node that took its place has got all of it
	}
	return p(ctx, []string{onto.node()})
}

// enter waits until a node's container engine answers, and notes that p is put
// onto that node.
func (cr *creation) enter(ctx context.Context, p put) (*attempt, error) {
	for {
		now := cr.current()
		select {
		case <-now.engine:
		case <-now.over:
		case <-cr.done:
			if cr.err != nil {
				return nil, cr.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		cr.mu.Lock()
		if cr.now == now {
			cr.put = append(cr.put, p)
			cr.mu.Unlock()
			return now, nil
		}
		cr.mu.Unlock()
	}
}

func (c *Cluster) importInto(ctx context.Context, containers []string, archive io.Reader) error {
	group, ctx := errgroup.WithContext(ctx)
	var nodes []io.Writer
	var ends []*io.PipeWriter
	for _, node := range containers {
		r, w := io.Pipe()
		nodes, ends = append(nodes, w), append(ends, w)
		group.Go(func() error {
			err := c.docker.pipe(ctx, r, io.Discard, "exec", "--interactive", node,
				"ctr", "--namespace=k8s.io", "images", "import", "--digests", "--snapshotter=overlayfs", "-")
			r.CloseWithError(errors.New("the node stopped reading"))
			return wrap(err, "load images into node "+node)
		})
	}
	_, err := io.Copy(io.MultiWriter(nodes...), archive)
	for _, w := range ends {
		w.CloseWithError(err) // a nil error is the end of the stream
	}
	// What a node says tells more than that it stopped reading.
	return cmp.Or(group.Wait(), wrap(err, "load images"))
}

func (c *Cluster) copyImages(ctx context.Context, nodes, save []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	saved := make(chan error, 1)
	go func() {
		err := c.docker.pipe(ctx, nil, w, save...)
		w.CloseWithError(err) // a nil error is the end of the stream
		saved <- err
	}()
	err := c.importInto(ctx, nodes, r)
	r.CloseWithError(errors.New("the node stopped reading"))
	cancel()
	if saveErr := <-saved; saveErr != nil && (err == nil || lacksPlatform(saveErr)) {
		return saveErr
	}
	return err
}

// lacksPlatform reports whether docker save does not know --platform (the
// command line tool before release 28, or a daemon before API 1.48).
func lacksPlatform(err error) bool {
	s := err.Error()
	return strings.Contains(s, "--platform") || strings.Contains(s, "requires API version") || strings.Contains(s, `"platform"`)
}
