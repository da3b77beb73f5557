package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// indexLabel is what Kubernetes puts on the pods of an Indexed Job.
const indexLabel = "batch.kubernetes.io/job-completion-index"

// StartWorkers starts n agents of one description as an Indexed Job: Kubernetes
// keeps one pod for each index from 0 to n-1 and replaces the lost ones. It does
// not wait for them; see Worker.
func (k *Kube) StartWorkers(ctx context.Context, a Agent, n int) error {
	if n < 1 {
		return fmt.Errorf("start workers %s/%s: %d is no number of workers", a.Namespace, a.Name, n)
	}
	if err := k.agentSecret(ctx, a); err != nil {
		return err
	}
	if _, err := k.api.BatchV1().Jobs(a.Namespace).Create(ctx, a.job(n), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("start workers %s/%s: %w", a.Namespace, a.Name, err)
	}
	return nil
}

// job wraps the agent's pod. An agent serves until it is removed, so the Job
// never completes by itself.
func (a Agent) job(n int) *batchv1.Job {
	pod := a.pod()
	// A worker whose process dies starts again in its place, without the
	// back-off that a new pod has to wait for.
	pod.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	count, losses, indexed := int32(n), int32(10*n), batchv1.IndexedCompletion
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: a.Name, Namespace: a.Namespace, Labels: map[string]string{agentLabel: a.Name}},
		Spec: batchv1.JobSpec{
			Completions: &count, Parallelism: &count, CompletionMode: &indexed, BackoffLimit: &losses,
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
		},
	}
}

// workerTimeout bounds the wait for a worker, the back-off of a Job that has
// lost some included.
const workerTimeout = 4 * time.Minute

// Worker waits for the pod of an index to run, be it the first or one that
// replaces it. It fails with a *NotReadyError when it cannot start.
func (k *Kube) Worker(ctx context.Context, namespace, name string, index int) (Pod, error) {
	slow := fmt.Errorf("worker %d of %s/%s does not run after %v", index, namespace, name, workerTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, workerTimeout, slow)
	defer cancel()
	options := metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + name + "," + indexLabel + "=" + strconv.Itoa(index)}
	pod, err := k.follow(ctx, namespace, options, true)
	var stuck *NotReadyError
	switch {
	case errors.As(err, &stuck):
		k.evidence(ctx, stuck)
		return Pod{}, fmt.Errorf("worker %d: %w", index, stuck)
	case err != nil && ctx.Err() != nil:
		return Pod{}, context.Cause(ctx)
	case err != nil:
		return Pod{}, fmt.Errorf("find worker %d of %s/%s: %w", index, namespace, name, err)
	}
	return pod, nil
}

// StopWorkers removes the Job and its pods.
func (k *Kube) StopWorkers(ctx context.Context, namespace, name string) error {
	background := metav1.DeletePropagationBackground
	err := k.api.BatchV1().Jobs(namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove workers %s/%s: %w", namespace, name, err)
	}
	return nil
}
