package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What follows is for clusters that stay when a run has ended.

// RemoveNamespaces deletes the namespaces of a run, on a cluster that stays, and
// returns once they are being removed. One that cannot be does not keep the
// others.
func (k *Kube) RemoveNamespaces(ctx context.Context, run string) error {
	list, err := k.api.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: Label + "=" + run})
	if err != nil {
		return fmt.Errorf("find the namespaces of run %s: %w", run, err)
	}
	var errs []error
	for _, ns := range list.Items {
		if err := k.api.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove namespace %s: %w", ns.Name, err))
		}
	}
	return errors.Join(errs...)
}

// CopySecrets copies Secrets, each NAMESPACE/NAME, under their own names into a
// namespace, and returns those that hold credentials of registries.
func (k *Kube) CopySecrets(ctx context.Context, namespace string, secrets []string) (pull []string, err error) {
	for _, ref := range secrets {
		from, name, _ := strings.Cut(ref, "/")
		secret, err := k.api.CoreV1().Secrets(from).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("kubernetes.secrets: there is no Secret %s in namespace %s", name, from)
		}
		if err != nil {
			return nil, fmt.Errorf("read Secret %s: %w", ref, err)
		}
		_, err = k.api.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Type: secret.Type, Data: secret.Data,
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("copy Secret %s to namespace %s: %w", ref, namespace, err)
		}
		if slices.Contains([]corev1.SecretType{corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg}, secret.Type) {
			pull = append(pull, name)
		}
	}
	return pull, nil
}
