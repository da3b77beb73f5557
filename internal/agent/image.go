package agent

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Repository is the name of the agent image; no registry has it.
const Repository = "reprise.dev/agent"

// entrypoint is where the executable is in the image.
const entrypoint = "/reprise"

// ErrNotStatic is wrapped by errors about executables that an empty image
// cannot run.
var ErrNotStatic = errors.New("cannot run in an image of its own")

// Image is a container image that holds one executable and nothing else. The
// same executable gives the same image, byte for byte.
type Image struct {
	// Ref is the name under which the image is loaded; its tag is made of the
	// image's digest.
	Ref string

	tag name.Tag
	img v1.Image
}

// NewImage makes an image of a Linux executable that needs no other file: no
// dynamic loader, no shared library. Go builds one with CGO_ENABLED=0. Nothing
// is written; the executable is read again by WriteTo.
func NewImage(executable string) (*Image, error) {
	arch, err := staticArch(executable)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return tarOf(executable) },
		// It goes through a pipe into a node on this machine: compressing costs
		// more than it saves.
		tarball.WithCompression(compression.None))
	if err != nil {
		return nil, fmt.Errorf("make the agent image: %w", err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("make the agent image: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make the agent image: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config.Entrypoint = []string{entrypoint}
	config.Config.User = "65532:65532"
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, fmt.Errorf("make the agent image: %w", err)
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, fmt.Errorf("make the agent image: %w", err)
	}
	tag, err := name.NewTag(Repository + ":" + digest.Hex[:16])
	if err != nil {
		return nil, fmt.Errorf("name the agent image: %w", err)
	}
	return &Image{Ref: tag.String(), tag: tag, img: img}, nil
}

// Archive returns the image as a docker-archive tar that is made while it is
// read. The caller closes it.
func (i *Image) Archive() io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(tarball.Write(i.tag, i.img, w)) }()
	return r
}

// staticArch checks the executable and returns Go's name of its architecture.
func staticArch(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s %w: it is no Linux executable (%w)", path, ErrNotStatic, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s %w: it needs a dynamic loader; build it with CGO_ENABLED=0", path, ErrNotStatic)
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	}
	return "", fmt.Errorf("%s %w: no kind node runs on %s", path, ErrNotStatic, f.Machine)
}

// tarOf returns a tar that holds the executable alone. Its header has no time,
// owner or device, so that only the content counts.
func tarOf(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r, w := io.Pipe()
	go func() {
		defer f.Close()
		tw := tar.NewWriter(w)
		err := tw.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: entrypoint[1:], Mode: 0o555, Size: info.Size(), ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
		})
		if err == nil {
			_, err = io.Copy(tw, f)
		}
		if err == nil {
			err = tw.Close()
		}
		w.CloseWithError(err)
	}()
	return r, nil
}
