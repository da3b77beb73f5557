package formats

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// rrpair is Speedscale's record of one exchange, as JSON and as the INTERNAL
// section of the Markdown form.
type rrpair struct {
	MsgType    string            `json:"msgType"`
	Time       time.Time         `json:"ts"`
	L7         string            `json:"l7protocol"`
	Duration   float64           `json:"duration"` // ms
	Tags       map[string]string `json:"tags"`
	Direction  string            `json:"direction"`
	Connection json.RawMessage   `json:"connectionId"`
	HTTP       *struct {
		Req rrpairMessage `json:"req"`
		Res rrpairMessage `json:"res"`
	} `json:"http"`
}

type rrpairMessage struct {
	URL        string              `json:"url"`
	URI        string              `json:"uri"`
	Version    string              `json:"version"`
	Method     string              `json:"method"`
	Host       string              `json:"host"`
	StatusCode int                 `json:"statusCode"`
	Headers    map[string][]string `json:"headers"`
	Body       []byte              `json:"bodyBase64"`
}

// readRRPair reads Speedscale's RRPairs: one Markdown file a pair, or JSON
// lines.
func readRRPair(s *source) error {
	first, _ := s.r.Peek(1)
	if len(first) == 1 && first[0] == '{' {
		return readRRPairJSON(s)
	}
	text, err := io.ReadAll(io.LimitReader(s.r, s.opts.MaxRecord+1))
	switch {
	case err != nil:
		return s.rest(place{}, err)
	case int64(len(text)) > s.opts.MaxRecord:
		return s.unreadable(place{line: 1}, "the record is over %d bytes", s.opts.MaxRecord)
	}
	return readRRPairText(s, text)
}

func readRRPairJSON(s *source) error {
	l := newJSONList(s)
	for {
		l.bound.reset()
		at := place{offset: l.d.InputOffset()}
		var pair rrpair
		err := l.d.Decode(&pair)
		var wrong *json.UnmarshalTypeError
		var badTime *time.ParseError
		var badBase64 base64.CorruptInputError
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &wrong), errors.As(err, &badTime), errors.As(err, &badBase64):
			err = s.unreadable(at, "a value is not of the right type")
		case err != nil:
			return s.rest(at, err)
		default:
			err = pair.emit(s, at)
		}
		if err != nil {
			return err
		}
	}
}

func (p *rrpair) emit(s *source, at place) error {
	x, why := p.exchange()
	if why != "" {
		return s.unreadable(at, "%s", why)
	}
	p.finish(s, x)
	return s.emit(x)
}

func (p *rrpair) finish(s *source, x *traffic.Exchange) {
	x.Origin.Source = string(RRPair)
	x.Start = p.Time.UTC()
	if x.Start.IsZero() {
		x.Start = s.when.UTC()
	}
	if p.Duration > 0 && p.Duration < 1e12 && x.Response != nil {
		x.Duration = time.Duration(p.Duration * float64(time.Millisecond))
		x.FirstByte = x.Duration // the format knows no other
	}
	switch p.Direction {
	case "IN":
		x.Direction = traffic.Inbound
	case "OUT":
		x.Direction = traffic.Outbound
	default:
		x.Direction = s.opts.direction(&x.Request, traffic.Inbound)
	}
}

func (p *rrpair) exchange() (*traffic.Exchange, string) {
	if p.HTTP == nil {
		return nil, "a record of protocol " + clipName(p.L7) + " is not HTTP"
	}
	req, res := p.HTTP.Req, p.HTTP.Res
	scheme, authority, target, ok := splitURL(req.URL)
	if !ok {
		scheme, authority = "http", strings.ToLower(req.Host)
		if target = req.URI; target == "" {
			target = req.URL
		}
	}
	if req.Method == "" || !strings.HasPrefix(target, "/") && target != "*" {
		return nil, "the request has no method or URL"
	}
	if strings.EqualFold(p.Tags["scheme"], "https") || strings.HasSuffix(authority, ":443") {
		scheme = "https"
	}
	x := &traffic.Exchange{Request: traffic.Request{
		Method: req.Method, Scheme: scheme, Authority: authority, Target: target, Proto: rrpairProto(req.Version), Header: traffic.HeaderFrom(req.Headers),
	}}
	x.Request.Body = traffic.NewBody(req.Body, x.Request.Header)
	if res.StatusCode >= 100 && res.StatusCode <= 999 {
		r := &traffic.Response{Status: res.StatusCode, Proto: x.Request.Proto, Header: traffic.HeaderFrom(res.Headers)}
		r.Body = traffic.NewBody(res.Body, r.Header)
		x.Response = r
	}
	return x, ""
}

func rrpairProto(version string) string {
	if strings.HasPrefix(version, "HTTP") {
		return flowProto(version)
	}
	return flowProto("HTTP/" + version)
}

// readRRPairText reads the Markdown form. Its sections override what INTERNAL
// says, except for bodies, whose bytes only INTERNAL keeps: they are taken from
// there unless the section was edited.
func readRRPairText(s *source, text []byte) error {
	at := place{line: 1}
	sections := rrpairSections(text)
	var pair rrpair
	if raw := sections["INTERNAL"]; len(raw) > 0 {
		line := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(raw[0]), "json:"))
		if err := json.Unmarshal([]byte(line), &pair); err != nil {
			if err := s.note(at, "the INTERNAL section cannot be read; bodies are taken as they are shown"); err != nil {
				return err
			}
			pair = rrpair{}
		}
	}
	request := sections["REQUEST"]
	if len(request) == 0 {
		return s.unreadable(at, "there is no REQUEST section")
	}
	x, why := rrpairRequest(request)
	if why != "" {
		return s.unreadable(at, "%s", why)
	}
	if pair.HTTP != nil && sameText(x.Request.Body.Raw, pair.HTTP.Req.Body) {
		x.Request.Body = traffic.NewBody(pair.HTTP.Req.Body, x.Request.Header)
	}
	if response := sections["RESPONSE"]; len(response) > 0 {
		if x.Response, why = rrpairResponse(response); why != "" {
			return s.unreadable(at, "%s", why)
		}
		if pair.HTTP != nil && sameText(x.Response.Body.Raw, pair.HTTP.Res.Body) {
			x.Response.Body = traffic.NewBody(pair.HTTP.Res.Body, x.Response.Header)
		}
	}
	for _, block := range sections["METADATA"] {
		pair.metadata(block)
	}
	pair.finish(s, x)
	return s.emit(x)
}

func (p *rrpair) metadata(block string) {
	for line := range strings.SplitSeq(block, "\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "direction":
			p.Direction = value
		case "ts":
			if t, err := time.Parse(time.RFC3339Nano, value); err == nil {
				p.Time = t
			}
		case "duration":
			if d, err := time.ParseDuration(value); err == nil {
				p.Duration = float64(d) / float64(time.Millisecond)
			}
		}
	}
}

// rrpairSections returns the contents of the fenced blocks by section.
func rrpairSections(text []byte) map[string][]string {
	sections := map[string][]string{}
	name, inBlock := "", false
	var block []string
	for line := range strings.SplitSeq(string(text), "\n") {
		line = strings.TrimSuffix(line, "\r")
		switch {
		case !inBlock && strings.HasPrefix(line, "### "):
			name, _, _ = strings.Cut(strings.TrimSpace(strings.Trim(line, "# ")), " ")
		case !inBlock && strings.HasPrefix(line, "```"):
			inBlock, block = true, nil
		case inBlock && strings.TrimSpace(line) == "```":
			sections[name] = append(sections[name], strings.Join(block, "\n"))
			inBlock = false
		case inBlock:
			block = append(block, line)
		case name == "INTERNAL" && strings.HasPrefix(strings.TrimSpace(line), "json:"):
			sections[name] = append(sections[name], line)
		}
	}
	return sections
}

func rrpairRequest(blocks []string) (*traffic.Exchange, string) {
	start, header, trailer := rrpairHead(blocks[0])
	fields := strings.Fields(start)
	if len(fields) < 2 {
		return nil, "the request line cannot be read"
	}
	scheme, authority, target, ok := splitURL(fields[1])
	if !ok {
		scheme, authority, target = "http", strings.ToLower(header.Get("Host")), fields[1]
	}
	if !strings.HasPrefix(target, "/") && target != "*" {
		return nil, "the request line cannot be read"
	}
	x := &traffic.Exchange{Request: traffic.Request{Method: fields[0], Scheme: scheme, Authority: authority, Target: target, Proto: "HTTP/1.1", Trailer: trailer}}
	if len(fields) > 2 {
		x.Request.Proto = flowProto(fields[2])
	}
	x.Request.Header, x.Request.Body = rrpairBody(header, blocks)
	return x, ""
}

func rrpairResponse(blocks []string) (*traffic.Response, string) {
	start, header, trailer := rrpairHead(blocks[0])
	fields := strings.Fields(start)
	if len(fields) < 2 {
		return nil, "the status line cannot be read"
	}
	status, err := strconv.Atoi(fields[1])
	if err != nil || status < 100 || status > 999 {
		return nil, "the status line cannot be read"
	}
	r := &traffic.Response{Status: status, Proto: flowProto(fields[0]), Trailer: trailer}
	r.Header, r.Body = rrpairBody(header, blocks)
	return r, ""
}

func rrpairBody(header traffic.Header, blocks []string) (traffic.Header, traffic.Body) {
	if len(blocks) < 2 || blocks[1] == "" {
		return header, traffic.NewBody(nil, header)
	}
	return recode(header, []byte(blocks[1]))
}

// rrpairHead reads the first line and the fields of a block. Values of one name
// are joined by commas; a comma inside a value is escaped.
func rrpairHead(block string) (start string, header, trailer traffic.Header) {
	lines := strings.Split(block, "\n")
	into := &header
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		if strings.TrimSpace(name) == "Trailer" && strings.TrimSpace(value) == "" {
			into = &trailer
			continue
		}
		for _, v := range rrpairValues(http.CanonicalHeaderKey(name), strings.TrimSpace(value)) {
			into.Add(strings.TrimSpace(name), v)
		}
	}
	return lines[0], header, trailer
}

func rrpairValues(name, value string) []string {
	var values []string
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && i+1 < len(value) && (value[i+1] == ',' || value[i+1] == '\\'):
			i++
			b.WriteByte(value[i])
		case value[i] == ',' && i+1 < len(value) && value[i+1] == ' ':
			values = append(values, b.String())
			b.Reset()
			i++
		default:
			b.WriteByte(value[i])
		}
	}
	return append(values, b.String())
}

// sameText reports whether a body that is shown, perhaps indented, says the
// same as the bytes that were kept.
func sameText(shown, kept []byte) bool {
	if len(kept) == 0 {
		return false
	}
	var a, b bytes.Buffer
	if json.Compact(&a, shown) == nil && json.Compact(&b, kept) == nil {
		return bytes.Equal(a.Bytes(), b.Bytes())
	}
	return bytes.Equal(bytes.TrimSpace(shown), bytes.TrimSpace(kept)) || len(bytes.TrimSpace(shown)) == 0
}
