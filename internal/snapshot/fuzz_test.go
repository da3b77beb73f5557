package snapshot

import (
	"bytes"
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

// FuzzParseRecord holds the same for the records of packed snapshots.
func FuzzParseRecord(f *testing.F) {
	m := &traffic.Match{Tier: "exact", Record: "2", Pass: 1, Reason: "because", Nearest: []traffic.Near{{Record: "3", Score: 0.5, Differences: []traffic.Disagreement{{Path: traffic.At("request", "body", "a"), Recorded: "b", Live: "c"}}}}}
	x := &traffic.Exchange{
		ID: "1", Direction: traffic.Outbound, Lane: "2", Incomplete: []string{"", "hole"}, Match: m, Duration: -5,
		Request:  traffic.Request{Method: "GET", Header: traffic.Header{{Name: "A", Value: "b"}, {Name: "C"}}, Body: traffic.Body{Raw: []byte("hello"), Truncated: true, Size: 0}},
		Response: &traffic.Response{Status: -1, Trailer: traffic.Header{{Name: "T", Value: "v"}}},
	}
	record, err := appendRecord(nil, x, 7, noPlaces{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(record[1:]))
	f.Fuzz(func(t *testing.T, record string) {
		x, route, err := parseRecord(record, noBodies{})
		if err != nil {
			return
		}
		again, err := appendRecord(nil, x, route, noPlaces{})
		if err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		y, route2, err := parseRecord(string(again[1:]), noBodies{})
		if err != nil || route != route2 {
			t.Fatalf("cannot read what was written: %v, route %d and %d", err, route, route2)
		}
		long := cmpopts.IgnoreFields(traffic.Body{}, "Raw", "Size") // noPlaces keeps no bodies
		options := []cmp.Option{long, cmpopts.EquateEmpty(), cmpopts.EquateNaNs(), cmp.Comparer(func(a, b traffic.Path) bool { return a.String() == b.String() })}
		if diff := cmp.Diff(x, y, options...); diff != "" {
			t.Fatal(diff)
		}
	})
}

// noPlaces stands for the bodies of a record that is only looked at.
type noPlaces struct{}

func (noPlaces) place([]byte) (bodyPlace, error) { return bodyPlace{length: 1}, nil }

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
