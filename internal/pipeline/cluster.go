package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/agent"
	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/cluster"
	"github.com/reprise-ci/reprise/internal/command"
	"github.com/reprise-ci/reprise/internal/deploy"
	"github.com/reprise-ci/reprise/internal/process"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// replayNamespace is where the replayer's pod runs. The arms have a namespace
// each, of their own name.
const replayNamespace = "reprise"

// onCluster is the target "kind": every arm is a Helm release in a namespace of
// its own, and mock and replay are pods.
type onCluster struct {
	r       *run
	o       *ClusterOptions
	cluster *cluster.Cluster
	making  chan struct{} // closed once cluster is set
	token   string

	kube     *deploy.Kube
	dns      cluster.DNS
	agent    *agent.Image
	replayer *agent.Replayer

	mu   sync.Mutex
	arms map[Arm]*podArm
}

// podArm is one arm as pods.
type podArm struct {
	mock     *agent.Mock    // its control API, by port forwarding
	control  agent.Endpoint // the same, as the replayer's pod reaches it
	pod      deploy.Pod     // the mock's
	release  *deploy.Release
	endpoint deploy.Endpoint
	startup  time.Duration
}

func newOnCluster(r *run) *onCluster {
	return &onCluster{r: r, o: r.options.Cluster, making: make(chan struct{}), token: agent.NewToken(), arms: map[Arm]*podArm{}}
}

// check looks at the head's chart and at the machine before anything is made.
func (c *onCluster) check(ctx context.Context) error {
	const stage = "check the target"
	if _, err := c.chart(Head, c.r.options.Dir); err != nil {
		return badInput(stage, err)
	}
	machine, err := cluster.Preflight(ctx, c.r.options.Environ)
	if err != nil {
		return err
	}
	for _, w := range machine.Warnings {
		c.r.note("%s", w)
	}
	return nil
}

// chart loads the chart of a version, with the image of its arm.
func (c *onCluster) chart(arm Arm, project string) (*deploy.Chart, error) {
	opts := c.o.Chart
	opts.Chart = within(project, opts.Chart)
	opts.Values = nil
	for _, file := range c.o.Chart.Values {
		opts.Values = append(opts.Values, within(project, file))
	}
	if c.o.Image.Context != "" {
		repository, tag := c.image(arm)
		opts.SetString = append(opts.SetString[:len(opts.SetString):len(opts.SetString)],
			c.o.Image.RepositoryValue+"="+repository, c.o.Image.TagValue+"="+tag)
	}
	return deploy.Load(opts)
}

// within roots a relative path.
func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// image names the image of an arm. Control runs what base built.
func (c *onCluster) image(arm Arm) (repository, tag string) {
	if arm == Control {
		arm = Base
	}
	return "reprise.dev/service-" + string(arm), "run-" + filepath.Base(c.r.dir.Path())[len("reprise-"):]
}

func (c *onCluster) ref(arm Arm) string {
	repository, tag := c.image(arm)
	return repository + ":" + tag
}

// start makes the cluster and, as soon as its parts answer, the pods of reprise
// itself.
func (c *onCluster) start(ctx context.Context) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the running executable: %w", err)
	}
	if c.agent, err = agent.NewImage(executable); err != nil {
		return err
	}
	c.cluster, err = cluster.Start(ctx, cluster.Options{
		NodeImage: c.o.NodeImage, KubeconfigDir: c.r.dir.Path(), LogsDir: filepath.Join(c.r.options.LogDir, "kind"),
		Env: c.r.options.Environ, Progress: func(s string) { c.r.progress.Note("cluster: %s", s) },
	})
	if err != nil {
		return err
	}
	made := c.cluster
	c.r.atOnce(made.Delete)
	close(c.making)
	if err := together(ctx, func(ctx context.Context) error {
		archive := c.agent.Archive()
		defer archive.Close()
		return made.LoadImages(ctx, archive)
	}, made.Ready); err != nil {
		return err
	}
	rest, err := made.REST()
	if err != nil {
		return err
	}
	if c.kube, err = deploy.Connect(rest); err != nil {
		return err
	}
	if c.dns, err = made.FindDNS(ctx); err != nil {
		return err
	}
	// The mocks start while the cluster's DNS comes up, which their pods do
	// without and the service's do not.
	steps := []step{c.startReplayer, made.DNSReady}
	for _, arm := range arms {
		steps = append(steps, func(ctx context.Context) error { return c.startMock(ctx, arm) })
	}
	return together(ctx, steps...)
}

// startAgent makes a namespace and the pod of an agent in it, and returns
// where its control API answers here.
func (c *onCluster) startAgent(ctx context.Context, namespace, role string) (deploy.Pod, agent.Endpoint, error) {
	if err := c.kube.Namespace(ctx, namespace, c.cluster.Name); err != nil {
		return deploy.Pod{}, agent.Endpoint{}, err
	}
	pod, err := c.kube.StartAgent(ctx, deploy.Agent{
		Namespace: namespace, Name: "reprise-" + role, Image: c.agent.Ref, Args: []string{"agent", role},
		Secret: map[string]string{agent.EnvToken: c.token}, AddressEnv: agent.EnvAddress,
	})
	if err != nil {
		return pod, agent.Endpoint{}, err
	}
	at, err := c.reach(ctx, pod)
	return pod, at, err
}

// reach forwards a port to an agent and waits until it answers.
func (c *onCluster) reach(ctx context.Context, pod deploy.Pod) (agent.Endpoint, error) {
	forwarding, err := c.cluster.Forward(context.WithoutCancel(ctx), pod.Namespace, pod.Name, agent.ControlPort)
	if err != nil {
		return agent.Endpoint{}, err
	}
	c.r.later(func(context.Context) error { forwarding.Close(); return nil })
	at := agent.Endpoint{Addr: forwarding.Addr, Token: c.token}
	ctx, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	return at, agent.Healthy(ctx, at)
}

// agentTime is how long an agent may take to answer once its pod runs.
const agentTime = time.Minute

func (c *onCluster) startReplayer(ctx context.Context) error {
	_, at, err := c.startAgent(ctx, replayNamespace, agent.RoleReplay)
	if err != nil {
		return err
	}
	c.replayer = agent.NewReplayer(at)
	o := c.r.options
	_, err = c.replayer.Load(ctx, agent.ReplaySettings{
		Concurrency: o.Replay.Concurrency, Timeout: o.Replay.Timeout, MaxBody: o.Replay.MaxBody, KeepHost: o.Replay.KeepHost, HTTP2: o.Replay.HTTP2,
		Routes: o.Replay.Router.Templates(), Transform: o.Transform,
	}, agent.List(inboundOf(c.r.recorded)))
	return err
}

func (c *onCluster) startMock(ctx context.Context, arm Arm) error {
	pod, at, err := c.startAgent(ctx, string(arm), agent.RoleMock)
	if err != nil {
		return err
	}
	key, err := c.r.authority.KeyPEM()
	if err != nil {
		return err
	}
	o := c.r.options.Mock
	// The client outlives this step; its calls end with their own.
	standIn := agent.NewMock(context.WithoutCancel(ctx), at)
	_, err = standIn.Load(agent.MockSettings{
		Arm: string(arm), Headers: o.Headers, Repeat: o.Repeat, Fuzzy: o.Fuzzy, Rules: o.Rules, Latency: o.Latency, MaxBody: o.MaxBody, MaxJournal: o.MaxJournal,
		Routes: o.Routes.Templates(), CertPEM: c.r.authority.CertPEM(), KeyPEM: key, Ports: portsOf(c.r.recorded),
		DNS: &agent.DNSSettings{Port: 53, ClusterSuffixes: []string{c.dns.Domain}, Upstream: c.dns.Address},
	}, agent.List(c.r.recorded))
	if err != nil {
		return err
	}
	standIn.BeginPass(bootPass)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arms[arm] = &podArm{
		mock: standIn, pod: pod,
		control: agent.Endpoint{Addr: pod.Address + ":" + strconv.Itoa(agent.ControlPort), Token: c.token},
	}
	return standIn.Err()
}

// portsOf lists the ports on which dependencies were called, and the two that
// new ones are most likely called on.
func portsOf(recorded []*traffic.Exchange) []int {
	seen := map[int]bool{80: true, 443: true}
	ports := []int{80, 443}
	for _, x := range recorded {
		if x.Direction != traffic.Outbound {
			continue
		}
		_, text := traffic.SplitAuthority(x.Request.Authority)
		if port, err := strconv.Atoi(text); err == nil && port > 0 && port < 1<<16 && port != agent.ControlPort && !seen[port] {
			seen[port] = true
			ports = append(ports, port)
		}
	}
	return ports
}

// build makes the image of a version and streams it into the node as soon as
// there is one.
func (c *onCluster) build(ctx context.Context, arm Arm, project string, log io.Writer) error {
	b := c.r.options.Build
	if err := buildVersion(ctx, b, c.r.options.Environ, project, log); err != nil {
		return err
	}
	if c.o.Image.Context == "" {
		return nil
	}
	ref := c.ref(arm)
	err := cluster.BuildImage(ctx, process.BuildEnvironment(c.r.options.Environ), cluster.Build{
		Context: filepath.Join(project, b.Dir, c.o.Image.Context), Dockerfile: c.o.Image.Dockerfile, Ref: ref,
	}, log)
	var failed *command.Error
	if errors.As(err, &failed) && ctx.Err() == nil {
		return &serviceError{reason: "its image does not build", log: failed.Output, err: err}
	}
	if err != nil {
		return err
	}
	c.r.later(func(ctx context.Context) error { return cluster.RemoveImages(ctx, c.r.options.Environ, ref) })
	select {
	case <-c.making:
		return c.cluster.LoadDockerImages(ctx, ref)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *onCluster) deploy(ctx context.Context, arm Arm, project string) error {
	chart, err := c.chart(arm, project)
	if err != nil {
		return badInput("deploy "+string(arm), fmt.Errorf("the chart of %s: %w", arm, err))
	}
	a := c.arm(arm)
	var loaded []string
	if c.o.Image.Context != "" {
		loaded = []string{c.ref(arm)}
	}
	begun := c.r.options.Now()
	a.release, err = chart.Install(ctx, c.kube, deploy.Arm{
		Namespace: string(arm), Nameserver: a.pod.Address, Domain: c.dns.Domain, CA: c.r.authority.CertPEM(), Loaded: loaded, Owned: true,
	})
	if err != nil {
		return err
	}
	err = a.release.WaitReady(ctx)
	var stuck *deploy.NotReadyError
	if errors.As(err, &stuck) {
		return &serviceError{reason: err.Error(), log: joinLines(stuck.Log), err: err}
	}
	if err != nil {
		return err
	}
	a.startup = c.r.options.Now().Sub(begun)
	if arm == Head {
		for _, n := range a.release.Notes {
			c.r.note("On the cluster, %s.", n)
		}
	}
	if a.endpoint, err = a.release.Endpoint(ctx); err != nil {
		return err
	}
	// A service that calls others of its own chart must find them.
	addresses, err := a.release.Addresses(ctx)
	if err != nil {
		return err
	}
	return a.mock.Reach(ctx, addresses...)
}

func joinLines(lines []string) string {
	text := ""
	for _, line := range lines {
		text += line + "\n"
	}
	return text
}

func (c *onCluster) arm(arm Arm) *podArm {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arms[arm]
}

func (c *onCluster) to(arm Arm) agent.Target {
	a := c.arm(arm)
	return agent.Target{Arm: string(arm), Addr: a.endpoint.Addr, TLS: a.endpoint.TLS, Mock: &a.control}
}

func (c *onCluster) pass(ctx context.Context, arm Arm, p passPlan, emit func(observed)) error {
	a := c.arm(arm)
	a.mock.Forget(p.number)
	if p.faults != nil {
		a.mock.SetFaults(p.number, p.faults)
	}
	if err := a.mock.Err(); err != nil {
		return err
	}
	return c.replayer.PassWith(ctx, c.to(arm), p.number, p.concurrency, emit)
}

// renew cannot: a release that is installed keeps its pods.
func (c *onCluster) renew(context.Context, Arm) (bool, error) { return false, nil }

func (c *onCluster) calls(_ context.Context, arm Arm, pass uint32) (journal, error) {
	a := c.arm(arm)
	j, err := journalOf(a.mock, pass, c.r.options.Analysis.Router)
	return j, errors.Join(err, a.mock.Err())
}

func (c *onCluster) round(ctx context.Context, a, b Arm, pass uint32, seed int64, opts replay.RoundOptions) (replay.Round, error) {
	return c.replayer.Round(ctx, c.to(a), c.to(b), pass, seed, agent.RoundOptions{
		PairsPerEndpoint: opts.PairsPerEndpoint, MinDuration: opts.MinDuration, MaxDuration: opts.MaxDuration, Gap: opts.Gap,
	})
}

func (c *onCluster) died(ctx context.Context, arm Arm) (reason, log string, yes bool) {
	reason, lines, yes, err := c.arm(arm).release.Died(ctx)
	if err != nil {
		c.r.progress.Note("%s: %v", arm, err)
		return "", "", false
	}
	return reason, joinLines(lines), yes
}

func (c *onCluster) resources(ctx context.Context, arm Arm) (analysis.Resource, error) {
	a := c.arm(arm)
	used, err := c.cluster.PodUsage(ctx, string(arm), a.endpoint.Pod)
	if err != nil {
		return analysis.Resource{}, err
	}
	out := analysis.Resource{
		Arm: string(arm), CPUSeconds: used.CPU.Seconds(), PeakBytes: used.MemoryBytes, Restarts: used.Restarts,
		StartupMS: float64(a.startup.Milliseconds()),
	}
	if age := c.r.options.Now().Sub(used.At); age > staleUsage {
		out.Unavailable = fmt.Sprintf("the kubelet last looked %.0f s before the end", age.Seconds())
	}
	if c.o.Image.Context != "" {
		if size, err := cluster.ImageSize(ctx, c.r.options.Environ, c.ref(arm)); err == nil {
			out.ImageBytes = size
		}
	}
	return out, nil
}

// staleUsage is how old the kubelet's figures may be: it looks every 10 to 15 s.
const staleUsage = 20 * time.Second

func (c *onCluster) saveLogs(ctx context.Context, dir string) {
	if c.kube == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, logTime)
	defer cancel()
	node := c.r.result.Verdict == analysis.Error
	if err := c.cluster.Logs(ctx, dir, node, string(Base), string(Head), string(Control), replayNamespace); err != nil {
		c.r.progress.Note("not all logs could be saved: %v", err)
	}
}

// logTime bounds the saving of logs.
const logTime = 15 * time.Second
