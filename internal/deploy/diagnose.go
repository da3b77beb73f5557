package deploy

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NotReadyError is a pod that cannot become ready, with the evidence.
type NotReadyError struct {
	Namespace string
	Pod       string // or what should have made one, "ReplicaSet shop-5d9"
	Container string // empty when the whole pod is concerned
	// Reason is Kubernetes' own word for it (ImagePullBackOff, CrashLoopBackOff,
	// FailedMount, Unschedulable, ...), or ProbeFailed, NotReady, NoPods.
	Reason  string
	Message string   // one line
	Events  []string // the latest warnings about the pod, at most five, the latest last
	Log     []string // the last lines of the container, at most twenty
}

// Error is one line: which pod, why, and the last thing it said.
func (e *NotReadyError) Error() string {
	who := "pod " + e.Namespace + "/" + e.Pod
	if strings.Contains(e.Pod, " ") || e.Pod == "" {
		who = strings.TrimSpace(e.Pod + " in namespace " + e.Namespace)
	}
	if e.Container != "" {
		who += ", container " + e.Container
	}
	text := who + " cannot become ready: " + e.Reason
	if e.Message != "" {
		text += ": " + e.Message
	}
	if len(e.Log) > 0 {
		text += "; its last line: " + e.Log[len(e.Log)-1]
	}
	return text
}

// NoImage reports whether it is an image that cannot be had.
func (e *NotReadyError) NoImage() bool { return noImage[e.Reason] }

// noImage are the reasons that speak of an image.
var noImage = map[string]bool{
	"ErrImageNeverPull": true, "InvalidImageName": true, "ErrImagePull": true, "ImagePullBackOff": true,
	"ImageInspectError": true, "RegistryUnavailable": true,
}

// The reasons that no waiting mends.
var (
	hopelessAtOnce = map[string]bool{"CreateContainerConfigError": true, "CreateContainerError": true, "RunContainerError": true}
	// schedulingPatience is for a node that is about to lose a taint.
	schedulingPatience = 5 * time.Second
	// longPatience is for what others have to do first: a node that was late to
	// say that it is well, a volume that is being made, a registry with a cold.
	longPatience = time.Minute
)

// holds reports whether a message has one of some parts.
func holds(message string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(message, part) })
}

// passes reports whether the kubelet, or what makes pods, speaks of its own
// lateness, which its next attempt mends: its copy of a secret is not there yet,
// or the runtime or the API was slow.
func passes(message string) bool {
	return holds(message,
		"failed to sync", "not registered", `configmap "kube-root-ca.crt" not found`,
		"timed out waiting for the condition", "context deadline exceeded", "DeadlineExceeded", "is reserved for",
		"code = Unavailable", "transport is closing", "ttrpc: closed",
		"error looking up service account", "failed calling webhook", "etcdserver: ")
}

// registryPasses reports whether a registry was not reached, or broke, as it may
// not the next time.
func registryPasses(message string) bool {
	return passes(message) || holds(message, "i/o timeout", "TLS handshake timeout", "connection reset by peer", "unexpected EOF",
		"500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Time", "server misbehaving")
}

// schedulingWait is how long a pod may stay without a node.
func schedulingWait(message string) time.Duration {
	if holds(message, "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/network-unavailable", "ersistentVolumeClaim", "ersistentvolumeclaim") {
		return longPatience
	}
	return schedulingPatience
}

// diagnose returns why a pod will not become ready by itself, or nil. With
// siblings, other pods of the chart may be what a crashing one waits for, so it
// gets a few attempts.
func diagnose(p *corev1.Pod, now time.Time, siblings bool) *NotReadyError {
	stuck := &NotReadyError{Namespace: p.Namespace, Pod: p.Name}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable &&
			now.Sub(p.CreationTimestamp.Time) > schedulingWait(c.Message) {
			stuck.Reason, stuck.Message = c.Reason, oneLineOf(c.Message)
			return stuck
		}
	}
	if p.Status.Phase == corev1.PodFailed {
		stuck.Reason, stuck.Message = cmp.Or(p.Status.Reason, "Failed"), oneLineOf(p.Status.Message)
		return stuck
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		stuck.Container = s.Name
		waiting := s.State.Waiting
		switch {
		case waiting == nil:
			continue
		case hopelessAtOnce[waiting.Reason] && !passes(waiting.Message),
			noImage[waiting.Reason] && (!registryPasses(waiting.Message) || now.Sub(p.CreationTimestamp.Time) > longPatience):
			stuck.Reason, stuck.Message = waiting.Reason, oneLineOf(waiting.Message)
			return stuck
		case waiting.Reason == "CrashLoopBackOff" && (!siblings || s.RestartCount >= 3):
			stuck.Reason, stuck.Message = waiting.Reason, crashOf(s)
			return stuck
		}
	}
	return nil
}

// absent is how the kubelet names what a pod refers to and it does not find.
var absent = regexp.MustCompile(`(secret|configmap) "([^"]+)" not found`)

// overtaken reports whether all that is wrong with a pod is that the kubelet has
// not seen an object which the API has.
func (k *Kube) overtaken(ctx context.Context, stuck *NotReadyError) bool {
	named := absent.FindStringSubmatch(stuck.Message)
	if named == nil {
		return false
	}
	var err error
	if named[1] == "secret" {
		_, err = k.api.CoreV1().Secrets(stuck.Namespace).Get(ctx, named[2], metav1.GetOptions{})
	} else {
		_, err = k.api.CoreV1().ConfigMaps(stuck.Namespace).Get(ctx, named[2], metav1.GetOptions{})
	}
	return err == nil
}

// crashOf says how a container ended the last time.
func crashOf(s corev1.ContainerStatus) string {
	end := s.LastTerminationState.Terminated
	if end == nil {
		return fmt.Sprintf("it ended %d times", s.RestartCount+1)
	}
	how := fmt.Sprintf("exit code %d", end.ExitCode)
	switch {
	case end.Reason == "OOMKilled":
		how = "killed for want of memory (OOMKilled)"
	case end.Signal != 0:
		how = fmt.Sprintf("signal %d", end.Signal)
	case end.ExitCode == 0:
		how = "it ends by itself with exit code 0, a service must keep running"
	}
	if text := oneLineOf(end.Message); text != "" {
		how += " (" + text + ")"
	}
	return how
}

func oneLineOf(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 500 {
		s = s[:500] + "..."
	}
	return s
}

// Bounds of the evidence.
const (
	maxEvents   = 5
	maxLogLines = 20
	maxLine     = 512
)

// evidence adds the latest warnings and the last log lines. What cannot be had
// is left out.
func (k *Kube) evidence(ctx context.Context, stuck *NotReadyError) {
	if events, err := k.api.CoreV1().Events(stuck.Namespace).List(ctx, metav1.ListOptions{}); err == nil {
		stuck.Events = warnings(events.Items, stuck.Pod)
	}
	pod, err := k.api.CoreV1().Pods(stuck.Namespace).Get(ctx, stuck.Pod, metav1.GetOptions{})
	if err != nil {
		return
	}
	container := stuck.Container
	if container == "" && len(pod.Spec.Containers) > 0 {
		container = pod.Spec.Containers[0].Name
	}
	for _, previous := range []bool{false, true} {
		if stuck.Log = k.lastLines(ctx, pod, container, previous); len(stuck.Log) > 0 {
			return
		}
	}
}

func warnings(events []corev1.Event, about string) []string {
	if _, name, ok := strings.Cut(about, " "); ok {
		about = name
	}
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	var lines []string
	for _, e := range events {
		if e.InvolvedObject.Name == about && e.Type == corev1.EventTypeWarning {
			lines = append(lines, e.Reason+": "+oneLineOf(e.Message))
		}
	}
	return lines[max(0, len(lines)-maxEvents):]
}

func (k *Kube) lastLines(ctx context.Context, pod *corev1.Pod, container string, previous bool) []string {
	tail := int64(maxLogLines)
	stream, err := k.api.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, TailLines: &tail, Previous: previous}).Stream(ctx)
	if err != nil {
		return nil
	}
	defer stream.Close()
	data, err := io.ReadAll(io.LimitReader(stream, maxLogLines*maxLine*4))
	if err != nil {
		return nil
	}
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n") {
		if line = strings.TrimRight(line, "\r "); line != "" {
			lines = append(lines, line[:min(len(line), maxLine)])
		}
	}
	return lines[max(0, len(lines)-maxLogLines):]
}
