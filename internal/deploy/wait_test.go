package deploy

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
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
	unschedulable := func(message string) corev1.PodStatus {
		return corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: message}}}
	}
	unscheduled := unschedulable("0/1 nodes are available:\n 1 Insufficient cpu.")
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
		"registry has a cold":      {status: waitingFor("ErrImagePull", `failed to pull image "r/a:1": dial tcp 10.0.0.1:443: i/o timeout`, 0), age: time.Second},
		"registry backs off":       {status: waitingFor("ImagePullBackOff", `Back-off pulling image "r/a:1": ErrImagePull: 503 Service Unavailable`, 0), age: 20 * time.Second},
		"registry stays away":      {status: waitingFor("ImagePullBackOff", `Back-off pulling image "r/a:1": ErrImagePull: i/o timeout`, 0), age: 2 * time.Minute, reason: "ImagePullBackOff", message: "i/o timeout"},
		"registry unknown":         {status: waitingFor("ErrImagePull", "dial tcp: lookup registry.invalid: no such host", 0), age: time.Second, reason: "ErrImagePull", message: "no such host"},
		"image looked up late":     {status: waitingFor("ImageInspectError", "rpc error: code = DeadlineExceeded desc = context deadline exceeded", 0), age: time.Second},
		"runtime being restarted":  {status: waitingFor("RunContainerError", "rpc error: code = Unavailable desc = transport is closing", 0)},
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
		"node was late":            {status: unschedulable("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."), age: 20 * time.Second},
		"node stays away":          {status: unschedulable("1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }."), age: 2 * time.Minute, reason: "Unschedulable"},
		"volume being made":        {status: unschedulable("pod has unbound immediate PersistentVolumeClaims."), age: 20 * time.Second},
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
		go func() {
			_, err := k.waitReady(t.Context(), "head", orders, 20*time.Second)
			done <- err
		}()
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
		_, err := (&Kube{api: fake.NewClientset(stuck, warning)}).waitReady(t.Context(), "head", orders, 20*time.Second)
		var notReady *NotReadyError
		if !errors.As(err, &notReady) || notReady.Reason != "CrashLoopBackOff" || len(notReady.Events) != 1 || len(notReady.Log) != 1 {
			t.Errorf("got %+v (%v), want the crash with one event and one log line", notReady, err)
		}
	})
	t.Run("slow", func(t *testing.T) {
		_, err := (&Kube{api: fake.NewClientset(pod("orders-1", false))}).waitReady(t.Context(), "head", orders, 100*time.Millisecond)
		var notReady *NotReadyError
		if !errors.As(err, &notReady) || notReady.Reason != "NotReady" || notReady.Pod != "orders-1" {
			t.Errorf("got %v, want the pod that was not ready in time", err)
		}
	})
	t.Run("nothing appears", func(t *testing.T) {
		_, err := (&Kube{api: fake.NewClientset()}).waitReady(t.Context(), "head", orders, 100*time.Millisecond)
		var notReady *NotReadyError
		if !errors.As(err, &notReady) || notReady.Reason != "NoPods" || !strings.Contains(err.Error(), "Deployment orders") {
			t.Errorf("got %v, want the workload without pods", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := (&Kube{api: fake.NewClientset(pod("orders-1", false))}).waitReady(ctx, "head", orders, time.Minute)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the cancellation", err)
		}
	})
}

// TestWaitReadyOutlastsTheAPI has an API that fails a few times on the way.
func TestWaitReadyOutlastsTheAPI(t *testing.T) {
	ready := func() *fake.Clientset { return fake.NewClientset(pod("orders-1", true)) }
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no rights"))
	for name, tc := range map[string]struct {
		verb  string
		times int
		err   error
		fails string
	}{
		"listing refused":    {"list", 2, syscall.ECONNREFUSED, ""},
		"the store was slow": {"list", 1, apierrors.NewInternalError(errors.New("etcdserver: request timed out")), ""},
		"watching cut off":   {"watch", 2, io.ErrUnexpectedEOF, ""},
		"no rights":          {"list", 100, forbidden, "no rights"},
		"for too long":       {"list", 100, syscall.ECONNREFUSED, "the API does not answer: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			api, left := ready(), tc.times
			if tc.verb == "watch" { // or the list would end the wait
				api = fake.NewClientset(pod("orders-1", false))
			}
			fail := func() (bool, error) {
				if left--; left >= 0 {
					return true, tc.err
				}
				return false, nil
			}
			api.PrependReactor("list", "pods", func(k8stesting.Action) (bool, runtime.Object, error) {
				if tc.verb != "list" {
					return left < 0, &corev1.PodList{Items: []corev1.Pod{*pod("orders-1", true)}}, nil
				}
				failed, err := fail()
				return failed, nil, err
			})
			api.PrependWatchReactor("pods", func(k8stesting.Action) (bool, watch.Interface, error) {
				failed, err := fail()
				if !failed { // as the API does after a while
					w := watch.NewFake()
					w.Stop()
					return true, w, nil
				}
				return true, nil, err
			})
			limit := 20 * time.Second
			if tc.times > 2 {
				limit = time.Second
			}
			_, err := (&Kube{api: api}).waitReady(t.Context(), "head", orders, limit)
			var stuck *NotReadyError
			if tc.fails == "" && err != nil || tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails) || errors.As(err, &stuck)) {
				t.Errorf("got %v, want %q", err, tc.fails)
			}
		})
	}
}

// TestStartAgentOutlastsTheAPI has the watch of an agent's pod refused, and cut
// off, before the pod runs.
func TestStartAgentOutlastsTheAPI(t *testing.T) {
	api, watches := fake.NewClientset(), 0
	api.PrependWatchReactor("pods", func(k8stesting.Action) (bool, watch.Interface, error) {
		watches++
		w := watch.NewFakeWithChanSize(1, false)
		switch watches {
		case 1:
			return true, nil, syscall.ECONNREFUSED
		case 2:
			w.Stop()
			return true, w, nil
		}
		runs := pod("mock", true)
		runs.Status.PodIP = "10.0.0.7"
		runs.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		w.Add(runs)
		return true, w, nil
	})
	got, err := (&Kube{api: api}).StartAgent(t.Context(), Agent{Namespace: "head", Name: "mock", Image: "i", Secret: map[string]string{"T": "s"}})
	if want := (Pod{Namespace: "head", Name: "mock", Address: "10.0.0.7"}); err != nil || got != want || watches != 3 {
		t.Errorf("got %+v, %v after %d watches; want %+v after the third", got, err, watches, want)
	}
}

// TestKubeletMayBeBehind tells what the kubelet has not seen from what is not
// there.
func TestKubeletMayBeBehind(t *testing.T) {
	api := fake.NewClientset(
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "token", Namespace: "head"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "trust", Namespace: "head"}})
	for message, want := range map[string]bool{
		`secret "token" not found`: true, `secret "trust" not found`: false, `secret "other" not found`: false,
		`MountVolume.SetUp failed for volume "ca" : configmap "trust" not found`: true,
		"couldn't find key token in Secret head/token":                           false,
	} {
		if got := (&Kube{api: api}).overtaken(t.Context(), &NotReadyError{Namespace: "head", Message: message}); got != want {
			t.Errorf("%s: %v, want %v", message, got, want)
		}
	}
}

// TestRemoveNamespacesGoesOn has one namespace that cannot be removed.
func TestRemoveNamespacesGoesOn(t *testing.T) {
	api := fake.NewClientset()
	for _, name := range []string{"a", "b", "c"} {
		if err := (&Kube{api: api}).Namespace(t.Context(), name, "r"); err != nil {
			t.Fatal(err)
		}
	}
	api.PrependReactor("delete", "namespaces", func(a k8stesting.Action) (bool, runtime.Object, error) {
		return a.(k8stesting.DeleteAction).GetName() == "a", nil, errors.New("not now")
	})
	err := (&Kube{api: api}).RemoveNamespaces(t.Context(), "r")
	left, listErr := api.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err == nil || !strings.Contains(err.Error(), "namespace a: not now") || listErr != nil || len(left.Items) != 1 {
		t.Errorf("got %v with %d left, %v; want the one that cannot be removed", err, len(left.Items), listErr)
	}
}

// TestStartupIsTheServicesOwn counts from the first container that ran, what ended
// before included, to the moment the pod was ready.
func TestStartupIsTheServicesOwn(t *testing.T) {
	at := func(second int) metav1.Time { return metav1.NewTime(time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC)) }
	running := func(second int) corev1.ContainerState {
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(second)}}
	}
	ended := func(second int) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: at(second)}}
	}
	readyAt := func(name string, second int) *corev1.Pod {
		p := pod(name, true)
		p.CreationTimestamp, p.Status.Conditions[0].LastTransitionTime = at(0), at(second)
		return p
	}
	plain, prepared, restarted, other := readyAt("plain", 12), readyAt("prepared", 13), readyAt("restarted", 20), readyAt("other", 59)
	plain.Status.ContainerStatuses = []corev1.ContainerStatus{{State: running(11)}, {State: running(10)}}
	prepared.Status.InitContainerStatuses = []corev1.ContainerStatus{{State: ended(8)}}
	prepared.Status.ContainerStatuses = []corev1.ContainerStatus{{State: running(12)}}
	restarted.Status.ContainerStatuses = []corev1.ContainerStatus{{State: running(19), LastTerminationState: ended(10)}}
	other.Labels = nil
	other.Status.ContainerStatuses = plain.Status.ContainerStatuses
	for name, tc := range map[string]struct {
		pods []*corev1.Pod
		want time.Duration
	}{
		"two containers":      {[]*corev1.Pod{plain}, 2 * time.Second},
		"init container":      {[]*corev1.Pod{prepared}, 5 * time.Second},
		"restarted meanwhile": {[]*corev1.Pod{restarted}, 10 * time.Second},
		"the slowest counts":  {[]*corev1.Pod{plain, prepared}, 5 * time.Second},
		"of something else":   {[]*corev1.Pod{plain, other}, 2 * time.Second},
		"unknown":             {[]*corev1.Pod{pod("orders-1", true)}, 0},
	} {
		w := &waiting{wants: orders, pods: map[string]*corev1.Pod{}}
		for _, p := range tc.pods {
			w.pods[p.Name] = p
		}
		if got := w.startup(); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestEventsThatEndTheWait(t *testing.T) {
	old := pod("orders-1", false)
	old.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Minute))
	young := pod("orders-2", false)
	ready := pod("orders-3", true)
	mounted := pod("orders-4", false)
	mounted.CreationTimestamp = old.CreationTimestamp
	mounted.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	at := func(after time.Duration) metav1.Time { return metav1.NewTime(old.CreationTimestamp.Add(after)) }
	about := func(name string) corev1.ObjectReference { return corev1.ObjectReference{Name: name} }
	killed := corev1.Event{Reason: "Killing", Message: "Container app failed liveness probe, will be restarted", Count: 1, InvolvedObject: corev1.ObjectReference{Name: "orders-1", FieldPath: "spec.containers{app}"}}
	again := killed
	again.Count = 2
	for name, tc := range map[string]struct {
		event  corev1.Event
		slow   bool
		reason string
	}{
		"volume, for long":       {event: corev1.Event{Reason: "FailedMount", Message: `configmap "x" not found`, LastTimestamp: at(8 * time.Second), InvolvedObject: about("orders-1")}, reason: "FailedMount"},
		"volume, once, long ago": {event: corev1.Event{Reason: "FailedMount", Message: `configmap "x" not found`, LastTimestamp: at(time.Second), InvolvedObject: about("orders-1")}},
		"volume, and it runs":    {event: corev1.Event{Reason: "FailedMount", Message: `configmap "x" not found`, LastTimestamp: at(8 * time.Second), InvolvedObject: about("orders-4")}},
		"volume, not seen":       {event: corev1.Event{Reason: "FailedMount", Message: "failed to sync configmap cache", LastTimestamp: at(8 * time.Second), InvolvedObject: about("orders-1")}},
		"volume, not registered": {event: corev1.Event{Reason: "FailedMount", Message: `object "head"/"reprise-ca" not registered`, LastTimestamp: at(8 * time.Second), InvolvedObject: about("orders-1")}},
		"roots of the cluster":   {event: corev1.Event{Reason: "FailedMount", Message: `configmap "kube-root-ca.crt" not found`, LastTimestamp: at(8 * time.Second), InvolvedObject: about("orders-1")}},
		"volume, just now":       {event: corev1.Event{Reason: "FailedMount", LastTimestamp: metav1.Now(), InvolvedObject: about("orders-2")}},
		"killed by a probe":      {event: killed, reason: "ProbeFailed"},
		"killed, answers late":   {event: killed, slow: true},
		"killed late and again":  {event: again, slow: true, reason: "ProbeFailed"},
		"stopped":                {event: corev1.Event{Reason: "Killing", Message: "Stopping container app", InvolvedObject: about("orders-1")}},
		"of a ready pod":         {event: corev1.Event{Reason: "Killing", Message: "failed liveness probe", InvolvedObject: about("orders-3")}},
		"of something else":      {event: corev1.Event{Reason: "FailedMount", LastTimestamp: at(8 * time.Second), InvolvedObject: about("other")}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &waiting{namespace: "head", wants: orders, pods: map[string]*corev1.Pod{"orders-1": old, "orders-2": young, "orders-3": ready, "orders-4": mounted}}
			got := w.event(&tc.event, tc.slow)
			if tc.reason == "" && got != nil || tc.reason != "" && (got == nil || got.Reason != tc.reason) {
				t.Errorf("got %v, want %q", got, tc.reason)
			}
		})
	}
}

// TestPodsThatAreLateToBeMade wants patience with a controller that waits for
// something itself.
func TestPodsThatAreLateToBeMade(t *testing.T) {
	for message, gives := range map[string]bool{
		`pods "orders-" is forbidden: exceeded quota`:                                                 true,
		`pods "orders-" is forbidden: error looking up service account head/orders: not found`:        false,
		`Internal error occurred: failed calling webhook "w": no endpoints available for service "w"`: false,
	} {
		w := &waiting{namespace: "head", wants: orders, began: time.Now().Add(-time.Minute)}
		e := &corev1.Event{Reason: "FailedCreate", Message: message, InvolvedObject: corev1.ObjectReference{Kind: "ReplicaSet", Name: "orders-5d9"}}
		if got := w.event(e, false); (got != nil) != gives {
			t.Errorf("%s: gave up with %v", message, got)
		}
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
