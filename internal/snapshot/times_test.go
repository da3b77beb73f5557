package snapshot_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// TestTimesOfMessages has the times of messages stand where the page on the
// format says, in both tiers.
func TestTimesOfMessages(t *testing.T) {
	frames := traffic.Body{Raw: []byte("\x81\x01a\x81\x01b"), Size: 6, Times: []time.Duration{1500 * time.Microsecond, 2 * time.Second}}
	x := &traffic.Exchange{
		ID: "000001", Direction: traffic.Inbound, Lane: "000001", Start: clock(),
		Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "shop.example", Target: "/live", Proto: "HTTP/1.1", Body: frames},
		Response: &traffic.Response{Status: 101, Proto: "HTTP/1.1", Body: traffic.Body{Times: []time.Duration{time.Second}}},
	}
	dir := filepath.Join(t.TempDir(), "timed")
	write(t, dir, []*traffic.Exchange{x})
	text, err := os.ReadFile(filepath.Join(dir, "inbound", "GET_live.http"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" times=1.5ms,2s\n", "body: empty times=1s\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	packed := dir + ".rpk"
	if _, err := snapshot.Pack(dir, packed); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(packed)
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	data, err = d.DecodeAll(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	// 1,500,000 and then 1,998,500,000 more, each doubled by the zigzag coding.
	if want := []byte("\xc0\x8d\xb7\x01\xc0\xc2\xf5\xf1\x0e"); !bytes.Contains(data, want) {
		t.Errorf("no times in the data frame: %x", data)
	}
	for _, path := range []string{dir, packed} {
		if diff := cmp.Diff([]*traffic.Exchange{x}, read(t, path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}
