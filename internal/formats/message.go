package formats

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// writeRequest writes a request as HTTP/1.1 with a body by length, whatever
// the wire had.
func writeRequest(b *bytes.Buffer, r *traffic.Request) {
	fmt.Fprintf(b, "%s %s HTTP/1.1\r\n", r.Method, r.Target)
	if !r.Header.Has("Host") {
		fmt.Fprintf(b, "Host: %s\r\n", r.Authority)
	}
	writeMessage(b, r.Header, r.Body, len(r.Body.Raw) > 0 || r.Header.Has("Content-Length"))
}

// writeResponse writes a response as HTTP/1.1. The length of an answer to
// HEAD stays what it was.
func writeResponse(b *bytes.Buffer, r *traffic.Response, method string) {
	reason := http.StatusText(r.Status)
	fmt.Fprintf(b, "HTTP/1.1 %03d %s\r\n", r.Status, reason)
	bodyless := method == http.MethodHead || r.Status < 200 || r.Status == http.StatusNoContent || r.Status == http.StatusNotModified
	if bodyless {
		for _, f := range r.Header {
			writeField(b, f)
		}
		b.WriteString("\r\n")
		return
	}
	writeMessage(b, r.Header, r.Body, true)
}

func writeMessage(b *bytes.Buffer, header traffic.Header, body traffic.Body, length bool) {
	for _, f := range header {
		switch strings.ToLower(f.Name) {
		case "content-length", "transfer-encoding", "trailer":
			continue
		}
		writeField(b, f)
	}
	if length {
		writeField(b, traffic.Field{Name: "Content-Length", Value: strconv.Itoa(len(body.Raw))})
	}
	b.WriteString("\r\n")
	b.Write(body.Raw)
}

func writeField(b *bytes.Buffer, f traffic.Field) {
	if strings.HasPrefix(f.Name, ":") || strings.ContainsAny(f.Name+f.Value, "\r\n") {
		return // never valid in HTTP/1
	}
	b.WriteString(f.Name + ": " + f.Value + "\r\n")
}
