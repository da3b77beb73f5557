package redact_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/traffic"
)

var seeds = []string{
	`{"email":"jane@corp.com","card":"4111 1111 1111 1111","iban":"DE89370400440532013000","n":[4111111111111111,1e9,"x"],"password":"hunter2"}`,
	`{"token":"eyJhbGciOiJIUzI1NiJ9.eyJlbWFpbCI6ImphbmVAY29ycC5jb20ifQ.c2lnbmF0dXJlIG9mIGEgdG9rZW4","ip":"8.8.8.8","v6":"2a00:1450::1","tel":"+49 170 1234567"}`,
	`{"first_name":"Jane","dob":"1984-05-17","ssn":"123-45-6789","pin":"1234","street":"12 Main St","user":{"name":"Jane Doe"}}`,
	`[{"a":"{\"mail\":\"jane@corp.com\"}"}`, `{"a":"\ud800","b":"\u0000"}`, "a=b&email=jane%40corp.com&x", "https://user:pass@host.com/a?token=abcdefghijklmnopqrstuvwxyz",
	"-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF8PbnGy0AHB7MaGfir\n-----END RSA PRIVATE KEY-----\n", "(415) 555-2671", "AKIAIOSFODNN7EXAMPLE",
	`{"password":"0000000","api_key":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","session":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}`,
}

// FuzzRedact holds that the redactor is total, that it keeps JSON valid with
// the same shape, and that a second redaction changes nothing.
func FuzzRedact(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, "application/json", s)
		f.Add(s, "application/x-www-form-urlencoded", "sid="+s)
		f.Add(s, "text/plain", "Bearer "+s)
		f.Add("<a b='"+s+"'><email>"+s+"</email></a>", "text/xml", s)
		f.Add("--X\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n"+s+"\r\n--X--", "multipart/form-data; boundary=X", s)
		f.Add("data: "+s+"\n\n", "text/event-stream", s)
		f.Add("\x12"+string(rune(len(s)&0x7f))+s, "application/x-protobuf", s)
	}
	f.Fuzz(func(t *testing.T, body, media, header string) {
		r, err := redact.New(redact.Options{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		x := posted(media, body)
		x.Request.Target = "/a/" + header + "?q=" + header
		x.Request.Header = append(x.Request.Header, traffic.Field{Name: "Authorization", Value: header}, traffic.Field{Name: "Cookie", Value: header}, traffic.Field{Name: "X-Any", Value: header})
		once := x.Clone()
		if _, err := r.Redact(once); err != nil {
			t.Fatal(err)
		}
		if traffic.IsJSON(traffic.MediaType(x.Request.Header)) && json.Valid(x.Request.Body.Raw) {
			if before, after := skeleton(t, x.Request.Body.Raw), skeleton(t, once.Request.Body.Raw); before != after {
				t.Fatalf("%s\nbecame\n%s", x.Request.Body.Raw, once.Request.Body.Raw)
			}
		}
		twice := once.Clone()
		counts, err := r.Redact(twice)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(once, twice); diff != "" || len(counts) > 0 {
			t.Fatalf("a second redaction changes %v:\n%s", counts, diff)
		}
	})
}

// skeleton is a JSON text without its strings and numbers.
func skeleton(t *testing.T, data []byte) string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var out bytes.Buffer
	for {
		tok, err := dec.Token()
		if err != nil {
			if dec.InputOffset() < int64(len(bytes.TrimSpace(data))) {
				t.Fatalf("%s: %v", data, err)
			}
			return out.String()
		}
		switch v := tok.(type) {
		case json.Delim:
			out.WriteRune(rune(v))
		case string:
			out.WriteByte('s')
		case json.Number:
			out.WriteByte('n')
		default:
			out.WriteByte('l')
		}
	}
}
