package pipeline

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"time"

	"github.com/reprise-ci/reprise/internal/command"
	"github.com/reprise-ci/reprise/internal/transform"
)

// middlewarePatience is how long a request waits for the program.
const middlewarePatience = 2 * time.Second

// StartMiddleware starts a shell line in dir as a program that changes
// requests; what it says on its standard error goes to log. Stop ends it, and
// returns the program's error when it had ended by itself. Until then the
// program has seen all messages, unless it takes too long for them.
func StartMiddleware(ctx context.Context, line, dir string, environ []string, log io.Writer) (p *transform.Program, stop func() error, err error) {
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	running, err := command.Start(ctx, command.Command{
		Argv: []string{"sh", "-c", line}, Dir: dir, Env: environ, In: inRead, Out: outWrite, Err: log, Grace: 100 * time.Millisecond,
	})
	if err != nil {
		cancel()
		return nil, nil, err
	}
	program := transform.NewProgram(inWrite, outRead, middlewarePatience)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-running.Done()
		inRead.Close() // whoever writes to it does not hang
		outWrite.Close()
	}()
	return program, func() error {
		early := false
		select {
		case <-running.Done():
			early = true
		default:
		}
		program.Close()
		inWrite.Close()
		select { // it has read all when it ends by itself
		case <-running.Done():
		case <-time.After(middlewarePatience):
		}
		cancel()
		err := running.Wait()
		<-ended
		if !early {
			return nil
		}
		if err == nil || errors.Is(err, exec.ErrWaitDelay) { // its standard input was still open
			err = errors.New("it ended before the replay did")
		}
		return err
	}, nil
}
