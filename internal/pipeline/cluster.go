package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/agent"
	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/cluster"
	"github.com/reprise-ci/reprise/internal/command"
	"github.com/reprise-ci/reprise/internal/deploy"
	"github.com/reprise-ci/reprise/internal/process"
	"github.com/reprise-ci/reprise/internal/replay"
)

// onCluster is the targets "kind" and "kubernetes": every arm is a Helm release
// in a namespace of its own, and mock and replay are pods.
type onCluster struct {
	r       *run
	o       *ClusterOptions
	cluster *cluster.Cluster
	making  chan struct{} // closed once cluster is set
	name    string        // of the run on a given cluster
	token   string

	kube     *deploy.Kube
	dns      cluster.DNS
	agent    string // the image of reprise
	replayer *agent.Replayer
	crew     *agent.Workers // nil when nothing is shared out

	mu   sync.Mutex
	arms map[Arm]*podArm
}

// podArm is one arm as pods.
type podArm struct {
	mock     *agent.Mock    // its control API, by port forwarding
	control  agent.Endpoint // the same, as the replayer's pod reaches it
	pod      deploy.Pod     // the mock's
	pull     []string       // Secrets with credentials of registries
	release  *deploy.Release
	endpoint deploy.Endpoint
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
	if c.o.Given != nil {
		return c.checkGiven(ctx)
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
	ref, err := c.ref(arm)
	if err != nil {
		return nil, err
	}
	if ref != "" {
		repository, tag := splitRef(ref)
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

// ref names the image of an arm, "" when the chart alone knows it. Control runs
// what base runs.
func (c *onCluster) ref(arm Arm) (string, error) {
	if arm == Control {
		arm = Base
	}
	if c.o.Image.Base != "" {
		return c.prebuilt(arm)
	}
	if c.o.Image.Context == "" {
		return "", nil
	}
	return "reprise.dev/service-" + string(arm) + ":run-" + filepath.Base(c.r.dir.Path())[len("reprise-"):], nil
}

// run names the run where things of several runs can be.
func (c *onCluster) run() string {
	if c.o.Given != nil {
		return c.name
	}
	return c.cluster.Name()
}

// replaying stands for the replayer where namespaces are named: it has one of
// its own.
const replaying Arm = "reprise"

// namespace names the namespace of an arm: its own name on a cluster of the
// run's own, and a unique one elsewhere.
func (c *onCluster) namespace(arm Arm) string {
	switch {
	case c.o.Given == nil:
		return string(arm)
	case arm == replaying:
		return c.o.Given.Namespace + "-" + c.name
	}
	return c.o.Given.Namespace + "-" + c.name + "-" + string(arm)
}

// start makes the cluster, or takes the given one, and as soon as its parts
// answer, starts the pods of reprise itself.
func (c *onCluster) start(ctx context.Context) error {
	if c.o.Given == nil {
		if err := c.makeCluster(ctx); err != nil {
			return err
		}
	}
	close(c.making)
	if err := together(ctx, c.loadAgent, func(ctx context.Context) error {
		if c.o.Given != nil {
			return nil
		}
		return c.cluster.Ready(ctx)
	}); err != nil {
		return err
	}
	var err error
	if c.kube, err = connect(c.cluster); err != nil {
		return err
	}
	if c.o.Given != nil {
		if err := c.noteNamespaces(); err != nil {
			return err
		}
	}
	if c.dns, err = c.cluster.FindDNS(ctx); err != nil {
		return err
	}
	// The mocks start while the cluster's DNS comes up, which their pods do
	// without and the service's do not.
	steps := []step{c.startReplayer, c.cluster.DNSReady}
	for _, arm := range arms {
		steps = append(steps, func(ctx context.Context) error { return c.startMock(ctx, arm) })
	}
	return together(ctx, steps...)
}

func (c *onCluster) makeCluster(ctx context.Context) error {
	made, err := cluster.Start(ctx, cluster.Options{
		NodeImage: c.o.NodeImage, KubeconfigDir: c.r.dir.Path(), LogsDir: filepath.Join(c.r.options.LogDir, "kind"),
		Env: c.r.options.Environ, Progress: func(s string) { c.r.progress.Note("cluster: %s", s) },
	})
	if err != nil {
		return err
	}
	c.cluster = made
	c.r.atOnce(made.Delete)
	return nil
}

// loadAgent makes the image of reprise and loads it into the nodes, unless one
// is named.
func (c *onCluster) loadAgent(ctx context.Context) error {
	if c.o.Given != nil && c.o.Given.AgentImage != "" {
		c.agent = c.o.Given.AgentImage
		return nil
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the running executable: %w", err)
	}
	image, err := agent.NewImage(executable)
	if err != nil {
		return err
	}
	c.agent = image.Ref
	return c.cluster.LoadImages(ctx, image.Archive)
}

// makeNamespace makes the namespace of an arm and returns the names of the
// Secrets in it that hold credentials of registries.
func (c *onCluster) makeNamespace(ctx context.Context, arm Arm) (pull []string, err error) {
	name := c.namespace(arm)
	if err := c.kube.Namespace(ctx, name, c.run()); err != nil {
		return nil, err
	}
	if c.o.Given == nil {
		return nil, nil
	}
	if arm != replaying { // which has to reach the arms
		if err := c.kube.DenyEgress(ctx, name); err != nil {
			return nil, err
		}
	}
	return c.kube.CopySecrets(ctx, name, c.o.Given.CopySecrets)
}

// build makes the image of a version and streams it into the node as soon as
// there is one.
func (c *onCluster) build(ctx context.Context, arm Arm, project string, log io.Writer) error {
	if c.o.Image.Base != "" {
		return nil
	}
	b := c.r.options.Build
	if err := buildVersion(ctx, b, c.r.options.Environ, project, log); err != nil {
		return err
	}
	if c.o.Image.Context == "" {
		return nil
	}
	ref, err := c.ref(arm)
	if err != nil {
		return err
	}
	err = cluster.BuildImage(ctx, process.BuildEnvironment(c.r.options.Environ), cluster.Build{
		Context: filepath.Join(project, b.Dir, c.o.Image.Context), Dockerfile: c.o.Image.Dockerfile, Ref: ref,
	}, log)
	var failed *command.Error
	if errors.As(err, &failed) && !errors.Is(err, cluster.ErrDaemon) && ctx.Err() == nil {
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
	ref, err := c.ref(arm)
	if err != nil {
		return err
	}
	if c.o.Image.Context != "" {
		loaded = []string{ref}
	}
	a.release, err = chart.Install(ctx, c.kube, deploy.Arm{
		Namespace: c.namespace(arm), Nameserver: a.pod.Address, Domain: c.dns.Domain, CA: c.r.authority.CertPEM(), Loaded: loaded,
		Owned: c.cluster.Owned, PullSecrets: a.pull,
	})
	if err != nil {
		return err
	}
	err = a.release.WaitReady(ctx)
	if c.o.Image.Base != "" {
		key := "build.image.base"
		if arm == Head {
			key = "build.image.head"
		}
		if missing := noImage("deploy "+string(arm), key, ref, "push it before the run, and name the registry's credentials with copy-secrets", err); missing != nil {
			return missing
		}
	}
	var stuck *deploy.NotReadyError
	if errors.As(err, &stuck) {
		return &serviceError{reason: err.Error(), log: joinLines(stuck.Log), err: err}
	}
	if err != nil {
		return err
	}
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
	if c.crew != nil && p.concurrency >= c.o.Workers && c.o.Workers > 1 && p.faults == nil {
		return c.passByWorkers(ctx, arm, p.number, emit)
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

func (c *onCluster) openRound(ctx context.Context, a, b Arm, o agent.OpenRound) (replay.Round, error) {
	return c.replayer.OpenRound(ctx, c.to(a), c.to(b), o)
}

func (c *onCluster) capacity(ctx context.Context, arms []Arm, o agent.Capacity) ([]replay.Capacity, error) {
	targets := make([]agent.Target, len(arms))
	for i, arm := range arms {
		targets[i] = c.to(arm)
	}
	return c.replayer.Capacity(ctx, targets, o)
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
	used, err := c.cluster.PodUsage(ctx, c.namespace(arm), a.endpoint.Pod)
	if err != nil {
		return analysis.Resource{}, err
	}
	out := analysis.Resource{
		Arm: string(arm), CPUSeconds: used.CPU.Seconds(), PeakBytes: used.MemoryBytes, Restarts: used.Restarts,
		StartupMS: float64(a.release.Startup.Milliseconds()), Seen: used.At,
	}
	if age := c.r.options.Now().Sub(used.At); !used.At.IsZero() && age > staleUsage {
		out.Unavailable = fmt.Sprintf("the kubelet last looked %.0f s before the end", age.Seconds())
	}
	if c.o.Image.Context != "" {
		if ref, err := c.ref(arm); err == nil {
			if size, err := cluster.ImageSize(ctx, c.r.options.Environ, ref); err == nil {
				out.ImageBytes = size
			}
		}
	}
	return out, nil
}

func (c *onCluster) errorLines(ctx context.Context, arm Arm) (int, error) {
	var lines errorLines
	err := c.cluster.PodLog(ctx, c.namespace(arm), c.arm(arm).endpoint.Pod, &lines)
	return lines.count(), err
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
	if err := c.cluster.Logs(ctx, dir, node, c.namespace(Base), c.namespace(Head), c.namespace(Control), c.namespace(replaying)); err != nil {
		c.r.progress.Note("not all logs could be saved: %v", err)
	}
}

// logTime bounds the saving of logs.
const logTime = 15 * time.Second
