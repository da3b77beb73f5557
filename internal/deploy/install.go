package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"helm.sh/helm/v3/pkg/action"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Arm is where and with what surroundings a chart is installed.
type Arm struct {
	// Namespace exists already.
	Namespace string
	// Nameserver is the address of the arm's mock. Empty leaves the pods' name
	// service alone.
	Nameserver string
	// Domain is the cluster's domain; cluster.local if empty.
	Domain string
	// CA is the certificate of the run's authority, in PEM. Empty leaves the
	// pods' trust alone.
	CA []byte
	// Loaded lists the images that are on the node already.
	Loaded []string
	// Env is added to every container, over that of the options.
	Env map[string]string
	// Owned says that the cluster is ours alone and has one node, so that wishes
	// about placement and requests of resources are dropped. On any other cluster
	// objects outside of the namespace are left out.
	Owned bool
	// PullSecrets name Secrets of the namespace that hold credentials of
	// registries, for all pods.
	PullSecrets []string
}

func (a Arm) searches() []string {
	domain := a.Domain
	if domain == "" {
		domain = "cluster.local"
	}
	return []string{a.Namespace + ".svc." + domain, "svc." + domain, domain}
}

// Release is a chart that was installed for one arm.
type Release struct {
	Namespace string
	// Notes say what differs from the chart as it is, one sentence each.
	Notes []string
	// Startup is how long the service took to become ready once its containers
	// ran, in whole seconds; WaitReady sets it.
	Startup time.Duration

	kube     *Kube
	chart    *Chart
	wants    []workload
	services []string
}

// installTimeout bounds the time that Helm may take to hand everything to the
// API (and to run hooks, if they are wanted).
const installTimeout = 3 * time.Minute

// Install installs the chart into the arm's namespace and returns once the API
// has everything; WaitReady waits for the pods. A release that failed is left
// there for its evidence.
func (c *Chart) Install(ctx context.Context, kube *Kube, arm Arm) (*Release, error) {
	if len(arm.CA) > 0 {
		if err := kube.trust(ctx, arm); err != nil {
			return nil, err
		}
	}
	// Helm changes a chart while it renders it, so each arm gets its own.
	chart, err := loadChart(c.opts.Chart)
	if err != nil {
		return nil, err
	}
	vals, err := mergeValues(c.opts)
	if err != nil {
		return nil, err
	}
	config := new(action.Configuration)
	if err := config.Init(access{kube, arm.Namespace}, arm.Namespace, "secret", func(string, ...any) {}); err != nil {
		return nil, fmt.Errorf("set up Helm: %w", err)
	}
	post := &postRenderer{editor: editor{arm: arm, opts: c.opts, served: kube.served, notes: map[string]bool{}}}
	install := action.NewInstall(config)
	install.ReleaseName, install.Namespace = c.opts.Release, arm.Namespace
	install.PostRenderer = post
	install.DisableHooks = !c.opts.Hooks
	install.Timeout = installTimeout
	// The schema of the whole API is a large download, for checks that the API
	// makes again.
	install.DisableOpenAPIValidation = true
	// Objects of the whole cluster are shared by the arms; the last one wins.
	install.TakeOwnership = true
	install.SkipCRDs = !arm.Owned
	if _, err := install.RunWithContext(ctx, chart, vals); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("install chart %s into namespace %s: %w", c.opts.Chart, arm.Namespace, oneLine(err))
	}
	r := &Release{Namespace: arm.Namespace, Notes: slices.Sorted(maps.Keys(post.notes)), kube: kube, chart: c, wants: workloads(post.result)}
	for _, o := range post.result {
		if o.kind() == "Service" && len(o.at("spec", "selector")) > 0 {
			r.services = append(r.services, o.name())
		}
	}
	if !c.opts.Hooks {
		for _, h := range c.hooks {
			r.Notes = append(r.Notes, "hook "+h+" is not run")
		}
	}
	return r, nil
}

// trust puts the authority where the pods mount it from.
func (k *Kube) trust(ctx context.Context, arm Arm) error {
	store, err := javaStore(arm.CA, time.Unix(0, 0))
	if err != nil {
		return fmt.Errorf("hand the authority to namespace %s: %w", arm.Namespace, err)
	}
	_, err = k.api.CoreV1().ConfigMaps(arm.Namespace).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: trustName},
		Data:       map[string]string{"ca.crt": string(arm.CA)},
		BinaryData: map[string][]byte{"truststore.jks": store},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("hand the authority to namespace %s: %w", arm.Namespace, err)
	}
	return nil
}

// postRenderer is what Helm passes the rendered manifests through.
type postRenderer struct {
	editor
	result []object
}

// Run implements Helm's interface.
func (p *postRenderer) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	objects, err := parseManifest(in)
	if err != nil {
		return nil, err
	}
	p.result = p.edit(objects)
	out, err := writeManifest(p.result)
	return bytes.NewBuffer(out), err
}

// oneLine keeps the cause of an error whose text spans lines.
func oneLine(err error) error {
	return &flatError{err}
}

type flatError struct{ err error }

func (e *flatError) Error() string { return flat(e.err) }
func (e *flatError) Unwrap() error { return e.err }

// Endpoint is where the service of an arm takes requests.
type Endpoint struct {
	Pod  string
	Addr string // host:port of the pod itself, reachable within the cluster
	TLS  bool
}

// Addresses lists the addresses, host:port, of the release's Services that have
// a ready pod. They lead to it a moment after the API says so, which matters to
// a service that calls others of its own chart.
func (r *Release) Addresses(ctx context.Context) ([]string, error) {
	var found []string
	for _, name := range r.services {
		service, err := r.kube.api.CoreV1().Services(r.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("look up Service %s/%s: %w", r.Namespace, name, err)
		}
		slices, err := r.kube.api.DiscoveryV1().EndpointSlices(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + name})
		if err != nil {
			return nil, fmt.Errorf("look up the pods of Service %s/%s: %w", r.Namespace, name, err)
		}
		if service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
			continue
		}
		for _, p := range service.Spec.Ports {
			for _, s := range slices.Items {
				if _, ok := endpointOf(&s, Port{Name: p.Name, Number: int(p.Port)}); ok && p.Protocol == corev1.ProtocolTCP {
					found = append(found, net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(p.Port))))
					break
				}
			}
		}
	}
	return found, nil
}

// Endpoint looks up the pod behind the chart's Service. Requests go to the pod
// itself: the detour over the Service's address would only add noise. It waits
// up to 30 s for the Service to find its pod.
func (r *Release) Endpoint(ctx context.Context) (Endpoint, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errNoEndpoint)
	defer cancel()
	port := r.chart.Port
	for {
		slices, err := r.kube.api.DiscoveryV1().EndpointSlices(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + r.chart.Service})
		if err == nil {
			for _, s := range slices.Items {
				if e, ok := endpointOf(&s, port); ok {
					return e, nil
				}
			}
		}
		select {
		case <-ctx.Done():
			err := context.Cause(ctx)
			if errors.Is(err, errNoEndpoint) {
				err = fmt.Errorf("chart-service: Service %s in namespace %s selects no ready pod with port %d; compare its selector with the pods' labels", r.chart.Service, r.Namespace, port.Number)
			}
			return Endpoint{}, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

var errNoEndpoint = errors.New("no endpoint")
