package formats

import (
	"bufio"
	"bytes"
	"container/list"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
)

// gorSeparator is the line that ends a record of GoReplay.
const gorSeparator = "🐵🙈🙉"

// Bounds of the requests that wait for their responses.
const (
	gorPending      = 10_000
	gorPendingBytes = 64 << 20
)

// gorRecord is one record: a header line and an HTTP message as on the wire.
type gorRecord struct {
	kind    byte // 1 request, 2 response, 3 response to a replay
	id      string
	at      time.Time
	latency time.Duration // download time of the message; negative when unknown
	payload []byte
	place   place
}

// gorReader reads records and pairs requests with responses by id.
type gorReader struct {
	s       *source
	line    int
	offset  int64
	pending map[string]*list.Element
	order   list.List // of *gorRequest, oldest first
	bytes   int
	broken  map[string]bool // ids of requests that could not be read
	// early are responses that stand before their requests: GoReplay writes
	// what it has assembled, in the order in which that ended.
	early      map[string]*gorRecord
	earlyOrder []string
	earlyBytes int
}

type gorRequest struct {
	x  *traffic.Exchange
	id string
	at place
}

// readGor reads what GoReplay's --output-file writes. Records that are cut off
// at the end of the file are read too, which GoReplay itself does not.
func readGor(s *source) error {
	g := &gorReader{s: s, line: 1, pending: map[string]*list.Element{}, broken: map[string]bool{}, early: map[string]*gorRecord{}}
	var joined []byte // payloads that belong together: a body held the separator
	var current *gorRecord
	flush := func() error {
		if current == nil {
			return nil
		}
		record := current
		current = nil
		record.payload, joined = joined, nil
		return g.record(record)
	}
	for {
		at := place{g.line, g.offset}
		segment, end, tooLarge, err := g.segment()
		if err != nil {
			return err
		}
		record := parseGorHeader(segment)
		switch {
		case tooLarge:
			if err := errors.Join(flush(), s.unreadable(at, "the record is over %d bytes", s.opts.MaxRecord)); err != nil {
				return err
			}
		case record != nil:
			if err := flush(); err != nil {
				return err
			}
			record.place = at
			current, joined = record, record.payload
		case current != nil && int64(len(joined)+len(segment)) > s.opts.MaxRecord:
			at := current.place
			current, joined = nil, nil
			if err := s.unreadable(at, "the record is over %d bytes", s.opts.MaxRecord); err != nil {
				return err
			}
		case current != nil && len(segment) > 0:
			joined = append(append(joined, "\n"+gorSeparator+"\n"...), segment...)
		case len(bytes.TrimSpace(segment)) > 0:
			if err := s.unreadable(at, "the header line of the record is not type, id and time"); err != nil {
				return err
			}
		}
		if end {
			break
		}
	}
	if err := flush(); err != nil {
		return err
	}
	for g.order.Len() > 0 {
		if err := g.release(g.order.Front()); err != nil {
			return err
		}
	}
	return g.dropEarly(0, 0)
}

// segment reads up to the next separator line. end says that the file is over.
func (g *gorReader) segment() (segment []byte, end, tooLarge bool, err error) {
	lineStart := 0
	for {
		part, err := g.s.r.ReadSlice('\n')
		g.offset += int64(len(part))
		if int64(len(segment)+len(part)) > g.s.opts.MaxRecord+64 {
			segment, lineStart, tooLarge = segment[:0], 0, true
		}
		segment = append(segment, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF:
			if string(segment[lineStart:]) == gorSeparator {
				segment = bytes.TrimSuffix(segment[:lineStart], []byte("\n"))
			}
			return segment, true, tooLarge, nil
		case err != nil:
			return nil, true, false, err
		}
		g.line++
		if string(bytes.TrimRight(segment[lineStart:], "\r\n")) == gorSeparator {
			return bytes.TrimSuffix(segment[:lineStart], []byte("\n")), false, tooLarge, nil
		}
		lineStart = len(segment)
	}
}

// parseGorHeader reads "1 id time latency"; nil when it is not one. The latency
// is missing in old files.
func parseGorHeader(segment []byte) *gorRecord {
	line, payload, _ := bytes.Cut(segment, []byte("\n"))
	if !gorHeader.Match(append(line[:len(line):len(line)], '\n')) {
		return nil
	}
	fields := strings.Fields(string(line))
	nanos, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return nil
	}
	r := &gorRecord{kind: fields[0][0], id: fields[1], at: time.Unix(0, nanos).UTC(), latency: -1, payload: payload}
	if len(fields) > 3 {
		if n, err := strconv.ParseInt(fields[3], 10, 64); err == nil {
			r.latency = time.Duration(n)
		}
	}
	return r
}

func (g *gorReader) record(r *gorRecord) error {
	switch r.kind {
	case '1':
		return g.request(r)
	case '2':
		return g.response(r)
	}
	return g.s.note(r.place, "a response to a replay is left out")
}

func (g *gorReader) request(r *gorRecord) error {
	request, incomplete, err := parseRequest(r.payload)
	if err != nil {
		if len(g.broken) < gorPending {
			g.broken[r.id] = true
		}
		return g.s.unreadable(r.place, "the request cannot be read: %v", err)
	}
	x := &traffic.Exchange{Direction: g.s.opts.direction(request, traffic.Inbound), Start: r.at, Request: *request, Incomplete: incomplete}
	x.Origin.Source = string(GoReplay)
	if len(r.id) == 24 { // addresses and ports, then the number of the segment
		x.Origin.Connection = r.id[:16]
	}
	if before, ok := g.pending[r.id]; ok {
		if err := g.release(before); err != nil {
			return err
		}
	}
	g.pending[r.id] = g.order.PushBack(&gorRequest{x, r.id, r.place})
	g.bytes += len(r.payload)
	if response := g.early[r.id]; response != nil {
		delete(g.early, r.id)
		g.earlyBytes -= len(response.payload)
		return g.response(response)
	}
	for len(g.pending) > gorPending || g.bytes > gorPendingBytes {
		if err := g.release(g.order.Front()); err != nil {
			return err
		}
	}
	return nil
}

func (g *gorReader) response(r *gorRecord) error {
	waiting, ok := g.pending[r.id]
	if !ok && g.broken[r.id] {
		delete(g.broken, r.id)
		return g.s.note(r.place, "the response is left out with its unreadable request")
	}
	if !ok {
		g.early[r.id] = r
		g.earlyOrder = append(g.earlyOrder, r.id)
		g.earlyBytes += len(r.payload)
		return g.dropEarly(gorPending, gorPendingBytes)
	}
	x := waiting.Value.(*gorRequest).x
	response, incomplete, err := parseResponse(r.payload, x.Request.Method)
	if err != nil {
		x.Failure = traffic.FailureProtocol
		if err := g.s.note(r.place, "the response cannot be read: %v", err); err != nil {
			return err
		}
		return g.release(waiting)
	}
	x.Response = response
	x.Incomplete = append(x.Incomplete, incomplete...)
	if wait := r.at.Sub(x.Start); wait >= 0 {
		x.FirstByte, x.Duration = wait, wait+max(r.latency, 0)
	} else if err := g.s.note(r.place, "the response is older than its request; its times are left out"); err != nil {
		return err
	}
	return g.release(waiting)
}

// dropEarly gives up the oldest responses without a request, until no more
// than so many are left.
func (g *gorReader) dropEarly(count, size int) error {
	for len(g.earlyOrder) > 0 && (len(g.early) > count || g.earlyBytes > size || len(g.earlyOrder) > 4*gorPending) {
		r := g.early[g.earlyOrder[0]]
		delete(g.early, g.earlyOrder[0])
		g.earlyOrder = g.earlyOrder[1:]
		if r == nil {
			continue // it was paired
		}
		g.earlyBytes -= len(r.payload)
		if err := g.s.unreadable(r.place, "a response without its request"); err != nil {
			return err
		}
	}
	return nil
}

// release hands on a request with what is known of its response.
func (g *gorReader) release(e *list.Element) error {
	r := g.order.Remove(e).(*gorRequest)
	delete(g.pending, r.id)
	g.bytes -= len(r.x.Request.Body.Raw)
	g.bytes = max(g.bytes, 0)
	return g.s.emit(r.x)
}

// parseRequest reads a request from all of its bytes. What is known to be
// missing of its body comes back as phrases.
func parseRequest(payload []byte) (*traffic.Request, []string, error) {
	r := bufio.NewReader(bytes.NewReader(payload))
	h, err := http1.ReadHead(r)
	if err != nil {
		return nil, nil, err
	}
	method, target, proto, err := h.RequestLine()
	if err != nil {
		return nil, nil, err
	}
	framing, err := http1.RequestFraming(h.Fields)
	if err != nil {
		return nil, nil, err
	}
	base, target := http1.OriginForm(target)
	scheme, authority, _ := strings.Cut(base, "://")
	if base == "" {
		scheme, authority = "http", h.Fields.Get("Host")
	}
	request := &traffic.Request{Method: method, Scheme: strings.ToLower(scheme), Authority: strings.ToLower(authority), Target: target, Proto: proto, Header: h.Fields.WithoutHopByHop()}
	var incomplete []string
	request.Body, request.Trailer, incomplete = parseBody(r, framing, h.Fields, "request")
	return request, incomplete, nil
}

// parseResponse reads a response; interim ones before it are passed over.
func parseResponse(payload []byte, method string) (*traffic.Response, []string, error) {
	r := bufio.NewReader(bytes.NewReader(payload))
	for {
		h, err := http1.ReadHead(r)
		if err != nil {
			return nil, nil, err
		}
		proto, status, err := h.StatusLine()
		if err != nil {
			return nil, nil, err
		}
		if status < 200 && status != 101 {
			continue
		}
		framing, err := http1.ResponseFraming(method, status, h.Fields)
		if err != nil {
			return nil, nil, err
		}
		response := &traffic.Response{Status: status, Proto: proto, Header: h.Fields.WithoutHopByHop()}
		var incomplete []string
		response.Body, response.Trailer, incomplete = parseBody(r, framing, h.Fields, "response")
		return response, incomplete, nil
	}
}

// parseBody reads a body that lies in memory. Tools that decode bodies leave
// the framing of the wire behind; such a body is taken as it is.
func parseBody(r *bufio.Reader, f http1.Framing, fields traffic.Header, part string) (traffic.Body, traffic.Header, []string) {
	rest, _ := io.ReadAll(r)
	keep := &http1.Keep{Limit: int64(len(rest))}
	trailer, err := http1.Pour(bufio.NewWriterSize(io.Discard, 16), bufio.NewReader(bytes.NewReader(rest)), f, keep)
	if err == nil {
		return keep.Body(fields), trailer, nil
	}
	body := keep.Body(fields)
	if f.Kind == http1.ByChunks && errors.Is(err, http1.ErrBadChunk) {
		body = traffic.NewBody(rest, fields) // chunks were undone already
		return body, nil, nil
	}
	body.Truncated = true
	if f.Kind == http1.ByLength {
		body.Size = f.Length
	}
	return body, trailer, []string{part + " body incomplete"}
}
