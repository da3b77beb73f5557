package formats

import (
	"bufio"
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// fuzzReader holds what every reader promises: it ends, it never panics, its
// counts balance, and what it emits can be used.
func fuzzReader(format Format) func(*testing.T, []byte) {
	return func(t *testing.T, data []byte) {
		issues := 0
		im := &importer{opts: Options{MaxRecord: 1 << 16, Report: func(Issue) { issues++ }}}
		imported := 0
		im.emit = func(x *traffic.Exchange) error {
			imported++
			if x.Direction != traffic.Inbound && x.Direction != traffic.Outbound || x.Lane == "" || x.Request.Method == "" {
				t.Fatalf("emitted %+v", x)
			}
			if x.Response != nil && x.Failure != "" && !x.Response.Body.Truncated {
				t.Fatalf("emitted a response and a failure: %+v", x)
			}
			if x.FirstByte < 0 || x.Duration < x.FirstByte {
				t.Fatalf("emitted times %v, %v", x.FirstByte, x.Duration)
			}
			return nil
		}
		im.sorter.out = im.finish
		s := &source{ctx: context.Background(), name: "fuzz", folder: t.TempDir(), r: bufio.NewReaderSize(bytes.NewReader(data), sniffBytes), opts: im.opts, when: time.Unix(0, 0), run: im}
		if err := readers[format](s); err != nil {
			return // the file as a whole is unreadable
		}
		if err := im.sorter.flush(); err != nil {
			t.Fatal(err)
		}
		if c := im.counts; c.Found != c.Imported+c.Unreadable || c.Imported != imported || c.Noted+c.Unreadable != issues {
			t.Fatalf("the counts do not balance: %+v, %d imported, %d issues", c, imported, issues)
		}
	}
}

func FuzzSniff(f *testing.F) {
	for _, seed := range []string{"1 ab 1 1\n", `{"log":{"entries":[`, `[{"request":{}}]`, "{{{{", "}]", "12:3:abc,", "\x05\x0a\x03abc", "\xd4\xc3\xb2\xa1", "### REQUEST ###"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		if format := Sniff(head); format != "" && len(head) == 0 {
			t.Errorf("nothing is %s", format)
		}
	})
}
