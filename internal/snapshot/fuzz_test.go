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
		m, err := parseManifest(data, manifestName)
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
