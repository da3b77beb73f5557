package formats

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/traffic"
)

const gorEnd = "\n" + gorSeparator + "\n"

func TestGorRecords(t *testing.T) {
	const get = "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	tests := []struct {
		reason, text string
		want, issues []string
	}{
		{"old files have three fields", "1 ab 1000" + "\n" + get + gorEnd, []string{"inbound GET http://shop/a -> no answer"}, nil},
		{"latency can be unknown", "1 ab 1000 -1\n" + get + gorEnd + "2 ab 2000 -1\n" + ok + gorEnd, []string{`inbound GET http://shop/a -> 200 "ok" `}, nil},
		{"the last record need not end", "1 ab 1000 1\n" + get, []string{"inbound GET http://shop/a -> no answer"}, nil},
		{"a body may hold the separator", "1 ab 1 1\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 23\r\n\r\none\n" + gorSeparator + "\ntwo" + gorEnd + "2 ab 2 1\n" + ok + gorEnd,
			[]string{"inbound POST http://a/ \"one\\n" + gorSeparator + "\\ntwo\" -> 200 \"ok\" "}, nil},
		{"a cut body is kept", "1 ab 1 1\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc" + gorEnd, []string{`inbound POST http://a/ "abc" -> no answer`}, nil},
		{"replayed responses are not recorded ones", "1 ab 1 1\n" + get + gorEnd + "3 ab 2 1\n" + ok + gorEnd, []string{"inbound GET http://shop/a -> no answer"}, []string{"FILE:7: a response to a replay is left out"}},
		{"an id may come again", "1 ab 1 1\n" + get + gorEnd + "1 ab 2 1\n" + get + gorEnd, []string{"inbound GET http://shop/a -> no answer", "inbound GET http://shop/a -> no answer"}, nil},
		{"responses alone", "2 ab 1 1\n" + ok + gorEnd, nil, []string{"FILE:1: a response without its request"}},
		{"a bad record between good ones", "1 ab 1 1\n" + get + gorEnd + "1 cd 1 1\nrubbish\n" + gorEnd + "1 ef 1 1\n" + get + gorEnd,
			[]string{"inbound GET http://shop/a -> no answer", "inbound GET http://shop/a -> no answer"},
			[]string{"FILE:7: the request cannot be read: unexpected EOF"}},
	}
	for _, test := range tests {
		path := file(t, "a.gor", test.text)
		all, issues, _ := imported(t, Options{}, path)
		for i := range issues {
			issues[i] = strings.ReplaceAll(issues[i], path, "FILE")
		}
		if d := cmp.Diff(test.want, outlines(all)); d != "" {
			t.Errorf("%s: %s", test.reason, d)
		}
		if d := cmp.Diff(test.issues, issues); d != "" {
			t.Errorf("%s: issues %s", test.reason, d)
		}
	}
}

func TestGorTimes(t *testing.T) {
	all, _, _ := imported(t, Options{}, file(t, "a.gor", "1 932c00508a2b3c4d5e6f7081 1767225600000000000 1000\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"+gorEnd+
		"2 932c00508a2b3c4d5e6f7081 1767225600012000000 800000\nHTTP/1.1 204 No Content\r\n\r\n"+gorEnd))
	x := all[0]
	if want := time.Unix(1767225600, 0); !x.Start.Equal(want) || x.FirstByte != 12*time.Millisecond || x.Duration != 12800*time.Microsecond || x.Origin.Connection != "932c00508a2b3c4d" {
		t.Errorf("start %v, first byte %v, duration %v, connection %q", x.Start, x.FirstByte, x.Duration, x.Origin.Connection)
	}
}

func TestGorInPartsAndGzip(t *testing.T) {
	folder := t.TempDir()
	for i := range 2 {
		var b bytes.Buffer
		for member := range 2 { // GoReplay appends a member with each run
			zw := gzip.NewWriter(&b)
			fmt.Fprintf(zw, "1 %d%d %d 1\nGET /%d/%d HTTP/1.1\r\nHost: a\r\n\r\n%s", i, member, 10*i+member, i, member, gorEnd)
			zw.Close()
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("log_%d.gz", i)), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{folder, filepath.Join(folder, "log_*.gz")} {
		all, _, counts := imported(t, Options{}, path)
		sameLines(t, outlines(all), []string{"inbound GET http://a/0/0 -> no answer", "inbound GET http://a/0/1 -> no answer", "inbound GET http://a/1/0 -> no answer", "inbound GET http://a/1/1 -> no answer"})
		if counts.Files != 2 {
			t.Errorf("counts %+v", counts)
		}
	}
}

func TestGorRoundTrip(t *testing.T) {
	all, _, _ := imported(t, Options{}, "testdata/goreplay.gor")
	var b bytes.Buffer
	var lost []string
	w := NewGorWriter(&b, func(i Issue) { lost = append(lost, i.Reason) })
	for _, x := range append(all, &traffic.Exchange{Direction: traffic.Outbound}) {
		if err := w.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	again, _, _ := imported(t, Options{}, file(t, "b.gor", b.String()))
	sameLines(t, outlines(again), outlines(all))
	for i := range min(len(all), len(again)) {
		if a, b := all[i], again[i]; !a.Start.Equal(b.Start) || a.FirstByte != b.FirstByte || a.Duration != b.Duration {
			t.Errorf("%s: times %v %v %v became %v %v %v", a.ID, a.Start, a.FirstByte, a.Duration, b.Start, b.FirstByte, b.Duration)
		}
	}
	sameLines(t, lost, []string{"gor holds no calls to dependencies"})
}

func TestStrictEndsAtTheFirstUnreadableRecord(t *testing.T) {
	path := file(t, "a.gor", "1 ab 1 1\nrubbish\n"+gorEnd+"1 ef 1 1\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"+gorEnd)
	_, err := Read(context.Background(), []string{path}, Options{Strict: true}, func(*traffic.Exchange) error { return nil })
	if err == nil || !strings.Contains(err.Error(), path+":1: the request cannot be read") {
		t.Errorf("error %v", err)
	}
}

func TestRecordsAboveTheBoundAreSkipped(t *testing.T) {
	path := file(t, "a.gor", "1 ab 1 1\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n"+gorEnd+"1 cd 2 1\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n"+strings.Repeat("x", 5000)+gorEnd+"1 ef 3 1\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"+gorEnd)
	all, issues, _ := imported(t, Options{MaxRecord: 1000}, path)
	sameLines(t, outlines(all), []string{"inbound GET http://a/1 -> no answer", "inbound GET http://a/2 -> no answer"})
	sameLines(t, issues, []string{path + ":7: the record is over 1000 bytes"})
}

func TestSeparatorsWithoutRecordsAreBounded(t *testing.T) {
	path := file(t, "a.gor", "1 ab 1 1\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n"+strings.Repeat(gorEnd+"no header", 200)+gorEnd+"1 ef 3 1\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"+gorEnd)
	all, issues, _ := imported(t, Options{MaxRecord: 1000}, path)
	sameLines(t, outlines(all), []string{"inbound GET http://a/2 -> no answer"})
	if len(issues) < 2 || issues[0] != path+":1: the record is over 1000 bytes" {
		t.Errorf("issues %v", issues)
	}
}

func FuzzGor(f *testing.F) {
	f.Add([]byte("1 ab 1 1\nGET / HTTP/1.1\r\nHost: a\r\n\r\n" + gorEnd + "2 ab 2 1\nHTTP/1.1 200 OK\r\n\r\nx" + gorEnd))
	f.Add([]byte("1 ab 1 1\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n" + gorEnd))
	f.Add([]byte("2 ab 9223372036854775807 -9223372036854775808\nHTTP/1.1 200 OK\r\n\r\n" + gorEnd + "1 ab -1 1\nGET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(fuzzReader(GoReplay))
}
