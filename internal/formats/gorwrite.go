package formats

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// GorWriter writes exchanges as GoReplay does, so that its tools can replay
// them. It is not safe for concurrent use.
type GorWriter struct {
	w      io.Writer
	report func(Issue)
	next   uint32
}

// NewGorWriter writes to w, which the caller closes. report, which may be nil,
// receives what the format cannot hold.
func NewGorWriter(w io.Writer, report func(Issue)) *GorWriter {
	if report == nil {
		report = func(Issue) {}
	}
	return &GorWriter{w: w, report: report}
}

// Add writes one exchange: a record for the request and one for the response,
// if there is one. Outbound exchanges are left out and reported: the format
// has no direction, and replaying them would call dependencies.
func (g *GorWriter) Add(x *traffic.Exchange) error {
	lost := func(unreadable bool, reason string) {
		g.report(Issue{File: x.ID, Reason: reason, Unreadable: unreadable})
	}
	if x.Direction == traffic.Outbound {
		lost(true, "gor holds no calls to dependencies")
		return nil
	}
	if len(x.Request.Trailer) > 0 || x.Response != nil && len(x.Response.Trailer) > 0 {
		lost(false, "gor holds no trailers")
	}
	if x.Request.Scheme == "https" || x.Request.Proto == "HTTP/2.0" {
		lost(false, "gor holds HTTP/1.1 without TLS only; it is written as such")
	}
	if x.Request.Body.Truncated || x.Response != nil && x.Response.Body.Truncated {
		lost(false, "gor cannot say that a body is truncated")
	}
	g.next++
	connection := fnv.New64a()
	_, _ = io.WriteString(connection, x.Origin.Connection)
	id := fmt.Sprintf("%016x%08x", connection.Sum64(), g.next)
	var b bytes.Buffer
	fmt.Fprintf(&b, "1 %s %d 0\n", id, x.Start.UnixNano())
	writeRequest(&b, &x.Request)
	b.WriteString("\n" + gorSeparator + "\n")
	if x.Response != nil {
		fmt.Fprintf(&b, "2 %s %d %d\n", id, x.Start.Add(x.FirstByte).UnixNano(), int64(x.Duration-x.FirstByte))
		writeResponse(&b, x.Response, x.Request.Method)
		b.WriteString("\n" + gorSeparator + "\n")
	}
	if _, err := g.w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write gor: %w", err)
	}
	return nil
}
