package deploy

import (
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// workload is something whose pods must be ready: its name and which pods are
// its own.
type workload struct {
	name   string // "Deployment shop"
	pod    string // the name of a bare pod
	labels labels.Selector
}

// workloads lists the objects whose pods are waited for. Jobs are not: a
// service that needs one to be done is not ready before it is.
func workloads(objects []object) []workload {
	var wants []workload
	for _, o := range objects {
		switch o.kind() {
		case "Pod":
			wants = append(wants, workload{name: o.String(), pod: o.name()})
		case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController":
			set := labels.Set{}
			for key, value := range o.at("spec", "template", "metadata", "labels") {
				if text, ok := value.(string); ok {
					set[key] = text
				}
			}
			wants = append(wants, workload{name: o.String(), labels: labels.SelectorFromSet(set)})
		}
	}
	return wants
}

func (w workload) owns(p *corev1.Pod) bool {
	if w.pod != "" {
		return p.Name == w.pod
	}
	return w.labels.Matches(labels.Set(p.Labels))
}

// ready reports whether the workload has a pod and all its pods are ready.
func (w workload) ready(pods map[string]*corev1.Pod) bool {
	found := false
	for _, p := range pods {
		if !w.owns(p) || p.DeletionTimestamp != nil {
			continue
		}
		if !podReady(p) {
			return false
		}
		found = true
	}
	return found
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// ofJob reports whether a pod belongs to a Job.
func ofJob(p *corev1.Pod) bool {
	owner := metav1.GetControllerOf(p)
	return owner != nil && owner.Kind == "Job"
}

// endpointOf finds the address of a ready pod in a slice of a Service. The port
// is found by name, because a slice has the pods' numbers and not the
// Service's.
func endpointOf(s *discoveryv1.EndpointSlice, want Port) (Endpoint, bool) {
	number := int32(0)
	for _, p := range s.Ports {
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		if name == want.Name && p.Port != nil {
			number = *p.Port
		}
	}
	for _, e := range s.Endpoints {
		if number == 0 || len(e.Addresses) == 0 || e.Conditions.Ready == nil || !*e.Conditions.Ready {
			continue
		}
		found := Endpoint{
			Addr: net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(number))),
			TLS:  want.Name == "https" || want.Number == 443,
		}
		if e.TargetRef != nil {
			found.Pod = e.TargetRef.Name
		}
		return found, true
	}
	return Endpoint{}, false
}
