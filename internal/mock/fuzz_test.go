package mock

import (
	"bytes"
	"encoding/json"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// What the parser accepts is what encoding/json accepts, and indenting or
// writing a text anew does not change its canonical form.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, ` {"b":1,"a":[true,null,{"c":"\u00e9\n"}],"a":2} `, `"\ud83d\ude00"`, `-0.0e+5`, `01`, `1.`, `.5`, `[1,]`,
		`{"a" 1}`, "\"\x01\"", `"\x"`, `tru`, `nullx`, `{"a":1}}`, `1e400`, `{"z":{"y":1,"x":2},"a":{}}`, ``,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := appendJSON(nil, s)
		if deep := strings.Count(s, "[")+strings.Count(s, "{") > maxDepth; !deep && ok != json.Valid([]byte(s)) {
			t.Fatalf("accepted is %v, encoding/json says %v", ok, !ok)
		}
		if !ok {
			if len(got) != 0 {
				t.Errorf("tokens of a refused text: %v", got)
			}
			return
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, []byte(s), "\t", "  "); err != nil {
			t.Fatal(err)
		}
		if again, ok := appendJSON(nil, indented.String()); !ok || !slices.Equal(again, got) {
			t.Errorf("indented: %v, want %v", again, got)
		}
		if !utf8.ValidString(s) || repeatsMember(got) {
			return // encoding/json mends the one and drops the other
		}
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		var value any
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		written, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if again, ok := appendJSON(nil, string(written)); !ok || !slices.Equal(again, got) {
			t.Errorf("written anew as %s: %v, want %v", written, again, got)
		}
	})
}

// repeatsMember reports whether an object has two members of one name.
func repeatsMember(f form) bool {
	var stack []map[string]bool
	for _, t := range f {
		switch t.kind {
		case open, list:
			stack = append(stack, map[string]bool{})
		case shut, listEnd:
			stack = stack[:len(stack)-1]
		case member:
			top := stack[len(stack)-1]
			if top[t.text] {
				return true
			}
			top[t.text] = true
		}
	}
	return false
}

// Two numbers have one normal text exactly when they are equal.
func FuzzNumber(f *testing.F) {
	for _, pair := range [][2]string{{"1", "1.0"}, {"100", "1e2"}, {"-0", "0"}, {"0.1", "1e-1"}, {"12345678901234567890123456789", "12345678901234567890123456788"}, {"1e30", "1000000000000000000000000000000"}, {"-2.50", "-25E-1"}, {"1e-7", "0.0000001"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 200 || !isNumber(a) || !isNumber(b) {
			t.Skip()
		}
		x, ok := new(big.Rat).SetString(a)
		y, ok2 := new(big.Rat).SetString(b)
		if !ok || !ok2 {
			t.Skip()
		}
		if equal := x.Cmp(y) == 0; equal != (normalNumber(a) == normalNumber(b)) {
			t.Errorf("%s is %s, %s is %s; equal is %v", a, normalNumber(a), b, normalNumber(b), equal)
		}
	})
}

// isNumber reports whether s is a JSON number with a small exponent.
func isNumber(s string) bool {
	if s == "" || !json.Valid([]byte(s)) || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 && len(s)-i > 4 {
		return false
	}
	return true
}

// Any request has a form, and the same one each time; a permuted query has the
// same form; classes never make two structures equal.
func FuzzForm(f *testing.F) {
	f.Add("POST", "/a/b%20c?x=1&y=2&x=3", "application/json", []byte(`{"id":"3f2b8c1e-7a54-4d0b-9c55-0d8f6a1b2c3d"}`))
	f.Add("GET", "*", "", []byte(nil))
	f.Add("PUT", "/?%zz&=&a", "application/x-www-form-urlencoded", []byte("b=1&a=2&&%"))
	f.Add("POST", "/up", "multipart/form-data; boundary=xx", []byte("--xx\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.json\"\r\nContent-Type: application/json\r\n\r\n{\"b\":1,\"a\":2}\r\n--xx--\r\n"))
	f.Add("POST", "/g", "multipart/mixed; boundary=y", []byte("--y\r\n\r\nhalf"))
	f.Add("POST", "/p.S/M", "application/grpc", []byte("\x00\x00\x00\x00\x08\x0a\x02hi\x18\x01\x0a\x00\x01\x00\x00\x00\x01x"))
	f.Add("POST", "/soap", "text/xml", []byte(`<a xmlns:x="u" x:b="1"><c>t</c><!-- --></a>`))
	f.Add("POST", "/graphql", "application/json", []byte(`[{"query":"{ a(s: \"\"\"x\"\"\", n: -1.5e3) ...F } # end"}]`))
	f.Add("POST", "/bulk", "application/x-ndjson", []byte("{}\n[1]\n\n"))
	f.Add("POST", "/t", "text/plain", []byte("2026-03-01T12:00:00Z"))
	f.Fuzz(func(t *testing.T, method, target, contentType string, body []byte) {
		req := &traffic.Request{Method: method, Scheme: "http", Authority: "dep", Target: target}
		req.Header.Add("Content-Type", contentType)
		req.Body = traffic.NewBody(body, req.Header)
		c := newCanonicalizer(nil, nil)
		got := c.form(nil, "dep", req)
		if again := c.form(make(form, 0, 4), "dep", req); !slices.Equal(got, again) {
			t.Fatalf("two forms of one request: %v and %v", got, again)
		}
		depth := 0
		for _, tok := range got {
			switch tok.kind {
			case open, list:
				depth++
			case shut, listEnd:
				depth--
			}
			if tok.kind.leaf() {
				classOf(tok)
			}
		}
		if depth != 0 {
			t.Errorf("structure does not close: %v", got)
		}
		leavesOf(got)
		path, query, _ := strings.Cut(target, "?")
		if values, err := url.ParseQuery(query); err == nil && len(values) > 0 {
			permuted := *req
			permuted.Target = path + "?" + values.Encode() // sorted by name
			if again := c.form(nil, "dep", &permuted); !slices.Equal(got, again) {
				t.Errorf("query %q: %v, sorted %v", query, got, again)
			}
		}
	})
}

// Frames of any kind are cut without losing or inventing bytes, and what is
// written unmasked reads back the same.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{"\x81\x02hi", "\x81\x82\x01\x02\x03\x04ab", "\x89\x00\x01\x01a\x80\x01b\x88\x02\x03\xe8", "\x82\x7e\x00\x80", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		messages, tail := splitFrames(raw)
		joined := append(bytes.Join(messages, nil), tail...)
		if tail == nil && !bytes.HasPrefix(raw, joined) {
			t.Errorf("messages %q of %q", messages, raw)
		}
		for data := raw; ; {
			frame, rest, ok := newFrame(data)
			if !ok {
				break
			}
			again, left, ok := newFrame(unmasked(&frame))
			if !ok || len(left) != 0 || again.opcode != frame.opcode || again.final != frame.final || !bytes.Equal(again.payload, frame.payload) {
				t.Errorf("frame %+v written and read again: %+v", frame, again)
			}
			data = rest
		}
	})
}

// The head that the parser accepts is read the same way by net/http: whatever
// could be understood in two ways must be refused.
func FuzzHead(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
		"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX: b\x00c\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		i := strings.Index(s, "\r\n\r\n")
		if i < 0 {
			return
		}
		s = s[:i+4]
		var h head
		if h.parse(s) != nil {
			return
		}
		theirs, err := readRequest(s)
		if err != nil {
			return // net/http is stricter about some targets, which is no danger
		}
		length := theirs.ContentLength
		if h.method != theirs.Method || h.target != theirs.RequestURI || h.length != length || h.minor != theirs.ProtoMinor {
			t.Errorf("read %+v, net/http reads %s %s of %d bytes, minor %d", h, theirs.Method, theirs.RequestURI, length, theirs.ProtoMinor)
		}
	})
}
