package compare_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/reprise-ci/reprise/internal/compare"
)

// message writes a protobuf message: strings, integers and nested messages by
// field number, in order.
func message(fields ...any) string {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		number := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), v)
		}
	}
	return string(b)
}

func frame(messages ...string) string {
	var b []byte
	for _, m := range messages {
		b = append(binary.BigEndian.AppendUint32(append(b, 0), uint32(len(m))), m...)
	}
	return string(b)
}

func form(boundary string, parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("--" + boundary + "\r\n" + p + "\r\n")
	}
	b.WriteString("--" + boundary + "--\r\n")
	return b.String()
}

func TestFormats(t *testing.T) {
	tests := []struct {
		name, mediaType string
		a, b            string
		want            []string
	}{
		{"xml equal", "application/xml", `<order id="1"><total>5</total></order>`, "<?xml version='1.0'?>\n<order id='1'>\n  <total>5</total>\n</order>\n", nil},
		{"xml value", "application/xml", `<order id="1"><total>5</total></order>`, `<order id="2"><total>6</total></order>`,
			[]string{"value response.body.order.@id: 1 -> 2", "value response.body.order.total: 5 -> 6"}},
		{"xml namespaces", "application/soap+xml", `<s:e xmlns:s="x"><s:b>1</s:b></s:e>`, `<t:e xmlns:t="x"><t:b>1</t:b></t:e>`, nil},
		{"xml one item less", "text/xml", `<order><items><item>1</item><item>2</item></items></order>`, `<order><items><item>1</item></items></order>`,
			[]string{"length response.body.order.items.item: 2 -> 1 (missing [1] 2)"}},
		{"xml broken", "application/xml", `<a><b></a>`, `<a><c></a>`, []string{"value response.body: <a><b></a> -> <a><c></a>"}},
		{"html", "text/html", `<!doctype html><p class=x>Hello  <b>world</b></p>`, `<p class="x">Hello <b>there</b></p>`,
			[]string{"value response.body.html.body.p.b: world -> there"}},
		{"html token", "text/html; charset=utf-8", `<form><input name=csrf value=1><input name=q></form>`, `<form><input name=csrf value=2><input name=q></form>`,
			[]string{"value response.body.html.body.form.input[0].@value: 1 -> 2"}},
		{"multipart", "multipart/form-data; boundary=x",
			form("x", "Content-Disposition: form-data; name=\"a\"\r\n\r\n1", "Content-Disposition: form-data; name=\"f\"; filename=\"f.json\"\r\nContent-Type: application/json\r\n\r\n{\"n\":1}"),
			form("x", "Content-Disposition: form-data; name=\"f\"; filename=\"g.json\"\r\nContent-Type: application/json\r\n\r\n{\"n\":2}", "Content-Disposition: form-data; name=\"a\"\r\n\r\n1"),
			[]string{"value response.body.f.filename: f.json -> g.json", "value response.body.f.content.n: 1 -> 2"}},
		{"events", "text/event-stream", "event: tick\ndata: {\"n\":1}\n\n: keep-alive\n\ndata: two\ndata: lines\n\n", "event: tick\r\ndata: {\"n\":2}\r\n\r\ndata: two\r\ndata: lines\r\n\r\n",
			[]string{"value response.body[0].data.n: 1 -> 2"}},
		{"events lost", "text/event-stream", "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n", "id: 1\ndata: a\n\nid: 3\ndata: c\n\n",
			[]string{`length response.body: 3 -> 2 (missing [1] {"id":"2","data":"b"})`}},
		{"protobuf", "application/x-protobuf", message(1, 150, 2, "testing", 3, message(1, 7)), message(1, 151, 2, "testing", 3, message(1, 8)),
			[]string{"value response.body.1: 150 -> 151", "value response.body.3.1: 7 -> 8"}},
		{"protobuf field lost", "application/protobuf", message(1, 150, 2, "x"), message(2, "x"), []string{"missing response.body.1: 150 -> "}},
		{"protobuf repeated", "application/protobuf", message(1, 1, 1, 2), message(1, 1, 1, 3), []string{"value response.body.1[1]: 2 -> 3"}},
		{"protobuf broken", "application/protobuf", "\xff\xff\x00", "\xff\xff\x01", []string{"value response.body: sha256:3a7a6fbff2a7b0ab -> sha256:"}},
		{"grpc", "application/grpc+proto", frame(message(1, "a"), message(1, "b")), frame(message(1, "a"), message(1, "c")), []string{"value response.body[1].1: b -> c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := "Content-Type: " + tt.mediaType
			got := show(compare.Responses(answer(200, tt.a, h), answer(200, tt.b, h), compare.Options{}))
			for i := range got {
				if at := strings.Index(got[i], "sha256:"); at >= 0 { // digests are long and say little here
					got[i] = got[i][:at+7]
				}
			}
			for i := range tt.want {
				if at := strings.Index(tt.want[i], "sha256:"); at >= 0 {
					tt.want[i] = tt.want[i][:at+7]
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestBoundariesAreNoDifference(t *testing.T) {
	part := "Content-Disposition: form-data; name=\"a\"\r\n\r\n1"
	a := answer(200, form("one", part), "Content-Type: multipart/form-data; boundary=one")
	b := answer(200, form("two", part), "Content-Type: multipart/form-data; boundary=two")
	if got := compare.Responses(a, b, compare.Options{}); len(got) > 0 {
		t.Errorf("got %v", show(got))
	}
}
