package formats

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// The parts of HAR 1.2 that an exchange has a place for. Names that start with
// an underscore are extensions; _reprise holds what HAR itself cannot.
type harEntry struct {
	Started    string       `json:"startedDateTime"`
	Time       float64      `json:"time"`
	Request    harRequest   `json:"request"`
	Response   harResponse  `json:"response"`
	Cache      struct{}     `json:"cache"`
	Timings    harTimings   `json:"timings"`
	Connection string       `json:"connection,omitempty"`
	Messages   []harMessage `json:"_webSocketMessages,omitempty"`
	Reprise    *harReprise  `json:"_reprise,omitempty"`
}

type harRequest struct {
	Method      string    `json:"method"`
	URL         string    `json:"url"`
	HTTPVersion string    `json:"httpVersion"`
	Cookies     []harPair `json:"cookies"`
	Headers     []harPair `json:"headers"`
	Query       []harPair `json:"queryString"`
	PostData    *harPost  `json:"postData,omitempty"`
	HeadersSize int64     `json:"headersSize"`
	BodySize    int64     `json:"bodySize"`
}

type harResponse struct {
	Status      int        `json:"status"`
	StatusText  string     `json:"statusText"`
	HTTPVersion string     `json:"httpVersion"`
	Cookies     []harPair  `json:"cookies"`
	Headers     []harPair  `json:"headers"`
	Content     harContent `json:"content"`
	RedirectURL string     `json:"redirectURL"`
	HeadersSize int64      `json:"headersSize"`
	BodySize    int64      `json:"bodySize"`
	Error       string     `json:"_error,omitempty"`
}

type harPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type harPost struct {
	MimeType string    `json:"mimeType"`
	Params   []harPair `json:"params,omitempty"`
	Text     string    `json:"text"`
	Encoding string    `json:"encoding,omitempty"` // proposed for HAR 1.3
}

type harContent struct {
	Size     int64  `json:"size"`
	MimeType string `json:"mimeType"`
	Text     string `json:"text,omitempty"`
	Encoding string `json:"encoding,omitempty"`
}

type harTimings struct {
	Blocked float64 `json:"blocked"`
	DNS     float64 `json:"dns"`
	Connect float64 `json:"connect"`
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
	SSL     float64 `json:"ssl"`
}

type harMessage struct {
	Type   string  `json:"type"`
	Time   float64 `json:"time"`
	Opcode int     `json:"opcode"`
	Data   string  `json:"data"`
}

// readHAR reads HTTP archives as browsers, mitmproxy and others write them.
func readHAR(s *source) error {
	list := newJSONList(s)
	found, err := list.find("log", "entries")
	if err != nil {
		return s.rest(place{offset: list.d.InputOffset()}, err)
	}
	if !found {
		return s.unreadable(place{}, "log.entries is not there")
	}
	return list.each(func() any { return new(harEntry) }, func(at place, v any) error {
		return readHAREntry(s, at, v.(*harEntry))
	})
}

func readHAREntry(s *source, at place, e *harEntry) error {
	started, err := time.Parse(time.RFC3339Nano, e.Started)
	if err != nil {
		return s.unreadable(at, "startedDateTime is not an ISO 8601 time")
	}
	request, incomplete, err := harReadRequest(&e.Request)
	if err != nil {
		return s.unreadable(at, "%v", err)
	}
	x := &traffic.Exchange{Start: started, Request: *request, Incomplete: incomplete}
	x.Origin = traffic.Origin{Source: string(HAR), Connection: e.Connection}
	t := e.Timings
	// Waiting for a connection and making it come before the request is sent.
	x.Start = x.Start.Add(ms(t.Blocked) + ms(t.DNS) + ms(t.Connect))
	ours := e.Reprise
	if ours != nil && (ours.Direction != traffic.Inbound && ours.Direction != traffic.Outbound || len(s.opts.Service) > 0) {
		ours = nil // it says another direction than --host, or nothing
	}
	x.Direction = s.opts.direction(&x.Request, traffic.Inbound)
	if ours != nil {
		ours.restore(x)
	}
	if e.Response.Status <= 0 {
		if ours == nil {
			x.Failure = harFailure(e.Response.Error)
		}
		return s.emit(x)
	}
	x.FirstByte = ms(t.Send) + ms(t.Wait)
	x.Duration = max(x.FirstByte+ms(t.Receive), x.FirstByte)
	if x.Duration == 0 {
		x.Duration = ms(e.Time)
	}
	x.Response, incomplete, err = harReadResponse(&e.Response, request.Method)
	if err != nil {
		return s.unreadable(at, "%v", err)
	}
	if ours != nil {
		x.Response.Trailer = harFields(ours.ResponseTrailer)
		ours.Response.restoreResponse(x.Response)
	} else {
		x.Incomplete = append(x.Incomplete, incomplete...)
	}
	if !x.Response.Body.Truncated {
		x.Failure = "" // only an answer that was cut off has failed
	}
	if len(e.Messages) > 0 && x.Response.Status == 101 {
		x.Request.Body, x.Response.Body = wsBodies(harMessages(e.Messages), x.Start)
	}
	return s.emit(x)
}

// harMessages reads the messages of a WebSocket as Chrome and mitmproxy list
// them: binary ones in base64.
func harMessages(list []harMessage) []wsMessage {
	var messages []wsMessage
	for _, m := range list {
		data := []byte(m.Data)
		if m.Opcode == 2 {
			if plain, err := base64.StdEncoding.DecodeString(m.Data); err == nil {
				data = plain
			}
		}
		at, _ := epochSeconds(m.Time)
		messages = append(messages, wsMessage{m.Type == "send", byte(m.Opcode), data, at})
	}
	return messages
}

// ms converts milliseconds; HAR writes -1 for what does not apply.
func ms(v float64) time.Duration {
	if !(v > 0) || v > 1e12 {
		return 0
	}
	return time.Duration(math.Round(v * float64(time.Millisecond)))
}

func harReadRequest(r *harRequest) (*traffic.Request, []string, error) {
	scheme, rest, ok := strings.Cut(r.URL, "://")
	if !ok || r.Method == "" {
		return nil, nil, fmt.Errorf("request.url is not absolute, or there is no method")
	}
	rest, _, _ = strings.Cut(rest, "#")
	authority, target := rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, target = rest[:i], rest[i:]
	}
	if target[0] == '?' {
		target = "/" + target
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	header := harFields(r.Headers)
	for _, f := range r.Headers { // what the caller wrote; the URL may name where a proxy led it
		if strings.EqualFold(f.Name, ":authority") || strings.EqualFold(f.Name, "Host") && f.Value != "" {
			authority = f.Value
		}
	}
	q := &traffic.Request{
		Method: r.Method, Scheme: strings.ToLower(scheme), Authority: strings.ToLower(authority), Target: target,
		Proto: harProto(r.HTTPVersion), Header: header,
	}
	switch q.Scheme { // a browser names WebSocket requests so
	case "ws":
		q.Scheme = "http"
	case "wss":
		q.Scheme = "https"
	}
	var plain []byte
	var incomplete []string
	if p := r.PostData; p != nil {
		switch {
		case p.Encoding == "base64":
			var err error
			if plain, err = base64.StdEncoding.DecodeString(p.Text); err != nil {
				return nil, nil, fmt.Errorf("request.postData.text is not base64")
			}
		case p.Text != "":
			plain = []byte(p.Text)
		case len(p.Params) > 0 && strings.HasPrefix(p.MimeType, "application/x-www-form-urlencoded"):
			plain = []byte(harForm(p.Params))
		case len(p.Params) > 0:
			incomplete = append(incomplete, "request body missing: only its parameters are there")
		}
		if p.MimeType != "" && !q.Header.Has("Content-Type") {
			q.Header.Add("Content-Type", p.MimeType)
		}
	} else if r.BodySize > 0 {
		incomplete = append(incomplete, fmt.Sprintf("request body missing: %d bytes", r.BodySize))
	}
	q.Header, q.Body = recode(q.Header, plain)
	return q, incomplete, nil
}

func harForm(params []harPair) string {
	var b strings.Builder
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(p.Name) + "=" + url.QueryEscape(p.Value))
	}
	return b.String()
}

func harReadResponse(r *harResponse, method string) (*traffic.Response, []string, error) {
	if r.Status > 999 || r.Status < 100 {
		return nil, nil, fmt.Errorf("response.status is not a status")
	}
	plain := []byte(r.Content.Text)
	if r.Content.Encoding == "base64" {
		var err error
		if plain, err = base64.StdEncoding.DecodeString(r.Content.Text); err != nil {
			return nil, nil, fmt.Errorf("response.content.text is not base64")
		}
	}
	out := &traffic.Response{Status: r.Status, Proto: harProto(r.HTTPVersion)}
	header := harFields(r.Headers)
	var incomplete []string
	if len(plain) == 0 {
		out.Header, out.Body = header, traffic.NewBody(nil, header)
		if r.Content.Size > 0 && method != "HEAD" && r.Status != 304 {
			out.Body.Truncated, out.Body.Size = true, r.Content.Size
			incomplete = append(incomplete, fmt.Sprintf("response body missing: %d bytes", r.Content.Size))
		}
		return out, incomplete, nil
	}
	out.Header, out.Body = recode(header, plain)
	return out, incomplete, nil
}

// recode makes a body of decoded bytes fit its header again: HAR and others
// undo the content coding and leave the field that names it. A coding that
// cannot be applied loses its field instead. Content-Length follows, and
// Transfer-Encoding goes, since it speaks of another wire.
func recode(header traffic.Header, plain []byte) (traffic.Header, traffic.Body) {
	header = header.Clone()
	header.Del("Transfer-Encoding")
	if plain == nil {
		return header, traffic.NewBody(nil, header)
	}
	body := traffic.NewBody(plain, header)
	if body.Coding != "" {
		raw, err := traffic.Encode(plain, body.Coding)
		if err != nil {
			header.Del("Content-Encoding")
			raw = plain
		}
		body = traffic.NewBody(raw, header)
	}
	if header.Has("Content-Length") {
		header.Set("Content-Length", fmt.Sprint(len(body.Raw)))
	}
	return header, body
}

// harFields leaves out the pseudo fields of HTTP/2, which browsers list among
// the others.
func harFields(pairs []harPair) traffic.Header {
	var h traffic.Header
	for _, p := range pairs {
		if p.Name != "" && !strings.HasPrefix(p.Name, ":") {
			h.Add(p.Name, p.Value)
		}
	}
	return h
}

func harProto(version string) string {
	switch v := strings.ToLower(version); {
	case v == "http/1.0":
		return "HTTP/1.0"
	case strings.HasPrefix(v, "h2"), strings.HasPrefix(v, "http/2"), strings.HasPrefix(v, "h3"), strings.HasPrefix(v, "http/3"):
		return "HTTP/2.0"
	}
	return "HTTP/1.1"
}

// harFailure reads the name that Chrome gives to why there is no response.
func harFailure(name string) traffic.Failure {
	for _, known := range []struct {
		part    string
		failure traffic.Failure
	}{
		{"NAME_NOT_RESOLVED", traffic.FailureDNS}, {"REFUSED", traffic.FailureRefused}, {"TIMED_OUT", traffic.FailureTimeout},
		{"CERT", traffic.FailureTLS}, {"SSL", traffic.FailureTLS}, {"ABORTED", traffic.FailureTimeout},
	} {
		if strings.Contains(name, known.part) {
			return known.failure
		}
	}
	return traffic.FailureReset
}
