package agent

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// program writes the smallest file that the loader of Linux would look at: an
// ELF header and one program header of the given type.
func program(t *testing.T, machine elf.Machine, kind elf.ProgType) string {
	t.Helper()
	head := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	var file bytes.Buffer
	for _, part := range []any{head, elf.Prog64{Type: uint32(kind), Off: 120, Filesz: 4}, []byte("code")} {
		if err := binary.Write(&file, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, file.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImageHoldsTheExecutableAlone(t *testing.T) {
	executable := program(t, elf.EM_AARCH64, elf.PT_LOAD)
	image, err := NewImage(executable)
	if err != nil {
		t.Fatal(err)
	}
	var archives [2][]byte
	for i := range archives {
		r := image.Archive()
		if archives[i], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	if sha256.Sum256(archives[0]) != sha256.Sum256(archives[1]) {
		t.Error("two archives of one executable differ")
	}
	again, err := NewImage(executable)
	if err != nil || again.Ref != image.Ref || !strings.HasPrefix(image.Ref, Repository+":") {
		t.Errorf("refs %q and %q (%v), want the same under %s", image.Ref, again.Ref, err, Repository)
	}

	tag, err := name.NewTag(image.Ref)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archives[0])), nil }, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := loaded.ConfigFile()
	if err != nil || config.OS != "linux" || config.Architecture != "arm64" || config.Config.Entrypoint[0] != "/reprise" {
		t.Errorf("config %+v, %v", config, err)
	}
	layers, err := loaded.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v; want one", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(content)
	head, err := tr.Next()
	if err != nil || head.Name != "reprise" || head.Mode != 0o555 {
		t.Errorf("first entry %+v, %v", head, err)
	}
	inside, err := io.ReadAll(tr)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(executable)
	if err != nil || !bytes.Equal(inside, want) {
		t.Errorf("the image holds %d bytes that are not the executable (%v)", len(inside), err)
	}
	if _, err := tr.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("something else is in the image: %v", err)
	}
}

func TestImageRefuses(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	mac := filepath.Join(t.TempDir(), "mac")
	if err := os.WriteFile(mac, []byte("\xcf\xfa\xed\xfe\x0c\x00\x00\x01 and so on"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ path, want string }{
		"a script":       {script, "no Linux executable"},
		"nothing":        {filepath.Join(t.TempDir(), "none"), "no such file"},
		"a mac build":    {mac, "no Linux executable"},
		"another CPU":    {program(t, elf.EM_RISCV, elf.PT_LOAD), "RISC"},
		"needs a loader": {program(t, elf.EM_X86_64, elf.PT_INTERP), "CGO_ENABLED=0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewImage(tc.path)
			if !errors.Is(err, ErrNotStatic) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ErrNotStatic with %q", err, tc.want)
			}
		})
	}
}

// TestImageIsPushed pushes to a registry and pulls the same image from it.
func TestImageIsPushed(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	image, err := NewImage(program(t, elf.EM_X86_64, elf.PT_LOAD))
	if err != nil {
		t.Fatal(err)
	}
	at := strings.TrimPrefix(server.URL, "http://")
	got, err := image.Push(t.Context(), at+"/tools/reprise:1")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(got)
	if err != nil || ref.Context().String() != at+"/tools/reprise" {
		t.Fatalf("pushed as %q, %v; want a digest in tools/reprise", got, err)
	}
	pulled, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	config, err := pulled.ConfigFile()
	if err != nil || !slices.Equal(config.Config.Entrypoint, []string{entrypoint}) || config.Architecture != "amd64" {
		t.Errorf("pulled %+v, %v", config, err)
	}
	if _, err := image.Push(t.Context(), "No Name"); err == nil {
		t.Error("a name that is none was pushed to")
	}
}
