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
	At          time.Time     // when the kubelet looked, up to some 15 s ago
	CPU         time.Duration // CPU time since the pod started
	MemoryBytes int64         // working set at that moment
	Restarts    int
}

// PodUsage reads the figures of one pod from its node's kubelet. The kubelet
// samples every 10 to 15 s, so a peak of memory must be found by asking again.
func (c *Cluster) PodUsage(ctx context.Context, namespace, pod string) (Usage, error) {
	api, err := c.API()
	if err != nil {
		return Usage{}, err
	}
	p, err := api.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage of %s/%s: %w", namespace, pod, err)
	}
	raw, err := api.CoreV1().RESTClient().Get().Resource("nodes").Name(p.Spec.NodeName).SubResource("proxy").Suffix("stats/summary").DoRaw(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage of %s/%s from the kubelet of %s: %w", namespace, pod, p.Spec.NodeName, err)
	}
	usage, err := usageOf(raw, namespace, pod)
	for _, s := range p.Status.ContainerStatuses {
		usage.Restarts += int(s.RestartCount)
	}
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
