package deploy

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Label is on everything that this package makes itself; its value is the run.
const Label = "reprise.dev/run"

// Kube is a cluster's API as this package needs it. It is safe for concurrent
// use; what the API knows is asked once for all arms.
type Kube struct {
	config    *rest.Config
	api       kubernetes.Interface
	discovery discovery.CachedDiscoveryInterface
	mapper    *restmapper.DeferredDiscoveryRESTMapper
}

// Connect returns a client of the cluster that config leads to. Nothing is
// asked of it yet.
func Connect(config *rest.Config) (*Kube, error) {
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the cluster: %w", err)
	}
	cached := memory.NewMemCacheClient(api.Discovery())
	return &Kube{config: config, api: api, discovery: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached)}, nil
}

// served reports whether the API has a kind, and whether it lives in
// namespaces.
func (k *Kube) served(apiVersion, kind string) (known, namespaced bool) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return false, false
	}
	mapping, err := k.mapper.RESTMapping(gv.WithKind(kind).GroupKind(), gv.Version)
	if meta.IsNoMatchError(err) {
		return false, false
	}
	if err != nil {
		return true, true // the API fails: let the installation say so
	}
	return true, mapping.Scope.Name() == meta.RESTScopeNameNamespace
}

// Namespace makes a namespace that belongs to a run. One of an earlier run that
// is still being removed is waited for; one that exists is an error, because
// what is in it would take part.
func (k *Kube) Namespace(ctx context.Context, name, run string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{Label: run}}}
	for {
		_, err := k.api.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		if err == nil {
			return nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("make namespace %s: %w", name, err)
		}
		old, err := k.api.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err == nil && old.Status.Phase != corev1.NamespaceTerminating {
			return fmt.Errorf("namespace %s exists already; remove it (kubectl delete namespace %s) or use another cluster", name, name)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("make namespace %s: %w", name, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// DenyEgress lets the pods of a namespace reach only each other, and its agents
// the cluster's DNS besides. It is the second wall on a cluster whose DNS and
// network are not ours to change; a cluster whose network enforces no policies
// ignores it.
func (k *Kube) DenyEgress(ctx context.Context, namespace string) error {
	udp, tcp, port := corev1.ProtocolUDP, corev1.ProtocolTCP, intstr.FromInt32(53)
	policies := []networkingv1.NetworkPolicy{{
		ObjectMeta: metav1.ObjectMeta{Name: "reprise-deny-egress"},
		Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
			Egress:      []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}}},
		},
	}, {
		ObjectMeta: metav1.ObjectMeta{Name: "reprise-agent-dns"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: agentLabel, Operator: metav1.LabelSelectorOpExists}}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
			Egress: []networkingv1.NetworkPolicyEgressRule{{
				To: []networkingv1.NetworkPolicyPeer{{
					NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: metav1.NamespaceSystem}},
				}},
				Ports: []networkingv1.NetworkPolicyPort{{Protocol: &udp, Port: &port}, {Protocol: &tcp, Port: &port}},
			}},
		},
	}}
	for _, p := range policies {
		if _, err := k.api.NetworkingV1().NetworkPolicies(namespace).Create(ctx, &p, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("deny egress from namespace %s: %w", namespace, err)
		}
	}
	return nil
}

// access gives Helm the cluster and one fixed namespace. Helm's own would read
// the environment and install into whatever that points to; and Helm puts
// objects into the namespace of the getter, not into that of the release.
type access struct {
	*Kube
	namespace string
}

func (g access) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

func (g access) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.discovery, nil
}

func (g access) ToRESTMapper() (meta.RESTMapper, error) { return g.mapper, nil }

func (g access) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	config := clientcmdapi.NewConfig()
	config.Clusters["run"] = &clientcmdapi.Cluster{Server: g.config.Host}
	config.Contexts["run"] = &clientcmdapi.Context{Cluster: "run", Namespace: g.namespace}
	config.CurrentContext = "run"
	return clientcmd.NewDefaultClientConfig(*config, &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}})
}
