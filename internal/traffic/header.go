package traffic

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// Field is one header or trailer line.
type Field struct {
	Name  string
	Value string
}

// Header is a list of fields in the order seen. Names keep the spelling of the
// wire and are compared without regard to case; a name may occur many times.
type Header []Field

// Get returns the first value of name, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Has reports whether name occurs.
func (h Header) Has(name string) bool {
	return slices.ContainsFunc(h, func(f Field) bool { return strings.EqualFold(f.Name, name) })
}

// Values returns all values of name in order.
func (h Header) Values(name string) []string {
	var values []string
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return values
}

// Add appends a field.
func (h *Header) Add(name, value string) { *h = append(*h, Field{name, value}) }

// Set replaces the first field of that name in place and removes the others;
// it appends when there was none.
func (h *Header) Set(name, value string) {
	set := false
	kept := (*h)[:0]
	for _, f := range *h {
		if strings.EqualFold(f.Name, name) {
			if set {
				continue
			}
			set, f.Value = true, value
		}
		kept = append(kept, f)
	}
	*h = kept
	if !set {
		h.Add(name, value)
	}
}

// Del removes all fields of that name.
func (h *Header) Del(name string) {
	*h = slices.DeleteFunc(*h, func(f Field) bool { return strings.EqualFold(f.Name, name) })
}

// Clone returns a copy that shares no memory with h.
func (h Header) Clone() Header { return slices.Clone(h) }

// Names returns the distinct names in canonical form, sorted.
func (h Header) Names() []string {
	var names []string
	for _, f := range h {
		names = append(names, textproto.CanonicalMIMEHeaderKey(f.Name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// HeaderFrom converts a net/http header. Its map has no order, so names are
// sorted; the values of one name keep their order.
func HeaderFrom(h http.Header) Header {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	var out Header
	for _, name := range names {
		for _, value := range h[name] {
			out.Add(name, value)
		}
	}
	return out
}

// HTTP converts to a net/http header.
func (h Header) HTTP() http.Header {
	out := make(http.Header, len(h))
	for _, f := range h {
		out.Add(f.Name, f.Value)
	}
	return out
}

// hopByHop are the fields that belong to one connection (RFC 9110 §7.6.1).
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// WithoutHopByHop returns a copy without the fields that belong to a single
// connection, those named by Connection included.
func (h Header) WithoutHopByHop() Header {
	drop := slices.Clone(hopByHop)
	for _, v := range h.Values("Connection") {
		for name := range strings.SplitSeq(v, ",") {
			drop = append(drop, strings.TrimSpace(name))
		}
	}
	return slices.DeleteFunc(h.Clone(), func(f Field) bool {
		return slices.ContainsFunc(drop, func(name string) bool { return strings.EqualFold(name, f.Name) })
	})
}
