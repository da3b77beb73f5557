package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// agentLabel is on the pods of agents, so that they are not taken for pods of
// the service.
const agentLabel = "reprise.dev/agent"

// Agent describes a pod that runs reprise itself.
type Agent struct {
	Namespace string
	Name      string // of the pod, and the value of its label
	Image     string
	Args      []string
	// Env is passed as it is; Secret through a Secret. AddressEnv, if set, names
	// the variable that gets the pod's own address.
	Env        map[string]string
	Secret     map[string]string
	AddressEnv string
	// PullSecrets name Secrets of the namespace with credentials of registries.
	PullSecrets []string
}

// Pod is an agent's pod that runs.
type Pod struct {
	Namespace string
	Name      string
	Address   string // its IP address
}

// agentTimeout bounds the start of an agent, the pull of its image included.
const agentTimeout = 4 * time.Minute

// StartAgent makes the pod of an agent and waits until it runs and has an
// address; its API may need some milliseconds more. It fails with a
// *NotReadyError as soon as the pod cannot start.
func (k *Kube) StartAgent(ctx context.Context, a Agent) (Pod, error) {
	if err := k.agentSecret(ctx, a); err != nil {
		return Pod{}, err
	}
	if _, err := k.api.CoreV1().Pods(a.Namespace).Create(ctx, a.pod(), metav1.CreateOptions{}); err != nil {
		return Pod{}, fmt.Errorf("start agent %s/%s: %w", a.Namespace, a.Name, err)
	}
	return k.agentRuns(ctx, a)
}

// agentSecret makes the Secret that the agent's pods refer to.
func (k *Kube) agentSecret(ctx context.Context, a Agent) error {
	if len(a.Secret) == 0 {
		return nil
	}
	_, err := k.api.CoreV1().Secrets(a.Namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: a.Name, Labels: map[string]string{agentLabel: a.Name}},
		StringData: a.Secret,
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("start agent %s/%s: %w", a.Namespace, a.Name, err)
	}
	return nil
}

// agentRuns follows the one pod.
func (k *Kube) agentRuns(ctx context.Context, a Agent) (Pod, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, agentTimeout, errSlow)
	defer cancel()
	fail := func(err error) (Pod, error) {
		var stuck *NotReadyError
		if errors.Is(context.Cause(ctx), errSlow) {
			stuck = &NotReadyError{Namespace: a.Namespace, Pod: a.Name, Reason: "NotReady", Message: "not running within " + agentTimeout.String()}
		}
		if errors.As(err, &stuck) || stuck != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			k.evidence(ctx, stuck)
			err = stuck
		}
		return Pod{}, fmt.Errorf("start agent %s/%s: %w", a.Namespace, a.Name, err)
	}
	pod, err := k.follow(ctx, a.Namespace, metav1.ListOptions{FieldSelector: "metadata.name=" + a.Name}, false)
	if err != nil {
		return fail(err)
	}
	return pod, nil
}

// follow waits until one of the pods that the options pick runs. It fails with a
// *NotReadyError as soon as one cannot start; an API that fails meanwhile is
// asked again for as long as ctx lasts.
func (k *Kube) follow(ctx context.Context, namespace string, options metav1.ListOptions, siblings bool) (Pod, error) {
	for {
		// Without a resource version the watch begins with what there is.
		pods, err := k.api.CoreV1().Pods(namespace).Watch(ctx, options)
		if err == nil {
			var pod *Pod
			pod, err = k.firstRunning(ctx, pods, siblings)
			pods.Stop()
			if pod != nil {
				return *pod, nil
			}
		}
		if !mends(ctx, err) {
			return Pod{}, err
		}
		select {
		case <-ctx.Done():
			return Pod{}, errors.Join(ctx.Err(), err)
		case <-time.After(recheck):
		}
	}
}

// firstRunning reads a watch until a pod runs; nil when the watch ends before.
func (k *Kube) firstRunning(ctx context.Context, pods watch.Interface, siblings bool) (*Pod, error) {
	for event := range pods.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok || event.Type == watch.Deleted || pod.DeletionTimestamp != nil || siblings && pod.Status.Phase == corev1.PodFailed {
			continue
		}
		if stuck := diagnose(pod, time.Now(), siblings); stuck != nil && !k.overtaken(ctx, stuck) {
			return nil, stuck
		}
		if running(pod) {
			return &Pod{Namespace: pod.Namespace, Name: pod.Name, Address: pod.Status.PodIP}, nil
		}
	}
	return nil, nil
}

func running(p *corev1.Pod) bool {
	if p.Status.PodIP == "" || len(p.Status.ContainerStatuses) == 0 {
		return false
	}
	return p.Status.ContainerStatuses[0].State.Running != nil
}

// pod is the manifest of the agent. It asks for no privilege, so that a
// namespace under the restricted pod security standard takes it; the ports
// below 1024 are opened to it by a sysctl that Kubernetes counts as safe.
func (a Agent) pod() *corev1.Pod {
	env := []corev1.EnvVar{}
	for name, value := range a.Env {
		env = append(env, corev1.EnvVar{Name: name, Value: value})
	}
	for name := range a.Secret {
		env = append(env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: a.Name}, Key: name,
		}}})
	}
	if a.AddressEnv != "" {
		env = append(env, corev1.EnvVar{Name: a.AddressEnv, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}})
	}
	var pull []corev1.LocalObjectReference
	for _, name := range a.PullSecrets {
		pull = append(pull, corev1.LocalObjectReference{Name: name})
	}
	yes, no, user, grace := true, false, int64(65532), int64(1)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: a.Name, Namespace: a.Namespace, Labels: map[string]string{agentLabel: a.Name}},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever, // its state would be gone
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			TerminationGracePeriodSeconds: &grace,
			ImagePullSecrets:              pull,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				Sysctls:        []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}},
			},
			Containers: []corev1.Container{{
				Name: "agent", Image: a.Image, ImagePullPolicy: corev1.PullIfNotPresent, Args: a.Args, Env: env,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			}},
		},
	}
}
