package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// WaitReady waits until all pods of the release are ready. It fails with a
// *NotReadyError as soon as one cannot become ready by itself, or when the
// options' ReadyTimeout is over.
func (r *Release) WaitReady(ctx context.Context) error {
	return r.kube.waitReady(ctx, r.Namespace, r.wants, r.chart.opts.ReadyTimeout)
}

// errSlow is the cause of a wait that took too long.
var errSlow = errors.New("took too long")

func (k *Kube) waitReady(ctx context.Context, namespace string, wants []workload, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errSlow)
	defer cancel()
	w := &waiting{kube: k, namespace: namespace, wants: wants, pods: map[string]*corev1.Pod{}, began: time.Now()}
	err := w.run(ctx)
	var stuck *NotReadyError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &stuck):
	case errors.Is(context.Cause(ctx), errSlow):
		stuck = w.slow(timeout)
	default:
		return fmt.Errorf("wait for the pods of namespace %s: %w", namespace, err)
	}
	// The evidence is worth a few seconds of its own.
	ctx, cancelEvidence := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancelEvidence()
	k.evidence(ctx, stuck)
	return stuck
}

// waiting is the state of one wait.
type waiting struct {
	kube      *Kube
	namespace string
	wants     []workload
	began     time.Time
	pods      map[string]*corev1.Pod
}

// recheck is how often events and the passing of time are looked at while the
// pods themselves stand still.
const recheck = 500 * time.Millisecond

func (w *waiting) run(ctx context.Context) error {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		// Every turn starts from a full list, so that a watch that the API ends,
		// as it does after a while, loses nothing.
		list, err := w.kube.api.CoreV1().Pods(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: "!" + agentLabel})
		if err != nil {
			return err
		}
		clear(w.pods)
		for i := range list.Items {
			w.pods[list.Items[i].Name] = &list.Items[i]
		}
		if done, err := w.check(); done || err != nil {
			return err
		}
		pods, err := w.kube.api.CoreV1().Pods(w.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: "!" + agentLabel, ResourceVersion: list.ResourceVersion})
		if err != nil {
			return err
		}
		done, err := w.follow(ctx, pods, tick.C)
		pods.Stop()
		if done || err != nil {
			return err
		}
	}
}

// follow checks after every change of a pod, until the watch ends.
func (w *waiting) follow(ctx context.Context, pods watch.Interface, tick <-chan time.Time) (done bool, err error) {
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick:
			if err := w.events(ctx); err != nil {
				return false, err
			}
		case event, ok := <-pods.ResultChan():
			if !ok || event.Type == watch.Error {
				return false, nil
			}
			pod, isPod := event.Object.(*corev1.Pod)
			if !isPod {
				continue
			}
			if event.Type == watch.Deleted {
				delete(w.pods, pod.Name)
			} else {
				w.pods[pod.Name] = pod
			}
		}
		if done, err := w.check(); done || err != nil {
			return done, err
		}
	}
}

// check reports whether all is ready, or why it never will be.
func (w *waiting) check() (done bool, err error) {
	for _, p := range w.pods {
		if ofJob(p) || p.DeletionTimestamp != nil {
			continue
		}
		if stuck := diagnose(p, time.Now(), len(w.wants) > 1); stuck != nil {
			return false, stuck
		}
	}
	for _, want := range w.wants {
		if !want.ready(w.pods) {
			return false, nil
		}
	}
	return true, nil
}

// Patience with what may mend by itself.
const (
	mountPatience  = 5 * time.Second // a ConfigMap that is made after the pod
	createPatience = 3 * time.Second // a service account that is made after the ReplicaSet
)

// events finds what the status of pods does not tell: volumes that cannot be
// mounted, pods that cannot be made, and restarts by a probe.
func (w *waiting) events(ctx context.Context) error {
	events, err := w.kube.api.CoreV1().Events(w.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil //nolint:nilerr // events are a bonus; the wait goes on without them
	}
	for i := range events.Items {
		e := &events.Items[i]
		if stuck := w.event(e); stuck != nil {
			return stuck
		}
	}
	return nil
}

func (w *waiting) event(e *corev1.Event) *NotReadyError {
	pod := w.pods[e.InvolvedObject.Name]
	switch e.Reason {
	case "FailedMount", "FailedAttachVolume":
		if passes(e.Message) {
			return nil
		}
		if pod != nil && !ofJob(pod) && !podReady(pod) && time.Since(pod.CreationTimestamp.Time) > mountPatience {
			return &NotReadyError{Namespace: w.namespace, Pod: pod.Name, Reason: e.Reason, Message: strings.TrimSpace(e.Message)}
		}
	case "FailedCreate":
		if e.InvolvedObject.Kind != "Job" && len(w.pods) == 0 && time.Since(w.began) > createPatience {
			return &NotReadyError{Namespace: w.namespace, Pod: e.InvolvedObject.Kind + " " + e.InvolvedObject.Name, Reason: e.Reason, Message: strings.TrimSpace(e.Message)}
		}
	case "Killing":
		if pod != nil && strings.Contains(e.Message, "probe") && !podReady(pod) {
			return &NotReadyError{Namespace: w.namespace, Pod: pod.Name, Container: containerOf(e), Reason: "ProbeFailed", Message: strings.TrimSpace(e.Message)}
		}
	}
	return nil
}

// containerOf reads the container from the field path of an event,
// "spec.containers{name}".
func containerOf(e *corev1.Event) string {
	_, name, ok := strings.Cut(e.InvolvedObject.FieldPath, "{")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(name, "}")
}

// slow describes what was missing when the time was over.
func (w *waiting) slow(timeout time.Duration) *NotReadyError {
	for _, want := range w.wants {
		if want.ready(w.pods) {
			continue
		}
		for _, p := range w.pods {
			if want.owns(p) && !podReady(p) {
				stuck := &NotReadyError{Namespace: w.namespace, Pod: p.Name, Reason: "NotReady", Message: "not ready within " + timeout.String()}
				for _, s := range p.Status.ContainerStatuses {
					if !s.Ready {
						stuck.Container = s.Name
						if s.State.Running != nil {
							stuck.Message += ", its readiness probe fails"
						}
						break
					}
				}
				return stuck
			}
		}
		return &NotReadyError{Namespace: w.namespace, Pod: want.name, Reason: "NoPods", Message: "no pod appeared within " + timeout.String()}
	}
	return &NotReadyError{Namespace: w.namespace, Reason: "NotReady", Message: "not ready within " + timeout.String()}
}
