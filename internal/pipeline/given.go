package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"

	"github.com/reprise-ci/reprise/internal/cluster"
	"github.com/reprise-ci/reprise/internal/deploy"
	"github.com/reprise-ci/reprise/internal/workdir"
)

// Given is a cluster that exists and stays. A run makes namespaces of its own
// there and touches no other.
type Given struct {
	Kubeconfig string // path
	Context    string // never empty
	Namespace  string // what the names of the run's namespaces begin with
	// AgentImage is the image of reprise; empty where it can be loaded into the
	// nodes.
	AgentImage string
	// CopySecrets, each NAMESPACE/NAME, are copied into the run's namespaces.
	CopySecrets []string
}

// ImageRef fills the commit into the name of an image that is built already.
func ImageRef(text, sha string) (string, error) {
	t, err := template.New("image").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, struct{ SHA, Short string }{sha, sha[:min(len(sha), 12)]})
	return b.String(), err
}

// splitRef divides a reference into what charts take as repository and tag. A
// digest goes the same way: repository@sha256 and the digits.
func splitRef(ref string) (repository, tag string) {
	i := strings.LastIndexByte(ref, ':')
	return ref[:max(i, 0)], ref[i+1:]
}

// prebuilt returns the image of an arm that was built before the run, "" when
// the run builds it.
func (c *onCluster) prebuilt(arm Arm) (string, error) {
	text, sha := c.o.Image.Base, c.r.base.SHA
	if arm == Head {
		text, sha = c.o.Image.Head, c.r.head.SHA
	}
	return ImageRef(text, sha)
}

// checkGiven connects to the given cluster and finds out what cannot work
// there.
func (c *onCluster) checkGiven(ctx context.Context) error {
	const stage = "check the target"
	given := c.o.Given
	var err error
	if c.cluster, err = cluster.Use(ctx, given.Kubeconfig, given.Context, c.r.options.Environ); err != nil {
		return err
	}
	if err := c.cluster.MayRun(ctx); err != nil {
		return badInput(stage, err)
	}
	if !c.cluster.TakesImages() {
		if given.AgentImage == "" {
			return badInput(stage, fmt.Errorf("agent-image: missing; the nodes of context %q are not on this machine, so push the image of reprise with reprise agent-image and name it", given.Context))
		}
		if c.o.Image.Context != "" {
			return badInput(stage, fmt.Errorf("build.image.context: images cannot be loaded into context %q, whose nodes are not on this machine; push them before the run and name them with build.image.base and build.image.head", given.Context))
		}
	}
	c.name = strings.TrimPrefix(cluster.NewName(), cluster.NamePrefix)
	return nil
}

// LeftNamespaces is what a run writes down before it makes namespaces on a
// cluster that stays, so that reprise cleanup finds them.
type LeftNamespaces struct {
	Kubeconfig, Context, Run string
}

// Remove deletes the namespaces. A cluster that is gone has none.
func (l LeftNamespaces) Remove(ctx context.Context, environ []string) error {
	given, err := cluster.Use(ctx, l.Kubeconfig, l.Context, environ)
	if err != nil {
		return err
	}
	kube, err := connect(given)
	if err != nil {
		return err
	}
	return kube.RemoveNamespaces(ctx, l.Run)
}

func connect(c *cluster.Cluster) (*deploy.Kube, error) {
	rest, err := c.REST()
	if err != nil {
		return nil, err
	}
	return deploy.Connect(rest)
}

// noteNamespaces records what is about to be made, and sees to its removal.
func (c *onCluster) noteNamespaces() error {
	left, err := json.Marshal(LeftNamespaces{Kubeconfig: c.o.Given.Kubeconfig, Context: c.o.Given.Context, Run: c.run()})
	if err != nil {
		return err
	}
	if err := c.r.dir.Note(workdir.Namespaces, string(left)); err != nil {
		return err
	}
	c.r.atOnce(func(ctx context.Context) error { return c.kube.RemoveNamespaces(ctx, c.run()) })
	return nil
}

// noImage says which setting names an image that the cluster cannot get; nil
// when an error is about something else.
func noImage(stage, key, ref, remedy string, err error) error {
	var stuck *deploy.NotReadyError
	if ref == "" || !errors.As(err, &stuck) || !stuck.NoImage() || !strings.Contains(stuck.Message, ref) {
		return nil
	}
	return badInput(stage, fmt.Errorf("%s: the cluster cannot get %s (%s: %s); %s", key, ref, stuck.Reason, stuck.Message, remedy))
}
