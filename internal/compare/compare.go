package compare

import (
	"bytes"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Change is how two places differ.
type Change string

// The changes.
const (
	Status  Change = "status"  // another status code
	Missing Change = "missing" // in the first exchange only
	Extra   Change = "extra"   // in the second exchange only
	Type    Change = "type"    // another type, such as a number that became a string
	Length  Change = "length"  // a list or a binary body of another length
	Value   Change = "value"   // another value of the same type
	Order   Change = "order"   // the same elements in another order
)

// Structural reports whether the change is one of form, not of content. Such
// changes mean something from a single occurrence.
func (c Change) Structural() bool { return c != Value && c != Order }

// Difference is one place at which two exchanges differ.
type Difference struct {
	// Path is the address of the place. For list elements it is the index in
	// the first exchange, except for Extra, where it is the index in the second.
	Path   traffic.Path
	Change Change
	// A and B are the two values as text, in full. Strings stand without
	// quotes, except where the type changed. The value is empty on the side
	// that has none.
	A, B string
	// Note says more where the two values do not say it all, such as which
	// elements a list lost. It is empty otherwise.
	Note string
}

// Responses compares what two exchanges were answered. An exchange without a
// response differs from one with a response by [Missing] or [Extra] at the
// address "response"; two exchanges without one differ there by [Value] when
// their failures differ. A nil exchange has no response. At most
// [Options.Limit] differences are returned, in the order of the parts: status,
// headers, cookies, body, trailers.
func Responses(a, b *traffic.Exchange, opts Options) []Difference {
	c := newComparer(opts, traffic.At("response"))
	ra, rb := response(a), response(b)
	switch {
	case ra == nil && rb == nil:
		if fa, fb := failure(a), failure(b); fa != fb {
			c.emit(Value, fa, fb)
		}
		return c.found
	case ra == nil:
		c.emit(Extra, failure(a), strconv.Itoa(rb.Status))
		return c.found
	case rb == nil:
		c.emit(Missing, strconv.Itoa(ra.Status), failure(b))
		return c.found
	}
	if ra.Status != rb.Status {
		c.at("status", func() { c.emit(Status, strconv.Itoa(ra.Status), strconv.Itoa(rb.Status)) })
	}
	ha, hb := opts.Reading.answer(a), opts.Reading.answer(b)
	c.bytesDiffer = !bytes.Equal(ha.Body.Raw, hb.Body.Raw)
	c.headers("header", ha, hb, "Set-Cookie", responseHeaderIgnored)
	c.at("cookie", func() { c.members(setCookies(ra.Header), setCookies(rb.Header)) })
	c.at("body", func() { c.bodies(ha, hb) })
	c.headers("trailer", message{Header: ra.Trailer}, message{Header: rb.Trailer}, "", nil)
	return c.found
}

// Requests compares what two exchanges asked for: method, scheme, authority,
// path by segment, query and form by name, headers, cookies and body. Headers
// that belong to a connection, to tracing or to the client library are not
// compared. A nil exchange differs from another by [Missing] or [Extra] at the
// address "request".
func Requests(a, b *traffic.Exchange, opts Options) []Difference {
	c := newComparer(opts, traffic.At("request"))
	c.request = true
	switch {
	case a == nil && b == nil:
		return nil
	case a == nil:
		c.emit(Extra, "", b.Request.Method+" "+b.Request.URL())
		return c.found
	case b == nil:
		c.emit(Missing, a.Request.Method+" "+a.Request.URL(), "")
		return c.found
	}
	qa, qb := &a.Request, &b.Request
	for _, part := range []struct{ name, a, b string }{
		{"method", qa.Method, qb.Method},
		{"scheme", qa.Scheme, qb.Scheme},
		{"authority", qa.Authority, qb.Authority},
	} {
		if part.a != part.b {
			c.at(part.name, func() { c.emit(Value, part.a, part.b) })
		}
	}
	c.at("path", func() { c.paths(qa.Path(), qb.Path()) })
	if qa.RawQuery() != qb.RawQuery() {
		c.at("query", func() { c.members(formMembers(qa.RawQuery()), formMembers(qb.RawQuery())) })
	}
	ha, hb := opts.Reading.call(a), opts.Reading.call(b)
	c.bytesDiffer = !bytes.Equal(ha.Body.Raw, hb.Body.Raw)
	c.headers("header", ha, hb, "Cookie", requestHeaderIgnored)
	c.at("cookie", func() { c.members(cookies(qa.Header), cookies(qb.Header)) })
	c.at("body", func() { c.bodies(ha, hb) })
	c.headers("trailer", message{Header: qa.Trailer}, message{Header: qb.Trailer}, "", nil)
	return c.found
}

func response(x *traffic.Exchange) *traffic.Response {
	if x == nil {
		return nil
	}
	return x.Response
}

// failure is why there is no response, in words.
func failure(x *traffic.Exchange) string {
	switch {
	case x == nil:
		return "no exchange"
	case x.Failure == traffic.FailureNone:
		return "no response"
	}
	return string(x.Failure)
}

// message is the part that requests and responses have in common.
type message struct {
	Header  traffic.Header
	Body    traffic.Body
	Trailer traffic.Header
	// Type is that of its protobuf messages, if it is known.
	Type protoreflect.MessageDescriptor
}

// comparer holds the state of one comparison: where it is and what it found.
type comparer struct {
	opts  Options
	root  traffic.Path
	steps []traffic.Step
	found []Difference
	// bytesDiffer says that the bodies of the two messages are not the same
	// bytes.
	bytesDiffer bool
	// request says that two requests are compared.
	request bool
}

func newComparer(opts Options, root traffic.Path) *comparer {
	if opts.Limit <= 0 {
		opts.Limit = DefaultLimit
	}
	return &comparer{opts: opts, root: root}
}

func (c *comparer) full() bool { return len(c.found) >= c.opts.Limit }

// path builds the address of the current place.
func (c *comparer) path() traffic.Path {
	p := c.root
	for _, s := range c.steps {
		if s.IsIndex {
			p = p.Elem(s.Index)
		} else {
			p = p.Child(s.Name)
		}
	}
	return p
}

// at runs f one named step below the current place.
func (c *comparer) at(name string, f func()) {
	c.steps = append(c.steps, traffic.Step{Name: name})
	f()
	c.steps = c.steps[:len(c.steps)-1]
}

// elem runs f at an element of the current place.
func (c *comparer) elem(i int, f func()) {
	c.steps = append(c.steps, traffic.Step{Index: i, IsIndex: true})
	f()
	c.steps = c.steps[:len(c.steps)-1]
}

func (c *comparer) emit(change Change, a, b string) { c.emitNote(change, a, b, "") }

func (c *comparer) emitNote(change Change, a, b, note string) {
	if c.full() {
		return
	}
	p := c.path()
	if c.opts.ignores(p) {
		return
	}
	c.found = append(c.found, Difference{Path: p, Change: change, A: a, B: b, Note: note})
}
