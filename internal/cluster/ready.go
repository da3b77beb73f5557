package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// readyTimeout bounds the wait for the node after kind has finished.
const readyTimeout = 3 * time.Minute

// Ready waits until pods can be started on the cluster: the API answers, a node
// is ready and takes pods. It does not wait for the cluster's DNS, which comes
// up while mocks start (see [Cluster.DNSReady]). For a given cluster it is a check.
func (c *Cluster) Ready(ctx context.Context) error {
	if c.creation != nil {
		select {
		case <-c.creation.done:
			if c.creation.err != nil {
				return c.creation.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	api, err := c.API()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, errors.New("no node became ready within "+readyTimeout.String()))
	defer cancel()
	c.progress("waiting for the node")
	last := errors.New("no node")
	err = poll(ctx, 100*time.Millisecond, func() bool {
		nodes, err := api.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			last = err
			return false
		}
		for _, n := range nodes.Items {
			if last = nodeReady(&n); last == nil {
				return true
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("cluster %s: %w (last seen: %w)", c.Name(), context.Cause(ctx), last)
	}
	return nil
}

// nodeReady returns why pods cannot be scheduled on a node, or nil.
func nodeReady(n *corev1.Node) error {
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady && cond.Status != corev1.ConditionTrue {
			return fmt.Errorf("node %s is not ready: %s", n.Name, cond.Message)
		}
	}
	for _, taint := range n.Spec.Taints {
		if taint.Effect != corev1.TaintEffectPreferNoSchedule {
			return fmt.Errorf("node %s has taint %s", n.Name, taint.Key)
		}
	}
	if n.Spec.Unschedulable {
		return fmt.Errorf("node %s is cordoned", n.Name)
	}
	return nil
}

// closeDNS makes an owned cluster's CoreDNS answer for the cluster alone: names
// outside it get SERVFAIL instead of being asked of the world. It also leaves
// one replica of two. It waits for the deployment to exist, which is before its
// pods can start, so that no pod ever runs with the open configuration.
func (c *Cluster) closeDNS(ctx context.Context) error {
	api, err := c.API()
	if err != nil {
		return err
	}
	err = poll(ctx, 100*time.Millisecond, func() bool {
		_, err := api.AppsV1().Deployments(metav1.NamespaceSystem).Get(ctx, "coredns", metav1.GetOptions{})
		return err == nil
	})
	if err != nil {
		return err
	}
	maps := api.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	config, err := maps.Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the configuration of CoreDNS: %w", err)
	}
	// A patch bears being sent twice.
	closed, err := json.Marshal(map[string]any{"data": map[string]string{"Corefile": withoutForward(config.Data["Corefile"])}})
	if err != nil {
		return err
	}
	if _, err := maps.Patch(ctx, "coredns", types.StrategicMergePatchType, closed, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("close CoreDNS to the outside: %w", err)
	}
	// The annotation replaces pods that were made with the old configuration. The
	// probe would otherwise ask every ten seconds, and often fails the first time.
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{
		"replicas": 1,
		"strategy": map[string]any{"type": "Recreate", "rollingUpdate": nil},
		"template": map[string]any{
			"metadata": map[string]any{"annotations": map[string]string{"reprise.dev/corefile": "closed"}},
			"spec": map[string]any{"containers": []any{map[string]any{
				"name": "coredns", "readinessProbe": map[string]any{"periodSeconds": 1},
			}}},
		},
	}})
	if err != nil {
		return err
	}
	_, err = api.AppsV1().Deployments(metav1.NamespaceSystem).Patch(ctx, "coredns", types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	return wrap(err, "restart CoreDNS")
}

// withoutForward removes the forward block, or line, of a Corefile.
func withoutForward(corefile string) string {
	var kept []string
	depth := 0
	for line := range strings.SplitSeq(corefile, "\n") {
		fields := strings.Fields(line)
		if depth == 0 && (len(fields) == 0 || fields[0] != "forward") {
			kept = append(kept, line)
			continue
		}
		depth += strings.Count(line, "{") - strings.Count(line, "}")
	}
	return strings.Join(kept, "\n")
}

// DNS is the cluster's name service.
type DNS struct {
	// Address is the host:port of its Service, reachable from pods.
	Address string
	// Domain is the cluster's domain, without a dot at either end.
	Domain string
}

// DNS waits until the cluster's DNS answers and returns it: [Cluster.FindDNS]
// and [Cluster.DNSReady].
func (c *Cluster) DNS(ctx context.Context) (DNS, error) {
	found, err := c.FindDNS(ctx)
	if err != nil {
		return DNS{}, err
	}
	return found, c.DNSReady(ctx)
}

// FindDNS returns the cluster's DNS, which may not answer yet. That is enough to
// start a mock with.
func (c *Cluster) FindDNS(ctx context.Context) (DNS, error) {
	api, err := c.API()
	if err != nil {
		return DNS{}, err
	}
	service, err := api.CoreV1().Services(metav1.NamespaceSystem).Get(ctx, "kube-dns", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return DNS{}, fmt.Errorf("cluster %s has no Service kube-system/kube-dns, so names in the cluster cannot be looked up", c.Name())
	}
	if err != nil {
		return DNS{}, fmt.Errorf("find the cluster's DNS: %w", err)
	}
	return DNS{Address: service.Spec.ClusterIP + ":53", Domain: c.domain(ctx)}, nil
}

// DNSReady waits until the cluster's DNS service answers.
func (c *Cluster) DNSReady(ctx context.Context) error {
	api, err := c.API()
	if err != nil {
		return err
	}
	slow := errors.New("the cluster's DNS did not start within " + readyTimeout.String())
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, slow)
	defer cancel()
	err = poll(ctx, 100*time.Millisecond, func() bool {
		slices, err := api.DiscoveryV1().EndpointSlices(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=kube-dns"})
		if err != nil {
			return false
		}
		for _, s := range slices.Items {
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && *e.Conditions.Ready {
					return true
				}
			}
		}
		return false
	})
	if err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// domain reads the cluster's domain from the Corefile; nearly all clusters have
// the default, and one that hides its Corefile is taken for one of them.
func (c *Cluster) domain(ctx context.Context) string {
	const usual = "cluster.local"
	api, err := c.API()
	if err != nil {
		return usual
	}
	config, err := api.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return usual
	}
	for line := range strings.SplitSeq(config.Data["Corefile"], "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "kubernetes" {
			return strings.Trim(fields[1], ".")
		}
	}
	return usual
}
