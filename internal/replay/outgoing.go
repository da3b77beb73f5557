package replay

import (
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// outgoing returns the request that goes on the wire for req: header order and
// spelling kept, Host and Content-Length made true, fields of a single
// connection dropped, and the trace context replaced by mark. The result
// shares the body of req.
func (e *Engine) outgoing(t Target, req *traffic.Request, mark traffic.Mark) (traffic.Request, error) {
	out := traffic.Request{
		Method: req.Method, Scheme: t.scheme(), Authority: t.host(), Target: req.Target,
		Proto: "HTTP/1.1", Body: req.Body, Trailer: req.Trailer,
	}
	if out.Target == "" {
		out.Target = "/"
	}
	if e.opts.KeepHost && req.Authority != "" {
		out.Authority = req.Authority
	}
	chunked := len(req.Trailer) > 0 || strings.EqualFold(req.Header.Get("Transfer-Encoding"), "chunked")
	length := strconv.Itoa(len(req.Body.Raw))
	hasHost := req.Header.Has("Host")
	out.Header = make(traffic.Header, 0, len(req.Header)+3)
	if !hasHost {
		out.Header.Add("Host", out.Authority)
	}
	var hosted, sized, traced bool
	connection := req.Header.Get("Connection")
	for _, f := range req.Header {
		switch {
		case strings.HasPrefix(f.Name, ":"), hopByHop(f.Name, connection), strings.EqualFold(f.Name, "tracestate"):
			continue
		case strings.EqualFold(f.Name, "Host"):
			if hosted {
				continue
			}
			hosted, f.Value = true, out.Authority
		case strings.EqualFold(f.Name, "Content-Length"):
			if sized || chunked {
				continue
			}
			sized, f.Value = true, length
		case strings.EqualFold(f.Name, "traceparent"):
			if traced {
				continue
			}
			traced, f.Value = true, mark.Traceparent()
		}
		out.Header = append(out.Header, f)
	}
	switch {
	case chunked:
		out.Header.Add("Transfer-Encoding", "chunked")
		if len(req.Trailer) > 0 {
			out.Header.Add("Trailer", strings.Join(req.Trailer.Names(), ", "))
		}
	case !sized && (len(req.Body.Raw) > 0 || wantsBody(req.Method)):
		out.Header.Add("Content-Length", length)
	}
	if !traced {
		out.Header.Add("traceparent", mark.Traceparent())
	}
	return out, sendable(&out)
}

// wantsBody tells the methods whose servers may refuse a request that states
// no length.
func wantsBody(method string) bool {
	return method == "POST" || method == "PUT" || method == "PATCH"
}

func hopByHop(name, connection string) bool {
	switch len(name) {
	case 2, 7, 10, 16, 17, 18, 19: // the lengths of the names below
		for _, hop := range [...]string{
			"TE", "Trailer", "Upgrade", "Connection", "Keep-Alive", "Proxy-Connection",
			"Transfer-Encoding", "Proxy-Authenticate", "Proxy-Authorization",
		} {
			if strings.EqualFold(name, hop) {
				return true
			}
		}
	}
	if connection == "" {
		return false
	}
	for named := range strings.SplitSeq(connection, ",") {
		if strings.EqualFold(strings.TrimSpace(named), name) {
			return true
		}
	}
	return false
}

// sendable reports what in a request would break the framing, which only a
// damaged snapshot or a bad rewriting rule can hold.
func sendable(req *traffic.Request) error {
	if !isToken(req.Method) {
		return &requestError{"method " + strconv.Quote(req.Method) + " is not a token"}
	}
	for i := range len(req.Target) {
		if c := req.Target[i]; c <= ' ' || c == 0x7f {
			return &requestError{"target " + strconv.Quote(req.Target) + " holds a space or control character"}
		}
	}
	for _, header := range [...]traffic.Header{req.Header, req.Trailer} {
		for _, f := range header {
			if !isToken(f.Name) {
				return &requestError{"header name " + strconv.Quote(f.Name) + " is not a token"}
			}
			if strings.ContainsAny(f.Value, "\r\n\x00") {
				return &requestError{"header " + f.Name + " holds a line break"}
			}
		}
	}
	return nil
}

func isToken(s string) bool {
	for i := range len(s) {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}

// tokenByte holds the characters of a token (RFC 9110 §5.6.2).
var tokenByte = func() (t [256]bool) {
	for c := range 256 {
		t[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
			strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return t
}()

// appendHTTP1 appends the bytes of an outgoing request to dst.
func appendHTTP1(dst []byte, req *traffic.Request) []byte {
	dst = append(dst, req.Method...)
	dst = append(dst, ' ')
	dst = append(dst, req.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	chunked := false
	for _, f := range req.Header {
		chunked = chunked || strings.EqualFold(f.Name, "Transfer-Encoding")
		dst = appendField(dst, f)
	}
	dst = append(dst, '\r', '\n')
	if !chunked {
		return append(dst, req.Body.Raw...)
	}
	if len(req.Body.Raw) > 0 {
		dst = strconv.AppendInt(dst, int64(len(req.Body.Raw)), 16)
		dst = append(dst, '\r', '\n')
		dst = append(dst, req.Body.Raw...)
		dst = append(dst, '\r', '\n')
	}
	dst = append(dst, '0', '\r', '\n')
	for _, f := range req.Trailer {
		dst = appendField(dst, f)
	}
	return append(dst, '\r', '\n')
}

func appendField(dst []byte, f traffic.Field) []byte {
	dst = append(dst, f.Name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, f.Value...)
	return append(dst, '\r', '\n')
}
