package snapshot_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/reprise-ci/reprise/internal/formats"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// line is an exchange as a careful author of JSON lines would write it: short
// names, nothing that says nothing, and bodies as text where they are text.
type line struct {
	ID         string        `json:"id"`
	Outbound   bool          `json:"outbound,omitempty"`
	Lane       traffic.Lane  `json:"lane,omitempty"`
	Start      time.Time     `json:"start"`
	FirstByte  time.Duration `json:"first_byte,omitempty"`
	Duration   time.Duration `json:"duration,omitempty"`
	Source     string        `json:"source,omitempty"`
	Connection string        `json:"connection,omitempty"`
	Certainty  string        `json:"certainty,omitempty"`
	Request    lineRequest   `json:"request"`
	Response   *lineResponse `json:"response,omitempty"`
}

type lineRequest struct {
	Method    string `json:"method"`
	Scheme    string `json:"scheme"`
	Authority string `json:"authority"`
	Target    string `json:"target"`
	Proto     string `json:"proto"`
	lineMessage
}

type lineResponse struct {
	Status int    `json:"status"`
	Proto  string `json:"proto"`
	lineMessage
}

type lineMessage struct {
	Header  [][2]string `json:"header,omitempty"`
	Body    string      `json:"body,omitempty"`
	Binary  []byte      `json:"binary,omitempty"`
	Coding  string      `json:"coding,omitempty"`
	Trailer [][2]string `json:"trailer,omitempty"`
}

func lineOf(x *traffic.Exchange) *line {
	l := &line{
		ID: x.ID, Outbound: x.Direction == traffic.Outbound, Start: x.Start, FirstByte: x.FirstByte, Duration: x.Duration,
		Source: x.Origin.Source, Connection: x.Origin.Connection, Certainty: string(x.Origin.Certainty),
	}
	if string(x.Lane) != x.ID {
		l.Lane = x.Lane
	}
	q := &x.Request
	l.Request = lineRequest{q.Method, q.Scheme, q.Authority, q.Target, q.Proto, lineMessageOf(q.Header, q.Trailer, q.Body)}
	if r := x.Response; r != nil {
		l.Response = &lineResponse{r.Status, r.Proto, lineMessageOf(r.Header, r.Trailer, r.Body)}
	}
	return l
}

func lineMessageOf(header, trailer traffic.Header, b traffic.Body) lineMessage {
	pairs := func(h traffic.Header) (list [][2]string) {
		for _, f := range h {
			list = append(list, [2]string{f.Name, f.Value})
		}
		return list
	}
	m := lineMessage{Header: pairs(header), Trailer: pairs(trailer), Coding: b.Coding}
	if utf8.Valid(b.Raw) {
		m.Body = string(b.Raw)
	} else {
		m.Binary = b.Raw
	}
	return m
}

// exchange is what a program makes of a line.
func (l *line) exchange() *traffic.Exchange {
	x := &traffic.Exchange{
		ID: l.ID, Direction: traffic.Inbound, Lane: l.Lane, Start: l.Start, FirstByte: l.FirstByte, Duration: l.Duration,
		Origin: traffic.Origin{Source: l.Source, Connection: l.Connection, Certainty: traffic.Certainty(l.Certainty)},
	}
	if l.Outbound {
		x.Direction = traffic.Outbound
	}
	if x.Lane == "" {
		x.Lane = traffic.Lane(l.ID)
	}
	q := &l.Request
	x.Request = traffic.Request{Method: q.Method, Scheme: q.Scheme, Authority: q.Authority, Target: q.Target, Proto: q.Proto}
	x.Request.Header, x.Request.Trailer, x.Request.Body = q.parts()
	if r := l.Response; r != nil {
		x.Response = &traffic.Response{Status: r.Status, Proto: r.Proto}
		x.Response.Header, x.Response.Trailer, x.Response.Body = r.parts()
	}
	return x
}

func (m *lineMessage) parts() (header, trailer traffic.Header, b traffic.Body) {
	fields := func(pairs [][2]string) traffic.Header {
		h := make(traffic.Header, len(pairs))
		for i, p := range pairs {
			h[i] = traffic.Field{Name: p[0], Value: p[1]}
		}
		return h
	}
	raw := m.Binary
	if m.Body != "" {
		raw = []byte(m.Body)
	}
	return fields(m.Header), fields(m.Trailer), traffic.Body{Raw: raw, Coding: m.Coding, Size: int64(len(raw))}
}

// writeLines writes JSON lines with encoding/json.
func writeLines(t testing.TB, path string, list []*traffic.Exchange) {
	t.Helper()
	writeFile(t, path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, x := range list {
			if err := enc.Encode(lineOf(x)); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeHAR writes a HAR as reprise exports it.
func writeHAR(t testing.TB, path string, list []*traffic.Exchange) {
	t.Helper()
	writeFile(t, path, func(w io.Writer) error {
		h := formats.NewHARWriter(w, "", nil)
		for _, x := range list {
			if err := h.Add(x); err != nil {
				return err
			}
		}
		return h.Close()
	})
}

func writeFile(t testing.TB, path string, write func(io.Writer) error) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	buf := bufio.NewWriterSize(f, 1<<20)
	if err := write(buf); err != nil {
		t.Fatal(err)
	}
	if err := buf.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// squeezed returns how many bytes a file takes, compressed as one stream.
func squeezed(t testing.TB, path string, wrap func(io.Writer) (io.WriteCloser, error)) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out counter
	w, err := wrap(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, f); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return int(out)
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func gzipped(w io.Writer) (io.WriteCloser, error) {
	return gzip.NewWriterLevel(w, gzip.DefaultCompression)
}

func zstdAt(level zstd.EncoderLevel) func(io.Writer) (io.WriteCloser, error) {
	return func(w io.Writer) (io.WriteCloser, error) {
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level))
	}
}

// sizes are the bytes that exchanges take in a packed snapshot, and in what
// others would keep them in.
func sizes(t testing.TB, list []*traffic.Exchange) map[string]float64 {
	t.Helper()
	dir := t.TempDir()
	packed, lines, har := filepath.Join(dir, "s.rpk"), filepath.Join(dir, "s.jsonl"), filepath.Join(dir, "s.har")
	write(t, packed, list)
	writeLines(t, lines, list)
	writeHAR(t, har, list)
	info, err := os.Stat(packed)
	if err != nil {
		t.Fatal(err)
	}
	n := float64(len(list))
	return map[string]float64{
		"reprise":     float64(info.Size()) / n,
		"zstd-lines":  float64(squeezed(t, lines, zstdAt(zstd.SpeedDefault))) / n,
		"zstd+-lines": float64(squeezed(t, lines, zstdAt(zstd.SpeedBetterCompression))) / n,
		"gzip-har":    float64(squeezed(t, har, gzipped)) / n,
	}
}

// The goals hold on a recording of the example's size already, where the
// routes and the first of everything weigh most.
func TestSizes(t *testing.T) {
	got := sizes(t, varied(t, 1500))
	for peer, most := range map[string]float64{"zstd-lines": 0.9, "zstd+-lines": 0.9, "gzip-har": 0.35} {
		if ratio := got["reprise"] / got[peer]; ratio > most {
			t.Errorf("%.1f bytes for an exchange, %.2f of %s: at most %.2f", got["reprise"], ratio, peer, most)
		}
	}
}
