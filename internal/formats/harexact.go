package formats

import (
	"slices"
	"time"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// harReprise is the extension "_reprise" of an entry: what HAR has no place for.
type harReprise struct {
	ID              string            `json:"id"`
	Direction       traffic.Direction `json:"direction"`
	Lane            traffic.Lane      `json:"lane,omitempty"`
	Certainty       traffic.Certainty `json:"certainty,omitempty"`
	Source          string            `json:"source,omitempty"`
	Failure         traffic.Failure   `json:"failure,omitempty"`
	RequestTrailer  []harPair         `json:"requestTrailer,omitempty"`
	ResponseTrailer []harPair         `json:"responseTrailer,omitempty"`
	Incomplete      []string          `json:"incomplete,omitempty"`
	Request         *harExact         `json:"request,omitempty"`
	Response        *harExact         `json:"response,omitempty"`
}

// restore gives x back what the entry itself does not say. The response is
// restored when it has been read.
func (r *harReprise) restore(x *traffic.Exchange) {
	x.ID, x.Direction, x.Lane = r.ID, r.Direction, r.Lane
	x.Failure, x.Incomplete = r.Failure, r.Incomplete
	x.Origin.Certainty = r.Certainty
	if r.Source != "" {
		x.Origin.Source = r.Source
	}
	x.Request.Trailer = harFields(r.RequestTrailer)
	r.Request.restoreRequest(&x.Request)
}

// harExact holds the parts of a message that would be read back from the entry
// itself as something else: a head that a URL or a list of texts changes, and
// the bytes of a body that was compressed in another way than ours, cut off, or
// damaged. Byte slices become base64.
type harExact struct {
	Head    *harHead    `json:"head,omitempty"`
	Header  *[]harBytes `json:"header,omitempty"`
	Trailer *[]harBytes `json:"trailer,omitempty"`
	Body    *harBody    `json:"body,omitempty"`
	// Times are those of the messages in the body, in nanoseconds.
	Times *[]time.Duration `json:"times,omitempty"`
}

type harHead struct {
	Method    []byte `json:"method,omitempty"`
	Scheme    []byte `json:"scheme,omitempty"`
	Authority []byte `json:"authority,omitempty"`
	Target    []byte `json:"target,omitempty"`
	Proto     []byte `json:"proto,omitempty"`
}

type harBytes struct {
	Name  []byte `json:"name"`
	Value []byte `json:"value"`
}

type harBody struct {
	Raw       []byte `json:"raw,omitempty"`
	Coding    string `json:"coding,omitempty"`
	Truncated bool   `json:"truncated,omitempty"`
	Size      int64  `json:"size"`
}

// exactRequest returns what want has that got, which was read from the entry,
// has not; nil when that is nothing.
func exactRequest(want, got *traffic.Request) *harExact {
	e := exactParts(want.Header, got.Header, want.Trailer, want.Body, got.Body)
	if !same(want.Method, got.Method) || !same(want.Scheme, got.Scheme) || !same(want.Authority, got.Authority) ||
		!same(want.Target, got.Target) || !same(want.Proto, got.Proto) {
		e.Head = &harHead{[]byte(want.Method), []byte(want.Scheme), []byte(want.Authority), []byte(want.Target), []byte(want.Proto)}
	}
	return e.orNil()
}

func exactResponse(want, got *traffic.Response) *harExact {
	e := exactParts(want.Header, got.Header, want.Trailer, want.Body, got.Body)
	if !same(want.Proto, got.Proto) {
		e.Head = &harHead{Proto: []byte(want.Proto)}
	}
	return e.orNil()
}

func exactParts(header, readHeader, trailer traffic.Header, body, readBody traffic.Body) *harExact {
	e := &harExact{}
	if !slices.Equal(header, readHeader) || !isText(header) {
		e.Header = harByteFields(header)
	}
	if !slices.Equal(trailer, harFields(harPairs(trailer))) || !isText(trailer) {
		e.Trailer = harByteFields(trailer)
	}
	if !slices.Equal(body.Raw, readBody.Raw) || !same(body.Coding, readBody.Coding) || body.Truncated != readBody.Truncated || body.Size != readBody.Size {
		e.Body = &harBody{body.Raw, body.Coding, body.Truncated, body.Size}
	}
	if len(body.Times) > 0 {
		e.Times = &body.Times
	}
	return e
}

func (e *harExact) orNil() *harExact {
	if *e == (harExact{}) {
		return nil
	}
	return e
}

// same reports whether a text comes through JSON as it was.
func same(want, got string) bool { return want == got && utf8.ValidString(want) }

func isText(h traffic.Header) bool {
	return !slices.ContainsFunc(h, func(f traffic.Field) bool { return !utf8.ValidString(f.Name) || !utf8.ValidString(f.Value) })
}

func harByteFields(h traffic.Header) *[]harBytes {
	list := make([]harBytes, 0, len(h))
	for _, f := range h {
		list = append(list, harBytes{[]byte(f.Name), []byte(f.Value)})
	}
	return &list
}

func (e *harExact) restoreRequest(r *traffic.Request) {
	if e == nil {
		return
	}
	if h := e.Head; h != nil && len(h.Method) > 0 {
		r.Method, r.Scheme, r.Authority, r.Target, r.Proto = string(h.Method), string(h.Scheme), string(h.Authority), string(h.Target), string(h.Proto)
	}
	e.restore(&r.Header, &r.Trailer, &r.Body)
}

func (e *harExact) restoreResponse(r *traffic.Response) {
	if e == nil {
		return
	}
	if e.Head != nil {
		r.Proto = string(e.Head.Proto)
	}
	e.restore(&r.Header, &r.Trailer, &r.Body)
}

func (e *harExact) restore(header, trailer *traffic.Header, body *traffic.Body) {
	for _, part := range []struct {
		from *[]harBytes
		to   *traffic.Header
	}{{e.Header, header}, {e.Trailer, trailer}} {
		if part.from == nil {
			continue
		}
		*part.to = nil
		for _, f := range *part.from {
			part.to.Add(string(f.Name), string(f.Value))
		}
	}
	if b := e.Body; b != nil {
		*body = traffic.Body{Raw: b.Raw, Coding: b.Coding, Truncated: b.Truncated, Size: int64(len(b.Raw))}
		if b.Truncated {
			body.Size = max(b.Size, 0)
		}
	}
	if e.Times != nil {
		body.Times = *e.Times
	}
}
