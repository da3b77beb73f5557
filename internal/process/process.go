// Package process runs one version of the service as a local process: build
// it, start it on a free port with its mock as the only way out, wait until it
// is ready, stop it. It needs no container and no cluster.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/command"
)

// Options say how to run the service. Command and the values of Env may hold
// ${port}, ${mock} and ${ca}: the port to listen on, the base URL of the mock,
// and the file of the authority that the mock's certificates are signed by.
type Options struct {
	// Command is a shell line, run in Dir with exec so that signals reach
	// the service itself.
	Command string
	// Dir is where it runs, relative to the project.
	Dir string
	// Env is set for the service; nothing else of this process's
	// environment reaches it but [passed].
	Env map[string]string
	// Ready is the path that answers below 400 once the service can take
	// requests; when empty, an accepted connection is enough.
	Ready string
	// ReadyTimeout is how long that may take; 30 s if zero.
	ReadyTimeout time.Duration
}

// Validate reports the first mistake.
func (o Options) Validate() error {
	switch {
	case strings.TrimSpace(o.Command) == "":
		return errors.New("process.command is missing: name the command that starts the service")
	case !filepath.IsLocal(filepath.Join(".", o.Dir)):
		return fmt.Errorf("process.dir %q must lie inside the project", o.Dir)
	case o.Ready != "" && !strings.HasPrefix(o.Ready, "/"):
		return fmt.Errorf("process.ready %q must be a path that starts with /", o.Ready)
	case o.ReadyTimeout < 0:
		return fmt.Errorf("process.ready-timeout %v must not be negative", o.ReadyTimeout)
	}
	return nil
}

// Place is where an instance runs.
type Place struct {
	Project string    // the project's directory in this version
	Mock    string    // host:port of the mock, for proxy variables and ${mock}
	CAFile  string    // the mock's authority, PEM
	Environ []string  // the environment that passed names are taken from
	Log     io.Writer // stdout and stderr of the service; must be safe for concurrent use
}

// passed are the variables of this process's environment that the service
// sees: what programs need to run at all, and nothing that could hold a token.
var passed = []string{"PATH", "HOME", "USER", "TMPDIR", "LANG", "LC_ALL", "TZ", "JAVA_HOME", "LD_LIBRARY_PATH"}

// Instance is a running service.
type Instance struct {
	process *command.Process
	addr    string
	startup time.Duration
	cancel  context.CancelFunc
}

// NotReadyError is a service that did not become ready: the reason and its
// last words.
type NotReadyError struct {
	Reason string
	Log    string
}

// Error gives the reason and the last line of the log.
func (e *NotReadyError) Error() string {
	msg := "the service did not become ready: " + e.Reason
	if lines := strings.Split(strings.TrimSpace(e.Log), "\n"); lines[len(lines)-1] != "" {
		msg += ": " + lines[len(lines)-1]
	}
	return msg
}

// Build runs a shell line in dir and streams its output to log. env is its
// whole environment.
func Build(ctx context.Context, line, dir string, env []string, log io.Writer) error {
	err := command.Run(ctx, command.Command{Argv: []string{"sh", "-c", line}, Dir: dir, Env: env, Out: log, Err: log})
	if err != nil {
		return fmt.Errorf("build in %s: %w", dir, err)
	}
	return nil
}

// Start starts the service and returns when it is ready. The instance lives
// until Stop, whatever becomes of ctx afterwards. Errors are *NotReadyError
// when the service ran and did not become ready. note is called with the
// process group's id as soon as it exists.
func Start(ctx context.Context, o Options, at Place, note func(pgid int) error) (*Instance, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	expand := expander(port, at)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	begun := time.Now()
	p, err := command.Start(life, command.Command{
		Argv: []string{"sh", "-c", "exec " + expand(o.Command)},
		Dir:  filepath.Join(at.Project, o.Dir),
		Env:  environment(o, at, expand),
		Out:  at.Log, Err: at.Log,
		Grace: 3 * time.Second,
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start the service: %w", err)
	}
	i := &Instance{process: p, addr: net.JoinHostPort("127.0.0.1", port), cancel: cancel}
	if err := note(p.PID()); err != nil {
		return nil, errors.Join(err, i.Stop())
	}
	if err := i.await(ctx, o); err != nil {
		_ = i.Stop() // how it ended is in err already
		return nil, err
	}
	i.startup = time.Since(begun)
	return i, nil
}

// await polls until the service answers, ends, or runs out of time.
func (i *Instance) await(ctx context.Context, o Options) error {
	timeout := o.ReadyTimeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last := "nothing listens on its port"
	for {
		if why := i.probe(ctx, o.Ready); why == "" {
			return nil
		} else {
			last = why
		}
		select {
		case <-i.process.Done():
			reason := "it ended"
			if err := i.process.Wait(); err != nil {
				var failed *command.Error
				if errors.As(err, &failed) {
					reason = "it ended with " + failed.Err.Error()
				}
			}
			return &NotReadyError{Reason: reason, Log: i.process.Tail()}
		case <-deadline.C:
			return &NotReadyError{Reason: fmt.Sprintf("%s after %v", last, timeout), Log: i.process.Tail()}
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// probe asks once; it returns "" when the service is ready, else why not.
func (i *Instance) probe(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if path == "" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", i.addr)
		if err != nil {
			return "nothing listens on its port"
		}
		conn.Close()
		return ""
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.addr+path, nil)
	if err != nil {
		return err.Error()
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return "nothing answers on " + path
	}
	res.Body.Close()
	if res.StatusCode >= 400 {
		return fmt.Sprintf("%s answers %d", path, res.StatusCode)
	}
	return ""
}

// Addr is host:port of the service.
func (i *Instance) Addr() string { return i.addr }

// Startup is how long the service took from its start until it was ready.
func (i *Instance) Startup() time.Duration { return i.startup }

// Exited is closed when the service has ended.
func (i *Instance) Exited() <-chan struct{} { return i.process.Done() }

// Tail returns the last lines of its log.
func (i *Instance) Tail() string { return i.process.Tail() }

// Stop ends the service, first politely, and waits until its whole process
// group is gone. It may be called many times.
func (i *Instance) Stop() error {
	i.cancel()
	err := i.process.Wait()
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("the service ended by itself: %w", err)
}

func expander(port string, at Place) func(string) string {
	replace := strings.NewReplacer("${port}", port, "${mock}", "http://"+at.Mock, "${ca}", at.CAFile)
	return replace.Replace
}

// environment is what the service sees: its own variables, a proxy that is
// the mock, and the mock's authority where the common runtimes look for it.
func environment(o Options, at Place, expand func(string) string) []string {
	var env []string
	for _, name := range passed {
		if i := slices.IndexFunc(at.Environ, func(e string) bool { return strings.HasPrefix(e, name+"=") }); i >= 0 {
			env = append(env, at.Environ[i])
		}
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		env = append(env, name+"=http://"+at.Mock)
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		env = append(env, name+"=")
	}
	for _, name := range []string{"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"} {
		env = append(env, name+"="+at.CAFile)
	}
	env = append(env, "PORT="+expand("${port}"))
	for name, value := range o.Env { // the user's word is the last
		env = append(env, name+"="+expand(value))
	}
	return env
}

// BuildEnvironment is environ without what a build has no business with: the
// tokens that GitHub gives to the action itself.
func BuildEnvironment(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return name == "GITHUB_TOKEN" || strings.HasPrefix(name, "REPRISE_GITHUB_") || strings.HasPrefix(name, "ACTIONS_") || strings.HasPrefix(name, "INPUT_")
	})
}

// freePort asks the kernel for a port that nobody uses now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
