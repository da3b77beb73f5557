package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kindNodes returns the containers of the kind cluster on this machine whose
// API server is at host, an URL; none when there is no such cluster or no
// Docker.
func (d docker) kindNodes(ctx context.Context, host string) []string {
	u, err := url.Parse(host)
	if err != nil {
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil
	}
	ids, err := d.lines(ctx, "ps", "--quiet", "--no-trunc", "--filter", "label="+clusterLabel)
	if err != nil || len(ids) == 0 {
		return nil
	}
	out, err := d.run(ctx, append([]string{"inspect", "--type=container"}, ids...)...)
	if err != nil {
		return nil
	}
	var containers []kindContainer
	if json.Unmarshal([]byte(out), &containers) != nil {
		return nil
	}
	return nodesBehind(containers, u.Port())
}

// kindContainer is what docker inspect tells of a container of kind's.
type kindContainer struct {
	Name            string
	Config          struct{ Labels map[string]string }
	NetworkSettings struct {
		Ports map[string][]struct{ HostPort string }
	}
}

// nodesBehind picks the nodes of the cluster that publishes its API at a port
// of this machine.
func nodesBehind(containers []kindContainer, port string) []string {
	cluster := ""
	for _, c := range containers {
		for _, p := range c.NetworkSettings.Ports["6443/tcp"] {
			if p.HostPort == port {
				cluster = c.Config.Labels[clusterLabel]
			}
		}
	}
	var nodes []string
	for _, c := range containers {
		role := c.Config.Labels["io.x-k8s.kind.role"]
		if cluster != "" && c.Config.Labels[clusterLabel] == cluster && (role == "control-plane" || role == "worker") {
			nodes = append(nodes, strings.TrimPrefix(c.Name, "/"))
		}
	}
	return nodes
}

// need is what a run does to a given cluster.
type need struct{ group, resource, verb string }

func (n need) String() string {
	if n.group == "" {
		return n.verb + " " + n.resource
	}
	return n.verb + " " + n.resource + "." + n.group
}

// needs are those of every run, whatever is in the chart.
var needs = []need{
	{"", "namespaces", "create"}, {"", "namespaces", "list"}, {"", "namespaces", "delete"},
	{"", "pods", "create"}, {"", "pods", "watch"}, {"", "pods/portforward", "create"}, {"", "pods/log", "get"},
	{"", "secrets", "create"}, {"", "configmaps", "create"}, {"", "services", "create"}, {"", "services", "get"},
	{"apps", "deployments", "create"}, {"batch", "jobs", "create"},
	{"discovery.k8s.io", "endpointslices", "list"}, {"networking.k8s.io", "networkpolicies", "create"},
}

// MayRun asks the API server whether the context's user may do what a run does,
// and names all that it may not, on one line. A server that does not answer such
// questions is believed to allow it.
func (c *Cluster) MayRun(ctx context.Context) error {
	api, err := c.API()
	if err != nil {
		return err
	}
	refused := make([]bool, len(needs))
	var asked sync.WaitGroup
	for i, n := range needs {
		asked.Go(func() {
			resource, sub, _ := strings.Cut(n.resource, "/")
			review, err := api.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
					Group: n.group, Resource: resource, Subresource: sub, Verb: n.verb,
				}},
			}, metav1.CreateOptions{})
			refused[i] = err == nil && !review.Status.Allowed
		})
	}
	asked.Wait()
	var lacks []string
	for i, no := range refused {
		if no {
			lacks = append(lacks, needs[i].String())
		}
	}
	if len(lacks) > 0 {
		return fmt.Errorf("context %q may not %s in all namespaces; a ClusterRole with these rights is needed", c.Name(), strings.Join(lacks, ", "))
	}
	return ctx.Err()
}

// KubeconfigPath returns the file that kubectl would read: the one of KUBECONFIG,
// or .kube/config in home. Several files in KUBECONFIG are an error, because
// only one can be named.
func KubeconfigPath(getenv func(string) string) (string, error) {
	switch list := getenv("KUBECONFIG"); {
	case strings.ContainsRune(list, os.PathListSeparator):
		return "", errors.New("KUBECONFIG names several files; name the one that has the context")
	case list != "":
		return list, nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", errors.New("neither KUBECONFIG nor HOME is set; name the kubeconfig file")
	}
	return filepath.Join(home, ".kube", "config"), nil
}
