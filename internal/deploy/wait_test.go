package deploy

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/fake"
)

func waitingFor(reason, message string, restarts int32) corev1.PodStatus {
	return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Name: "app", RestartCount: restarts,
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}},
	}}}
}

func TestDiagnose(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	unscheduled := corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available:\n 1 Insufficient cpu."}}}
	oom := waitingFor("CrashLoopBackOff", "", 1)
	oom.ContainerStatuses[0].LastTerminationState.Terminated.Reason = "OOMKilled"
	for name, tc := range map[string]struct {
		status   corev1.PodStatus
		age      time.Duration
		siblings bool
		reason   string // "" while there is hope
		message  string
	}{
		"being made":               {status: waitingFor("ContainerCreating", "", 0)},
		"image missing":            {status: waitingFor("ImagePullBackOff", "Back-off pulling image \"orders:head\"", 0), reason: "ImagePullBackOff", message: "orders:head"},
		"image never pulled":       {status: waitingFor("ErrImageNeverPull", "", 0), reason: "ErrImageNeverPull"},
		"secret key missing":       {status: waitingFor("CreateContainerConfigError", "couldn't find key token in Secret", 0), reason: "CreateContainerConfigError", message: "key token"},
		"secret not seen yet":      {status: waitingFor("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition", 0)},
		"runtime is slow":          {status: waitingFor("CreateContainerError", "context deadline exceeded", 0)},
		"name held by the attempt": {status: waitingFor("CreateContainerError", `failed to reserve container name "app_0": name "app_0" is reserved for "4f1"`, 0)},
		"crashing alone":           {status: waitingFor("CrashLoopBackOff", "back-off", 1), reason: "CrashLoopBackOff", message: "exit code 3"},
		"crashing, waits for one":  {status: waitingFor("CrashLoopBackOff", "back-off", 1), siblings: true},
		"crashing on and on":       {status: waitingFor("CrashLoopBackOff", "back-off", 3), siblings: true, reason: "CrashLoopBackOff"},
		"out of memory":            {status: oom, reason: "CrashLoopBackOff", message: "OOMKilled"},
		"not scheduled yet":        {status: unscheduled, age: time.Second},
		"cannot be scheduled":      {status: unscheduled, age: time.Minute, reason: "Unschedulable", message: "available: 1 Insufficient cpu."},
		"evicted":                  {status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "low on disk"}, reason: "Evicted", message: "low on disk"},
		"running":                  {status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}},
		"init container crashes":   {status: corev1.PodStatus{InitContainerStatuses: waitingFor("CrashLoopBackOff", "", 1).ContainerStatuses}, reason: "CrashLoopBackOff"},
		"starting the second time": {status: waitingFor("PodInitializing", "", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "orders-1", Namespace: "head", CreationTimestamp: metav1.NewTime(now.Add(-tc.age))}, Status: tc.status}
			got := diagnose(pod, now, tc.siblings)
			if tc.reason == "" {
				if got != nil {
					t.Errorf("gave up: %v", got)
				}
				return
			}
			if got == nil || got.Reason != tc.reason || !strings.Contains(got.Message, tc.message) || strings.Contains(got.Error(), "\n") {
				t.Errorf("got %v, want %s with %q on one line", got, tc.reason, tc.message)
			}
		})
	}
}

func pod(name string, ready bool) *corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "head", Labels: map[string]string{"app": "orders"}, CreationTimestamp: metav1.Now()},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}},
	}
}

var orders = []workload{{name: "Deployment orders", labels: labels.SelectorFromSet(labels.Set{"app": "orders"})}}

// TestWaitReady makes a pod ready, and another hopeless, while the wait goes on.
func TestWaitReady(t *testing.T) {
	t.Run("ready", func(t *testing.T) {
		api := fake.NewClientset(pod("orders-1", false))
		k := &Kube{api: api}
		done := make(chan error, 1)
		go func() { done <- k.waitReady(t.Context(), "head", orders, 20*time.Second) }()
		time.Sleep(50 * time.Millisecond)
		if _, err := api.CoreV1().Pods("head").UpdateStatus(t.Context(), pod("orders-1", true), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("hopeless", func(t *testing.T) {
		stuck := pod("orders-1", false)
		stuck.Status.ContainerStatuses = waitingFor("CrashLoopBackOff", "", 1).ContainerStatuses
		warning := &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "head"}, Type: "Warning", Reason: "BackOff", Message: "restarting failed container",
			InvolvedObject: corev1.ObjectReference{Name: "orders-1", Kind: "Pod"},
		}
		err := (&Kube{api: fake.NewClientset(stuck, warning)}).waitReady(t.Context(), "head", orders, 20*time.Second)
		var notReady *NotReadyError
		if !errors.As(err, &notReady) || notReady.Reason != "CrashLoopBackOff" || len(notReady.Events) != 1 || len(notReady.Log) != 1 {
			t.Errorf("got %+v (%v), want the crash with one event and one log line", notReady, err)
		}
	})
	t.Run("slow", func(t *testing.T) {
		err := (&Kube{api: fake.NewClientset(pod("orders-1", false))}).waitReady(t.Context(), "head", orders, 100*time.Millisecond)
		var notReady *NotReadyError
		if !errors.As(err, &notReady) || notReady.Reason != "NotReady" || notReady.Pod != "orders-1" {
			t.Errorf("got %v, want the pod that was not ready in time", err)
		}
	})
	t.Run("nothing appears", func(t *testing.T) {
		err := (&Kube{api: fake.NewClientset()}).waitReady(t.Context(), "head", orders, 100*time.Millisecond)
		var notReady *NotReadyError
		if !errors.As(err, &notReady) || notReady.Reason != "NoPods" || !strings.Contains(err.Error(), "Deployment orders") {
			t.Errorf("got %v, want the workload without pods", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := (&Kube{api: fake.NewClientset(pod("orders-1", false))}).waitReady(ctx, "head", orders, time.Minute)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the cancellation", err)
		}
	})
}

func TestEventsThatEndTheWait(t *testing.T) {
	old := pod("orders-1", false)
	old.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Minute))
	young := pod("orders-2", false)
	ready := pod("orders-3", true)
	for name, tc := range map[string]struct {
		event  corev1.Event
		reason string
	}{
		"volume, for long":  {corev1.Event{Reason: "FailedMount", Message: `configmap "x" not found`, InvolvedObject: corev1.ObjectReference{Name: "orders-1"}}, "FailedMount"},
		"volume, not seen":  {corev1.Event{Reason: "FailedMount", Message: "failed to sync configmap cache", InvolvedObject: corev1.ObjectReference{Name: "orders-1"}}, ""},
		"volume, just now":  {corev1.Event{Reason: "FailedMount", InvolvedObject: corev1.ObjectReference{Name: "orders-2"}}, ""},
		"killed by a probe": {corev1.Event{Reason: "Killing", Message: "Container app failed liveness probe, will be restarted", InvolvedObject: corev1.ObjectReference{Name: "orders-1", FieldPath: "spec.containers{app}"}}, "ProbeFailed"},
		"stopped":           {corev1.Event{Reason: "Killing", Message: "Stopping container app", InvolvedObject: corev1.ObjectReference{Name: "orders-1"}}, ""},
		"of a ready pod":    {corev1.Event{Reason: "Killing", Message: "failed liveness probe", InvolvedObject: corev1.ObjectReference{Name: "orders-3"}}, ""},
		"of something else": {corev1.Event{Reason: "FailedMount", InvolvedObject: corev1.ObjectReference{Name: "other"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := &waiting{namespace: "head", wants: orders, pods: map[string]*corev1.Pod{"orders-1": old, "orders-2": young, "orders-3": ready}}
			got := w.event(&tc.event)
			if tc.reason == "" && got != nil || tc.reason != "" && (got == nil || got.Reason != tc.reason) {
				t.Errorf("got %v, want %q", got, tc.reason)
			}
		})
	}
}

func TestWorkloads(t *testing.T) {
	objects, err := parseManifest(strings.NewReader("kind: Deployment\nmetadata: {name: a}\nspec: {template: {metadata: {labels: {app: a}}}}\n---\nkind: Job\nmetadata: {name: j}\n---\nkind: Pod\nmetadata: {name: p}\n"))
	if err != nil {
		t.Fatal(err)
	}
	wants := workloads(objects)
	if len(wants) != 2 || wants[0].name != "Deployment a" || wants[1].pod != "p" {
		t.Fatalf("workloads %+v, want the deployment and the pod", wants)
	}
	mine := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a-1", Labels: map[string]string{"app": "a", "more": "x"}}}
	if !wants[0].owns(mine) || wants[1].owns(mine) {
		t.Error("a-1 belongs to the deployment alone")
	}
}

func TestEndpointOf(t *testing.T) {
	yes, no, http, web, number := true, false, "http", "web", int32(8080)
	slice := &discoveryv1.EndpointSlice{
		Ports: []discoveryv1.EndpointPort{{Name: &web}, {Name: &http, Port: &number}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
			{Addresses: []string{"10.0.0.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}, TargetRef: &corev1.ObjectReference{Name: "orders-1"}},
		},
	}
	got, ok := endpointOf(slice, Port{Name: "http", Number: 80})
	if !ok || got != (Endpoint{Pod: "orders-1", Addr: "10.0.0.2:8080"}) {
		t.Errorf("got %+v, %v; want the ready pod with its own port", got, ok)
	}
	if _, ok := endpointOf(slice, Port{Name: "grpc", Number: 9}); ok {
		t.Error("a port that the slice does not have was found")
	}
}

// TestAgentPodIsRestricted keeps the agent fit for namespaces under the
// restricted pod security standard.
func TestAgentPodIsRestricted(t *testing.T) {
	p := Agent{Namespace: "base", Name: "mock", Image: "i", Secret: map[string]string{"T": "secret"}, AddressEnv: "A"}.pod()
	c := p.Spec.Containers[0]
	switch {
	case !*p.Spec.SecurityContext.RunAsNonRoot, *c.SecurityContext.AllowPrivilegeEscalation, c.SecurityContext.Capabilities.Drop[0] != "ALL",
		p.Spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		t.Errorf("the agent asks for too much: %+v", p.Spec.SecurityContext)
	}
	for _, e := range c.Env {
		if e.Value == "secret" {
			t.Error("the token is in the manifest")
		}
	}
}

func TestJavaStore(t *testing.T) {
	if _, err := javaStore([]byte("no certificate"), time.Now()); err == nil {
		t.Error("a store of nothing was made")
	}
	const cert = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"
	store, err := javaStore([]byte(cert), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	head := "\xfe\xed\xfe\xed\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x02\x00\x08reprisea\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05X.509\x00\x00\x00\x03\x01\x02\x03"
	if !strings.HasPrefix(string(store), head) || len(store) != len(head)+20 {
		t.Errorf("store %x", store)
	}
}

// TestJavaReadsTheStore asks Java's own tool, where there is one.
func TestJavaReadsTheStore(t *testing.T) {
	keytool, err := exec.LookPath("keytool")
	if err != nil {
		t.Skip("keytool is not installed, so there is no Java to ask")
	}
	ca := httptest.NewTLSServer(nil)
	defer ca.Close()
	store, err := javaStore(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate().Raw}), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "store.jks")
	if err := os.WriteFile(path, store, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(keytool, "-list", "-keystore", path, "-storepass", "changeit").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "reprisea") || !strings.Contains(string(out), "trustedCertEntry") {
		t.Errorf("keytool: %v\n%s", err, out)
	}
}
