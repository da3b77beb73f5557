package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// plain is a redactor for traffic that holds nothing personal, and counts it.
type plain struct{}

func (plain) Redact(x *traffic.Exchange) ([]traffic.Redaction, error) {
	return []traffic.Redaction{{Rule: "test", Path: traffic.At("request", "path").Pattern(), Count: 1}}, nil
}
func (plain) Describe() RedactionInfo { return RedactionInfo{Version: "test", KeyID: "0"} }

func small(i int) *traffic.Exchange {
	id := fmt.Sprintf("%06d", i)
	body := fmt.Appendf(nil, "%064d", i*7919)
	return &traffic.Exchange{
		ID: id, Direction: traffic.Outbound, Lane: traffic.LaneBackground, Start: time.Unix(int64(i), 0).UTC(),
		Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "a.example", Target: "/x", Proto: "HTTP/1.1"},
		Response: &traffic.Response{Status: 200, Proto: "HTTP/1.1", Body: traffic.NewBody(body, nil)},
	}
}

func count(t *testing.T, path string) (n int) {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Verify(); err != nil {
		t.Fatal(err)
	}
	for x, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		if x.ID != small(n).ID || string(x.Response.Body.Raw) != string(small(n).Response.Body.Raw) {
			t.Fatalf("exchange %d is %s", n, x.ID)
		}
		n++
	}
	return n
}

// A recording that is cut off anywhere is readable up to the last frame that
// is whole, in either tier, and its accounts are those of that frame.
func TestRecover(t *testing.T) {
	for _, suffix := range []string{"", ".rpk"} {
		for _, cut := range []int64{0, 1, 500, 1 << 40} {
			t.Run(fmt.Sprint("s", suffix, " less ", cut), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "s"+suffix)
				w, err := NewWriter(path, plain{}, Options{Name: "named", Service: "shop"})
				if err != nil {
					t.Fatal(err)
				}
				w.SampledOut(3)
				want := 0
				for i := range 300 {
					if err := w.Add(small(i)); err != nil {
						t.Fatal(err)
					}
					if i%100 == 49 {
						if err := w.Flush(); err != nil {
							t.Fatal(err)
						}
						want = i + 1
					}
				}
				// What a killed process leaves: the file as it is, and maybe a
				// torn frame.
				end := w.pack.end
				if _, err := w.file.WriteAt([]byte("\x28\xb5\x2f\xfd torn"), end); err != nil {
					t.Fatal(err)
				}
				if cut > 0 {
					if err := w.file.Truncate(max(end-cut, 24)); err != nil {
						t.Fatal(err)
					}
				}
				switch cut {
				case 1, 500:
					want -= 100
				case 1 << 40:
					want = 0
				}
				w.file.Close()
				if _, err := NewWriter(path, plain{}, Options{}); !errors.Is(err, ErrUnfinished) {
					t.Errorf("a second recording over an unfinished one: %v", err)
				}
				m, err := Recover(path)
				if err != nil {
					t.Fatal(err)
				}
				if n := count(t, path); n != want || m.Completeness.Stored != want || m.Outbound != want {
					t.Errorf("recovered %d, manifest says %d, want %d", n, m.Completeness.Stored, want)
				}
				if want > 0 && (m.Name != "named" || m.Service != "shop" || m.Completeness.SampledOut != 3 || len(m.Redactions) != 1 || m.Redactions[0].Count != want) {
					t.Errorf("manifest %+v", m)
				}
				if rest, _ := os.ReadDir(filepath.Dir(path)); len(rest) != 1 {
					t.Errorf("%v is left beside the snapshot", rest)
				}
			})
		}
	}
}

func TestResume(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.rpk")
	w, err := NewWriter(path, plain{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := w.Add(small(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	w.file.Close() // killed
	if w, err = Resume(path, plain{}, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil { // the second recorder failed
		t.Fatal(err)
	}
	if w, err = Resume(path, plain{}, Options{}); err != nil {
		t.Fatalf("what was there before is lost: %v", err)
	}
	if err := w.Add(small(3)); err == nil {
		t.Error("an id from before was taken again")
	}
	for i := 10; i < 20; i++ {
		if err := w.Add(small(i)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, path); n != 20 || m.Completeness.Seen != 21 || m.Completeness.Dropped != 1 || m.Redactions[0].Count != 20 {
		t.Errorf("%d exchanges, manifest %+v", n, m)
	}
}

func TestLast(t *testing.T) {
	w, err := NewWriter(filepath.Join(t.TempDir(), "s.rpk"), plain{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"in-000002", "out-000012", "in-000010", "out-000003", "mine-000099", "in-x"} {
		x := small(1)
		if x.ID = id; strings.HasPrefix(id, "in-") {
			x.Direction, x.Lane = traffic.Inbound, traffic.Lane(id)
		}
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if in, out := w.Last(); in != 10 || out != 12 {
		t.Errorf("the last numbers are %d and %d, want 10 and 12", in, out)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
}

// fullDisk is a file on a disk with so many bytes left for it.
type fullDisk struct {
	*os.File
	size int64
}

func (f *fullDisk) WriteAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.size {
		n, _ := f.File.WriteAt(p[:max(f.size-at, 0)], at)
		return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return f.File.WriteAt(p, at)
}

// When the disk is full, the snapshot stays readable and every exchange is
// either in it or counted as dropped.
func TestDiskFull(t *testing.T) {
	const n = 3_000
	for _, size := range []int64{200, 2_000, 8_000, 12_000, 15_000, 800_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s.rpk")
			w, err := NewWriter(path, plain{}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			disk := &fullDisk{w.file.(*os.File), size}
			w.file, w.pack.file = disk, disk
			failed := 0
			for i := range n {
				if err := w.Add(small(i)); err != nil {
					if !errors.Is(err, syscall.ENOSPC) {
						t.Fatal(err)
					}
					failed++
				}
				if i%200 == 0 {
					if err := w.Flush(); err != nil && !errors.Is(err, syscall.ENOSPC) {
						t.Fatal(err)
					}
				}
			}
			m, err := w.Close()
			if size < 2_000 {
				if err == nil {
					t.Fatalf("%d bytes hold not even an index: %+v", size, m.Completeness)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := r.Verify(); err != nil {
				t.Fatal(err)
			}
			c := m.Completeness
			if c.Seen != n || c.Stored+c.Dropped != n || c.Stored == n && size < 800_000 || size >= 12_000 && c.Stored == 0 {
				t.Errorf("of %d seen %d, stored %d, dropped %d (%d failed calls)", n, c.Seen, c.Stored, c.Dropped, failed)
			}
		})
	}
}
