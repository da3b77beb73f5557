package formats

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// HARWriter writes exchanges as an HTTP archive (HAR 1.2). It is not safe for
// concurrent use.
type HARWriter struct {
	w       io.Writer
	report  func(Issue)
	entries int
	err     error
}

// NewHARWriter writes to w, which the caller closes after Close. report, which
// may be nil, receives what the format cannot hold.
func NewHARWriter(w io.Writer, version string, report func(Issue)) *HARWriter {
	if report == nil {
		report = func(Issue) {}
	}
	h := &HARWriter{w: w, report: report}
	creator, _ := json.Marshal(map[string]string{"name": "reprise", "version": version})
	h.write(`{"log":{"version":"1.2","creator":` + string(creator) + `,"entries":[`)
	return h
}

func (h *HARWriter) write(text string) {
	if h.err == nil {
		if _, err := io.WriteString(h.w, text); err != nil {
			h.err = fmt.Errorf("write har: %w", err)
		}
	}
}

// Add writes one exchange. Bodies are written decoded, as HAR asks.
func (h *HARWriter) Add(x *traffic.Exchange) error {
	entry := h.entry(x)
	data, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("write har: %s: %w", x.ID, err)
	}
	if h.entries > 0 {
		h.write(",")
	}
	h.entries++
	h.write("\n" + string(data))
	return h.err
}

// Close ends the archive.
func (h *HARWriter) Close() error {
	h.write("\n]}}\n")
	return h.err
}

func (h *HARWriter) entry(x *traffic.Exchange) *harEntry {
	e := &harEntry{
		Started: x.Start.UTC().Format(time.RFC3339Nano), Time: msOf(x.Duration), Connection: x.Origin.Connection,
		Timings: harTimings{Blocked: -1, DNS: -1, Connect: -1, SSL: -1, Wait: msOf(x.FirstByte), Receive: msOf(x.Duration - x.FirstByte)},
		Reprise: &harReprise{
			ID: x.ID, Direction: x.Direction, Lane: x.Lane, Certainty: x.Origin.Certainty, Source: x.Origin.Source,
			Failure: x.Failure, Incomplete: x.Incomplete, RequestTrailer: harPairs(x.Request.Trailer),
		},
	}
	r := &x.Request
	e.Request = harRequest{
		Method: r.Method, URL: r.URL(), HTTPVersion: r.Proto, Headers: harList(r.Header), Cookies: harCookies(r.Header, "Cookie"),
		Query: harQuery(r), HeadersSize: -1, BodySize: int64(len(r.Body.Raw)),
	}
	if plain := h.plain(x.ID, "request", r.Body); len(plain) > 0 {
		post := &harPost{MimeType: r.Header.Get("Content-Type"), Text: string(plain)}
		if !utf8.Valid(plain) {
			post.Text, post.Encoding = base64.StdEncoding.EncodeToString(plain), "base64"
			h.report(Issue{File: x.ID, Reason: "har holds no binary request bodies; it is written in base64, as HAR 1.3 proposes"})
		}
		e.Request.PostData = post
	}
	read, _, err := harReadRequest(&e.Request)
	if err != nil { // a head that no URL can hold
		read = &traffic.Request{}
	}
	e.Reprise.Request = exactRequest(r, read)
	e.Response = harResponse{HTTPVersion: r.Proto, Headers: []harPair{}, Cookies: []harPair{}, HeadersSize: -1, BodySize: -1, Error: string(x.Failure)}
	if x.Response == nil {
		return e
	}
	a := x.Response
	e.Reprise.ResponseTrailer = harPairs(a.Trailer)
	e.Response = harResponse{
		Status: a.Status, StatusText: http.StatusText(a.Status), HTTPVersion: a.Proto, Headers: harList(a.Header),
		Cookies: harCookies(a.Header, "Set-Cookie"), RedirectURL: a.Header.Get("Location"), HeadersSize: -1, BodySize: int64(len(a.Body.Raw)),
	}
	plain := h.plain(x.ID, "response", a.Body)
	e.Response.Content = harContent{Size: int64(len(plain)), MimeType: a.Header.Get("Content-Type"), Text: string(plain)}
	if !utf8.Valid(plain) {
		e.Response.Content.Text, e.Response.Content.Encoding = base64.StdEncoding.EncodeToString(plain), "base64"
	}
	if a.Body.Truncated {
		e.Response.Content.Size = max(a.Body.Size, e.Response.Content.Size)
	}
	answer, _, err := harReadResponse(&e.Response, r.Method)
	if err != nil {
		answer = &traffic.Response{}
	}
	e.Reprise.Response = exactResponse(a, answer)
	return e
}

func (h *HARWriter) plain(id, part string, b traffic.Body) []byte {
	if b.Truncated {
		h.report(Issue{File: id, Reason: "har cannot say that a " + part + " body is truncated"})
	}
	plain, err := b.Decoded()
	if err != nil {
		h.report(Issue{File: id, Reason: "the " + part + " body cannot be decoded; it is written as far as it can"})
	}
	return plain
}

func msOf(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// harList and harPairs differ in what stands for nothing: HAR demands a list.
func harList(h traffic.Header) []harPair {
	pairs := []harPair{}
	for _, f := range h {
		pairs = append(pairs, harPair(f))
	}
	return pairs
}

func harPairs(h traffic.Header) []harPair {
	if len(h) == 0 {
		return nil
	}
	return harList(h)
}

func harQuery(r *traffic.Request) []harPair {
	pairs := []harPair{}
	for pair := range strings.SplitSeq(r.RawQuery(), "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if name != "" && err1 == nil && err2 == nil {
			pairs = append(pairs, harPair{name, value})
		}
	}
	return pairs
}

func harCookies(h traffic.Header, field string) []harPair {
	pairs := []harPair{}
	for _, line := range h.Values(field) {
		for part := range strings.SplitSeq(line, ";") {
			name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
			if ok {
				pairs = append(pairs, harPair{name, value})
			}
			if field == "Set-Cookie" {
				break // attributes follow
			}
		}
	}
	return pairs
}
