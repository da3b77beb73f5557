package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reprise-ci/reprise/internal/agent"
	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/cluster"
	"github.com/reprise-ci/reprise/internal/deploy"
	"github.com/reprise-ci/reprise/internal/traffic"
)

const (
	serviceImage = "reprise-test/orders:head"
	run          = "test"
)

// stages reports how long the parts of a test take.
type stages struct {
	t     *testing.T
	began time.Time
}

func (s *stages) done(what string) { s.t.Logf("%6.2f s  %s", time.Since(s.began).Seconds(), what) }

// recorded is the traffic of a service that was asked for two orders, a stray
// call and its own peer, when the stray call was not made yet.
func recorded() []*traffic.Exchange {
	var xs []*traffic.Exchange
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	answer := func(body string) *traffic.Response {
		header := traffic.Header{{Name: "Content-Type", Value: "text/plain"}}
		return &traffic.Response{Status: 200, Proto: "HTTP/1.1", Header: header, Body: traffic.NewBody([]byte(body), header)}
	}
	for i, path := range []string{"/orders/1", "/orders/2", "/stray", "/peer"} {
		id := fmt.Sprintf("in-%d", i)
		at = at.Add(time.Second)
		xs = append(xs, &traffic.Exchange{
			ID: id, Direction: traffic.Inbound, Lane: traffic.Lane(id), Start: at, Duration: time.Millisecond,
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "orders.example", Target: path, Proto: "HTTP/1.1"},
			Response: answer(""),
		})
		if !strings.HasPrefix(path, "/orders") {
			continue
		}
		n := path[len("/orders/"):]
		xs = append(xs, &traffic.Exchange{
			ID: id + "-stock", Direction: traffic.Outbound, Lane: traffic.Lane(id), Start: at.Add(time.Microsecond),
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "inventory:8080", Target: "/stock/" + n, Proto: "HTTP/1.1"},
			Response: answer("stock " + n),
		}, &traffic.Exchange{
			ID: id + "-price", Direction: traffic.Outbound, Lane: traffic.Lane(id), Start: at.Add(2 * time.Microsecond),
			Request:  traffic.Request{Method: "GET", Scheme: "https", Authority: "api.payments.example", Target: "/price/" + n, Proto: "HTTP/1.1"},
			Response: answer("price " + n),
		})
	}
	return xs
}

// compile builds a program that an empty image can run.
func compile(ctx context.Context, pkg, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// world is a cluster with the images of the agent and the service on its node.
type world struct {
	*testing.T
	cluster *cluster.Cluster
	kube    *deploy.Kube
	ca      *authority.Authority
	dns     cluster.DNS
	image   *agent.Image
	stages  *stages
}

func newWorld(t *testing.T, ctx context.Context) *world {
	t.Helper()
	w := &world{T: t, stages: &stages{t, time.Now()}}
	// Compiling is not what is measured here.
	dir := t.TempDir()
	if err := compile(ctx, "../agent/testdata/agent", filepath.Join(dir, "agent")); err != nil {
		t.Fatal(err)
	}
	if err := compile(ctx, "./testdata/service", filepath.Join(dir, "service")); err != nil {
		t.Fatal(err)
	}
	w.stages.began = time.Now()
	c, err := cluster.Start(ctx, cluster.Options{KubeconfigDir: t.TempDir(), LogsDir: t.TempDir(), Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	w.cluster = c
	t.Cleanup(func() {
		began := time.Now()
		if err := c.Delete(context.Background()); err != nil {
			t.Error(err)
		}
		t.Logf("cluster removed in %.2f s", time.Since(began).Seconds())
	})
	var g errgroup.Group
	g.Go(func() error {
		image, err := agent.NewImage(filepath.Join(dir, "agent"))
		if err != nil {
			return err
		}
		w.image = image
		w.stages.done("agent image made")
		err = c.LoadImages(ctx, image.Archive)
		w.stages.done("agent image on the node")
		return err
	})
	g.Go(func() error {
		out, err := exec.CommandContext(ctx, "docker", "build", "-q", "-t", serviceImage, "-f", "testdata/service/Dockerfile", dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("docker build: %w\n%s", err, out)
		}
		w.stages.done("service image built")
		err = c.LoadDockerImages(ctx, serviceImage)
		w.stages.done("service image on the node")
		return err
	})
	g.Go(func() error { err := c.Ready(ctx); w.stages.done("cluster ready"); return err })
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	config, err := c.REST()
	if err != nil {
		t.Fatal(err)
	}
	if w.kube, err = deploy.Connect(config); err != nil {
		t.Fatal(err)
	}
	if w.ca, err = authority.New(time.Now()); err != nil {
		t.Fatal(err)
	}
	return w
}

// startAgent starts an agent and forwards its API.
func (w *world) startAgent(ctx context.Context, namespace, role string) (pod deploy.Pod, inside, outside agent.Endpoint, err error) {
	token := agent.NewToken()
	pod, err = w.kube.StartAgent(ctx, deploy.Agent{
		Namespace: namespace, Name: role, Image: w.image.Ref, Args: []string{role},
		Secret: map[string]string{agent.EnvToken: token}, AddressEnv: agent.EnvAddress,
	})
	if err != nil {
		return pod, inside, outside, err
	}
	forwarding, err := w.cluster.Forward(context.WithoutCancel(ctx), namespace, pod.Name, agent.ControlPort)
	if err != nil {
		return pod, inside, outside, err
	}
	w.Cleanup(forwarding.Close)
	inside = agent.Endpoint{Addr: fmt.Sprintf("%s:%d", pod.Address, agent.ControlPort), Token: token}
	outside = agent.Endpoint{Addr: forwarding.Addr, Token: token}
	return pod, inside, outside, agent.Healthy(ctx, outside)
}

// deployed is one arm.
type deployed struct {
	mock   *agent.Mock
	target agent.Target
	pod    string
}

func (w *world) deploy(ctx context.Context, arm string, chart *deploy.Chart) (*deployed, error) {
	if err := w.kube.Namespace(ctx, arm, run); err != nil {
		return nil, err
	}
	pod, inside, outside, err := w.startAgent(ctx, arm, agent.RoleMock)
	if err != nil {
		return nil, err
	}
	w.stages.done(arm + ": mock runs")
	key, err := w.ca.KeyPEM()
	if err != nil {
		return nil, err
	}
	d := &deployed{mock: agent.NewMock(context.WithoutCancel(ctx), outside)}
	_, err = d.mock.Load(agent.MockSettings{
		Arm: arm, CertPEM: w.ca.CertPEM(), KeyPEM: key, Ports: []int{80, 443, 8080},
		DNS: &agent.DNSSettings{Port: 53, ClusterSuffixes: []string{w.dns.Domain}, Upstream: w.dns.Address},
	}, agent.List(recorded()))
	if err != nil {
		return nil, err
	}
	if err := w.cluster.DNSReady(ctx); err != nil {
		return nil, err
	}
	w.stages.done(arm + ": cluster DNS answers")
	release, err := chart.Install(ctx, w.kube, deploy.Arm{
		Namespace: arm, Nameserver: pod.Address, Domain: w.dns.Domain, CA: w.ca.CertPEM(), Loaded: []string{serviceImage}, Owned: true,
	})
	if err != nil {
		return nil, err
	}
	w.stages.done(arm + ": installed")
	if err := release.WaitReady(ctx); err != nil {
		return nil, err
	}
	endpoint, err := release.Endpoint(ctx)
	if err != nil {
		return nil, err
	}
	w.stages.done(arm + ": ready at " + endpoint.Addr)
	addresses, err := release.Addresses(ctx)
	if err != nil || len(addresses) != 1 {
		return nil, fmt.Errorf("addresses %q, want the one of the only Service: %w", addresses, err)
	}
	if err := d.mock.Reach(ctx, addresses...); err != nil {
		return nil, err
	}
	w.stages.done(arm + ": Service reached at " + addresses[0])
	d.pod = endpoint.Pod
	d.target = agent.Target{Arm: arm, Addr: endpoint.Addr, TLS: endpoint.TLS, Mock: &inside}
	return d, nil
}

// TestCluster does what a run does, on a kind cluster: three arms with mocks, a
// replayer, a pass on each, a round, usage, logs; then charts that cannot
// become ready.
func TestCluster(t *testing.T) {
	if os.Getenv("REPRISE_E2E") != "1" {
		t.Skip("set REPRISE_E2E=1 to run tests that make a kind cluster (needs Docker)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	cluster.Quiet(io.Discard)
	w := newWorld(t, ctx)
	var err error
	if w.dns, err = w.cluster.FindDNS(ctx); err != nil {
		t.Fatal(err)
	}
	chart := w.load(nil)
	arms := map[string]*deployed{}
	var mu sync.Mutex
	var replayer *agent.Replayer
	g, gctx := errgroup.WithContext(ctx)
	for _, arm := range []string{"base", "control", "head"} {
		g.Go(func() error {
			d, err := w.deploy(gctx, arm, chart)
			mu.Lock()
			defer mu.Unlock()
			arms[arm] = d
			return err
		})
	}
	g.Go(func() error {
		if err := w.kube.Namespace(gctx, "reprise", run); err != nil {
			return err
		}
		_, _, outside, err := w.startAgent(gctx, "reprise", agent.RoleReplay)
		replayer = agent.NewReplayer(outside)
		return err
	})
	if err := g.Wait(); err != nil {
		w.giveUp(ctx, err)
	}
	w.stages.done("all arms ready")
	var inbound []*traffic.Exchange
	for _, x := range recorded() {
		if x.Direction == traffic.Inbound {
			inbound = append(inbound, x)
		}
	}
	if n, err := replayer.Load(ctx, agent.ReplaySettings{}, agent.List(inbound)); err != nil || n != 4 {
		t.Fatalf("loaded %d requests, %v", n, err)
	}
	for arm, d := range arms {
		w.pass(ctx, replayer, arm, d)
	}
	w.stages.done("a pass on each arm")
	round, err := replayer.Round(ctx, arms["base"].target, arms["head"].target, 2, 1, agent.RoundOptions{PairsPerEndpoint: 50, Only: []string{"in-0", "in-1"}})
	if err != nil || len(round.Pairs) < 50 {
		t.Errorf("round of %d pairs, %v", len(round.Pairs), err)
	}
	w.stages.done(fmt.Sprintf("a round of %d pairs", len(round.Pairs)))
	w.workers(ctx, arms["head"])
	w.usage(ctx, arms["head"].pod)
	w.logs(ctx)
	t.Run("not ready", func(t *testing.T) { w.notReady(ctx, t) })
}

// load loads the test chart with some values.
func (w *world) load(set []string) *deploy.Chart {
	w.Helper()
	chart, err := deploy.Load(deploy.Options{
		Chart: "testdata/chart", Set: set, ReadyTimeout: 3 * time.Minute,
		Images: []deploy.Image{{Match: "registry.example.com/orders", Ref: serviceImage}},
	})
	if err != nil {
		w.Fatal(err)
	}
	return chart
}

// giveUp prints what the pods said.
func (w *world) giveUp(ctx context.Context, err error) {
	w.Helper()
	dir := w.TempDir()
	_ = w.cluster.Logs(ctx, dir, false, "base", "control", "head", "reprise") // the first error counts
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if text, err := os.ReadFile(path); err == nil {
			w.Logf("%s\n%s", strings.TrimPrefix(path, dir), text)
		}
		return nil
	})
	w.Fatal(err)
}

// pass replays once and looks at what the service answered and called.
func (w *world) pass(ctx context.Context, replayer *agent.Replayer, arm string, d *deployed) {
	w.Helper()
	bodies := map[string]string{}
	if err := replayer.Pass(ctx, d.target, 1, func(x *traffic.Exchange) {
		if x.Response == nil {
			w.Errorf("%s %s: %s", arm, x.Request.Target, x.Failure)
			return
		}
		bodies[x.Recorded] = string(x.Response.Body.Raw)
	}); err != nil {
		w.Fatal(err)
	}
	for id, want := range map[string]string{
		"in-0": "200 stock 1\n200 price 1\n", // by plain HTTP and by TLS
		"in-1": "200 stock 2\n200 price 2\n",
		"in-3": "200 ok\n", // a name of the arm's own chart
	} {
		if bodies[id] != want {
			w.Errorf("%s answered %s with %q, want %q", arm, id, bodies[id], want)
		}
	}
	if strings.HasPrefix(bodies["in-2"], "200") || strings.HasPrefix(bodies["in-2"], "error: ") {
		w.Errorf("%s: the stray call got %q, want the mock's refusal", arm, bodies["in-2"])
	}
	account := d.mock.Account(1)
	if account.Matched != 4 || account.Missed != 1 || account.Extra != 0 || account.Err != nil {
		w.Errorf("%s: account %+v, want 4 matched and 1 missed", arm, account)
	}
	for _, call := range d.mock.Calls(1) {
		if call.Match.Tier == traffic.TierMiss && (call.Request.Authority != "never.recorded.example" || call.Request.Target != "/secret" || call.Lane != "in-2") {
			w.Errorf("%s: missed %s %s in lane %s, want the stray call", arm, call.Request.Authority, call.Request.Target, call.Lane)
		}
	}
	evidence, err := d.mock.Evidence()
	if err != nil {
		w.Error(err)
	}
	asked := false
	for _, n := range evidence.Names {
		asked = asked || strings.TrimSuffix(n.Name, ".") == "never.recorded.example" && !n.Recorded && !n.Cluster
	}
	if !asked {
		w.Errorf("%s: the names asked for lack never.recorded.example: %+v", arm, evidence.Names)
	}
	if err := d.mock.Err(); err != nil {
		w.Error(err)
	}
}

// workers replays from three pods of an Indexed Job and kills one of them in
// between: the pass must hold each request once.
func (w *world) workers(ctx context.Context, d *deployed) {
	w.Helper()
	const n, name = 3, "workers"
	token := agent.NewToken()
	err := w.kube.StartWorkers(ctx, deploy.Agent{
		Namespace: "reprise", Name: name, Image: w.image.Ref, Args: []string{agent.RoleReplay},
		Secret: map[string]string{agent.EnvToken: token}, AddressEnv: agent.EnvAddress,
	}, n)
	if err != nil {
		w.Fatal(err)
	}
	var mu sync.Mutex
	pods := map[int][]string{}
	crew := agent.NewWorkers(n, func(ctx context.Context, index int) (agent.Endpoint, error) {
		pod, err := w.kube.Worker(ctx, "reprise", name, index)
		if err != nil {
			return agent.Endpoint{}, err
		}
		mu.Lock()
		pods[index] = append(pods[index], pod.Name)
		mu.Unlock()
		forwarding, err := w.cluster.Forward(context.WithoutCancel(ctx), "reprise", pod.Name, agent.ControlPort)
		if err != nil {
			return agent.Endpoint{}, err
		}
		w.Cleanup(forwarding.Close)
		at := agent.Endpoint{Addr: forwarding.Addr, Token: token}
		return at, agent.Healthy(ctx, at)
	})
	var inbound []*traffic.Exchange
	for i := range 60 {
		x := recorded()[0].Clone()
		x.ID = fmt.Sprintf("many-%02d", i)
		x.Lane, x.Start = traffic.Lane(x.ID), x.Start.Add(time.Duration(i)*time.Second)
		x.Request.Target = "/healthz"
		inbound = append(inbound, x)
	}
	if _, err := crew.Load(ctx, agent.ReplaySettings{}, inbound); err != nil {
		w.Fatal(err)
	}
	w.stages.done("three workers loaded")
	api, err := w.cluster.API()
	if err != nil {
		w.Fatal(err)
	}
	pass := func(number uint32) {
		seen := map[string]int{}
		err := crew.Pass(ctx, agent.Target{Arm: "head", Addr: d.target.Addr}, number, func(x *traffic.Exchange) {
			if x.Response == nil || x.Response.Status != 200 {
				w.Errorf("%s was answered with %+v", x.Recorded, x.Response)
			}
			seen[x.Recorded]++
		})
		if err != nil {
			w.Fatal(err)
		}
		for id, times := range seen {
			if times != 1 {
				w.Errorf("pass %d: %s counts %d times", number, id, times)
			}
		}
		if len(seen) != len(inbound) {
			w.Errorf("pass %d: %d of %d requests were sent", number, len(seen), len(inbound))
		}
	}
	pass(10)
	w.stages.done("a pass by three workers")
	now := int64(0)
	if err := api.CoreV1().Pods("reprise").Delete(ctx, pods[1][0], metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		w.Fatal(err)
	}
	// Its process lives on until the kubelet gets to it, so passes go on until
	// one meets its end.
	number, limit := uint32(11), time.Now().Add(3*time.Minute)
	for ; len(pods[1]) < 2 && time.Now().Before(limit); number++ {
		pass(number)
		time.Sleep(50 * time.Millisecond)
	}
	w.stages.done(fmt.Sprintf("%d passes while worker 1 was lost", number-11))
	pass(number)
	if len(pods[1]) < 2 || pods[1][0] == pods[1][len(pods[1])-1] {
		w.Errorf("worker 1 ran as %v, want another pod after the loss", pods[1])
	}
	if err := w.kube.StopWorkers(ctx, "reprise", name); err != nil {
		w.Error(err)
	}
}

func (w *world) usage(ctx context.Context, pod string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // the kubelet looks every 10 to 15 s, when it gets to it
	defer cancel()
	for {
		usage, err := w.cluster.PodUsage(ctx, "head", pod)
		if err == nil && usage.MemoryBytes > 0 && usage.CPU > 0 {
			w.stages.done(fmt.Sprintf("usage: %v of CPU, %.1f MB", usage.CPU, float64(usage.MemoryBytes)/1e6))
			return
		}
		select {
		case <-ctx.Done():
			w.Errorf("no figures within two minutes: %+v, %v", usage, err)
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (w *world) logs(ctx context.Context) {
	w.Helper()
	dir := w.TempDir()
	if err := w.cluster.Logs(ctx, dir, false, "head", "reprise"); err != nil {
		w.Error(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "head", "orders-*.orders.log"))
	if err != nil || len(found) != 1 {
		w.Fatalf("logs of the service: %v, %v", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil || !strings.Contains(string(text), "listening on 8080") {
		w.Errorf("log %q, %v", text, err)
	}
	events, err := os.ReadFile(filepath.Join(dir, "head", "events.log"))
	if err != nil || !strings.Contains(string(events), "Scheduled") {
		w.Errorf("events %q, %v", events, err)
	}
	w.stages.done("logs collected")
}

// notReady installs charts whose pods cannot become ready. How soon the wait ends
// is counted from when the cluster first tells of it: what the kubelet needs until
// then is not the wait's to answer for.
func (w *world) notReady(ctx context.Context, t *testing.T) {
	for name, tc := range map[string]struct {
		set    []string
		reason string
		says   string
		event  string // what the cluster tells of it first
		within time.Duration
	}{
		"no-image":  {[]string{"image=registry.invalid/none:1"}, "ErrImagePull ImagePullBackOff", "registry.invalid/none:1", "Failed", 10 * time.Second},
		"crash":     {[]string{"mode=crash"}, "CrashLoopBackOff", "FATAL: no database at all", "BackOff", 10 * time.Second},
		"no-secret": {[]string{"secret=missing"}, "CreateContainerConfigError", `secret "missing" not found`, "Failed", 10 * time.Second},
		// The kubelet tries again after 0.5, 1, 2 and 4 s.
		"no-volume": {[]string{"volume=missing"}, "FailedMount", `configmap "missing" not found`, "FailedMount", 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := w.kube.Namespace(ctx, name, run); err != nil {
				t.Fatal(err)
			}
			release, err := w.load(tc.set).Install(ctx, w.kube, deploy.Arm{Namespace: name, Owned: true, Loaded: []string{serviceImage}})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err = release.WaitReady(ctx)
			took := time.Since(began)
			late := time.Since(w.firstTold(ctx, t, name, tc.event))
			t.Logf("after %.1f s, %.1f s after the first %s: %v", took.Seconds(), late.Seconds(), tc.event, err)
			var stuck *deploy.NotReadyError
			if !errors.As(err, &stuck) || !strings.Contains(tc.reason, stuck.Reason) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("want %s with %q; events %q", tc.reason, tc.says, stuck)
			}
			if late > tc.within {
				t.Errorf("it took %s from the first %s, want at most %s", late, tc.event, tc.within)
			}
		})
	}
}

// firstTold returns when a warning of a kind was first seen in a namespace.
func (w *world) firstTold(ctx context.Context, t *testing.T, namespace, reason string) time.Time {
	t.Helper()
	api, err := w.cluster.API()
	if err != nil {
		t.Fatal(err)
	}
	events, err := api.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first := time.Now()
	for _, e := range events.Items {
		if at := e.FirstTimestamp.Time; e.Reason == reason && !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	return first
}
