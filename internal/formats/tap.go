package formats

import (
	"bytes"
	"container/list"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Bounds of the streamed traces that are put together at once.
const (
	tapOpen      = 10_000
	tapOpenBytes = 64 << 20
)

// tapMessage is one side of a trace.
type tapMessage struct {
	seen      bool
	header    traffic.Header // pseudo fields included
	trailer   traffic.Header
	body      []byte
	truncated bool
	at        time.Time
}

// tapTrace is a trace, whole or as far as its segments have come.
type tapTrace struct {
	id                uint64
	request, response tapMessage
	place             place
}

// tapReader reads Envoy's taps.
type tapReader struct {
	s     *source
	open  map[uint64]*list.Element // of *tapTrace
	order list.List
	bytes int
	timed bool // it was said that there are no times
}

// readTap reads what Envoy's tap filter writes: JSON objects one after the
// other, or wrappers delimited by their length.
func readTap(s *source) error {
	t := &tapReader{s: s, open: map[uint64]*list.Element{}}
	first, _ := s.r.Peek(1)
	var err error
	if len(first) == 1 && (first[0] == '{' || first[0] <= ' ' && first[0] != 0 && !isTapFile(s)) {
		err = t.readJSON()
	} else {
		err = t.readProto()
	}
	for err == nil && t.order.Len() > 0 {
		err = t.close(t.order.Front())
	}
	return err
}

func isTapFile(s *source) bool {
	head, _ := s.r.Peek(64)
	return isTapStart(head)
}

func (t *tapReader) readJSON() error {
	l := newJSONList(t.s)
	for {
		l.bound.reset()
		at := place{offset: l.d.InputOffset()}
		var wrapper tapObject
		err := l.d.Decode(&wrapper)
		var wrong *json.UnmarshalTypeError
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &wrong):
			err = t.s.unreadable(at, "not an object")
		case err != nil:
			return t.s.rest(at, err)
		default:
			err = t.object(at, wrapper)
		}
		if err != nil {
			return err
		}
	}
}

// tapObject is a JSON object whose names may be in snake or in camel case, as
// Envoy's versions differ.
type tapObject map[string]json.RawMessage

func (o tapObject) raw(name string) json.RawMessage {
	if v, ok := o[name]; ok {
		return v
	}
	plain := strings.ReplaceAll(name, "_", "")
	for k, v := range o {
		if strings.EqualFold(k, plain) {
			return v
		}
	}
	return nil
}

func (o tapObject) object(name string) tapObject {
	var v tapObject
	_ = json.Unmarshal(o.raw(name), &v)
	return v
}

func (o tapObject) text(name string) string {
	var v string
	_ = json.Unmarshal(o.raw(name), &v)
	return v
}

func (t *tapReader) object(at place, wrapper tapObject) error {
	if trace := wrapper.object("http_buffered_trace"); trace != nil {
		whole := &tapTrace{place: at}
		whole.request.fromJSON(trace.object("request"))
		whole.response.fromJSON(trace.object("response"))
		return t.emit(whole)
	}
	segment := wrapper.object("http_streamed_trace_segment")
	if segment == nil {
		return t.s.unreadable(at, "not a trace of HTTP")
	}
	id, err := strconv.ParseUint(strings.Trim(string(segment.raw("trace_id")), `"`), 10, 64)
	if err != nil {
		return t.s.unreadable(at, "the segment has no trace id")
	}
	for _, part := range []struct {
		name     string
		response bool
		kind     byte
	}{
		{"request_headers", false, 'h'}, {"request_body_chunk", false, 'b'}, {"request_trailers", false, 't'},
		{"response_headers", true, 'h'}, {"response_body_chunk", true, 'b'}, {"response_trailers", true, 't'},
	} {
		value := segment.object(part.name)
		if value == nil {
			continue
		}
		var m tapMessage
		switch part.kind {
		case 'b':
			m.bodyFromJSON(value)
		case 'h':
			m.header = tapFields(value.raw("headers"))
		case 't':
			m.trailer = tapFields(value.raw("headers"))
		}
		return t.segment(at, id, part.response, part.kind, m)
	}
	return t.s.unreadable(at, "the segment is of no known kind")
}

func (m *tapMessage) fromJSON(o tapObject) {
	m.header, m.trailer = tapFields(o.raw("headers")), tapFields(o.raw("trailers"))
	m.seen = len(m.header) > 0
	m.bodyFromJSON(o.object("body"))
	m.at, _ = time.Parse(time.RFC3339Nano, o.text("headers_received_time"))
}

func (m *tapMessage) bodyFromJSON(o tapObject) {
	m.body = []byte(o.text("as_string"))
	if raw := o.raw("as_bytes"); raw != nil {
		_ = json.Unmarshal(raw, &m.body)
	}
	m.truncated = string(o.raw("truncated")) == "true"
}

func tapFields(raw json.RawMessage) traffic.Header {
	var pairs []tapObject
	_ = json.Unmarshal(raw, &pairs)
	var h traffic.Header
	for _, p := range pairs {
		value := p.text("value")
		if raw := p.raw("raw_value"); raw != nil {
			var b []byte
			_ = json.Unmarshal(raw, &b)
			value = string(b)
		}
		h.Add(p.text("key"), value)
	}
	return h
}

// segment adds a piece to its trace. Trace ids come again: a new head of a
// request starts a new trace.
func (t *tapReader) segment(at place, id uint64, response bool, kind byte, piece tapMessage) error {
	e, ok := t.open[id]
	if ok && kind == 'h' && !response && e.Value.(*tapTrace).request.seen {
		if err := t.close(e); err != nil {
			return err
		}
		ok = false
	}
	if !ok {
		e = t.order.PushBack(&tapTrace{id: id, place: at})
		t.open[id] = e
	}
	m := &e.Value.(*tapTrace).request
	if response {
		m = &e.Value.(*tapTrace).response
	}
	switch kind {
	case 'h':
		m.header, m.seen = piece.header, true
	case 't':
		m.trailer = piece.trailer
	case 'b':
		if int64(len(m.body)+len(piece.body)) > t.s.opts.MaxRecord {
			m.truncated = true
			break
		}
		t.bytes += len(piece.body)
		m.body = append(m.body, piece.body...)
		m.truncated = m.truncated || piece.truncated
	}
	for t.order.Len() > tapOpen || t.bytes > tapOpenBytes && t.order.Len() > 1 {
		if err := t.close(t.order.Front()); err != nil {
			return err
		}
	}
	return nil
}

func (t *tapReader) close(e *list.Element) error {
	trace := t.order.Remove(e).(*tapTrace)
	delete(t.open, trace.id)
	t.bytes -= len(trace.request.body) + len(trace.response.body)
	return t.emit(trace)
}

func (t *tapReader) emit(trace *tapTrace) error {
	r := &trace.request
	if !r.seen {
		return t.s.unreadable(trace.place, "the trace has no request")
	}
	x := &traffic.Exchange{Start: r.at}
	x.Request = traffic.Request{
		Method: r.header.Get(":method"), Scheme: strings.ToLower(r.header.Get(":scheme")), Target: r.header.Get(":path"),
		Authority: strings.ToLower(r.header.Get(":authority")), Proto: "HTTP/1.1", Trailer: r.trailer,
	}
	if x.Request.Scheme != "https" {
		x.Request.Scheme = "http"
	}
	if x.Request.Authority == "" {
		x.Request.Authority = strings.ToLower(r.header.Get("Host"))
	}
	if x.Request.Method == "" || x.Request.Target == "" {
		return t.s.unreadable(trace.place, "the request has no method or path")
	}
	x.Request.Header, x.Request.Body = r.parts(x, "request")
	x.Direction = t.s.opts.direction(&x.Request, traffic.Inbound)
	x.Origin.Source = string(EnvoyTap)
	if a := &trace.response; a.seen {
		status, err := strconv.Atoi(a.header.Get(":status"))
		if err != nil || status < 100 || status > 999 {
			return t.s.unreadable(trace.place, "the response has no status")
		}
		x.Response = &traffic.Response{Status: status, Proto: "HTTP/1.1", Trailer: a.trailer}
		x.Response.Header, x.Response.Body = a.parts(x, "response")
		if !a.at.IsZero() && !r.at.IsZero() {
			x.FirstByte = max(a.at.Sub(r.at), 0)
			x.Duration = x.FirstByte
		}
	}
	if x.Start.IsZero() {
		if err := t.untimed(x, trace); err != nil {
			return err
		}
	}
	return t.s.emit(x)
}

// untimed gives a trace of an Envoy that writes no times the date of the
// response, else that of the file.
func (t *tapReader) untimed(x *traffic.Exchange, trace *tapTrace) error {
	x.Start = t.s.when.UTC()
	if date, err := http.ParseTime(trace.response.header.Get("Date")); err == nil {
		x.Start = date.UTC()
	}
	if t.timed {
		return nil
	}
	t.timed = true
	return t.s.note(trace.place, "the trace has no times; the Date of the response is taken, else that of the file")
}

// parts splits off the pseudo fields.
func (m *tapMessage) parts(x *traffic.Exchange, part string) (traffic.Header, traffic.Body) {
	var h traffic.Header
	for _, f := range m.header {
		if f.Name != "" && !strings.HasPrefix(f.Name, ":") {
			h = append(h, f)
		}
	}
	body := traffic.NewBody(bytes.Clone(m.body), h)
	if m.truncated {
		body.Truncated = true
		x.Incomplete = append(x.Incomplete, part+" body truncated by Envoy")
	}
	return h, body
}
