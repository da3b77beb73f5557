package redact_test

import (
	"encoding/base64"
	"encoding/binary"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Values are found in every form that bodies have, and what is around them
// stays to the byte.
func TestBodyForms(t *testing.T) {
	const mail = `user-[a-z2-7]{10}@redacted\.example`
	const secret = `redacted-[a-z2-7]{12}`
	message := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
	inner := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "jane@corp.com")
	inner = protowire.AppendVarint(protowire.AppendTag(inner, 3, protowire.VarintType), 300)
	message = protowire.AppendBytes(protowire.AppendTag(message, 4, protowire.BytesType), inner)
	zipped, err := traffic.Encode(message, "gzip")
	if err != nil {
		t.Fatal(err)
	}
	frame := func(flag byte, m []byte) string {
		return string(append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(m))), m...))
	}
	tests := []struct {
		name, media, body string
		form              string // a regular expression for the redacted body
		path              string // of the first redaction
	}{
		{
			"multipart field", "multipart/form-data; boundary=XX", "--XX\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\njane@corp.com\r\n--XX\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n17\r\n--XX--\r\n",
			`^--XX\r\nContent-Disposition: form-data; name="email"\r\n\r\n` + mail + `\r\n--XX\r\nContent-Disposition: form-data; name="n"\r\n\r\n17\r\n--XX--\r\n$`, "request.body.email",
		},
		{
			"multipart JSON", "multipart/mixed; boundary=\"a b\"", "pre\r\n--a b\r\nContent-Type: application/json\r\n\r\n{\"password\":\"hunter2\"}\r\n--a b--",
			`^pre\r\n--a b\r\nContent-Type: application/json\r\n\r\n\{"password":"` + secret + `"\}\r\n--a b--$`, "request.body.password",
		},
		{
			"XML", "application/xml", "<?xml version=\"1.0\"?>\n<order id=\"17\" contact='jane@corp.com'>\n  <c:customer><name>Jane &amp; Co</name><c:password> hunter2 </c:password></c:customer><name>Mug</name><note><![CDATA[mail jane@corp.com]]></note></order>",
			`^<\?xml version="1.0"\?>\n<order id="17" contact='` + mail + `'>\n  <c:customer><name>[A-Z][a-z]{5}qx &amp; [A-Z][a-z]{5}qx</name><c:password> ` + secret + ` </c:password></c:customer><name>Mug</name><note><!\[CDATA\[mail ` + mail + `\]\]></note></order>$`,
			"request.body.order.contact",
		},
		{"SOAP without a type", "", "<?xml version='1.0'?><Envelope><Body><Token>abcdefghij</Token></Body></Envelope>", `<Token>` + secret + `</Token>`, "request.body.Envelope.Body.Token"},
		{"events", "text/event-stream", "event: order\ndata: {\"email\":\"jane@corp.com\"}\n\n: from jane@corp.com\n", `^event: order\ndata: \{"email":"` + mail + `"\}\n\n: from ` + mail + `\n$`, "request.body.email"},
		{"JSON lines", "application/x-ndjson", "{\"email\":\"jane@corp.com\"}\n{\"n\":1}\n", `^\{"email":"` + mail + `"\}\n\{"n":1\}\n$`, "request.body.email"},
		{"protobuf", "application/x-protobuf", string(message), `^\x08\x07\x22.\x12.` + mail + `\x18\xac\x02$`, `request.body.4.2`},
		{"gRPC", "application/grpc+proto", frame(0, message) + frame(0, []byte("\x08\x01")), `(?s)^\x00\x00\x00\x00.\x08\x07\x22.\x12.` + mail + `\x18\xac\x02\x00\x00\x00\x00\x02\x08\x01$`, "request.body.4.2"},
		{"compressed gRPC", "application/grpc", frame(1, zipped), `(?s)^\x01\x00\x00\x00.\x1f\x8b`, "request.body.4.2"},
		{"base64 field", "application/json", `{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"email":"jane@corp.com"}`)) + `"}`, `^\{"data":"[A-Za-z0-9+/]+=*"\}$`, "request.body.data.email"},
		{"log line", "text/plain", "GET /cb?state=1&access_token=abcdefghijkl&x=1 password='a b c' done", `^GET /cb\?state=1&access_token=` + secret + `&x=1 password='` + secret + `' done$`, "request.body"},
	}
	r := redactor(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := posted(tt.media, tt.body)
			if strings.Contains(tt.media, "grpc") {
				x.Request.Header.Add("Grpc-Encoding", "gzip")
			}
			got, counts := apply(t, r, x)
			body := latin(got.Request.Body.Raw)
			if !regexp.MustCompile(tt.form).MatchString(body) || string(got.Request.Body.Raw) == tt.body {
				t.Errorf("%q became %q, want %s", tt.body, body, tt.form)
			}
			if len(counts) == 0 || counts[0].Path.String() != tt.path {
				t.Errorf("counted %v, want first %s", counts, tt.path)
			}
			for _, plain := range []string{"jane@corp", "hunter2", "amFuZUBjb3JwLmNvb"} {
				if strings.Contains(body, plain) {
					t.Errorf("%q is left in %q", plain, body)
				}
			}
			if again, counts := apply(t, r, got); string(again.Request.Body.Raw) != string(got.Request.Body.Raw) || len(counts) > 0 {
				t.Errorf("a second redaction changes %v: %q", counts, again.Request.Body.Raw)
			}
		})
	}
}

// latin maps each byte to the character of its number, so that expressions
// can name bytes.
func latin(b []byte) string {
	out := make([]rune, len(b))
	for i, c := range b {
		out[i] = rune(c)
	}
	return string(out)
}
