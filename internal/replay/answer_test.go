package replay

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzAnswer reads anything as an answer. Whether it is kept or only counted,
// and however the bytes arrive, the outcome must be the same, and what net/http
// accepts without reservation must come out with the same status and body.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nA;b=c\r\n0123456789\r\n00\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nall the rest",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 304\n\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabcd",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nabc",
		"HTTP/1.1 200 OK\r\n",
		"garbage", "", "\r\n\r\n", "HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, headRequest bool) {
		method := "GET"
		if headRequest {
			method = "HEAD"
		}
		const limit = 1 << 10
		kept, err := newAnswerReader(bytes.NewReader(wire)).read(method, true, limit, stream{})
		counted, errCounted := newAnswerReader(bytes.NewReader(wire)).read(method, false, limit, stream{})
		slow, errSlow := newAnswerReader(iotest.OneByteReader(bytes.NewReader(wire))).read(method, true, limit, stream{})
		if (err == nil) != (errCounted == nil) || kept.status != counted.status || kept.size != counted.size || kept.reusable != counted.reusable {
			t.Fatalf("kept %+v (%v), counted %+v (%v)", kept, err, counted, errCounted)
		}
		if (err == nil) != (errSlow == nil) || kept.size != slow.size || !bytes.Equal(kept.body, slow.body) || len(kept.header) != len(slow.header) {
			t.Fatalf("at once %+v (%v), byte by byte %+v (%v)", kept, err, slow, errSlow)
		}
		if int64(len(kept.body)) != kept.size || kept.size > limit {
			t.Fatalf("%d bytes kept of %d", len(kept.body), kept.size)
		}
		if err != nil || kept.truncated || kept.status == 101 || bytes.Contains(wire, []byte("HTTP/1.1 1")) {
			return
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(wire)), &http.Request{Method: method})
		if err != nil {
			return // stricter than we are: an empty reason, a header name it does not like
		}
		body, err := io.ReadAll(want.Body)
		if err == nil && (want.StatusCode != kept.status || want.ProtoAtLeast(1, 1) && !bytes.Equal(body, kept.body)) {
			t.Fatalf("net/http reads status %d and %q, we read %d and %q", want.StatusCode, body, kept.status, kept.body)
		}
	})
}

func TestAnswersOfOneConnectionFollowEachOther(t *testing.T) {
	wire := strings.Repeat("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"+
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 3)
	// One answer arrives at a time: what comes early is a fault.
	r := newAnswerReader(nil)
	for i, one := range strings.SplitAfter(wire, "HTTP/1.1 ")[1:] {
		r.src = strings.NewReader("HTTP/1.1 " + strings.TrimSuffix(one, "HTTP/1.1 "))
		ans, err := r.read("GET", false, 100, stream{})
		if err != nil || !ans.reusable || ans.size != []int64{5, 2}[i%2] {
			t.Fatalf("answer %d: %+v, %v", i, ans, err)
		}
	}
	r.src = strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n")
	if ans, err := r.read("GET", false, 100, stream{}); err != nil || ans.reusable {
		t.Fatalf("bytes after the answer leave the connection usable: %+v, %v", ans, err)
	}
	if _, err := r.read("GET", false, 100, stream{}); err == nil {
		t.Fatal("bytes from before the request were taken for its answer")
	}
}

func TestCountingDoesNotAllocate(t *testing.T) {
	const wire = "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 08:00:00 GMT\r\nContent-Type: application/json\r\n" +
		"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n100\r\n"
	whole := []byte(wire + strings.Repeat("x", 256) + "\r\n0\r\n\r\n")
	source := bytes.NewReader(whole)
	r := newAnswerReader(source)
	allocs := testing.AllocsPerRun(100, func() {
		source.Reset(whole)
		if ans, err := r.read("GET", false, 1<<20, stream{}); err != nil || ans.size != 256 {
			t.Fatal(ans, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for an answer that is only counted", allocs)
	}
}
