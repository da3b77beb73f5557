package cluster

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/reprise-ci/reprise/internal/command"
)

// Build says how a container image is made.
type Build struct {
	Context    string // directory
	Dockerfile string // relative to Context
	Ref        string // name:tag of the result
}

// BuildImage builds an image with the local Docker daemon. Everything it says
// goes to log; env is its environment.
func BuildImage(ctx context.Context, env []string, b Build, log io.Writer) error {
	err := command.Run(ctx, command.Command{
		Argv: []string{"docker", "build", "--tag", b.Ref, "--file", filepath.Join(b.Context, b.Dockerfile), b.Context},
		Env:  env, Out: log, Err: log,
	})
	if err != nil {
		return fmt.Errorf("build image %s: %w", b.Ref, err)
	}
	return nil
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
