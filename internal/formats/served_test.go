package formats_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/formats"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// stub is a call and its answer as the file of a tool has it, read here without
// the importer.
type stub struct {
	method, host, target string
	header               http.Header
	body                 string
	status               int
	fields               http.Header // of the answer
	answer               []byte
}

// said is an answer as it came, or should come. JSON is written anew, since
// mountebank keeps it as such.
type said struct {
	Status int
	Fields http.Header
	Body   string
}

// framing are fields that belong to one connection or one moment; a rule has no
// coding, its body is plain.
var framing = []string{"Content-Length", "Transfer-Encoding", "Content-Encoding", "Connection"}

func newSaid(t *testing.T, status int, fields http.Header, body []byte) said {
	t.Helper()
	plain, err := traffic.Body{Raw: body, Coding: fields.Get("Content-Encoding")}.Decoded()
	if err != nil {
		t.Fatal(err)
	}
	fields = fields.Clone()
	for _, name := range framing {
		fields.Del(name)
	}
	var v any
	if json.Unmarshal(plain, &v) == nil {
		plain, _ = json.Marshal(v) // it was JSON
	}
	return said{status, fields, string(plain)}
}

// Each call that a stub of another tool stands for is answered by the imported
// rules as the stub answers it, or is a miss if its stub could not be imported.
func TestImportedRulesAnswerLikeTheirStubs(t *testing.T) {
	tests := []struct {
		file   string
		read   func(*testing.T, string) []stub
		missed []string // stubs that have no place in a rule
	}{
		{"testdata/hoverfly.json", hoverflyStubs, []string{"POST /stream", "POST /binary"}},
		{"testdata/mountebank.json", mountebankStubs, []string{"POST /stream", "POST /binary"}},
		{"testdata/wiremock", wiremockStubs, []string{"POST /stream", "POST /binary"}},
		{"../e2e/testdata/material/hoverfly.json", hoverflyStubs, nil},
		{"../e2e/testdata/material/mountebank.json", mountebankStubs, nil},
		{"../e2e/testdata/material/wiremock", wiremockStubs, nil},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			rules, counts, err := formats.ReadRules(t.Context(), []string{tt.file}, formats.Options{})
			if err != nil {
				t.Fatal(err)
			}
			stubs := tt.read(t, tt.file)
			if len(stubs) != counts.Found {
				t.Fatalf("%d stubs are in the file, the importer found %d", len(stubs), counts.Found)
			}
			client, addr := serveRules(t, rules)
			var missed []string
			asked := map[string]bool{}
			for _, s := range stubs {
				call := s.method + " " + s.host + s.target + " " + s.body
				if asked[call] { // an earlier stub answers it
					continue
				}
				asked[call] = true
				got, miss := s.ask(t, client, addr)
				if miss {
					missed = append(missed, s.method+" "+s.target)
					continue
				}
				if d := diff.Diff(newSaid(t, cmp.Or(s.status, 200), s.fields, s.answer), got); d != "" {
					t.Errorf("%s: stub (-), rule (+):\n%s", call, d)
				}
			}
			slices.Sort(missed)
			want := slices.Sorted(slices.Values(tt.missed))
			if d := diff.Diff(want, missed); d != "" {
				t.Errorf("misses: %s", d)
			}
		})
	}
}

// serveRules serves rules as a mock reads them, and returns a client whose calls
// all go there.
func serveRules(t *testing.T, rules []formats.Rule) (*http.Client, string) {
	t.Helper()
	for i := range rules { // the recorded delays are tested elsewhere
		rules[i].Answer.Delay = 0
	}
	written, err := yaml.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	var taken []mock.Rule
	if err := yaml.Unmarshal(written, &taken); err != nil {
		t.Fatal(err)
	}
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m, err := mock.New(nil, ca, mock.Options{Rules: taken, OneLane: true})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, l) }()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		m.Close()
	})
	return &http.Client{Transport: transport}, l.Addr().String()
}

func (s *stub) ask(t *testing.T, client *http.Client, addr string) (got said, miss bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), s.method, "http://"+addr+s.target, strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = cmp.Or(s.host, "any.example")
	if req.Header = s.header.Clone(); req.Header == nil {
		req.Header = http.Header{}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return newSaid(t, resp.StatusCode, resp.Header, body), resp.StatusCode == mock.StatusMiss
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// values is one value or several of a field.
type values []string

func (v *values) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte("[")) {
		return json.Unmarshal(data, (*[]string)(v))
	}
	*v = values{""}
	return json.Unmarshal(data, &(*v)[0])
}

func headerOf(fields map[string]values) http.Header {
	h := http.Header{}
	for name, v := range fields {
		h[http.CanonicalHeaderKey(name)] = v
	}
	return h
}

func hoverflyStubs(t *testing.T, path string) (stubs []stub) {
	type matcher []struct{ Value string }
	var file struct {
		Data struct {
			Pairs []struct {
				Request struct {
					Method, Path, Destination, Body matcher
					Query, Headers                  map[string]matcher
				}
				Response struct {
					Status      int
					Body        string
					EncodedBody bool
					Headers     map[string]values
				}
			}
		}
	}
	readJSON(t, path, &file)
	for _, p := range file.Data.Pairs {
		s := stub{method: p.Request.Method[0].Value, host: p.Request.Destination[0].Value, target: p.Request.Path[0].Value, header: http.Header{},
			status: p.Response.Status, fields: headerOf(p.Response.Headers), answer: []byte(p.Response.Body)}
		query := url.Values{}
		for name, m := range p.Request.Query {
			query.Set(name, m[0].Value)
		}
		if len(query) > 0 {
			s.target += "?" + query.Encode()
		}
		for name, m := range p.Request.Headers {
			s.header.Set(name, m[0].Value)
		}
		if len(p.Request.Body) > 0 {
			s.body = p.Request.Body[0].Value
		}
		if p.Response.EncodedBody {
			var err error
			if s.answer, err = base64.StdEncoding.DecodeString(p.Response.Body); err != nil {
				t.Fatal(err)
			}
		}
		stubs = append(stubs, s)
	}
	return stubs
}

func mountebankStubs(t *testing.T, path string) (stubs []stub) {
	var file struct {
		Imposters []struct {
			Name  string
			Port  int
			Stubs []struct {
				Predicates []struct {
					DeepEquals struct {
						Method, Path, Body string
						Query, Headers     map[string]string
					}
				}
				Responses []struct {
					Is struct {
						StatusCode int
						Headers    map[string]values
						Body       json.RawMessage
						Mode       string `json:"_mode"`
					}
				}
			}
		}
	}
	readJSON(t, path, &file)
	for _, imposter := range file.Imposters {
		for _, one := range imposter.Stubs {
			is := one.Responses[0].Is
			s := stub{host: imposter.Name, header: http.Header{}, status: is.StatusCode, fields: headerOf(is.Headers), answer: is.Body}
			query := url.Values{}
			for _, p := range one.Predicates {
				s.method, s.target, s.body = cmp.Or(s.method, p.DeepEquals.Method), cmp.Or(s.target, p.DeepEquals.Path), cmp.Or(s.body, p.DeepEquals.Body)
				for name, value := range p.DeepEquals.Query {
					query.Set(name, value)
				}
				for name, value := range p.DeepEquals.Headers {
					s.header.Set(name, value)
				}
			}
			if len(query) > 0 {
				s.target += "?" + query.Encode()
			}
			var text string
			if json.Unmarshal(is.Body, &text) == nil {
				s.answer = []byte(text)
			}
			if is.Mode == "binary" {
				var err error
				if s.answer, err = base64.StdEncoding.DecodeString(text); err != nil {
					t.Fatal(err)
				}
			}
			stubs = append(stubs, s)
		}
	}
	return stubs
}

func wiremockStubs(t *testing.T, folder string) (stubs []stub) {
	type equal struct {
		EqualTo       string
		EqualToJSON   string `json:"equalToJson"`
		BinaryEqualTo []byte
		HasExactly    []struct{ EqualTo string }
	}
	type mapping struct {
		InsertionIndex int
		Request        struct {
			Method, URL, URLPath     string
			QueryParameters, Headers map[string]equal
			BodyPatterns             []equal
		}
		Response struct {
			Status   int
			Body     string
			JSONBody json.RawMessage
			Base64   []byte `json:"base64Body"`
			Headers  map[string]values
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "mappings", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var mappings []mapping
	for _, file := range files {
		var m mapping
		readJSON(t, file, &m)
		mappings = append(mappings, m)
	}
	slices.SortFunc(mappings, func(a, b mapping) int { return cmp.Compare(b.InsertionIndex, a.InsertionIndex) }) // the newest is asked first
	for _, m := range mappings {
		s := stub{method: m.Request.Method, target: cmp.Or(m.Request.URL, m.Request.URLPath), header: http.Header{}, status: m.Response.Status, fields: headerOf(m.Response.Headers), answer: []byte(m.Response.Body)}
		query := url.Values{}
		for name, e := range m.Request.QueryParameters {
			query.Set(name, e.EqualTo)
			for _, one := range e.HasExactly {
				query.Set(name, one.EqualTo)
			}
		}
		if len(query) > 0 {
			s.target += "?" + query.Encode()
		}
		for name, e := range m.Request.Headers {
			s.header.Set(name, e.EqualTo)
		}
		for _, e := range m.Request.BodyPatterns {
			s.body = cmp.Or(e.EqualTo, e.EqualToJSON, string(e.BinaryEqualTo))
		}
		if m.Response.JSONBody != nil {
			s.answer = m.Response.JSONBody
		}
		if m.Response.Base64 != nil {
			s.answer = m.Response.Base64
		}
		stubs = append(stubs, s)
	}
	return stubs
}
