package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/reprise-ci/reprise/internal/command"
)

// Build says how a container image is made.
type Build struct {
	Context    string // directory
	Dockerfile string // relative to Context
	Ref        string // name:tag of the result
}

// BuildImage builds an image with the local Docker daemon. Everything it says
// goes to log; env is its environment. A build that fails of the daemon or of a
// registry, and not of what is built, is tried once more; if that fails too the
// error wraps [ErrDaemon].
func BuildImage(ctx context.Context, env []string, b Build, log io.Writer) error {
	build := func() error {
		return command.Run(ctx, command.Command{
			Argv: []string{"docker", "build", "--tag", b.Ref, "--file", filepath.Join(b.Context, b.Dockerfile), b.Context},
			Env:  env, Out: log, Err: log,
		})
	}
	err := build()
	if daemonFailed(err) && ctx.Err() == nil {
		if err = build(); daemonFailed(err) {
			err = fmt.Errorf("%w: %w", ErrDaemon, err)
		}
	}
	return wrap(err, "build image "+b.Ref)
}

// ErrDaemon is wrapped by errors of builds that say nothing of what was built.
var ErrDaemon = errors.New("the Docker daemon or a registry failed")

// daemonFailed reports whether a build's last words are of the machinery.
func daemonFailed(err error) bool {
	var failed *command.Error
	if !errors.As(err, &failed) {
		return false
	}
	for _, words := range []string{
		"Cannot connect to the Docker daemon", "error during connect", "code = Unavailable", "transport is closing", "closing transport",
		"code = DeadlineExceeded", "DeadlineExceeded: ", "TLS handshake timeout", "i/o timeout", "no space left on device",
	} {
		if strings.Contains(failed.Output, words) {
			return true
		}
	}
	return false
}

// RemoveImages removes images from the local Docker daemon; those that are not
// there are no error.
func RemoveImages(ctx context.Context, env []string, refs ...string) error {
	_, err := docker{env}.run(ctx, append([]string{"image", "rm", "--force"}, refs...)...)
	return wrap(err, "remove images")
}

// ImageSize returns the size of a local image in bytes.
func ImageSize(ctx context.Context, env []string, ref string) (int64, error) {
	out, err := docker{env}.run(ctx, "image", "inspect", "--format", "{{.Size}}", ref)
	if err != nil {
		return 0, wrap(err, "inspect image "+ref)
	}
	var size int64
	if _, err := fmt.Sscan(out, &size); err != nil {
		return 0, fmt.Errorf("read the size of image %s: %w", ref, err)
	}
	return size, nil
}
