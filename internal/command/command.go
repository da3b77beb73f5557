// Package command runs external tools under a context: the one place that
// knows how to start a process, give it an environment, end its whole process
// group, and keep what it said for the error.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Command describes one run of an external tool. The zero values of its
// optional fields mean: this directory, an empty environment, no input, output
// kept only for the error.
type Command struct {
	Argv []string // Argv[0] is looked up in PATH of this process
	Dir  string
	Env  []string // complete: nothing is inherited; pass os.Environ() on purpose
	In   io.Reader
	// Out receives standard output, Err standard error, while the tool runs;
	// they are written from two goroutines, so one writer for both must lock.
	Out, Err io.Writer
	// Grace is how long the process group may take to end after SIGTERM when
	// the context ends, before SIGKILL; 2 s if zero.
	Grace time.Duration
}

// Error is a tool that failed: what was run, how it ended and its last words.
type Error struct {
	Argv   []string
	Output string // the end of stdout and stderr together, at most tailSize bytes
	Err    error  // *exec.ExitError, exec.ErrNotFound, or the context's error
}

// Error names the tool and its exit, then its last line.
func (e *Error) Error() string {
	msg := fmt.Sprintf("%s: %v", e.Name(), e.Err)
	if line := lastLine(e.Output); line != "" {
		msg += ": " + line
	}
	return msg
}

// Name is the tool and its first argument ("docker build").
func (e *Error) Name() string {
	if len(e.Argv) > 1 && !strings.HasPrefix(e.Argv[1], "-") {
		return e.Argv[0] + " " + e.Argv[1]
	}
	return e.Argv[0]
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Run starts the tool and waits for its end. When ctx ends first, the process
// group gets SIGTERM, then SIGKILL after Grace, and the error wraps ctx.Err().
// Every failure is an *Error.
func Run(ctx context.Context, c Command) error {
	p, err := Start(ctx, c)
	if err != nil {
		return err
	}
	return p.Wait()
}

// Output runs the tool and returns its standard output.
func Output(ctx context.Context, c Command) ([]byte, error) {
	var out bytes.Buffer
	if c.Out != nil {
		c.Out = io.MultiWriter(c.Out, &out)
	} else {
		c.Out = &out
	}
	err := Run(ctx, c)
	return out.Bytes(), err
}

// Process is a tool that was started and not yet waited for.
type Process struct {
	cmd  *exec.Cmd
	argv []string
	tail *tail
	ctx  context.Context
	done chan struct{}
	err  error
}

// Start starts the tool in a process group of its own. The context rules the
// whole life of the process as in [Run]. Wait may be called many times.
func Start(ctx context.Context, c Command) (*Process, error) {
	if len(c.Argv) == 0 {
		return nil, &Error{Argv: []string{"(nothing)"}, Err: errors.New("no command given")}
	}
	p := &Process{argv: c.Argv, tail: &tail{}, ctx: ctx, done: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	p.cmd.Dir, p.cmd.Stdin = c.Dir, c.In
	p.cmd.Env = append([]string{}, c.Env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) }
	if p.cmd.WaitDelay = c.Grace; c.Grace == 0 {
		p.cmd.WaitDelay = 2 * time.Second
	}
	p.cmd.Stdout, p.cmd.Stderr = p.tail.beside(c.Out), p.tail.beside(c.Err)
	if err := p.cmd.Start(); err != nil {
		return nil, &Error{Argv: c.Argv, Err: err}
	}
	go p.reap()
	return p, nil
}

// reap waits for the process and then ends what is left of its group, so that
// no child outlives it.
func (p *Process) reap() {
	err := p.cmd.Wait()
	// The group may be gone already; ESRCH is the good case.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if ctxErr := p.ctx.Err(); err != nil && ctxErr != nil {
		err = ctxErr
	}
	if err != nil {
		p.err = &Error{Argv: p.argv, Output: p.tail.String(), Err: err}
	}
	close(p.done)
}

// Wait returns when the process has ended.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// PID is the process id, also the id of its group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Tail returns the last output so far, stdout and stderr together.
func (p *Process) Tail() string { return p.tail.String() }

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}
