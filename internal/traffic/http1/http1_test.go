package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestReadHead(t *testing.T) {
	tests := []struct {
		reason, text string
		start        string
		fields       traffic.Header
		err          error
	}{
		{"spelling and order stay", "GET / HTTP/1.1\r\nhOst: a\r\nX:1\r\nx:  2 \r\n\r\n", "GET / HTTP/1.1", traffic.Header{{Name: "hOst", Value: "a"}, {Name: "X", Value: "1"}, {Name: "x", Value: "2"}}, nil},
		{"bare line feeds", "GET / HTTP/1.1\nA: b\n\n", "GET / HTTP/1.1", traffic.Header{{Name: "A", Value: "b"}}, nil},
		{"empty lines before", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1", traffic.Header{}, nil},
		{"a folded line", "GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", "GET / HTTP/1.1", traffic.Header{{Name: "A", Value: "b c"}}, nil},
		{"a line longer than the buffer", "GET /" + strings.Repeat("x", 5000) + " HTTP/1.1\r\n\r\n", "GET /" + strings.Repeat("x", 5000) + " HTTP/1.1", traffic.Header{}, nil},
		{"nothing", "", "", nil, io.EOF},
		{"cut off", "GET / HTTP/1.1\r\nA: b\r\n", "", nil, io.ErrUnexpectedEOF},
		{"no colon", "GET / HTTP/1.1\r\nrubbish\r\n\r\n", "", nil, ErrBadHead},
		{"no name", "GET / HTTP/1.1\r\n: x\r\n\r\n", "", nil, ErrBadHead},
		{"folded first", "GET / HTTP/1.1\r\n x\r\n\r\n", "", nil, ErrBadHead},
		{"a million fields", "GET / HTTP/1.1\r\n" + strings.Repeat("a:b\n", 1e6) + "\r\n", "", nil, ErrHeadTooLarge},
		{"many fields", "GET / HTTP/1.1\r\n" + strings.Repeat("a:b\n", MaxHeadFields+1) + "\r\n", "", nil, ErrHeadTooLarge},
	}
	for _, test := range tests {
		h, err := ReadHead(bufio.NewReaderSize(strings.NewReader(test.text), 64))
		if !errors.Is(err, test.err) {
			t.Errorf("%s: error %v, want %v", test.reason, err, test.err)
		}
		if err == nil && (h.Start != test.start || cmp.Diff(test.fields, h.Fields) != "") {
			t.Errorf("%s: start %q, fields %v", test.reason, h.Start, h.Fields)
		}
	}
}

func TestFramingOfResponses(t *testing.T) {
	length := traffic.Header{{Name: "Content-Length", Value: "5"}}
	tests := []struct {
		reason string
		method string
		status int
		fields traffic.Header
		want   Framing
		err    error
	}{
		{"by length", "GET", 200, length, Framing{ByLength, 5}, nil},
		{"no body to HEAD", "HEAD", 200, length, Framing{}, nil},
		{"no body in 304", "GET", 304, length, Framing{}, nil},
		{"until the connection ends", "GET", 200, nil, Framing{Kind: ByClose}, nil},
		{"chunks win", "GET", 200, append(traffic.Header{{Name: "Transfer-Encoding", Value: "gzip, Chunked"}}, length...), Framing{Kind: ByChunks}, nil},
		{"another coding ends with the connection", "GET", 200, traffic.Header{{Name: "Transfer-Encoding", Value: "gzip"}}, Framing{Kind: ByClose}, nil},
		{"equal lengths", "GET", 200, traffic.Header{{Name: "Content-Length", Value: "5, 5"}}, Framing{ByLength, 5}, nil},
		{"lengths that differ", "GET", 200, traffic.Header{{Name: "Content-Length", Value: "5, 6"}}, Framing{}, ErrBadFraming},
		{"an absurd length", "GET", 200, traffic.Header{{Name: "Content-Length", Value: "99999999999999999999"}}, Framing{}, ErrBadFraming},
	}
	for _, test := range tests {
		if got, err := ResponseFraming(test.method, test.status, test.fields); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %+v, %v; want %+v, %v", test.reason, got, err, test.want, test.err)
		}
	}
}

func TestPourRefuses(t *testing.T) {
	for reason, text := range map[string]string{
		"an absurd chunk size": "fffffffffffffffff\r\n",
		"a negative one":       "-1\r\n",
		"no size":              ";x\r\n",
		"a chunk too long":     "1\r\nab\r\n0\r\n\r\n",
		"a cut chunk":          "5\r\nab",
		"a cut trailer":        "0\r\nA: b\r\n",
		"a bad trailer":        "0\r\nrubbish\r\n\r\n",
	} {
		var dst bytes.Buffer
		_, err := Pour(bufio.NewWriter(&dst), bufio.NewReader(strings.NewReader(text)), Framing{Kind: ByChunks}, &Keep{Limit: 10})
		if source := (*SourceError)(nil); !errors.As(err, &source) {
			t.Errorf("%s: error %v", reason, err)
		}
	}
}

// FuzzMessage holds the promise of the package: what is read goes on
// unchanged, and nothing is kept above the limit.
func FuzzMessage(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\n")
	f.Add("HTTP/1.1 200 OK\r\n\r\nuntil the end")
	f.Add("HTTP/1.0 204 \r\nContent-Length: -1\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := bufio.NewReaderSize(strings.NewReader(text), 16)
		h, err := ReadHead(r)
		if err != nil {
			return
		}
		if !strings.Contains(text, string(h.Wire)) {
			t.Fatalf("the head is not part of what was sent: %q", h.Wire)
		}
		method, _, _, requestErr := h.RequestLine()
		_, status, statusErr := h.StatusLine()
		if requestErr == nil && statusErr == nil {
			t.Fatalf("%q is a request and a response", h.Start)
		}
		body, err := RequestFraming(h.Fields)
		if statusErr == nil {
			body, err = ResponseFraming(method, status, h.Fields)
		}
		if err != nil || requestErr != nil && statusErr != nil {
			return
		}
		var dst bytes.Buffer
		keep := &Keep{Limit: 8}
		if _, err := Pour(bufio.NewWriter(&dst), r, body, keep); err != nil {
			return
		}
		if !strings.Contains(text, string(h.Wire)+dst.String()) {
			t.Fatalf("%q went on as %q", text, string(h.Wire)+dst.String())
		}
		if b := keep.Body(h.Fields); int64(len(b.Raw)) > keep.Limit || b.Truncated != (b.Size > int64(len(b.Raw))) {
			t.Fatalf("kept %d of %d bytes, truncated %v", len(b.Raw), b.Size, b.Truncated)
		}
	})
}
