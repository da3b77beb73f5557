package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/reprise-ci/reprise/internal/agent"
	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/command"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/process"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/transform"
	"github.com/reprise-ci/reprise/internal/workdir"
)

// local is the target "process": every arm is a process on loopback, and mock
// and replay run in this one.
type local struct {
	r      *run
	caFile string
	engine *replay.Engine

	program *transform.Program // nil without middleware

	mu   sync.Mutex
	arms map[Arm]*localArm
	used int // rewriters that the program has served
}

// localArm is one arm as processes.
type localArm struct {
	lines   *errorLines
	mock    *mock.Mock
	addr    string // of the mock
	project string
	service *process.Instance
}

func newLocal(r *run) *local { return &local{r: r, arms: map[Arm]*localArm{}} }

func (l *local) check(context.Context) error {
	const stage = "check the target"
	var err error
	if l.engine, err = replay.New(inboundOf(l.r.recorded), l.r.options.Replay); err != nil {
		return badInput(stage, err)
	}
	return nil
}

func (l *local) start(ctx context.Context) error {
	if err := l.startMiddleware(ctx); err != nil {
		return badInput("start the target", err)
	}
	l.caFile = l.r.dir.Path("authority.pem")
	if err := os.WriteFile(l.caFile, l.r.authority.CertPEM(), 0o644); err != nil {
		return fmt.Errorf("write the authority's certificate: %w", err)
	}
	return nil
}

func (l *local) build(ctx context.Context, arm Arm, project string, log io.Writer) error {
	return buildVersion(ctx, l.r.options.Build, l.r.options.Environ, project, log)
}

// buildVersion runs the build command of one version. A command that fails is
// the version's fault.
func buildVersion(ctx context.Context, b Build, environ []string, project string, log io.Writer) error {
	if b.Command == "" {
		return nil
	}
	err := process.Build(ctx, b.Command, filepath.Join(project, b.Dir), process.BuildEnvironment(environ), log)
	var failed *command.Error
	if errors.As(err, &failed) && ctx.Err() == nil {
		return &serviceError{reason: "it does not build", log: failed.Output, err: err}
	}
	return err
}

func (l *local) deploy(ctx context.Context, arm Arm, project string) error {
	opts := l.r.options.Mock
	opts.Arm = string(arm)
	m, err := mock.New(l.r.recorded, l.r.authority, opts)
	if err != nil {
		return badInput("deploy "+string(arm), err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the mock: %w", err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- m.Serve(life, listener) }()
	l.r.later(func(context.Context) error {
		end()
		return errors.Join(<-served, m.Close())
	})
	a := &localArm{mock: m, addr: listener.Addr().String(), project: project}
	if err := l.startService(ctx, arm, a); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arms[arm] = a
	return nil
}

// startService starts the service of an arm, whose mock answers already.
func (l *local) startService(ctx context.Context, arm Arm, a *localArm) error {
	a.mock.BeginPass(bootPass) // what the service calls while it starts is lane boot
	log, err := l.r.openLog(string(arm) + ".log")
	if err != nil {
		return err
	}
	lines := new(errorLines)
	service, err := process.Start(ctx, *l.r.options.Process, process.Place{
		Project: a.project, Mock: a.addr, CAFile: l.caFile, Environ: l.r.options.Environ, Log: io.MultiWriter(log, lines),
	}, func(pgid int) error { return l.r.dir.NoteProcess(workdir.Group, pgid) })
	if err != nil {
		log.Close()
		var notReady *process.NotReadyError
		if errors.As(err, &notReady) {
			return &serviceError{reason: "it did not become ready: " + notReady.Reason, log: notReady.Log, err: err}
		}
		return err
	}
	l.r.later(func(context.Context) error {
		defer log.Close()
		_ = service.Stop() // a service that ended by itself is a finding already
		return nil
	})
	a.service, a.lines = service, lines
	return nil
}

// renew starts the service of an arm anew, so that it knows nothing of what it
// was asked before.
func (l *local) renew(ctx context.Context, arm Arm) (bool, error) {
	a := l.arm(arm)
	_ = a.service.Stop() // one that has ended by itself was seen to
	a.mock.Forget(bootPass)
	return true, l.startService(ctx, arm, a)
}

// arm returns a deployed arm.
func (l *local) arm(arm Arm) *localArm {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.arms[arm]
}

// to is where the replayer sends the requests of an arm, with a rewriter that
// has learned nothing yet.
func (l *local) to(arm Arm) (replay.Target, replay.Rewriter) {
	a := l.arm(arm)
	return replay.Target{Arm: string(arm), Addr: a.service.Addr(), Mock: a.mock}, l.rewriter(arm)
}

func (l *local) rewriter(arm Arm) replay.Rewriter {
	rw := transform.NewRewriter(l.r.bindings, l.r.options.Transform)
	if l.program == nil {
		return rw
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used++
	return l.program.Wrap(rw, fmt.Sprintf("%s-%d-", arm, l.used))
}

// startMiddleware starts the program that changes requests, if there is one.
func (l *local) startMiddleware(ctx context.Context) error {
	line := l.r.options.Middleware
	if line == "" {
		return nil
	}
	log, err := l.r.openLog("middleware.log")
	if err != nil {
		return err
	}
	program, stop, err := StartMiddleware(context.WithoutCancel(ctx), line, l.r.options.Dir, l.r.options.Environ, log)
	if err != nil {
		log.Close()
		return fmt.Errorf("replay.middleware: %w", err)
	}
	l.program = program
	l.r.later(func(context.Context) error {
		defer log.Close()
		err := stop()
		if n := program.Left(); n > 0 {
			l.r.note("The middleware did not return %d requests in time; they went out as they were.", n)
		}
		if err != nil {
			l.r.note("The middleware failed: %v.", err)
		}
		return nil
	})
	return nil
}

func (l *local) pass(ctx context.Context, arm Arm, p passPlan, emit func(observed)) error {
	target, rewriter := l.to(arm)
	a := l.arm(arm)
	a.mock.Forget(p.number)
	if err := a.mock.SetFaults(p.number, p.faults); err != nil {
		return err
	}
	return l.engine.PassWith(ctx, target, rewriter, p.number, p.concurrency, emit)
}

func (l *local) calls(_ context.Context, arm Arm, pass uint32) (journal, error) {
	return journalOf(l.arm(arm).mock, pass, l.r.options.Analysis.Router)
}

func (l *local) round(ctx context.Context, a, b Arm, pass uint32, seed int64, opts replay.RoundOptions) (replay.Round, error) {
	targetA, rewriterA := l.to(a)
	targetB, rewriterB := l.to(b)
	return l.engine.Round(ctx, targetA, targetB, rewriterA, rewriterB, pass, seed, opts)
}

func (l *local) openRound(ctx context.Context, a, b Arm, o agent.OpenRound) (replay.Round, error) {
	plan, err := l.engine.Plan(o.Load())
	if err != nil {
		return replay.Round{}, err
	}
	targetA, _ := l.to(a)
	targetB, _ := l.to(b)
	fresh := func(arm Arm) func(int, int) replay.Rewriter {
		return func(int, int) replay.Rewriter { return l.rewriter(arm) }
	}
	return l.engine.OpenRound(ctx, targetA, targetB, fresh(a), fresh(b), plan)
}

func (l *local) capacity(ctx context.Context, arms []Arm, c agent.Capacity) ([]replay.Capacity, error) {
	opts, err := c.Options(func() replay.Rewriter { return l.rewriter("probe") })
	if err != nil {
		return nil, err
	}
	targets := make([]replay.Target, len(arms))
	for i, arm := range arms {
		targets[i], _ = l.to(arm)
	}
	return l.engine.Capacity(ctx, targets, c.Seed, opts)
}

func (l *local) died(_ context.Context, arm Arm) (reason, log string, yes bool) {
	service := l.arm(arm).service
	select {
	case <-service.Exited():
		return service.Stop().Error(), service.Tail(), true
	default:
		return "", "", false
	}
}

func (l *local) resources(_ context.Context, arm Arm) (analysis.Resource, error) {
	a := l.arm(arm)
	if a == nil {
		return analysis.Resource{}, errors.New("the service was never started")
	}
	cpu, peak, ok := a.service.Usage()
	if !ok {
		return analysis.Resource{}, errors.New("the system does not tell what a process used")
	}
	return analysis.Resource{
		Arm: string(arm), CPUSeconds: cpu.Seconds(), PeakBytes: peak, StartupMS: float64(a.service.Startup().Microseconds()) / 1000,
	}, nil
}

func (l *local) errorLines(_ context.Context, arm Arm) (int, error) {
	a := l.arm(arm)
	if a == nil {
		return 0, errors.New("the service was never started")
	}
	return a.lines.count(), nil
}

// saveLogs has nothing to do: the logs of local processes are written while
// they run.
func (l *local) saveLogs(context.Context, string) {}
