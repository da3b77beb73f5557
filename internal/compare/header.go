package compare

import (
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// responseHeaderIgnored are fields of responses that follow from the moment or
// the connection, never from the service's own code.
var responseHeaderIgnored = []string{"Date", "Age", "Alt-Svc"}

// requestHeaderIgnored are fields of requests that tracing or the client
// library adds. Their values say nothing about what was asked for: Grpc-Timeout,
// for one, is how long the client will still wait, another one each time.
var requestHeaderIgnored = []string{
	"Traceparent", "Tracestate", "B3", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags",
	"Uber-Trace-Id", "X-Amzn-Trace-Id", "X-Cloud-Trace-Context", "Sentry-Trace",
	"User-Agent", "Accept-Encoding", "Date", "Host", "Grpc-Timeout",
}

// derivedFromBytes are fields computed from the bytes of a body. Where the bytes
// differ they must differ; whether the bodies mean the same is told by their own
// comparison.
var derivedFromBytes = []string{"Etag", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Content-Length"}

// headers compares fields by name without regard to order or spelling of
// names. Values of one name keep their order; several lines of one name equal
// one line with commas (RFC 9110 §5.3). The field named cookie is left to the
// comparison of cookies.
func (c *comparer) headers(part string, a, b message, cookie string, ignored []string) {
	if slices.Equal(a.Header, b.Header) {
		return
	}
	c.at(part, func() {
		fa, fb := fields(a, cookie, ignored), fields(b, cookie, ignored)
		for _, name := range unionNames(fa, fb) {
			va, inA := fa[name]
			vb, inB := fb[name]
			c.at(name, func() {
				switch {
				case !inB:
					c.emit(Missing, strings.Join(va, ", "), "")
				case !inA:
					c.emit(Extra, "", strings.Join(vb, ", "))
				default:
					c.fieldValues(name, va, vb)
				}
			})
		}
	})
}

func (c *comparer) fieldValues(name string, a, b []string) {
	ja, jb := strings.Join(a, ", "), strings.Join(b, ", ")
	switch {
	case ja == jb, name == "Content-Type" && sameMediaType(ja, jb):
	case c.bytesDiffer && slices.Contains(derivedFromBytes, name):
	case len(a) == 1 && len(b) == 1:
		c.emit(Value, ja, jb)
	case len(a) != len(b):
		c.emitNote(Length, strconv.Itoa(len(a)), strconv.Itoa(len(b)), "values "+ja+" and "+jb)
	default:
		for i := range a {
			if a[i] != b[i] {
				c.elem(i, func() { c.emit(Value, a[i], b[i]) })
			}
		}
	}
}

// fields collects the end-to-end fields of a message by canonical name.
// Content-Length is left out where it only repeats the length of the body: the
// body is compared itself, and whether its length was announced is a matter of
// the connection. A Date that is an HTTP date is always different and left out.
func fields(m message, cookie string, ignored []string) map[string][]string {
	out := make(map[string][]string)
	for _, f := range m.Header.WithoutHopByHop() {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		value := strings.TrimSpace(f.Value)
		if name == cookie || name == "Date" && isHTTPDate(value) {
			continue
		}
		if name == "Content-Length" && (m.Body.Truncated || value == strconv.Itoa(len(m.Body.Raw))) {
			continue
		}
		if name != "Date" && slices.Contains(ignored, name) {
			continue
		}
		out[name] = append(out[name], value)
	}
	return out
}

func unionNames[T any](a, b map[string]T) []string {
	names := make([]string, 0, len(a)+len(b))
	for n := range a {
		names = append(names, n)
	}
	for n := range b {
		if _, ok := a[n]; !ok {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

func isHTTPDate(s string) bool {
	_, err := time.Parse(time.RFC1123, s)
	return err == nil
}

// sameMediaType ignores case and spaces around parameters, which mean nothing,
// and the boundary of multipart bodies, which is drawn afresh for each.
func sameMediaType(a, b string) bool {
	fold := func(s string) string {
		parts := strings.Split(s, ";")
		kept := parts[:0]
		for _, p := range parts {
			if p = strings.ToLower(strings.TrimSpace(p)); !strings.HasPrefix(p, "boundary=") {
				kept = append(kept, p)
			}
		}
		return strings.Join(kept, ";")
	}
	return fold(a) == fold(b)
}

// setCookies turns Set-Cookie fields into members: one for the value of each
// cookie and one for each attribute, with "" for flags such as Secure. A name
// that is set again gets the index of its occurrence.
func setCookies(h traffic.Header) []member {
	var out []member
	seen := make(map[string]int)
	for _, line := range h.Values("Set-Cookie") {
		parts := strings.Split(line, ";")
		name, value, _ := strings.Cut(parts[0], "=")
		name = strings.TrimSpace(name)
		steps := []traffic.Step{{Name: name}}
		if n := seen[name]; n > 0 {
			steps = append(steps, traffic.Step{Index: n, IsIndex: true})
		}
		seen[name]++
		out = append(out, member{slices.Clone(steps), strings.TrimSpace(value)})
		for _, attribute := range parts[1:] {
			key, v, _ := strings.Cut(attribute, "=")
			key = strings.ToLower(strings.TrimSpace(key))
			if key == "" {
				continue
			}
			v = strings.TrimSpace(v)
			if key == "samesite" || key == "domain" {
				v = strings.ToLower(v)
			}
			out = append(out, member{append(slices.Clone(steps), traffic.Step{Name: key}), v})
		}
	}
	return out
}

// cookies turns Cookie fields into members.
func cookies(h traffic.Header) []member {
	var pairs []pair
	for _, line := range h.Values("Cookie") {
		for part := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(part, "=")
			if name = strings.TrimSpace(name); name != "" {
				pairs = append(pairs, pair{name, strings.TrimSpace(value)})
			}
		}
	}
	return multimap(pairs)
}
