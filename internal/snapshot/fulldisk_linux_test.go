package snapshot_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// On a disk that is really full, the snapshot is readable and every exchange
// is either in it or counted as dropped.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "s.rpk")
	w, err := snapshot.NewWriter(path, keep{}, snapshot.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	const n = 400
	rng, failed := rand.New(rand.NewPCG(1, 1)), 0
	for i := range n {
		x := synthetic(i)
		noise := make([]byte, 4000)
		for j := range noise {
			noise[j] = byte(rng.Uint32())
		}
		x.Response.Body = traffic.NewBody(noise, nil)
		if err := w.Add(x); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			failed++
		}
		if i%20 == 19 {
			if err := w.Flush(); err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
		}
	}
	m, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Verify(); err != nil {
		t.Error(err)
	}
	if c := m.Completeness; c.Seen != n || c.Stored+c.Dropped != n || c.Stored == 0 || c.Dropped == 0 {
		t.Errorf("of %d: %+v, %d refused", n, c, failed)
	}
	if rest, _ := os.ReadDir(dir); len(rest) != 1 {
		t.Errorf("%v is left beside the snapshot", rest)
	}
}
