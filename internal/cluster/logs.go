package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kind "sigs.k8s.io/kind/pkg/cluster"
)

// logLimit bounds the log of one container, from its end.
const logLimit = 4 << 20

// Logs writes what can be learned about the given namespaces below dir: one
// file for each container (and one for its previous life, if it had one), and
// the events in order of time. With node set, it adds the logs of an owned
// cluster's node. It writes what it can; the error joins the rest.
func (c *Cluster) Logs(ctx context.Context, dir string, node bool, namespaces ...string) error {
	var errs []error
	if api, err := c.API(); err != nil {
		errs = append(errs, err)
	} else {
		for _, ns := range namespaces {
			pods, err := api.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
			if err != nil {
				errs = append(errs, fmt.Errorf("list the pods of %s: %w", ns, err))
				continue
			}
			for _, p := range pods.Items {
				errs = append(errs, c.podLogs(ctx, filepath.Join(dir, ns), &p))
			}
			errs = append(errs, c.events(ctx, filepath.Join(dir, ns), ns))
		}
	}
	if node && c.Owned {
		if err := c.nodeLogs(ctx, filepath.Join(dir, "node")); err != nil {
			errs = append(errs, fmt.Errorf("collect the node's logs: %w", err))
		}
	}
	return errors.Join(errs...)
}

// nodeLogs waits for kind's own collecting no longer than ctx lasts: it knows no
// context, and what it still does ends with the node.
func (c *Cluster) nodeLogs(ctx context.Context, dir string) error {
	collected := make(chan error, 1)
	go func() {
		collected <- kind.NewProvider(kind.ProviderWithDocker()).CollectLogs(c.Name(), dir)
	}()
	select {
	case err := <-collected:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Cluster) podLogs(ctx context.Context, dir string, p *corev1.Pod) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if s.State.Waiting != nil && s.RestartCount == 0 {
			continue // it never ran
		}
		path := filepath.Join(dir, p.Name+"."+s.Name)
		errs = append(errs, c.containerLog(ctx, path+".log", p, s.Name, false))
		if s.RestartCount > 0 {
			errs = append(errs, c.containerLog(ctx, path+".previous.log", p, s.Name, true))
		}
	}
	return errors.Join(errs...)
}

func (c *Cluster) containerLog(ctx context.Context, path string, p *corev1.Pod, container string, previous bool) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = c.copyLog(ctx, f, p, container, previous, true)
	return errors.Join(err, f.Close())
}

func (c *Cluster) copyLog(ctx context.Context, w io.Writer, p *corev1.Pod, container string, previous, stamped bool) error {
	api, err := c.API()
	if err != nil {
		return err
	}
	limit := int64(logLimit)
	stream, err := api.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{
		Container: container, Previous: previous, Timestamps: stamped, LimitBytes: &limit,
	}).Stream(ctx)
	if err != nil {
		return fmt.Errorf("read the log of %s/%s %s: %w", p.Namespace, p.Name, container, err)
	}
	defer stream.Close()
	_, err = io.Copy(w, stream)
	return err
}

func (c *Cluster) events(ctx context.Context, dir, namespace string) error {
	api, err := c.API()
	if err != nil {
		return err
	}
	events, err := api.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the events of %s: %w", namespace, err)
	}
	slices.SortStableFunc(events.Items, func(a, b corev1.Event) int { return eventTime(&a).Compare(eventTime(&b)) })
	var text strings.Builder
	for _, e := range events.Items {
		fmt.Fprintf(&text, "%s %-7s %s/%s %s: %s\n", eventTime(&e).UTC().Format(time.RFC3339), e.Type,
			strings.ToLower(e.InvolvedObject.Kind), e.InvolvedObject.Name, e.Reason, strings.TrimSpace(e.Message))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "events.log"), []byte(text.String()), 0o644)
}

// eventTime is the latest moment that an event tells of.
func eventTime(e *corev1.Event) time.Time {
	for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.FirstTimestamp.Time} {
		if !t.IsZero() {
			return t
		}
	}
	return e.CreationTimestamp.Time
}

// PodLog writes what the containers of a pod have logged so far to w, those
// before a restart included, up to a limit for each.
func (c *Cluster) PodLog(ctx context.Context, namespace, pod string, w io.Writer) error {
	api, err := c.API()
	if err != nil {
		return err
	}
	p, err := api.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the log of %s/%s: %w", namespace, pod, err)
	}
	var errs []error
	for _, s := range p.Status.ContainerStatuses {
		errs = append(errs, c.copyLog(ctx, w, p, s.Name, false, false))
		if s.RestartCount > 0 {
			errs = append(errs, c.copyLog(ctx, w, p, s.Name, true, false))
		}
	}
	return errors.Join(errs...)
}
