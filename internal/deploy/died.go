package deploy

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Died reports whether a container of the release has ended and been started
// again since it was installed: the reason, and its last lines before that.
func (r *Release) Died(ctx context.Context) (reason string, log []string, yes bool, err error) {
	pods, err := r.kube.api.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "!" + agentLabel})
	if err != nil {
		return "", nil, false, fmt.Errorf("look at the pods of %s: %w", r.Namespace, err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		for _, s := range pod.Status.ContainerStatuses {
			ended := s.LastTerminationState.Terminated
			if ended == nil {
				ended = s.State.Terminated
			}
			if ended == nil {
				continue
			}
			if s.LastTerminationState.Terminated == nil {
				s.LastTerminationState.Terminated = ended // crashOf reads it there
			}
			return fmt.Sprintf("container %s: %s", s.Name, crashOf(s)), r.kube.lastLines(ctx, pod, s.Name, s.RestartCount > 0), true, nil
		}
	}
	return "", nil, false, nil
}
