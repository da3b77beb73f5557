package formats

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// imported reads paths and returns the exchanges and the issues.
func imported(t *testing.T, opts Options, paths ...string) ([]*traffic.Exchange, []string, Counts) {
	t.Helper()
	var all []*traffic.Exchange
	var issues []string
	opts.Report = func(i Issue) { issues = append(issues, i.Error()) }
	counts, err := Read(context.Background(), paths, opts, func(x *traffic.Exchange) error {
		all = append(all, x)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if counts.Found != counts.Imported+counts.Unreadable || counts.Imported != len(all) {
		t.Errorf("the counts do not balance: %+v", counts)
	}
	return all, issues, counts
}

// file writes text to a file of its own and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// outline is an exchange in one line, for comparing with what is expected.
func outline(x *traffic.Exchange) string {
	answer := "no answer"
	if x.Response != nil {
		body, err := x.Response.Body.Decoded()
		if err != nil {
			return err.Error()
		}
		answer = fmt.Sprintf("%d %s", x.Response.Status, short(body))
	} else if x.Failure != "" {
		answer = string(x.Failure)
	}
	body, err := x.Request.Body.Decoded()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %s %s %s-> %s", x.Direction, x.Request.Method, x.Request.URL(), short(body), answer)
}

func short(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > 60 {
		return fmt.Sprintf("(%d bytes) ", len(b))
	}
	return fmt.Sprintf("%q ", b)
}

// shopCalls are what testdata/make sends and gets; every tool that recorded it
// must yield the same.
func shopCalls(base string) []string {
	return []string{
		"inbound GET " + base + `/missing?x=1&y=%20 -> 404 "404 page not found\n" `,
		"inbound POST " + base + `/orders "{\"sku\":7}" -> 201 "{\"got\":\"{\\\"sku\\\":7}\"}" `,
		"inbound POST " + base + `/stream "first second" -> 201 "{\"got\":\"first second\"}" `,
		"inbound GET " + base + `/gzip -> 200 (717 bytes) `,
		"inbound GET " + base + `/chunked -> 200 "chunk 0\nchunk 1\nchunk 2\n" `,
		"inbound HEAD " + base + `/large -> 200 `,
		"inbound GET " + base + `/large -> 200 (65536 bytes) `,
		"inbound POST " + base + `/binary "\x00\x01\xfe\xff\n🐵🙈🙉\nnot the end" -> 201 "{\"got\":\"\\x00\\x01\\xfe\\xff\\n🐵🙈🙉\\nnot the end\"}" `,
	}
}

// sameLines reports the lines in which got and want differ.
func sameLines(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "(nothing)", "(nothing)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("%d:\n got %s\nwant %s", i, g, w)
		}
	}
}

func outlines(all []*traffic.Exchange) []string {
	var lines []string
	for _, x := range all {
		lines = append(lines, outline(x))
	}
	return lines
}

func TestImportOfGoReplaysOwnRecording(t *testing.T) {
	all, issues, counts := imported(t, Options{}, "testdata/goreplay.gor")
	// GoReplay lost the head of the chunked request itself (it knows a message
	// by its acknowledgement number, and this one came in two segments).
	want := shopCalls("http://127.0.0.1:18080")
	want = append(want[:2], want[3:]...)
	sameLines(t, outlines(all), want)
	sameLines(t, issues, []string{
		"testdata/goreplay.gor:1: the request cannot be read: not an HTTP/1 message head: field line 1 has no name",
		"testdata/goreplay.gor:10: the response is left out with its unreadable request",
	})
	if counts.Found != 8 || counts.Unreadable != 1 {
		t.Errorf("counts %+v", counts)
	}
	for _, x := range all {
		if x.Duration < x.FirstByte || x.FirstByte <= 0 || len(x.Incomplete) > 0 || !strings.HasPrefix(x.Origin.Connection, all[0].Origin.Connection) {
			t.Errorf("%s: %v, %v, %v, %s", x.ID, x.FirstByte, x.Duration, x.Incomplete, x.Origin.Connection)
		}
	}
}
