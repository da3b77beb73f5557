package formats

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// keployDocument is a test case (tests/test-N.yaml) or a mock (mocks.yaml).
type keployDocument struct {
	Version string    `yaml:"version"`
	Kind    string    `yaml:"kind"`
	Name    string    `yaml:"name"`
	Spec    yaml.Node `yaml:"spec"`
}

type keploySpec struct {
	Metadata map[string]string `yaml:"metadata"`
	Req      keployMessage     `yaml:"req"`
	Resp     keployMessage     `yaml:"resp"`
	// Mocks have their times beside the messages.
	ReqAt  time.Time `yaml:"reqTimestampMock"`
	RespAt time.Time `yaml:"resTimestampMock"`
}

type keployMessage struct {
	Method     string            `yaml:"method"`
	ProtoMajor int               `yaml:"proto_major"`
	URL        string            `yaml:"url"`
	Header     map[string]string `yaml:"header"`
	Body       string            `yaml:"body"`
	BodyRef    struct {
		Path string `yaml:"path"`
		Size int64  `yaml:"size"`
	} `yaml:"body_ref"`
	BodySkipped bool      `yaml:"body_skipped"`
	BodySize    int64     `yaml:"body_size"`
	StatusCode  int       `yaml:"status_code"`
	Timestamp   time.Time `yaml:"timestamp"`
}

// readKeploy reads Keploy's test sets: test cases are inbound exchanges, HTTP
// mocks outbound ones. Lanes are found as for other formats; Keploy itself maps
// mocks to tests by their times, too.
func readKeploy(s *source) error {
	return yamlDocuments(s, func(at place, text []byte) error {
		var doc keployDocument
		if err := decodeYAML(text, &doc); err != nil {
			return s.unreadable(at, "%v", err)
		}
		switch {
		case doc.Kind == "TestMocksMapping":
			return nil // Keploy's own account of what this import joins anew
		case doc.Kind != "Http":
			return s.unreadable(at, "a record of kind %s is not HTTP/1", clipName(doc.Kind))
		}
		var spec keploySpec
		if err := doc.Spec.Decode(&spec); err != nil {
			return s.unreadable(at, "some values of spec are not of the right type")
		}
		return readKeploySpec(s, at, doc.Name, &spec)
	})
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
	plain := []byte(m.Body)
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
	}
	if missing >= 0 {
		x.Incomplete = append(x.Incomplete, fmt.Sprintf("%s body missing: %d bytes", part, missing))
		body := traffic.NewBody(nil, header)
		body.Truncated, body.Size = true, missing
		return header, body
	}
	if m.Body == "" && m.BodyRef.Path == "" {
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
