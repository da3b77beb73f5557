package snapshot_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// tree returns every file below dir by its path.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The layout is what reviewers read and what other versions must read: a
// change of it shows here.
func TestTextGolden(t *testing.T) {
	golden := filepath.Join("testdata", "shop")
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, shop())
	if *update {
		if err := os.RemoveAll(golden); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(golden, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(tree(t, golden), tree(t, dir)); diff != "" {
		t.Errorf("snapshot differs from %s (-want +got); run with -update if that is meant:\n%s", golden, diff)
	}
	if diff := cmp.Diff(shop(), read(t, golden), same...); diff != "" {
		t.Errorf("the golden snapshot reads back differently (-want +got):\n%s", diff)
	}
}

// Order of Add does not change a byte of the snapshot, and neither does who
// calls it.
// What is not text is written where it stands as long as it is small, and into
// a file beyond.
func TestSmallBodiesAreNoFiles(t *testing.T) {
	for _, row := range []struct {
		reason string
		body   string
		files  int
	}{
		{"a message of gRPC", "\x00\x00\x00\x00\x03\x08\xb9\x60", 0},
		{"one byte that is part of no character", "\xff", 0},
		{"the largest that is small", strings.Repeat("\x80", 256), 0},
		{"one byte more", strings.Repeat("\x80", 257), 1},
	} {
		dir := filepath.Join(t.TempDir(), "small")
		x := shop()[0]
		x.Request.Body = traffic.NewBody([]byte(row.body), nil)
		m := write(t, dir, []*traffic.Exchange{x})
		files := 0
		for _, f := range m.Files {
			if strings.HasSuffix(f.Path, ".bin") {
				files++
			}
		}
		if got := read(t, dir); files != row.files || string(got[0].Request.Body.Raw) != row.body {
			t.Errorf("%s: %d files, read again as %q", row.reason, files, got[0].Request.Body.Raw)
		}
	}
}

func TestWriterOrder(t *testing.T) {
	one, two := filepath.Join(t.TempDir(), "shop"), filepath.Join(t.TempDir(), "shop")
	write(t, one, shop())
	w, err := snapshot.NewWriter(two, keep{}, snapshot.Options{Service: "shop", Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for _, x := range slices.Backward(shop()) {
		group.Go(func() {
			if err := w.Add(x); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, one), tree(t, two)); diff != "" {
		t.Errorf("(-in order +in parallel):\n%s", diff)
	}
}

func TestWriterAccounts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	w, err := snapshot.NewWriter(dir, keep{}, snapshot.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	list := shop()
	for _, x := range list {
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Add(list[0]); err == nil {
		t.Error("a second exchange with the same id was stored")
	}
	bad := list[1].Clone()
	bad.ID = "../up"
	if err := w.Add(bad); err == nil {
		t.Error("an id that is not safe in a file name was stored")
	}
	w.SampledOut(4)
	w.Dropped(3)
	m, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	want := snapshot.Completeness{Seen: 5 + 4 + 3 + 2, Stored: 5, SampledOut: 4, Incomplete: 1, Dropped: 5}
	if m.Completeness != want || m.Inbound != 3 || m.Outbound != 2 {
		t.Errorf("completeness %+v, inbound %d, outbound %d; want %+v, 3, 2", m.Completeness, m.Inbound, m.Outbound, want)
	}
	r, err := snapshot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if diff := cmp.Diff(m, r.Manifest()); diff != "" {
		t.Errorf("manifest of Close and of Open differ:\n%s", diff)
	}
	if x, err := r.Exchange("000003"); err != nil || x.Failure != traffic.FailureTimeout {
		t.Errorf("Exchange(000003) = %v, %v", x, err)
	}
	if _, err := r.Exchange("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Exchange(none): %v", err)
	}
}

// Until Close, and after Abort or a failure, nothing stands at the target that
// was not there before.
func TestWriterIsAtomic(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "s")
	if _, err := snapshot.NewWriter(dir, nil, snapshot.Options{}); err == nil {
		t.Error("a writer without a redactor was made")
	}
	w, err := snapshot.NewWriter(dir, keep{}, snapshot.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(shop()[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before Close: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if rest, _ := os.ReadDir(base); len(rest) > 0 {
		t.Errorf("after Abort %v is left", rest)
	}
	write(t, dir, shop()[:1])
	if _, err := snapshot.NewWriter(dir, keep{}, snapshot.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an existing snapshot: %v", err)
	}
	w, err = snapshot.NewWriter(dir, keep{}, snapshot.Options{Now: clock, Replace: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range shop() {
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(read(t, dir)); n != 1 {
		t.Errorf("before Close the old snapshot has %d exchanges, want 1", n)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(read(t, dir)); n != len(shop()) {
		t.Errorf("after Close the new snapshot has %d exchanges, want %d", n, len(shop()))
	}
	if rest, _ := os.ReadDir(base); len(rest) != 1 {
		t.Errorf("%v is left beside the snapshot", rest)
	}
}

// Add changes nothing that belongs to its caller.
func TestAddKeepsItsArgument(t *testing.T) {
	w, err := snapshot.NewWriter(filepath.Join(t.TempDir(), "s"), overwrite{}, snapshot.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	list := shop()
	for _, x := range list {
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(shop(), list, same...); diff != "" {
		t.Error(diff)
	}
}

// overwrite is a redactor that removes everything.
type overwrite struct{ keep }

func (overwrite) Redact(x *traffic.Exchange) ([]traffic.Redaction, error) {
	clear(x.Request.Header)
	clear(x.Request.Body.Raw)
	x.Response = nil
	return nil, nil
}

// A snapshot may come from a stranger: whatever was done to it, Open says what
// is wrong and where.
func TestOpenRefuses(t *testing.T) {
	const file = "inbound/POST_v1_orders.http"
	edit := func(name, from, to string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			name := filepath.Join(dir, name)
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(data), from, to, 1)
			if changed == string(data) {
				t.Fatalf("%s has no %q", name, from)
			}
			if err := os.WriteFile(name, []byte(changed), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	link := func(name, to string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	isDigest := func(err error) bool { var e *snapshot.DigestError; return errors.As(err, &e) && e.File != "" }
	isVersion := func(err error) bool { var e *snapshot.VersionError; return errors.As(err, &e) }
	isSyntax := func(err error) bool { var e *snapshot.SyntaxError; return errors.As(err, &e) && e.File != "" }
	isOther := func(err error) bool { return errors.Is(err, snapshot.ErrNotSnapshot) }
	tests := []struct {
		name   string
		change func(t *testing.T, dir string)
		is     func(error) bool
		reason string
	}{
		{"value", edit(file, "SKU-0042", "SKU-0043"), isDigest, "one byte of a body was edited"},
		{"longer", edit(file, "SKU-0042", "SKU-00421"), isDigest, "the size differs before any reading"},
		{"missing", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, file)) }, isDigest, "a file is gone"},
		{"manifest", edit("manifest.yaml", "dropped: 0", "dropped: 1"), isSyntax, "the counts no longer add up"},
		{"service", edit("manifest.yaml", "service: shop", "service: shap"), isDigest, "the manifest has a digest of itself"},
		{"unknown key", edit("manifest.yaml", "service: shop", "servise: shop"), isSyntax, "a key that this version does not know"},
		{"newer", edit("manifest.yaml", "reprise.snapshot/v1", "reprise.snapshot/v2"), isVersion, "a newer major version may mean anything"},
		{"newer and unknown", edit("manifest.yaml", "reprise.snapshot/v1\n", "reprise.snapshot/v12\nfuture: 1\n"), isVersion, "its version explains more than its keys"},
		{"other", edit("manifest.yaml", "reprise.snapshot", "helm.chart"), isOther, "some other manifest"},
		{"no manifest", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "manifest.yaml")) }, isOther, "some other directory"},
		{"dots", edit("manifest.yaml", "path: inbound/", "path: ../inbound/"), isSyntax, "a path that leads out"},
		{"absolute", edit("manifest.yaml", "path: inbound/", "path: /inbound/"), isSyntax, "a path that leads out"},
		{"file link", link(file, "../manifest.yaml"), isSyntax, "a link inside the snapshot"},
		{"outside link", link(file, "/etc/hostname"), isSyntax, "a link that leads out"},
		{"directory link", link("inbound", "/etc"), isSyntax, "a directory that leads out"},
		{"manifest link", link("manifest.yaml", "/etc/hostname"), isSyntax, "the manifest leads out"},
		{"no end", edit("manifest.yaml", "digest: sha256:", "digest: sha256:\n#"), isSyntax, "the digest was cut off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "shop")
			write(t, dir, shop())
			tt.change(t, dir)
			r, err := snapshot.Open(dir)
			if err == nil {
				r.Close()
			}
			if !tt.is(err) {
				t.Errorf("%s: got %v", tt.reason, err)
			}
		})
	}
	if _, err := snapshot.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path that does not exist: %v", err)
	}
}
