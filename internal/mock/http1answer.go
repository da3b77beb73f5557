package mock

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// The methods below make http1 a responder.

func (h *http1) context() context.Context { return h.ctx }

// begin writes the head of a response: the recorded fields in their order and
// spelling, but for those that frame the body on this connection.
func (h *http1) begin(req *traffic.Request, response *traffic.Response) error {
	f := h.frame(req, response)
	b := h.out.AvailableBuffer()
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(response.Status), 10)
	b = append(b, ' ')
	b = append(b, statusText(response.Status)...)
	b = append(b, "\r\n"...)
	dropped := connectionFields(response.Header)
	for _, field := range response.Header {
		switch {
		case isName(field.Name, "Content-Length"):
			b, f.length = appendOnce(b, field.Name, f.length)
		case isName(field.Name, "Transfer-Encoding"):
			b, f.coding = appendOnce(b, field.Name, f.coding)
		case isName(field.Name, "Trailer"):
			b, f.trailer = appendOnce(b, field.Name, f.trailer)
		case !isToken(field.Name) || belongsToConnection(field.Name, dropped):
		default:
			b = appendField(b, field.Name, field.Value)
		}
	}
	b, _ = appendOnce(b, "Content-Length", f.length)
	b, _ = appendOnce(b, "Transfer-Encoding", f.coding)
	b, _ = appendOnce(b, "Trailer", f.trailer)
	if h.closes {
		b = appendField(b, "Connection", "close")
	} else if h.minor == 0 {
		b = appendField(b, "Connection", "keep-alive")
	}
	h.chunked, h.bodiless = f.coding != "" || f.chunked, f.bodiless
	_, err := h.out.Write(append(b, "\r\n"...))
	return err
}

// isName reports whether a field has a name. Most differ in length already.
func isName(field, name string) bool {
	return len(field) == len(name) && strings.EqualFold(field, name)
}

// framing is how a body is delimited on this connection; each field is written
// where the recording has it, or else at the end.
type framing struct {
	length, coding, trailer string
	chunked, bodiless       bool
}

func (h *http1) frame(req *traffic.Request, response *traffic.Response) framing {
	recorded := response.Header.Get("Content-Length")
	switch {
	case response.Status == http.StatusNoContent:
		return framing{bodiless: true}
	case req.Method == http.MethodHead || response.Status == http.StatusNotModified:
		return framing{bodiless: true, length: recorded}
	case h.minor > 0 && (recorded == "" || len(response.Trailer) > 0):
		return framing{coding: "chunked", chunked: true, trailer: strings.Join(response.Trailer.Names(), ", ")}
	case brokeOff(response) && recorded != "":
		return framing{length: recorded}
	case h.minor == 0 && recorded == "" && h.closes:
		return framing{} // delimited by the end of the connection
	}
	return framing{length: strconv.Itoa(len(response.Body.Raw))} // redaction may have changed it
}

// appendOnce appends a field unless its value is empty, and returns "" for it,
// so that it is not written again.
func appendOnce(b []byte, name, value string) ([]byte, string) {
	if value == "" {
		return b, ""
	}
	return appendField(b, name, value), ""
}

// appendField appends a line. Characters that would end it, which only a
// damaged recording holds, become spaces.
func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	for i := range len(value) {
		c := value[i]
		if c == '\r' || c == '\n' || c == 0 {
			c = ' '
		}
		b = append(b, c)
	}
	return append(b, "\r\n"...)
}

func statusText(status int) string {
	if status == StatusMiss {
		return "Not Recorded"
	}
	return http.StatusText(status)
}

// connectionFields returns the names that the recorded Connection field adds
// to those that always belong to one connection.
func connectionFields(h traffic.Header) []string {
	var names []string
	for _, value := range h.Values("Connection") {
		for name := range strings.SplitSeq(value, ",") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

func belongsToConnection(name string, named []string) bool {
	switch len(name) {
	case len("Connection"), len("Proxy-Connection"), len("Upgrade"), len("Te"), len("Proxy-Authenticate"):
		for _, n := range [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Te", "Proxy-Authenticate"} {
			if strings.EqualFold(n, name) {
				return true
			}
		}
	}
	for _, n := range named {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

func (h *http1) write(p []byte) error {
	if h.bodiless || len(p) == 0 {
		return nil
	}
	if h.chunked {
		if _, err := fmt.Fprintf(h.out, "%x\r\n", len(p)); err != nil {
			return err
		}
	}
	_, err := h.out.Write(p)
	if h.chunked && err == nil {
		_, err = h.out.WriteString("\r\n")
	}
	return err
}

func (h *http1) flush() error { return h.out.Flush() }

func (h *http1) end(response *traffic.Response) error {
	if h.chunked && !h.bodiless {
		b := append(h.out.AvailableBuffer(), "0\r\n"...)
		for _, f := range response.Trailer {
			if isToken(f.Name) {
				b = appendField(b, f.Name, f.Value)
			}
		}
		if _, err := h.out.Write(append(b, "\r\n"...)); err != nil {
			return err
		}
	}
	return h.out.Flush()
}

// abort ends the connection so that its peer sees a reset, where TCP allows.
func (h *http1) abort() { h.conn.reset() }
