package formats

import (
	"net/http"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// vcrInteraction is one interaction of a go-vcr cassette, of version 1 or 2.
type vcrInteraction struct {
	Request struct {
		Proto   string      `yaml:"proto"`
		Trailer http.Header `yaml:"trailer"`
		Host    string      `yaml:"host"`
		Body    string      `yaml:"body"`
		Headers http.Header `yaml:"headers"`
		URL     string      `yaml:"url"`
		Method  string      `yaml:"method"`
	} `yaml:"request"`
	Response struct {
		Proto        string      `yaml:"proto"`
		Trailer      http.Header `yaml:"trailer"`
		Uncompressed bool        `yaml:"uncompressed"`
		Body         string      `yaml:"body"`
		Headers      http.Header `yaml:"headers"`
		Code         int         `yaml:"code"`
		Duration     string      `yaml:"duration"`
	} `yaml:"response"`
}

// readVCR reads go-vcr's cassettes. They hold calls to dependencies without
// absolute times: the first is given the time of the file, and each starts when
// the one before has ended.
func readVCR(s *source) error {
	next := s.when.UTC()
	noted := false
	return yamlItems(s, "interactions", func(at place, text []byte) error {
		var items []vcrInteraction
		if err := decodeYAML(text, &items); err != nil {
			return s.unreadable(at, "%v", err)
		}
		for i := range items {
			x, why := readInteraction(s, &items[i])
			if why != "" {
				if err := s.unreadable(at, "%s", why); err != nil {
					return err
				}
				continue
			}
			if !noted {
				noted = true
				if err := s.note(at, "cassettes have no times; the calls follow one another from the date of the file"); err != nil {
					return err
				}
			}
			x.Start = next
			next = next.Add(x.Duration + time.Microsecond)
			if err := s.emit(x); err != nil {
				return err
			}
		}
		return nil
	})
}

func readInteraction(s *source, in *vcrInteraction) (*traffic.Exchange, string) {
	scheme, authority, target, ok := splitURL(in.Request.URL)
	if !ok || in.Request.Method == "" && in.Request.URL == "" {
		return nil, "request.url is not absolute"
	}
	if in.Response.Code < 100 || in.Response.Code > 999 {
		return nil, "response.code is not a status"
	}
	x := &traffic.Exchange{}
	x.Origin.Source = string(GoVCR)
	x.Request = traffic.Request{
		Method: in.Request.Method, Scheme: scheme, Authority: authority, Target: target,
		Proto: flowProto(in.Request.Proto), Header: traffic.HeaderFrom(in.Request.Headers), Trailer: traffic.HeaderFrom(in.Request.Trailer),
	}
	if x.Request.Method == "" {
		x.Request.Method = http.MethodGet // as net/http writes none for it
	}
	if host := strings.ToLower(in.Request.Host); host != "" {
		x.Request.Authority = host
	}
	x.Request.Body = traffic.NewBody([]byte(in.Request.Body), x.Request.Header)
	r := &traffic.Response{
		Status: in.Response.Code, Proto: flowProto(in.Response.Proto),
		Header: traffic.HeaderFrom(in.Response.Headers), Trailer: traffic.HeaderFrom(in.Response.Trailer),
	}
	if in.Response.Uncompressed { // net/http took the coding off, and its field with it
		r.Header.Del("Content-Encoding")
		r.Header.Del("Content-Length")
	}
	r.Body = traffic.NewBody([]byte(in.Response.Body), r.Header)
	x.Response = r
	if d, err := time.ParseDuration(in.Response.Duration); err == nil && d > 0 {
		x.FirstByte, x.Duration = d, d
	}
	x.Direction = s.opts.direction(&x.Request, traffic.Outbound)
	return x, ""
}

// splitURL splits an absolute URL without decoding any of it.
func splitURL(u string) (scheme, authority, target string, ok bool) {
	scheme, rest, ok := strings.Cut(u, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return "", "", "", false
	}
	rest, _, _ = strings.Cut(rest, "#")
	authority, target = rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, target = rest[:i], rest[i:]
	}
	if target[0] == '?' {
		target = "/" + target
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	return scheme, strings.ToLower(authority), target, authority != ""
}
