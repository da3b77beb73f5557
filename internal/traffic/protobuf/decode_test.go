package protobuf_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

// parcel is a type with a field of every sort:
//
//	package t; service S { rpc Send(Parcel) returns (Parcel); }
//	message Parcel { string id = 1; repeated int32 sizes = 2; Kind kind = 3; Parcel inner = 4; map<string, int32> tags = 5;
//	  bool express = 6; sint64 delta = 7; double weight = 8; bytes label = 9; repeated string notes = 10; optional int32 count = 11; fixed32 code = 12; }
func parcel(t testing.TB) *protobuf.Types {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, repeated bool, of string) *descriptorpb.FieldDescriptorProto {
		label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		if repeated {
			label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		}
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Type: &kind, Label: &label}
		if of != "" {
			f.TypeName = &of
		}
		return f
	}
	const (
		text, whole, enum, message = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_INT32,
			descriptorpb.FieldDescriptorProto_TYPE_ENUM, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	optional := field("count", 11, whole, false, "")
	optional.Proto3Optional, optional.OneofIndex = proto.Bool(true), proto.Int32(0)
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("t.proto"), Package: proto.String("t"), Syntax: proto.String("proto3"),
		EnumType: []*descriptorpb.EnumDescriptorProto{{Name: proto.String("Kind"), Value: []*descriptorpb.EnumValueDescriptorProto{
			{Name: proto.String("NONE"), Number: proto.Int32(0)}, {Name: proto.String("LARGE"), Number: proto.Int32(1)},
		}}},
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Parcel"), OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("_count")}},
			Field: []*descriptorpb.FieldDescriptorProto{
				field("id", 1, text, false, ""), field("sizes", 2, whole, true, ""), field("kind", 3, enum, false, ".t.Kind"),
				field("inner", 4, message, false, ".t.Parcel"), field("tags", 5, message, true, ".t.Parcel.TagsEntry"),
				field("express", 6, descriptorpb.FieldDescriptorProto_TYPE_BOOL, false, ""), field("delta", 7, descriptorpb.FieldDescriptorProto_TYPE_SINT64, false, ""),
				field("weight", 8, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, false, ""), field("label", 9, descriptorpb.FieldDescriptorProto_TYPE_BYTES, false, ""),
				field("notes", 10, text, true, ""), optional, field("code", 12, descriptorpb.FieldDescriptorProto_TYPE_FIXED32, false, ""),
			},
			NestedType: []*descriptorpb.DescriptorProto{{
				Name: proto.String("TagsEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
				Field: []*descriptorpb.FieldDescriptorProto{field("key", 1, text, false, ""), field("value", 2, whole, false, "")},
			}},
		}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: proto.String("Send"), InputType: proto.String(".t.Parcel"), OutputType: proto.String(".t.Parcel")},
		}}},
	}
	if _, err := protodesc.NewFile(file, nil); err != nil {
		t.Fatal(err)
	}
	data, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
	if err != nil {
		t.Fatal(err)
	}
	types, err := protobuf.ReadTypes(data)
	if err != nil {
		t.Fatal(err)
	}
	return types
}

// show writes a value on one line.
func show(v protobuf.Value) string {
	var parts []string
	switch v.Kind {
	case protobuf.Object:
		for _, m := range v.Members {
			parts = append(parts, m.Name+":"+show(m.Value))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case protobuf.List:
		for _, e := range v.List {
			parts = append(parts, show(e))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case protobuf.Unknown:
		return fmt.Sprintf("unknown(%d)", len(v.Fields))
	case protobuf.Text, protobuf.Bytes:
		return fmt.Sprintf("%q", v.Text)
	}
	return v.Text
}

func varint(b []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

func bytesOf(b []byte, number protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
}

func TestDecode(t *testing.T) {
	md, _ := parcel(t).Method("/t.S/Send")
	entry := func(key string, value uint64) []byte { return varint(bytesOf(nil, 1, []byte(key)), 2, value) }
	packed := bytesOf(nil, 2, []byte{1, 2, 3})
	for _, tt := range []struct {
		reason  string
		message []byte
		want    string // "" for what is no such message
	}{
		{"nothing", nil, "{}"},
		{"names and their values", varint(varint(bytesOf(nil, 1, []byte("p-1")), 3, 1), 6, 1), `{id:"p-1" kind:LARGE express:true}`},
		{"fields in any order", bytesOf(varint(nil, 3, 1), 1, []byte("p-1")), `{id:"p-1" kind:LARGE}`},
		{"packed numbers", packed, "{sizes:[1 2 3]}"},
		{"the same, not packed", varint(varint(varint(nil, 2, 1), 2, 2), 2, 3), "{sizes:[1 2 3]}"},
		{"partly packed", varint(bytesOf(nil, 2, []byte{1, 2}), 2, 3), "{sizes:[1 2 3]}"},
		{"one element is a list too", bytesOf(nil, 10, []byte("x")), `{notes:["x"]}`},
		{"a default that is written out", varint(varint(nil, 3, 0), 6, 0), "{}"},
		{"a default of a field with presence", varint(nil, 11, 0), "{count:0}"},
		{"an enum's value that is newer", varint(nil, 3, 7), "{kind:7}"},
		{"a map by its keys", bytesOf(bytesOf(nil, 5, entry("b", 2)), 5, entry("a", 1)), "{tags:{a:1 b:2}}"},
		{"a key that is given twice has its last value", bytesOf(bytesOf(nil, 5, entry("a", 2)), 5, entry("a", 1)), "{tags:{a:1}}"},
		{"a message inside", bytesOf(nil, 4, bytesOf(nil, 1, []byte("in"))), `{inner:{id:"in"}}`},
		{"a number with a sign", varint(nil, 7, protowire.EncodeZigZag(-5)), "{delta:-5}"},
		{"a number of fixed size", protowire.AppendFixed32(protowire.AppendTag(nil, 12, protowire.Fixed32Type), 9), "{code:9}"},
		{"of a field given twice the last counts", bytesOf(bytesOf(nil, 1, []byte("a")), 1, []byte("b")), `{id:"b"}`},
		{"a field newer than the type", varint(varint(nil, 99, 1), 99, 2), "{99:unknown(2)}"},
		{"a text where a number must be", bytesOf(nil, 3, []byte("x")), ""},
		{"a number where a text must be", varint(nil, 1, 1), ""},
		{"no message", []byte{0xff}, ""},
	} {
		got, ok := protobuf.Decode(tt.message, md)
		if text := show(got); ok != (tt.want != "") || ok && text != tt.want {
			t.Errorf("%s: %s (%t), want %s", tt.reason, text, ok, tt.want)
		}
	}
}

func TestMethod(t *testing.T) {
	types := parcel(t)
	for path, want := range map[string]bool{
		"/t.S/Send": true, "/twirp/t.S/Send": true, "/t.S/Other": false, "/t.Parcel/Send": false, "/t.S": false, "": false, "/": false,
	} {
		input, output := types.Method(path)
		if (input != nil) != want || (output != nil) != want {
			t.Errorf("%q: %v, %v", path, input, output)
		}
	}
	if input, _ := (*protobuf.Types)(nil).Method("/t.S/Send"); input != nil {
		t.Error("without descriptors there is a type")
	}
}

// A Content-Type may name the type of a message that no method knows.
func TestTypeNamedByContentType(t *testing.T) {
	types := parcel(t)
	for _, tt := range []struct {
		reason, path, contentType string
		want                      protoreflect.FullName
	}{
		{"as Spring writes it", "/orders", `application/x-protobuf; messageType="t.Parcel"`, "t.Parcel"},
		{"as Prometheus writes it", "/orders", "application/vnd.google.protobuf;proto=t.Parcel;q=0.7", "t.Parcel"},
		{"with the dot that descriptors begin names with", "/orders", "application/protobuf; proto=.t.Parcel", "t.Parcel"},
		{"it comes before the path", "/t.S/Send", "application/protobuf; proto=t.Parcel.TagsEntry", "t.Parcel.TagsEntry"},
		{"one that is not known leaves it to the path", "/t.S/Send", "application/protobuf; proto=t.Unknown", "t.Parcel"},
		{"nor is it a message", "/orders", "application/protobuf; proto=t.S", ""},
		{"many messages are not one", "/orders", "application/vnd.google.protobuf; proto=t.Parcel; encoding=delimited", ""},
		{"no name", "/orders", "application/protobuf; charset=utf-8", ""},
		{"no parameters", "/orders", "application/protobuf", ""},
		{"what cannot be read", "/orders", "application/protobuf; proto=", ""},
	} {
		for side, md := range map[string]protoreflect.MessageDescriptor{"input": types.Input(tt.path, tt.contentType), "output": types.Output(tt.path, tt.contentType)} {
			got := protoreflect.FullName("")
			if md != nil {
				got = md.FullName()
			}
			if got != tt.want {
				t.Errorf("%s: %s is %q, want %q", tt.reason, side, got, tt.want)
			}
		}
	}
	if (*protobuf.Types)(nil).Input("/t.S/Send", "application/protobuf; proto=t.Parcel") != nil {
		t.Error("without descriptors there is a type")
	}
}

func TestReadTypes(t *testing.T) {
	incomplete, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		{Name: proto.String("a.proto"), Dependency: []string{"b.proto"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ reason, data, want string }{
		{"text", "syntax", "not a descriptor set"},
		{"a set without what it imports", string(incomplete), "the set is not complete"},
	} {
		if _, err := protobuf.ReadTypes([]byte(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
	if types, err := protobuf.ReadTypes(nil); types != nil || err != nil {
		t.Errorf("no bytes: %v, %v", types, err)
	}
}

// Whatever the order of fields on the wire, a message says the same.
func TestOrderMeansNothing(t *testing.T) {
	md, _ := parcel(t).Method("/t.S/Send")
	rapid.Check(t, func(t *rapid.T) {
		fields := [][]byte{bytesOf(nil, 1, []byte("p")), bytesOf(nil, 2, []byte{4, 5}), varint(nil, 3, 1), varint(nil, 6, 1), varint(nil, 99, 3)}
		want, _ := protobuf.Decode(concat(fields), md)
		got, ok := protobuf.Decode(concat(rapid.Permutation(fields).Draw(t, "fields")), md)
		if !ok || show(got) != show(want) {
			t.Fatalf("%s, want %s", show(got), show(want))
		}
	})
}

func concat(parts [][]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// FuzzDecode feeds the decoder what any caller may send.
func FuzzDecode(f *testing.F) {
	types := parcel(f)
	md, _ := types.Method("/t.S/Send")
	f.Add(bytesOf(varint(nil, 2, 1), 4, bytesOf(nil, 1, []byte("x"))))
	f.Add(bytesOf(nil, 5, varint(nil, 2, 1)))
	f.Add([]byte{0x12, 0x02, 0x80})
	f.Fuzz(func(t *testing.T, message []byte) {
		a, ok := protobuf.Decode(message, md)
		b, again := protobuf.Decode(message, md)
		if ok != again || show(a) != show(b) {
			t.Errorf("%s and %s of one message", show(a), show(b))
		}
		groups, split := protobuf.Fields(message)
		if ok && !split {
			t.Error("a message without fields")
		}
		last := protoreflect.FieldNumber(0)
		for _, g := range groups {
			if len(g) == 0 || g[0].Number <= last {
				t.Errorf("the numbers are not in order: %v", groups)
			}
			last = g[0].Number
		}
	})
}
