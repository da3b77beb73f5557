package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// WaitReady waits until all pods of the release are ready. It fails with a
// *NotReadyError as soon as one cannot become ready by itself, or when the
// options' ReadyTimeout is over.
func (r *Release) WaitReady(ctx context.Context) error {
	var err error
	r.Startup, err = r.kube.waitReady(ctx, r.Namespace, r.wants, r.chart.opts.ReadyTimeout)
	return err
}

// errSlow is the cause of a wait that took too long.
var errSlow = errors.New("took too long")

func (k *Kube) waitReady(ctx context.Context, namespace string, wants []workload, timeout time.Duration) (startup time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errSlow)
	defer cancel()
	w := &waiting{kube: k, namespace: namespace, wants: wants, pods: map[string]*corev1.Pod{}, began: time.Now()}
	err = w.run(ctx)
	var stuck *NotReadyError
	switch {
	case err == nil:
		return w.startup(), nil
	case errors.As(err, &stuck):
	case errors.Is(context.Cause(ctx), errSlow) && w.trouble != nil:
		// Nothing is known of the pods, so nothing is said of them.
		return 0, fmt.Errorf("wait for the pods of namespace %s: the API does not answer: %w", namespace, w.trouble)
	case errors.Is(context.Cause(ctx), errSlow):
		stuck = w.slow(timeout)
	default:
		return 0, fmt.Errorf("wait for the pods of namespace %s: %w", namespace, err)
	}
	// The evidence is worth a few seconds of its own.
	ctx, cancelEvidence := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancelEvidence()
	k.evidence(ctx, stuck)
	return 0, stuck
}

// waiting is the state of one wait.
type waiting struct {
	kube      *Kube
	namespace string
	wants     []workload
	began     time.Time
	pods      map[string]*corev1.Pod
	trouble   error // of the last question to the API; nil when it was answered
}

// recheck is how often events and the passing of time are looked at while the
// pods themselves stand still.
const recheck = 500 * time.Millisecond

func (w *waiting) run(ctx context.Context) error {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		done, err := w.turn(ctx, tick.C)
		if done || !mends(ctx, err) {
			return err
		}
		if err != nil {
			select {
			case <-ctx.Done():
				return err
			case <-tick.C:
			}
		}
	}
}

// turn starts from a full list, so that a watch that the API ends, as it does
// after a while, loses nothing.
func (w *waiting) turn(ctx context.Context, tick <-chan time.Time) (done bool, err error) {
	list, err := w.kube.api.CoreV1().Pods(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: "!" + agentLabel})
	if w.trouble = err; err != nil {
		return false, err
	}
	clear(w.pods)
	for i := range list.Items {
		w.pods[list.Items[i].Name] = &list.Items[i]
	}
	if done, err := w.check(ctx); done || err != nil {
		return done, err
	}
	pods, err := w.kube.api.CoreV1().Pods(w.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: "!" + agentLabel, ResourceVersion: list.ResourceVersion})
	if w.trouble = err; err != nil {
		return false, err
	}
	defer pods.Stop()
	return w.follow(ctx, pods, tick)
}

// mends reports whether asking the API again may help, or there was no error at
// all. What it says of the request itself it would say again.
func mends(ctx context.Context, err error) bool {
	var stuck *NotReadyError
	switch {
	case err == nil:
		return true
	case ctx.Err() != nil, errors.As(err, &stuck):
		return false
	}
	return !apierrors.IsUnauthorized(err) && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) && !apierrors.IsBadRequest(err) && !apierrors.IsInvalid(err)
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
		if done, err := w.check(ctx); done || err != nil {
			return done, err
		}
	}
}

// check reports whether all is ready, or why it never will be.
func (w *waiting) check(ctx context.Context) (done bool, err error) {
	for _, p := range w.pods {
		if ofJob(p) || p.DeletionTimestamp != nil {
			continue
		}
		if stuck := diagnose(p, time.Now(), len(w.wants) > 1); stuck != nil && !w.kube.overtaken(ctx, stuck) {
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
	slow := map[string]bool{} // pods whose probes were answered late, not wrongly
	for _, e := range events.Items {
		if e.Reason == "Unhealthy" && holds(e.Message, "context deadline exceeded", "i/o timeout", "timed out") {
			slow[e.InvolvedObject.Name] = true
		}
	}
	for i := range events.Items {
		e := &events.Items[i]
		if stuck := w.event(e, slow[e.InvolvedObject.Name]); stuck != nil && !w.kube.overtaken(ctx, stuck) {
			return stuck
		}
	}
	return nil
}

// event returns why an event ends the wait. An event outlives what it tells of,
// so the pod must still stand where the event left it. slow says that the pod's
// probes were answered too late; one restart is then the machine's fault.
func (w *waiting) event(e *corev1.Event, slow bool) *NotReadyError {
	pod := w.pods[e.InvolvedObject.Name]
	if passes(e.Message) {
		return nil
	}
	switch e.Reason {
	case "FailedMount", "FailedAttachVolume":
		if pod != nil && !ofJob(pod) && !podReady(pod) && !started(pod) && e.LastTimestamp.Sub(pod.CreationTimestamp.Time) >= mountPatience {
			return &NotReadyError{Namespace: w.namespace, Pod: pod.Name, Reason: e.Reason, Message: strings.TrimSpace(e.Message)}
		}
	case "FailedCreate":
		if e.InvolvedObject.Kind != "Job" && len(w.pods) == 0 && time.Since(w.began) > createPatience {
			return &NotReadyError{Namespace: w.namespace, Pod: e.InvolvedObject.Kind + " " + e.InvolvedObject.Name, Reason: e.Reason, Message: strings.TrimSpace(e.Message)}
		}
	case "Killing":
		if pod != nil && strings.Contains(e.Message, "probe") && !podReady(pod) && (!slow || e.Count > 1) {
			return &NotReadyError{Namespace: w.namespace, Pod: pod.Name, Container: containerOf(e), Reason: "ProbeFailed", Message: strings.TrimSpace(e.Message)}
		}
	}
	return nil
}

// startup is how long the slowest pod took from the start of its first container
// until it was ready, by the kubelet's own account, which has whole seconds. What
// came before, the pull of an image above all, is not the service's.
func (w *waiting) startup() time.Duration {
	var longest time.Duration
	for _, want := range w.wants {
		for _, p := range w.pods {
			if want.owns(p) && podReady(p) {
				longest = max(longest, startupOf(p))
			}
		}
	}
	return longest
}

func startupOf(p *corev1.Pod) time.Duration {
	var first, ready time.Time
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		for _, state := range []corev1.ContainerState{s.State, s.LastTerminationState} {
			var at metav1.Time
			switch {
			case state.Running != nil:
				at = state.Running.StartedAt
			case state.Terminated != nil:
				at = state.Terminated.StartedAt
			}
			if !at.IsZero() && (first.IsZero() || at.Time.Before(first)) {
				first = at.Time
			}
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			ready = c.LastTransitionTime.Time
		}
	}
	if first.IsZero() || ready.IsZero() {
		return 0
	}
	return max(0, ready.Sub(first))
}

// started reports whether a container of the pod has ever run, for which all of
// its volumes must have been mounted.
func started(p *corev1.Pod) bool {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if s.State.Running != nil || s.State.Terminated != nil || s.RestartCount > 0 {
			return true
		}
	}
	return false
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
						switch waits := s.State.Waiting; {
						case s.State.Running != nil:
							stuck.Message += ", its readiness probe fails"
						case waits != nil && waits.Message != "":
							stuck.Reason, stuck.Message = waits.Reason, stuck.Message+": "+oneLineOf(waits.Message)
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
