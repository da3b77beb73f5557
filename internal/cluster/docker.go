package cluster

import (
	"context"
	"io"
	"strings"

	"github.com/reprise-ci/reprise/internal/command"
)

// docker runs the docker command line tool with one environment.
type docker struct{ env []string }

// run returns standard output without the space around it.
func (d docker) run(ctx context.Context, args ...string) (string, error) {
	out, err := command.Output(ctx, command.Command{Argv: append([]string{"docker"}, args...), Env: d.env})
	return strings.TrimSpace(string(out)), err
}

// lines returns the lines of standard output that are not empty.
func (d docker) lines(ctx context.Context, args ...string) ([]string, error) {
	out, err := d.run(ctx, args...)
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' || r == '\r' }), nil
}

// pipe runs the tool between in and out; either may be nil.
func (d docker) pipe(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	return command.Run(ctx, command.Command{Argv: append([]string{"docker"}, args...), Env: d.env, In: in, Out: out})
}
