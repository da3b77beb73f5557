package snapshot_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

var update = flag.Bool("update", false, "write the golden files anew")

// keep is a redactor for traffic that holds nothing personal.
type keep struct{}

func (keep) Redact(*traffic.Exchange) ([]traffic.Redaction, error) { return nil, nil }
func (keep) Describe() snapshot.RedactionInfo {
	return snapshot.RedactionInfo{Version: "none", KeyID: "none"}
}

func clock() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func write(t testing.TB, dir string, list []*traffic.Exchange) snapshot.Manifest {
	t.Helper()
	w, err := snapshot.NewWriter(dir, keep{}, snapshot.Options{Service: "shop", Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	m, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func read(t testing.TB, dir string) []*traffic.Exchange {
	t.Helper()
	r, err := snapshot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var list []*traffic.Exchange
	for x, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, x)
	}
	return list
}

func byStart(a, b *traffic.Exchange) int {
	if c := a.Start.Compare(b.Start); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// same compares exchanges; a body or header that is nil equals an empty one.
var same = []cmp.Option{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b traffic.Path) bool { return a.String() == b.String() })}

// Each check below writes three snapshots to disk, flushed; a few dozen do,
// as the fuzz targets search more widely.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// Every field of every exchange comes back exactly from both tiers, in order
// of time; and text that was packed and unpacked is the same to the byte.
func TestRoundTrip(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		list := exchanges(5).Draw(rt, "exchanges")
		n++
		dir := filepath.Join(base, strconv.Itoa(n))
		defer os.RemoveAll(dir)
		text, packed, again := filepath.Join(dir, "text"), filepath.Join(dir, "packed.rpk"), filepath.Join(dir, "again")
		write(t, text, list)
		if _, err := snapshot.Pack(text, packed); err != nil {
			rt.Fatal(err)
		}
		if _, err := snapshot.Unpack(packed, again); err != nil {
			rt.Fatal(err)
		}
		slices.SortFunc(list, byStart)
		if diff := cmp.Diff(list, read(t, text), same...); diff != "" {
			rt.Fatalf("written and read from text differ (-written +read):\n%s", diff)
		}
		if diff := cmp.Diff(list, read(t, packed), same...); diff != "" {
			rt.Fatalf("written and read packed differ (-written +read):\n%s", diff)
		}
		if diff := cmp.Diff(tree(t, text), tree(t, again)); diff != "" {
			rt.Fatalf("text and text of packed differ:\n%s", diff)
		}
	})
}
