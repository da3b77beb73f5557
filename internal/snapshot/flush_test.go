package snapshot

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What was added is on the disk in time though no more comes, and a recording
// of many small frames is as small in the end as one of full frames.
func TestFlushAfter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.rpk")
	w, err := NewWriter(path, plain{}, Options{FlushAfter: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	const n = 40
	size := int64(0)
	for i := range n {
		if err := w.Add(small(i)); err != nil {
			t.Fatal(err)
		}
		for before := size; size <= before; {
			info, err := os.Stat(w.partial)
			if err != nil {
				t.Fatal(err)
			}
			size = max(size, info.Size())
			time.Sleep(time.Millisecond)
			if i == 0 && size > 24 {
				break
			}
		}
	}
	w.mu.Lock()
	frames := len(w.pack.list)
	w.mu.Unlock()
	if frames < n/2 {
		t.Fatalf("%d exchanges, each flushed by itself, are in %d frames", n, frames)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := count(t, path); got != n {
		t.Errorf("%d exchanges of %d", got, n)
	}
	flushed, once := fileSize(t, path), filepath.Join(dir, "once.rpk")
	if w, err = NewWriter(once, plain{}, Options{}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := w.Add(small(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if want := fileSize(t, once); flushed > want+want/10 {
		t.Errorf("%d bytes, and %d without flushing", flushed, want)
	}
	if rest, _ := os.ReadDir(dir); len(rest) != 2 {
		t.Errorf("%v is left beside the snapshots", rest)
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A file that is cut short while its index is mapped is an error of those who
// read it, and not the end of the program.
func TestCutShortWhileRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.rpk")
	w, err := NewWriter(path, plain{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if err := w.Add(small(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if x, err := r.Exchange("000007"); err == nil {
		t.Errorf("an exchange of a file that is empty: %v", x.ID)
	}
	failed := 0
	for _, err := range r.All() {
		if err != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Error("a file that is empty was read to its end")
	}
	if err := r.Verify(); err == nil {
		t.Error("a file that is empty was verified")
	}
}

// Exchanges that come in any order are read in that of time, and are found by
// their ids, in frames that hold others between.
func TestOrderOverFrames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.rpk")
	w, err := NewWriter(path, plain{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 400
	for i := range n {
		if err := w.Add(small((i * 171) % n)); err != nil { // 171 and 400 share no factor
			t.Fatal(err)
		}
		if i%100 == 99 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// As it is on the disk: the runs of four frames, one within the other.
	m, order := w.account()
	if err := w.pack.finish(&m, order); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(w.partial, path); err != nil {
		t.Fatal(err)
	}
	if got := count(t, path); got != n {
		t.Errorf("%d exchanges of %d", got, n)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, i := range []int{0, 1, 199, n - 1} {
		if x, err := r.Exchange(small(i).ID); err != nil || x.ID != small(i).ID {
			t.Errorf("exchange %d: %v", i, err)
		}
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
}
