package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// blobMap keeps bodies in memory.
type blobMap map[string][]byte

func (m blobMap) put(data []byte, ext string) (string, error) {
	path := blobPath(data, ext)
	m[path] = data
	return path, nil
}

func (m blobMap) get(path string) ([]byte, error) {
	data, ok := m[path]
	if !ok {
		return nil, errors.New("no such body")
	}
	return data, nil
}

// FuzzParseExchange holds that the reader is total, and that what it accepts
// is written and read again without a difference.
func FuzzParseExchange(f *testing.F) {
	files, err := filepath.Glob("testdata/shop/*/*.http")
	if err != nil || len(files) == 0 {
		f.Fatal(err, files)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		_, entry, _ := bytes.Cut(data, []byte("\n\n"))
		f.Add(entry)
	}
	f.Add([]byte("### 1 2026-01-01T00:00:00Z\nmatch: exact 2 1 \"because\"\nnear: 3 0.5\ndiffers: request.body.a b c\n\n> GET http://a/ HTTP/1.1\n>+ a: b\n\n< 200 HTTP/1.1\nbody: quoted coding=br size=-1\n  \"\\x00\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		blobs := blobMap{}
		x, _, err := parseExchange(text, traffic.Outbound, blobs)
		if err != nil {
			return
		}
		if y := x.Start.Year(); y < 1 || y > 9999 {
			return
		}
		again, err := appendExchange(nil, x, 4096, blobs)
		if err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		y, line, err := parseExchange(again, traffic.Outbound, blobs)
		if err != nil {
			t.Fatalf("cannot read what was written: line %d: %v\n%s", line, err, again)
		}
		options := []cmp.Option{cmpopts.EquateEmpty(), cmpopts.EquateNaNs(), cmp.Comparer(func(a, b traffic.Path) bool { return a.String() == b.String() })}
		if diff := cmp.Diff(x, y, options...); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	data, err := os.ReadFile("testdata/shop/manifest.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("format: reprise.snapshot/v1\na: &a [*a]\ndigest: x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data, manifestName, checkDirectory)
		if err != nil {
			return
		}
		if err := m.check(); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		if again, err := m.encode(); err != nil || len(again) == 0 {
			t.Fatalf("cannot write what was read: %v", err)
		}
	})
}

// FuzzExchangeFrame holds the same for the frames of packed snapshots.
func FuzzExchangeFrame(f *testing.F) {
	m := &traffic.Match{Tier: "exact", Record: "2", Pass: 1, Reason: "because", Nearest: []traffic.Near{{Record: "3", Score: 0.5, Differences: []traffic.Disagreement{{Path: traffic.At("request", "body", "a"), Recorded: "b", Live: "c"}}}}}
	x := &traffic.Exchange{
		ID: "1", Direction: traffic.Outbound, Lane: "2", Incomplete: []string{"", "hole"}, Match: m, Duration: -5,
		Request:  traffic.Request{Method: "GET", Header: traffic.Header{{Name: "A", Value: "b"}, {Name: "C"}}, Body: traffic.Body{Raw: []byte("hello"), Truncated: true, Size: 0}},
		Response: &traffic.Response{Status: -1, Trailer: traffic.Header{{Name: "T", Value: "v"}}},
	}
	for _, list := range [][]*traffic.Exchange{{x}, {small(1), small(2), small(3), x}, nil} {
		f.Add(frameOfExchanges(f, list)[1:])
	}
	// A column of one value for more exchanges than there may be, a number
	// without end, lengths beyond the frame.
	f.Add([]byte{0, 1, 'p', 0, 0, 1, 2, 's', 0, 1, 2, fStart<<2 | freeNumber, 0, 0xff, 0xff, 0xff, 0x7f, 's', 0})
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Add([]byte{1, 3, 's', 0xff, 0x7f, 0, 0, 0, 0, 0, 'p'})
	f.Fuzz(func(t *testing.T, data []byte) {
		list, ok := readFrame(append([]byte{frameExchanges}, data...))
		if !ok {
			return
		}
		again, ok := readFrame(frameOfExchanges(t, list))
		if !ok {
			t.Fatal("cannot read what was written")
		}
		options := []cmp.Option{cmpopts.EquateEmpty(), cmpopts.EquateNaNs(), cmp.Comparer(func(a, b traffic.Path) bool { return a.String() == b.String() })}
		if diff := cmp.Diff(list, again, options...); diff != "" {
			t.Fatal(diff)
		}
	})
}

// frameOfExchanges writes a frame as a packer does, whose file is of no
// interest.
func frameOfExchanges(t testing.TB, list []*traffic.Exchange) []byte {
	p, err := emptyPacker(nil)
	if err != nil {
		t.Fatal(err)
	}
	content := frameParts{checkpoint: []byte("x"), routes: []numbered{{0, route{path: "inbound/GET_x.http", title: "GET /x"}}}}
	own := map[[16]byte]uint32{}
	for _, x := range list {
		c, err := takeApart(x, 0)
		if err != nil {
			t.Fatal(err)
		}
		r := newRow(x, c)
		for _, b := range c.bodies {
			sum := sha256.Sum256(b)
			key := [16]byte(sum[:])
			if _, ok := own[key]; !ok {
				own[key] = uint32(len(content.bodies))
				content.bodies = append(content.bodies, b)
			}
			r.sums = append(r.sums, key)
		}
		p.pending = append(p.pending, r)
	}
	p.setPlaces(own)
	content.rows = p.pending
	return content.encode()
}

// readFrame reads all exchanges of a frame; one with a body that is elsewhere
// counts as unreadable.
func readFrame(raw []byte) (list []*traffic.Exchange, ok bool) {
	f, err := parseExchangeFrame(raw)
	if err != nil {
		return nil, false
	}
	for n := range f.rows {
		x, _, err := f.exchange(n, ownBodies{})
		if err != nil {
			return nil, false
		}
		list = append(list, x)
	}
	return list, true
}

type ownBodies struct{}

func (ownBodies) load(f *exchangeFrame, n int64) ([]byte, error) {
	if n < 0 || n >= int64(len(f.ends)) {
		return nil, errFrame
	}
	return bytes.Clone(f.body(int(n))), nil
}

// FuzzOpenPack holds that reading a packed file is total, whatever is in it.
func FuzzOpenPack(f *testing.F) {
	dir := f.TempDir()
	w, err := NewWriter(filepath.Join(dir, "seed.rpk"), plain{}, Options{})
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if err := w.Add(small(i)); err != nil {
			f.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "seed.rpk"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:100])
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "x.rpk")
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if r, err := Open(name); err == nil {
			_ = r.Verify() // may fail; must not panic
			r.Close()
		}
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if p, _, err := scanFrames(file, name); err == nil && p.end > int64(len(data)) {
			t.Errorf("%d bytes of %d recovered", p.end, len(data))
		}
	})
}
