package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	kind "sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/kind/pkg/log"
)

// creation is the making of a kind cluster in the background.
type creation struct {
	stop context.CancelFunc
	done chan struct{} // closed when nothing runs any more
	err  error         // valid after done

	mu  sync.Mutex
	now *attempt
	// put is what was put onto the node of this attempt, so that the next one
	// gets it too.
	put []put
}

// attempt is one try at making the cluster.
type attempt struct {
	name   string        // of the kind cluster
	engine chan struct{} // closed when the node's container engine answers
	over   chan struct{} // closed when another attempt takes its place
}

func newAttempt(name string) *attempt {
	return &attempt{name: name, engine: make(chan struct{}), over: make(chan struct{})}
}

// node is the container of the only node.
func (a *attempt) node() string { return a.name + "-control-plane" }

func (cr *creation) current() *attempt {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	return cr.now
}

// startCreation runs kind in a goroutine. kind takes no context, so its node
// container is taken from under it when ctx ends; what it runs inside the node
// then fails.
func startCreation(ctx context.Context, c *Cluster, opts Options) *creation {
	ctx, cancel := context.WithCancel(ctx)
	cr := &creation{stop: cancel, done: make(chan struct{}), now: newAttempt(opts.Name)}
	c.creation = cr
	go func() {
		defer close(cr.done)
		defer cancel()
		cr.err = cr.run(ctx, c, opts)
	}()
	return cr
}

// run makes the cluster, and once more under a fresh name when kind fails: most
// of what kind fails of is a loaded machine.
func (cr *creation) run(ctx context.Context, c *Cluster, opts Options) error {
	// kind would pull the image too, but could not be stopped at it.
	if err := c.ensureNodeImage(ctx, opts.NodeImage); err != nil {
		return err
	}
	err := cr.create(ctx, c, opts)
	var failed *CreateError
	if ctx.Err() != nil || !errors.As(err, &failed) {
		return err
	}
	put := cr.renew()
	c.progress(fmt.Sprintf("%v; trying once more, as cluster %s", failed, cr.current().name))
	if err := cr.create(ctx, c, opts); err != nil {
		return err
	}
	for _, p := range put {
		if err := p(ctx, []string{c.node()}); err != nil {
			return err
		}
	}
	return nil
}

// renew begins another attempt, and returns what was put onto the node of the
// one before.
func (cr *creation) renew() []put {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	close(cr.now.over)
	cr.now = newAttempt(NewName())
	had := cr.put
	cr.put = nil
	return had
}

// create is one attempt. When it fails nothing is left of it.
func (cr *creation) create(ctx context.Context, c *Cluster, opts Options) error {
	now := cr.current()
	owner := Self()
	owner.MadeNetwork = c.network
	provider := kind.NewProvider(kind.ProviderWithDocker(), kind.ProviderWithLogger(&kindLog{progress: c.progress, debug: opts.Debug}))
	made := make(chan error, 1)
	go func() {
		made <- provider.Create(now.name,
			kind.CreateWithV1Alpha4Config(kindConfig(now.name, opts.NodeImage, owner)),
			kind.CreateWithKubeconfigPath(c.Kubeconfig),
			kind.CreateWithRetain(true), // the logs are wanted before it goes
			kind.CreateWithDisplayUsage(false),
			kind.CreateWithDisplaySalutation(false),
		)
	}()
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	settled := make(chan error, 1)
	go func() { settled <- cr.settle(watching, c) }()

	select {
	case err := <-made:
		if err != nil {
			stopWatching()
			<-settled
		} else {
			err = <-settled
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), c.docker.remove(context.WithoutCancel(ctx), now.node()))
		}
		return c.explain(ctx, provider, opts, err)
	case <-ctx.Done():
		return errors.Join(ctx.Err(), c.abandon(context.WithoutCancel(ctx), made))
	}
}

// settle does what needs no end of kind's work: it tells when the node's
// container engine answers, then connects as soon as there are credentials, and
// closes the cluster's DNS to the outside before its pods start.
func (cr *creation) settle(ctx context.Context, c *Cluster) error {
	if err := poll(ctx, 500*time.Millisecond, func() bool {
		_, err := c.docker.run(ctx, "exec", c.node(), "ctr", "--namespace=k8s.io", "version")
		return err == nil
	}); err != nil {
		return err
	}
	close(cr.current().engine)
	// Running something in the node costs the CPU that the control plane needs
	// to start, so it is done rarely; asking a port is cheap.
	if err := poll(ctx, time.Second, func() bool { return c.connectNode(ctx) == nil }); err != nil {
		return err
	}
	if err := poll(ctx, 200*time.Millisecond, func() bool { return c.answers(ctx) == nil }); err != nil {
		return err
	}
	return c.closeDNS(ctx)
}

// abandon removes the node again and again until kind has given up: the
// container may appear only after the first attempt.
func (c *Cluster) abandon(ctx context.Context, made <-chan error) error {
	c.progress("removing the unfinished cluster")
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := c.docker.remove(ctx, c.node())
		select {
		case <-made:
			return errors.Join(err, c.docker.remove(ctx, c.node()))
		case <-ctx.Done():
			return fmt.Errorf("kind did not stop: %w", errors.Join(err, ctx.Err()))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// explain collects the evidence of a failed creation and removes the rest.
func (c *Cluster) explain(ctx context.Context, provider *kind.Provider, opts Options, err error) error {
	reason := err.Error()
	if run := kindexec.RunErrorForError(err); run != nil {
		reason = strings.TrimSpace(reason + ": " + telling(string(run.Output)))
	}
	hint := ""
	if opts.LogsDir != "" {
		c.progress("collecting the logs of the failed cluster")
		if logErr := provider.CollectLogs(c.Name(), opts.LogsDir); logErr == nil {
			hint = " (logs in " + opts.LogsDir + ")"
		}
	}
	failure := &CreateError{Name: c.Name(), Reason: reason + hint, Err: err}
	return errors.Join(failure, c.docker.remove(context.WithoutCancel(ctx), c.node()))
}

// CreateError is a kind cluster that could not be made.
type CreateError struct {
	Name   string
	Reason string // one line
	Err    error
}

// Error names the cluster and the reason on one line.
func (e *CreateError) Error() string { return "make cluster " + e.Name + ": " + e.Reason }

// Unwrap returns kind's error.
func (e *CreateError) Unwrap() error { return e.Err }

// telling picks the lines of kubeadm's or docker's output that say what went
// wrong and puts them on one line.
func telling(output string) string {
	var picked []string
	lines := strings.Split(output, "\n")
	for _, line := range lines {
		low := strings.ToLower(line)
		if strings.Contains(low, "error") || strings.Contains(low, "failed") || strings.Contains(low, "timed out") {
			if line = strings.TrimSpace(line); len(line) < 300 {
				picked = append(picked, line)
			}
		}
	}
	if len(picked) == 0 {
		return oneLine(output)
	}
	return strings.Join(picked[max(0, len(picked)-3):], "; ")
}

// ensureNodeImage pulls the node image unless it is present, with three
// attempts.
func (c *Cluster) ensureNodeImage(ctx context.Context, image string) error {
	if _, err := c.docker.run(ctx, "image", "inspect", "--format", "{{.Id}}", image); err == nil {
		return nil
	}
	c.progress("pulling node image " + image)
	var err error
	for attempt := range 3 {
		if attempt > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Duration(attempt) * 2 * time.Second):
			}
		}
		if _, err = c.docker.run(ctx, "pull", "--quiet", image); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	reason := oneLine(err.Error())
	if strings.Contains(strings.ToLower(reason), "toomanyrequests") {
		reason += " (run docker login first, or set node-image to a mirror)"
	}
	return &CreateError{Name: c.Name(), Reason: "pull node image " + image + ": " + reason, Err: err}
}

// poll calls try until it succeeds or ctx ends.
func poll(ctx context.Context, every time.Duration, try func() bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !try() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return ctx.Err()
}

// kindLog passes kind's messages on: what it tells users as progress, the rest
// to debug.
type kindLog struct {
	progress func(string)
	debug    io.Writer
}

var _ log.Logger = (*kindLog)(nil)

func (l *kindLog) Warn(m string)             { l.say("warning: " + m) }
func (l *kindLog) Warnf(f string, a ...any)  { l.Warn(fmt.Sprintf(f, a...)) }
func (l *kindLog) Error(m string)            { l.say("error: " + m) }
func (l *kindLog) Errorf(f string, a ...any) { l.Error(fmt.Sprintf(f, a...)) }
func (l *kindLog) V(level log.Level) log.InfoLogger {
	if level == 0 {
		return infoLog{l.step, true}
	}
	return infoLog{l.trace, l.debug != nil}
}

func (l *kindLog) say(m string) { l.progress(plain(m)) }

// step reports the beginnings of kind's steps and leaves their ends out.
func (l *kindLog) step(m string) {
	if strings.Contains(m, "✓") {
		return
	}
	l.say(m)
}

func (l *kindLog) trace(m string) {
	if l.debug != nil {
		_, _ = io.WriteString(l.debug, strings.TrimRight(m, "\n")+"\n")
	}
}

type infoLog struct {
	write   func(string)
	enabled bool
}

func (i infoLog) Info(m string)            { i.write(m) }
func (i infoLog) Infof(f string, a ...any) { i.write(fmt.Sprintf(f, a...)) }
func (i infoLog) Enabled() bool            { return i.enabled }

// plain drops what does not belong into a log line: bullets, pictures, dots.
func plain(m string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, m)
	return strings.TrimSpace(strings.TrimRight(strings.TrimSpace(ascii), ". "))
}
