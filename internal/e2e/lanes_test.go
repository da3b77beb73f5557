package e2e

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/reprise-ci/reprise/internal/formats"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/lanes"
)

// TestLanesWithoutTraces takes every trace of its cause off the recorded calls
// of the example, as if it forwarded none, and joins them anew. The recording
// knows the truth. What is joined by a value must be right; the rest is told
// apart by its certainty.
func TestLanesWithoutTraces(t *testing.T) {
	reader, err := snapshot.Open(recorded)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	path := filepath.Join(t.TempDir(), "untraced.har")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	truth := map[string]traffic.Lane{}
	har := formats.NewHARWriter(file, "test", nil)
	for x, err := range reader.All() {
		if err != nil {
			t.Fatal(err)
		}
		if x.Direction == traffic.Outbound {
			truth[x.ID] = x.Lane
			x = x.Clone()
			x.Lane, x.Origin.Certainty = "", ""
			x.Request.Header = slices.DeleteFunc(x.Request.Header, func(f traffic.Field) bool { return len(lanes.Keys(traffic.Header{f})) > 0 })
		}
		if err := har.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := har.Close(); err != nil {
		t.Fatal(err)
	}
	right, wrong := map[traffic.Certainty]int{}, map[traffic.Certainty]int{}
	_, err = formats.Read(context.Background(), []string{path}, formats.Options{Strict: true}, func(x *traffic.Exchange) error {
		switch {
		case x.Direction == traffic.Inbound:
		case x.Lane == truth[x.ID]:
			right[x.Origin.Certainty]++
		default:
			wrong[x.Origin.Certainty]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	total, good := 0, 0
	for _, c := range slices.Sorted(maps.Keys(maps.Collect(joined(right, wrong)))) {
		t.Logf("by %-12q %3d right, %d wrong", c, right[c], wrong[c])
		total, good = total+right[c]+wrong[c], good+right[c]
	}
	t.Logf("%d of %d calls found their lane", good, total)
	if total != len(truth) || total == 0 {
		t.Fatalf("%d of %d calls came back", total, len(truth))
	}
	if right[traffic.ByTrace] > 0 || wrong[traffic.ByTrace]+wrong[traffic.ByValue]+wrong[traffic.ByOnlyActive] > 0 {
		t.Errorf("right %v, wrong %v: a trace was left, or what is no guess is wrong", right, wrong)
	}
	if good*100 < total*80 {
		t.Errorf("only %d of %d calls found their lane", good, total)
	}
}

// joined walks over the keys of two counts.
func joined(a, b map[traffic.Certainty]int) func(func(traffic.Certainty, int) bool) {
	return func(yield func(traffic.Certainty, int) bool) {
		for _, m := range []map[traffic.Certainty]int{a, b} {
			for c, n := range m {
				if !yield(c, n) {
					return
				}
			}
		}
	}
}
