package transform_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
	"github.com/reprise-ci/reprise/internal/transform"
)

// parcelFile is a type with a field of every sort that can be bound:
//
//	package t; service S { rpc Send(Parcel) returns (Parcel); }
const parcelFile = `file {
  name: "t.proto" package: "t" syntax: "proto3"
  message_type {
    name: "Parcel"
    field { name: "id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "order_id" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
    field { name: "inner" number: 4 type: TYPE_MESSAGE type_name: ".t.Parcel" label: LABEL_OPTIONAL }
    field { name: "parts" number: 5 type: TYPE_MESSAGE type_name: ".t.Parcel" label: LABEL_REPEATED }
    field { name: "notes" number: 6 type: TYPE_STRING label: LABEL_REPEATED }
    field { name: "order_ids" number: 7 type: TYPE_SINT64 label: LABEL_REPEATED }
    field { name: "fixed_order_id" number: 8 type: TYPE_FIXED64 label: LABEL_OPTIONAL }
    field { name: "tags" number: 9 type: TYPE_MESSAGE type_name: ".t.Parcel.TagsEntry" label: LABEL_REPEATED }
    field { name: "cursor" number: 10 type: TYPE_BYTES label: LABEL_OPTIONAL }
    field { name: "weight" number: 11 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
    field { name: "short_order_id" number: 12 type: TYPE_INT32 label: LABEL_OPTIONAL }
    field { name: "signed_order_id" number: 13 type: TYPE_SFIXED32 label: LABEL_OPTIONAL }
    nested_type {
      name: "TagsEntry" options { map_entry: true }
      field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "value" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
    }
  }
  service { name: "S" method { name: "Send" input_type: ".t.Parcel" output_type: ".t.Parcel" } }
}`

// parcelTypes are the descriptors of parcelFile.
func parcelTypes(t rapid.TB) *protobuf.Types {
	t.Helper()
	var set descriptorpb.FileDescriptorSet
	if err := prototext.Unmarshal([]byte(parcelFile), &set); err != nil {
		t.Fatal(err)
	}
	data, err := proto.Marshal(&set)
	if err != nil {
		t.Fatal(err)
	}
	types, err := protobuf.ReadTypes(data)
	if err != nil {
		t.Fatal(err)
	}
	return types
}

// parcel reads a message in protobuf's text form.
func parcel(t rapid.TB, types *protobuf.Types, text string) []byte {
	t.Helper()
	md, _ := types.Method("/t.S/Send")
	m := dynamicpb.NewMessage(md)
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// framed is a body of gRPC with these messages.
func framed(all ...[]byte) string {
	var out []byte
	for _, m := range all {
		out = append(binary.BigEndian.AppendUint32(append(out, 0), uint32(len(m))), m...)
	}
	return string(out)
}

const grpcType = "content-type: application/grpc"

// afterAnswer returns the body of a second recorded request when the first was
// answered otherwise than recorded.
func afterAnswer(t rapid.TB, types *protobuf.Types, contentType, recorded, live, request string) string {
	t.Helper()
	var c talk
	target := "/t.S/Send"
	if strings.Contains(contentType, "messageType=") { // in place of the path
		target = "/orders"
	}
	c.ask("POST", target, framed(nil), contentType).answer(recorded, contentType)
	c.ask("POST", target, request, contentType)
	opts := transform.Options{Types: types, Now: func() time.Time { return epoch.Add(time.Second) }}
	b, err := transform.Learn(c.exchanges, opts)
	if err != nil {
		t.Fatal(err)
	}
	rw := transform.NewRewriter(b, opts)
	first, second := c.exchanges[0], c.exchanges[1]
	rw.Observe(first, &traffic.Exchange{ID: "live", Recorded: first.ID, Request: first.Request, Response: answer(200, live, contentType)})
	before := string(second.Request.Body.Raw)
	got := rw.Request(second)
	if string(second.Request.Body.Raw) != before {
		t.Error("the recorded request has changed")
	}
	if got.Body.Size != int64(len(got.Body.Raw)) {
		t.Errorf("the body says %d bytes and has %d", got.Body.Size, len(got.Body.Raw))
	}
	return string(got.Body.Raw)
}

func TestBindingInMessages(t *testing.T) {
	types := parcelTypes(t)
	const was, is = "ord_8f3k2a91", "ord_zz91k3b7-which-is-longer-than-one-byte-of-length-can-say-because-it-has-more-than-127-bytes-and-so-the-lengths-of-all-that-holds-it-grow"
	tests := []struct {
		why                           string
		known                         bool // the type of the messages
		recorded, live, request, want string
	}{
		{"a text", true, `id: "` + was + `"`, `id: "` + is + `"`, `id: "` + was + `"`, `id: "` + is + `"`},
		{"a text of an unknown type", false, `id: "` + was + `"`, `id: "` + is + `"`, `id: "` + was + `"`, `id: "` + is + `"`},
		{"a text three messages deep", false, `inner { id: "` + was + `" }`, `inner { id: "` + is + `" }`,
			`weight: 1.5 inner { inner { inner { id: "` + was + `" weight: 2 } weight: 3 } } notes: "z"`, `weight: 1.5 inner { inner { inner { id: "` + is + `" weight: 2 } weight: 3 } } notes: "z"`},
		{"of a list of messages", true, `parts { id: "a" } parts { id: "` + was + `" }`, `parts { id: "a" } parts { id: "` + is + `" }`,
			`notes: "a" notes: "` + was + `" notes: "b"`, `notes: "a" notes: "` + is + `" notes: "b"`},
		{"the same without a type", false, `parts { id: "a" } parts { id: "` + was + `" }`, `parts { id: "a" } parts { id: "` + is + `" }`,
			`notes: "a" notes: "` + was + `" notes: "b"`, `notes: "a" notes: "` + is + `" notes: "b"`},
		{"a word of a text", true, `id: "` + was + `"`, `id: "ord_zz91k3b7"`, `notes: "orders/` + was + `/lines"`, `notes: "orders/ord_zz91k3b7/lines"`},
		{"no word of what may be no text", false, `id: "` + was + `"`, `id: "ord_zz91k3b7"`, `notes: "orders/` + was + `/lines"`, `notes: "orders/` + was + `/lines"`},
		{"a value of a map", true, `tags { key: "order" value: "` + was + `" }`, `tags { key: "order" value: "` + is + `" }`,
			`tags { key: "a" value: "b" } tags { key: "o" value: "` + was + `" }`, `tags { key: "a" value: "b" } tags { key: "o" value: "` + is + `" }`},
		{"bytes that are a text", true, `cursor: "cur-77aa88bb99"`, `cursor: "cur-11cc22dd33"`, `cursor: "cur-77aa88bb99"`, `cursor: "cur-11cc22dd33"`},
		{"a short number that is the id of the same thing", true, `order_id: 42`, `order_id: 97000000000`, `inner { order_id: 42 } weight: 42`, `inner { order_id: 97000000000 } weight: 42`},
		{"numbers of other widths", true, `order_id: 123456789`, `order_id: 987654321`,
			`fixed_order_id: 123456789 short_order_id: 123456789 signed_order_id: 123456789`, `fixed_order_id: 987654321 short_order_id: 987654321 signed_order_id: 987654321`},
		{"a number that does not fit stays", true, `order_id: 123456789`, `order_id: 98765432100`, `fixed_order_id: 123456789 short_order_id: 123456789`, `fixed_order_id: 98765432100 short_order_id: 123456789`},
		{"a number below zero", true, `order_id: 123456789`, `order_id: -987654321`, `order_ids: [1, 123456789, 3] signed_order_id: 123456789`, `order_ids: [1, -987654321, 3] signed_order_id: -987654321`},
		{"a number that becomes a text", true, `order_id: 123456789012`, `order_id: 5`, `notes: "123456789012"`, `notes: "5"`},
		{"a number of an unknown type stays", false, `order_id: 123456789`, `order_id: 987654321`, `order_id: 123456789`, `order_id: 123456789`},
	}
	for _, tt := range tests {
		given := types
		if !tt.known {
			given = nil
		}
		m := func(text string) string { return framed(parcel(t, types, text)) }
		if got := afterAnswer(t, given, grpcType, m(tt.recorded), m(tt.live), m(tt.request)); got != m(tt.want) {
			t.Errorf("%s:\n%q, want\n%q", tt.why, got, m(tt.want))
		}
	}
}

// TestBindingInFrames: what holds messages is known by the type of the body.
func TestBindingInFrames(t *testing.T) {
	types := parcelTypes(t)
	m := func(id string) []byte { return parcel(t, types, `inner { id: "`+id+`" }`) }
	packed := func(message []byte) string {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		if _, err := z.Write(message); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return string(binary.BigEndian.AppendUint32([]byte{1}, uint32(out.Len()))) + out.String()
	}
	was, is := m("ord_8f3k2a91"), m("ord_zz91k3b7c2")
	other := parcel(t, types, `notes: "nothing"`)
	short := func(id int) string { return string(parcel(t, types, fmt.Sprintf("order_id: %d", id))) } // of no use without a type
	tests := []struct{ why, contentType, recorded, live, request, want string }{
		{"several messages", grpcType, framed(other, was), framed(other, is), framed(was, other, was), framed(is, other, is)},
		{"one that was compressed", grpcType, packed(was), packed(is), packed(was) + framed(other), framed(is, other)},
		{"compressed in another way", grpcType, framed(was), framed(is), "\x01\x00\x00\x00\x02zz" + framed(was), "\x01\x00\x00\x00\x02zz" + framed(is)},
		{"one that was cut off", grpcType, framed(was), framed(is), framed(was) + framed(was)[:12], framed(is) + framed(was)[:12]},
		{"the trailers of gRPC-Web", "content-type: application/grpc-web+proto", framed(was), framed(is), framed(was) + "\x80\x00\x00\x00\x00", framed(is) + "\x80\x00\x00\x00\x00"},
		{"Connect and Twirp", "content-type: application/proto", string(was), string(is), string(was), string(is)},
		{"a type that Content-Type names", `content-type: application/x-protobuf; messageType="t.Parcel"`, short(42), short(97), short(42), short(97)},
		{"JSON in frames", "content-type: application/grpc+json", framed([]byte(`"ord_8f3k2a91"`)), framed([]byte(`"ord_zz91k3b7c2"`)), framed([]byte(`"ord_8f3k2a91"`)), framed([]byte(`"ord_8f3k2a91"`))},
	}
	for _, tt := range tests {
		if got := afterAnswer(t, types, tt.contentType, tt.recorded, tt.live, tt.request); got != tt.want {
			t.Errorf("%s:\n%q, want\n%q", tt.why, got, tt.want)
		}
	}
}

// TestEverywhereInMessages: wherever in a message of whatever shape a value
// stands, the live one stands there after, and nothing else has changed.
func TestEverywhereInMessages(t *testing.T) {
	types := parcelTypes(t)
	md, _ := types.Method("/t.S/Send")
	rapid.Check(t, func(r *rapid.T) {
		was := rapid.StringMatching(`old[0-9]{3}[a-z]{4,30}`).Draw(r, "was")
		is := rapid.StringMatching(`new[0-9]{3}[a-z]{4,200}`).Draw(r, "is")
		number, other := rapid.Int64Range(1e9, 1<<62).Draw(r, "number"), rapid.Int64().Filter(func(n int64) bool { return n != 0 }).Draw(r, "other") // none is written for 0
		if number == other || different(number) < 4 {
			r.Skip("a number that is not told from others by its digits")
		}
		given := rapid.Bool().Draw(r, "known")
		// What the answer has, and a message of any shape around it.
		source := &shape{id: true, number: given}
		drawn := drawShape(r, 3, given)
		known := types
		if !given {
			known = nil
		}
		encode := func(s *shape, id string, n int64) string {
			m := dynamicpb.NewMessage(md)
			s.fill(m, id, n)
			data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				r.Fatal(err)
			}
			return framed(data)
		}
		got := afterAnswer(r, known, grpcType, encode(source, was, number), encode(source, is, other), encode(drawn, was, number))
		want := encode(drawn, is, other)
		a, b := dynamicpb.NewMessage(md), dynamicpb.NewMessage(md)
		if err := proto.Unmarshal([]byte(got)[5:], a); err != nil {
			r.Fatalf("%q is no message: %v", got, err)
		}
		if err := proto.Unmarshal([]byte(want)[5:], b); err != nil {
			r.Fatal(err)
		}
		if !proto.Equal(a, b) || binary.BigEndian.Uint32([]byte(got)[1:]) != uint32(len(got)-5) {
			r.Fatalf("%v, want %v", a, b)
		}
	})
}

// different counts the different digits of a number.
func different(n int64) int {
	seen := map[rune]bool{}
	for _, digit := range strconv.FormatInt(n, 10) {
		seen[digit] = true
	}
	return len(seen)
}

// shape tells which fields of a parcel are set, and to what.
type shape struct {
	id, number, tag bool
	notes           int // one of them is the id, if there are any
	list            int // numbers
	weight          float64
	inner           *shape
	parts           []*shape
}

func drawShape(r *rapid.T, depth int, numbers bool) *shape {
	s := &shape{
		id: rapid.Bool().Draw(r, "id"), number: numbers && rapid.Bool().Draw(r, "order_id"), tag: rapid.Bool().Draw(r, "tag"),
		notes: rapid.IntRange(0, 3).Draw(r, "notes"), weight: rapid.Float64().Draw(r, "weight"),
	}
	if numbers {
		s.list = rapid.IntRange(0, 3).Draw(r, "order_ids")
	}
	if depth > 0 && rapid.Bool().Draw(r, "inner") {
		s.inner = drawShape(r, depth-1, numbers)
	}
	for range rapid.IntRange(0, min(depth, 2)).Draw(r, "parts") {
		s.parts = append(s.parts, drawShape(r, depth-1, numbers))
	}
	return s
}

func (s *shape) fill(m *dynamicpb.Message, id string, n int64) {
	fields := m.Descriptor().Fields()
	field := func(name string) protoreflect.FieldDescriptor { return fields.ByName(protoreflect.Name(name)) }
	if s.id {
		m.Set(field("id"), protoreflect.ValueOfString(id))
	}
	if s.number {
		m.Set(field("order_id"), protoreflect.ValueOfInt64(n))
	}
	if s.tag {
		m.Mutable(field("tags")).Map().Set(protoreflect.ValueOfString("t").MapKey(), protoreflect.ValueOfString(id))
	}
	for i := range s.notes {
		text := id
		if i > 0 {
			text = "a note"
		}
		m.Mutable(field("notes")).List().Append(protoreflect.ValueOfString(text))
	}
	for i := range s.list {
		value := n
		if i > 0 {
			value = int64(i)
		}
		m.Mutable(field("order_ids")).List().Append(protoreflect.ValueOfInt64(value))
	}
	m.Set(field("weight"), protoreflect.ValueOfFloat64(s.weight))
	if s.inner != nil {
		s.inner.fill(m.Mutable(field("inner")).Message().Interface().(*dynamicpb.Message), id, n)
	}
	for _, part := range s.parts {
		part.fill(m.Mutable(field("parts")).List().AppendMutable().Message().Interface().(*dynamicpb.Message), id, n)
	}
}

// FuzzMessages feeds whatever may be recorded: what was a message stays one, and
// without a binding every byte stays.
func FuzzMessages(f *testing.F) {
	types := parcelTypes(f)
	id := []byte(framed(parcel(f, types, `inner { id: "ord_8f3k2a91" }`)))
	f.Add(id, []byte(framed(parcel(f, types, `inner { id: "ord_zz91k3b7c2" }`))), id, true)
	f.Add(id, []byte(framed(parcel(f, types, `order_ids: [1, 2, 123456789]`))), id, false)
	f.Add([]byte("\x00\x00\x00\x00\x04\x0a\x02\x80\x80"), []byte{0, 0, 0, 0, 9}, []byte{1, 0, 0, 0, 1, 0}, true)
	f.Fuzz(func(t *testing.T, recorded, live, request []byte, known bool) {
		given := types
		if !known {
			given = nil
		}
		if got := afterAnswer(t, given, grpcType, string(recorded), string(recorded), string(request)); got != string(request) {
			t.Errorf("with the recorded answer %q became %q", request, got)
		}
		got := []byte(afterAnswer(t, given, grpcType, string(recorded), string(live), string(request)))
		a, b := messagesIn(request), messagesIn(got)
		if len(a) != len(b) {
			t.Fatalf("%d messages became %d", len(a), len(b))
		}
		for i := range a {
			if a[i] && !b[i] {
				t.Errorf("message %d of %q is none in %q", i, request, got)
			}
		}
	})
}

// messagesIn tells of each frame whether a message that is not compressed is in
// it.
func messagesIn(body []byte) (valid []bool) {
	for len(body) >= 5 {
		size := int(binary.BigEndian.Uint32(body[1:]))
		if size > len(body)-5 {
			break
		}
		rest := body[5 : 5+size]
		ok := body[0] == 0
		for len(rest) > 0 && ok {
			_, _, n := protowire.ConsumeField(rest)
			if ok = n > 0; ok {
				rest = rest[n:]
			}
		}
		valid, body = append(valid, ok), body[5+size:]
	}
	return valid
}
