package formats

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// keployDocument is a test case (tests/test-N.yaml) or a mock (mocks.yaml). The
// spec is left as it is until the kind is known.
type keployDocument[Spec any] struct {
	Version string `yaml:"version" json:"version"`
	Kind    string `yaml:"kind" json:"kind"`
	Name    string `yaml:"name" json:"name"`
	Spec    Spec   `yaml:"spec" json:"spec"`
}

type keploySpec struct {
	Req  keployMessage `yaml:"req" json:"req"`
	Resp keployMessage `yaml:"resp" json:"resp"`
	// Mocks have their times beside the messages.
	ReqAt  time.Time `yaml:"reqTimestampMock" json:"reqTimestampMock"`
	RespAt time.Time `yaml:"resTimestampMock" json:"resTimestampMock"`
}

type keployMessage struct {
	Method     string            `yaml:"method" json:"method"`
	ProtoMajor int               `yaml:"proto_major" json:"proto_major"`
	URL        string            `yaml:"url" json:"url"`
	Header     map[string]string `yaml:"header" json:"header"`
	Body       keployText        `yaml:"body" json:"body"`
	BodyRef    struct {
		Path string `yaml:"path" json:"path"`
		Size int64  `yaml:"size" json:"size"`
	} `yaml:"body_ref" json:"body_ref"`
	Form []struct {
		Key    string   `yaml:"key" json:"key"`
		Values []string `yaml:"values" json:"values"`
	} `yaml:"form" json:"form"`
	BodySkipped bool      `yaml:"body_skipped" json:"body_skipped"`
	BodySize    int64     `yaml:"body_size" json:"body_size"`
	StatusCode  int       `yaml:"status_code" json:"status_code"`
	Timestamp   time.Time `yaml:"timestamp" json:"timestamp"`
}

// readKeploy reads Keploy's test sets, in YAML and, by its other setting, in
// JSON: test cases are inbound exchanges, HTTP mocks outbound ones. Lanes are
// found as for other formats; Keploy itself maps mocks to tests by their times,
// too.
func readKeploy(s *source) error {
	if first, _ := s.r.Peek(1); len(first) == 1 && first[0] == '{' {
		return readKeployJSON(s)
	}
	return yamlDocuments(s, func(at place, text []byte) error {
		var doc keployDocument[yaml.Node]
		if err := decodeYAML(text, &doc); err != nil {
			return s.unreadable(at, "%v", err)
		}
		return readKeployDocument(s, at, doc.Kind, doc.Name, doc.Spec.Decode)
	})
}

func readKeployJSON(s *source) error {
	l := newJSONList(s)
	for {
		l.bound.reset()
		at := place{offset: l.d.InputOffset()}
		var doc keployDocument[json.RawMessage]
		err := l.d.Decode(&doc)
		var wrong *json.UnmarshalTypeError
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &wrong):
			err = s.unreadable(at, "%s is not of the right type (%s)", wrong.Field, wrong.Value)
		case err != nil:
			return s.rest(at, err)
		default:
			err = readKeployDocument(s, at, doc.Kind, doc.Name, func(v any) error { return json.Unmarshal(doc.Spec, v) })
		}
		if err != nil {
			return err
		}
	}
}

func readKeployDocument(s *source, at place, kind, name string, decode func(any) error) error {
	switch {
	case kind == "TestMocksMapping":
		return nil // Keploy's own account of what this import joins anew
	case kind != "Http":
		return s.unreadable(at, "a record of kind %s is not HTTP/1", clipName(kind))
	}
	var spec keploySpec
	if err := decode(&spec); err != nil {
		return s.unreadable(at, "some values of spec are not of the right type")
	}
	return readKeploySpec(s, at, name, &spec)
}

func readKeploySpec(s *source, at place, name string, spec *keploySpec) error {
	scheme, authority, target, ok := splitURL(spec.Req.URL)
	if !ok {
		if !strings.HasPrefix(spec.Req.URL, "/") {
			return s.unreadable(at, "spec.req.url is not a URL")
		}
		scheme, target = "http", spec.Req.URL
	}
	header := keployFields(spec.Req.Header)
	if host := header.Get("Host"); host != "" {
		authority = strings.ToLower(host)
	}
	isMock := strings.HasPrefix(name, "mock")
	x := &traffic.Exchange{Start: spec.Req.Timestamp.UTC()}
	end := spec.Resp.Timestamp
	if isMock || x.Start.IsZero() {
		x.Start, end = spec.ReqAt.UTC(), spec.RespAt
	}
	x.Origin.Source = string(Keploy)
	x.Request = traffic.Request{Method: spec.Req.Method, Scheme: scheme, Authority: authority, Target: target, Proto: "HTTP/1.1"}
	if spec.Req.ProtoMajor == 2 {
		x.Request.Proto = "HTTP/2.0"
	}
	if x.Request.Method == "" {
		return s.unreadable(at, "spec.req.method is missing")
	}
	if x.Start.IsZero() {
		x.Start = s.when.UTC()
		if err := s.note(at, "the record has no time; that of the file is taken"); err != nil {
			return err
		}
	}
	x.Request.Header, x.Request.Body = keployBody(s, x, "request", header, &spec.Req)
	if code := spec.Resp.StatusCode; code >= 100 && code <= 999 {
		r := &traffic.Response{Status: code, Proto: "HTTP/1.1"}
		r.Header, r.Body = keployBody(s, x, "response", keployFields(spec.Resp.Header), &spec.Resp)
		x.Response = r
		if d := end.Sub(x.Start); d > 0 {
			x.FirstByte, x.Duration = d, d
		}
	} else {
		x.Incomplete = append(x.Incomplete, "response missing")
	}
	usual := traffic.Inbound
	if isMock {
		usual = traffic.Outbound
	}
	opts := s.opts
	opts.Service, opts.Direction = nil, "" // the format says
	x.Direction = opts.direction(&x.Request, usual)
	return s.emit(x)
}

// keployFields reads Keploy's fields, which hold one value a name.
func keployFields(fields map[string]string) traffic.Header {
	multi := make(map[string][]string, len(fields))
	for name, value := range fields {
		multi[name] = []string{value}
	}
	return traffic.HeaderFrom(multi)
}

func keployBody(s *source, x *traffic.Exchange, part string, header traffic.Header, m *keployMessage) (traffic.Header, traffic.Body) {
	plain := m.Body.plain(header)
	missing := int64(-1)
	switch {
	case m.BodyRef.Path != "":
		data, err := keployAsset(s, m.BodyRef.Path)
		if err != nil {
			missing = m.BodyRef.Size
		}
		plain = data
	case m.BodySkipped:
		missing = m.BodySize
	case len(plain) == 0 && len(m.Form) > 0:
		if traffic.MediaType(header) != "application/x-www-form-urlencoded" {
			missing = 0 // parts of a form, whose border and files are gone
			break
		}
		form := url.Values{}
		for _, field := range m.Form {
			form[field.Key] = field.Values
		}
		plain = []byte(form.Encode())
	}
	if missing >= 0 {
		x.Incomplete = append(x.Incomplete, fmt.Sprintf("%s body missing: %d bytes", part, missing))
		body := traffic.NewBody(nil, header)
		body.Truncated, body.Size = true, missing
		return header, body
	}
	if len(plain) == 0 && m.BodyRef.Path == "" {
		return header, traffic.NewBody(nil, header)
	}
	return recode(header, plain)
}

// keployAsset reads a body that lies in the test set's assets.
func keployAsset(s *source, name string) ([]byte, error) {
	for folder, i := s.folder, 0; i < 3; folder, i = filepath.Dir(folder), i+1 {
		if _, err := os.Stat(filepath.Join(folder, "assets")); err == nil {
			if data, err := beside(folder, name, s.opts.MaxRecord); err == nil {
				return data, nil
			}
			return beside(filepath.Join(folder, "assets"), filepath.Base(name), s.opts.MaxRecord)
		}
	}
	return nil, os.ErrNotExist
}
