package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Usage is what the containers of a pod have used.
type Usage struct {
	At          time.Time     // when the kubelet looked, up to some 15 s ago; zero for now
	CPU         time.Duration // CPU time since the pod started
	MemoryBytes int64         // the most it held, or by the kubelet's account the working set at that moment
	Restarts    int
}

// PodUsage reads the figures of one pod: as of now from its control group, where the
// node is a container of this machine, else from the node's kubelet, which looks
// every 10 to 15 s.
func (c *Cluster) PodUsage(ctx context.Context, namespace, pod string) (Usage, error) {
	api, err := c.API()
	if err != nil {
		return Usage{}, err
	}
	p, err := api.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage of %s/%s: %w", namespace, pod, err)
	}
	restarts := 0
	for _, s := range p.Status.ContainerStatuses {
		restarts += int(s.RestartCount)
	}
	if c.here(p.Spec.NodeName) {
		// Arms are compared: either all are seen so, or none is.
		if usage, ok, err := c.cgroupUsage(ctx, p.Spec.NodeName, string(p.UID)); ok || err != nil {
			usage.Restarts = restarts
			return usage, err
		}
	}
	raw, err := api.CoreV1().RESTClient().Get().Resource("nodes").Name(p.Spec.NodeName).SubResource("proxy").Suffix("stats/summary").DoRaw(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage of %s/%s from the kubelet of %s: %w", namespace, pod, p.Spec.NodeName, err)
	}
	usage, err := usageOf(raw, namespace, pod)
	usage.Restarts = restarts
	return usage, err
}

// usageOf finds a pod in the kubelet's summary.
func usageOf(summary []byte, namespace, pod string) (Usage, error) {
	var stats struct {
		Pods []struct {
			PodRef struct{ Name, Namespace string }
			CPU    struct {
				Time                 time.Time
				UsageCoreNanoSeconds uint64
			}
			Memory struct{ WorkingSetBytes uint64 }
		}
	}
	if err := json.Unmarshal(summary, &stats); err != nil {
		return Usage{}, fmt.Errorf("read the kubelet's summary: %w", err)
	}
	for _, p := range stats.Pods {
		if p.PodRef.Name == pod && p.PodRef.Namespace == namespace {
			return Usage{At: p.CPU.Time, CPU: time.Duration(p.CPU.UsageCoreNanoSeconds), MemoryBytes: int64(p.Memory.WorkingSetBytes)}, nil
		}
	}
	return Usage{}, fmt.Errorf("the kubelet has no figures of %s/%s yet", namespace, pod)
}
