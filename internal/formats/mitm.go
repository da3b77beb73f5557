package formats

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// readMitmproxy reads the flows that mitmproxy and mitmdump write with -w, of
// any version of the format: only the names that all share are looked at.
func readMitmproxy(s *source) error {
	var offset int64
	for {
		at := place{offset: offset}
		size, n, err := tnetLength(s.r)
		offset += n
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return s.rest(at, err)
		}
		if size > s.opts.MaxRecord {
			if _, err := io.CopyN(io.Discard, s.r, size+1); err != nil {
				return s.rest(at, err)
			}
			if err := s.unreadable(at, "the record is over %d bytes", s.opts.MaxRecord); err != nil {
				return err
			}
			offset += size + 1
			continue
		}
		data := make([]byte, 0, min(size+1, 1<<20))
		data, err = readExactly(s.r, data, size+1)
		offset += int64(len(data))
		if err != nil {
			return s.rest(at, err)
		}
		v, err := tnetValue(data[:size], data[size], 0)
		flow, _ := v.(map[string]any)
		if err != nil {
			err = s.unreadable(at, "%v", err)
		} else {
			err = readFlow(s, at, flow)
		}
		if err != nil {
			return err
		}
	}
}

// readExactly appends n bytes without trusting n with memory.
func readExactly(r io.Reader, data []byte, n int64) ([]byte, error) {
	buffer := make([]byte, 64<<10)
	for n > 0 {
		m, err := r.Read(buffer[:min(n, int64(len(buffer)))])
		data = append(data, buffer[:m]...)
		n -= int64(m)
		if n > 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return data, err
		}
	}
	return data, nil
}

func readFlow(s *source, at place, flow tnetDict) error {
	if kind := flow.text("type"); kind != "http" {
		if kind == "" {
			return s.unreadable(at, "not a flow")
		}
		return s.unreadable(at, "a %s flow is not HTTP", clipName(kind))
	}
	request := flow.dict("request")
	start, ok := request.seconds("timestamp_start")
	if request == nil || !ok {
		return s.unreadable(at, "the flow has no request")
	}
	x := &traffic.Exchange{Start: start}
	x.Request = traffic.Request{
		Method: request.text("method"), Scheme: strings.ToLower(request.text("scheme")), Target: request.text("path"),
		Proto: flowProto(request.text("http_version")), Header: request.fields("headers"), Trailer: request.fields("trailers"),
	}
	if x.Request.Method == "" || !strings.HasPrefix(x.Request.Target, "/") && x.Request.Target != "*" {
		return s.unreadable(at, "the request has no method or path")
	}
	if x.Request.Scheme != "https" {
		x.Request.Scheme = "http"
	}
	x.Request.Authority = strings.ToLower(flowAuthority(request, x.Request.Header))
	x.Request.Body = traffic.NewBody(request.bytes("content"), x.Request.Header)
	client := flow.dict("client_conn")
	x.Origin = traffic.Origin{Source: string(Mitmproxy), Connection: client.text("id")}
	usual := traffic.Inbound
	if mode := client.text("proxy_mode"); mode != "" && !strings.HasPrefix(mode, "reverse") { // since version 9
		usual = traffic.Outbound
	}
	x.Direction = s.opts.direction(&x.Request, usual)
	if request["content"] == nil {
		x.Incomplete = append(x.Incomplete, "request body missing: it was streamed by")
		x.Request.Body.Truncated = true
	}
	if response := flow.dict("response"); response != nil {
		if err := flowResponse(x, response); err != nil {
			return s.unreadable(at, "%v", err)
		}
	} else {
		x.Failure = flowFailure(flow.dict("error").text("msg"))
	}
	if ws := flow.dict("websocket"); ws != nil && x.Response != nil {
		x.Request.Body, x.Response.Body = wsBodies(flowMessages(ws), x.Start)
	}
	return s.emit(x)
}

// flowMessages reads [opcode, from client, content, time, …] lists.
func flowMessages(ws tnetDict) []wsMessage {
	list, _ := ws["messages"].([]any)
	var messages []wsMessage
	for _, item := range list {
		fields, _ := item.([]any)
		if len(fields) < 3 {
			continue
		}
		opcode, _ := fields[0].(int64)
		fromClient, _ := fields[1].(bool)
		data := tnetDict{"content": fields[2]}.bytes("content")
		m := wsMessage{fromClient: fromClient, opcode: byte(opcode), data: data}
		if len(fields) > 3 {
			m.at, _ = tnetDict{"time": fields[3]}.seconds("time")
		}
		messages = append(messages, m)
	}
	return messages
}

func flowResponse(x *traffic.Exchange, response tnetDict) error {
	status, _ := response["status_code"].(int64)
	if status < 100 || status > 999 {
		return errors.New("the response has no status")
	}
	r := &traffic.Response{
		Status: int(status), Proto: flowProto(response.text("http_version")),
		Header: response.fields("headers"), Trailer: response.fields("trailers"),
	}
	r.Body = traffic.NewBody(response.bytes("content"), r.Header)
	if response["content"] == nil {
		x.Incomplete = append(x.Incomplete, "response body missing: it was streamed by")
		r.Body.Truncated = true
	}
	x.Response = r
	if first, ok := response.seconds("timestamp_start"); ok {
		x.FirstByte = max(first.Sub(x.Start), 0)
		x.Duration = x.FirstByte
	}
	if last, ok := response.seconds("timestamp_end"); ok {
		x.Duration = max(last.Sub(x.Start), x.FirstByte)
	}
	return nil
}

// flowAuthority is what the caller wrote: the pseudo field of HTTP/2 or Host,
// else the address that mitmproxy went to.
func flowAuthority(request tnetDict, header traffic.Header) string {
	if a := request.text("authority"); a != "" && request.text("method") != "CONNECT" {
		return a
	}
	if host := header.Get("Host"); host != "" {
		return host
	}
	host := request.text("host")
	port, _ := request["port"].(int64)
	if usual := map[string]int64{"http": 80, "https": 443}[request.text("scheme")]; port == 0 || port == usual {
		return host
	}
	return fmt.Sprintf("%s:%d", host, port)
}

func flowProto(version string) string {
	switch {
	case version == "HTTP/1.0":
		return version
	case strings.HasPrefix(version, "HTTP/2"), strings.HasPrefix(version, "HTTP/3"):
		return "HTTP/2.0"
	}
	return "HTTP/1.1"
}

func flowFailure(message string) traffic.Failure {
	m := strings.ToLower(message)
	for _, known := range []struct {
		part    string
		failure traffic.Failure
	}{
		{"refused", traffic.FailureRefused}, {"connect call failed", traffic.FailureRefused}, {"timed out", traffic.FailureTimeout}, {"timeout", traffic.FailureTimeout},
		{"name or service", traffic.FailureDNS}, {"nodename", traffic.FailureDNS}, {"tls", traffic.FailureTLS}, {"certificate", traffic.FailureTLS},
		{"client disconnected", traffic.FailureTimeout}, {"protocol", traffic.FailureProtocol},
	} {
		if strings.Contains(m, known.part) {
			return known.failure
		}
	}
	return traffic.FailureReset
}

// clipName makes a name from a file fit for a message.
func clipName(s string) string {
	if len(s) > 40 {
		s = s[:40]
	}
	return fmt.Sprintf("%q", s)
}

// tnetDict is a dictionary of tnetstrings with text keys. All its methods work
// on nil.
type tnetDict map[string]any

func (d tnetDict) dict(name string) tnetDict {
	v, _ := d[name].(map[string]any)
	return v
}

func (d tnetDict) bytes(name string) []byte {
	switch v := d[name].(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return nil
}

func (d tnetDict) text(name string) string { return string(d.bytes(name)) }

func (d tnetDict) seconds(name string) (time.Time, bool) {
	var seconds float64
	switch v := d[name].(type) {
	case float64:
		seconds = v
	case int64:
		seconds = float64(v)
	default:
		return time.Time{}, false
	}
	return epochSeconds(seconds)
}

// epochSeconds reads seconds since 1970.
func epochSeconds(seconds float64) (time.Time, bool) {
	if !(seconds > 0 && seconds < 1<<36) {
		return time.Time{}, false
	}
	whole, part := math.Modf(seconds)
	// The float has a precision of about a quarter of a microsecond.
	return time.Unix(int64(whole), int64(part*1e9)).UTC().Round(time.Microsecond), true
}

// fields reads a list of pairs.
func (d tnetDict) fields(name string) traffic.Header {
	list, _ := d[name].([]any)
	var h traffic.Header
	for _, item := range list {
		pair, _ := item.([]any)
		if len(pair) != 2 {
			continue
		}
		p := tnetDict{"name": pair[0], "value": pair[1]}
		if name := p.text("name"); name != "" && !strings.HasPrefix(name, ":") {
			h.Add(name, p.text("value"))
		}
	}
	return h
}
