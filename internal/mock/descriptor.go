package mock

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// readDescriptors reads a FileDescriptorSet, as protoc --descriptor_set_out
// --include_imports and buf build write it. It returns nil for no bytes.
func readDescriptors(data []byte) (*protoregistry.Files, error) {
	if len(data) == 0 {
		return nil, nil
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(data, set); err != nil || len(set.File) == 0 {
		return nil, fmt.Errorf("mock.descriptors: not a descriptor set; make one with protoc --include_imports --descriptor_set_out=FILE")
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("mock.descriptors: the set is not complete (make it with --include_imports): %w", err)
	}
	return files, nil
}

// input returns the type of the messages that a method takes, or nil where the
// descriptors do not know it.
func (c *canonicalizer) input(path string) protoreflect.MessageDescriptor {
	if c.files == nil {
		return nil
	}
	service, method, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok {
		return nil
	}
	found, err := c.files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	s, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	m := s.Methods().ByName(protoreflect.Name(method))
	if m == nil {
		return nil
	}
	return m.Input()
}

// appendMessage appends a message by the names of its fields. Two encodings of
// one message are equal: fields in any order, repeated numbers packed or not,
// defaults written or left out. It reports false, and f as it was, for what is
// not a message of this type.
func appendMessage(f form, b []byte, md protoreflect.MessageDescriptor, depth int) (form, bool) {
	kept := len(f)
	fields, ok := protoFields(b)
	if !ok || depth > maxDepth {
		return f, false
	}
	f = append(f, token{open, ""})
	for len(fields) > 0 {
		n := 1
		for n < len(fields) && fields[n].number == fields[0].number {
			n++
		}
		if f, ok = appendNamed(f, fields[:n], md.Fields().ByNumber(fields[0].number), depth); !ok {
			return f[:kept], false
		}
		fields = fields[n:]
	}
	return append(f, token{shut, ""}), true
}

// appendNamed appends all values of one field.
func appendNamed(f form, values []protoField, fd protoreflect.FieldDescriptor, depth int) (form, bool) {
	switch {
	case fd == nil: // newer than the descriptors
		f = append(f, token{member, strconv.Itoa(int(values[0].number))}, token{list, ""})
		for i := range values {
			f = append(f, values[i].tokens(depth)...)
		}
		return append(f, token{listEnd, ""}), true
	case fd.IsMap():
		return appendMap(f, values, fd, depth)
	case fd.IsList():
		f = append(f, token{member, string(fd.Name())}, token{list, ""})
		for i := range values {
			elements, ok := unpacked(&values[i], fd)
			if !ok {
				return f, false
			}
			for k := range elements {
				if f, ok = appendValue(f, &elements[k], fd, depth); !ok {
					return f, false
				}
			}
		}
		return append(f, token{listEnd, ""}), true
	}
	last := &values[len(values)-1] // the last one counts
	if !fd.HasPresence() && last.varint == 0 && len(last.bytes) == 0 {
		return f, true // the default, written out
	}
	return appendValue(append(f, token{member, string(fd.Name())}), last, fd, depth)
}

// appendMap appends a map as an object, sorted by its keys.
func appendMap(f form, entries []protoField, fd protoreflect.FieldDescriptor, depth int) (form, bool) {
	f = append(f, token{member, string(fd.Name())}, token{open, ""})
	values := map[string]form{}
	for i := range entries {
		fields, ok := protoFields(entries[i].bytes)
		if !ok || entries[i].kind != protowire.BytesType {
			return f, false
		}
		key, value := protoField{kind: wireOf(fd.MapKey())}, protoField{kind: wireOf(fd.MapValue())}
		for _, part := range fields {
			switch part.number {
			case 1:
				key = part
			case 2:
				value = part
			}
		}
		name, ok := appendValue(nil, &key, fd.MapKey(), depth+1)
		if !ok || len(name) != 1 {
			return f, false
		}
		if values[name[0].text], ok = appendValue(nil, &value, fd.MapValue(), depth+1); !ok {
			return f, false
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f = append(append(f, token{member, name}), values[name]...)
	}
	return append(f, token{shut, ""}), true
}

// unpacked returns the elements of one value of a repeated field: many, if they
// are packed into it.
func unpacked(p *protoField, fd protoreflect.FieldDescriptor) ([]protoField, bool) {
	want := wireOf(fd)
	if p.kind == want || p.kind != protowire.BytesType {
		return []protoField{*p}, p.kind == want
	}
	var elements []protoField
	for b := p.bytes; len(b) > 0; {
		element, n := protoField{number: p.number, kind: want}, 0
		switch want {
		case protowire.VarintType:
			element.varint, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			element.varint, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			element.varint = uint64(v)
		}
		if n <= 0 {
			return nil, false
		}
		elements, b = append(elements, element), b[n:]
	}
	return elements, true
}

// wireOf is how one value of a field stands on the wire.
func wireOf(fd protoreflect.FieldDescriptor) protowire.Type {
	switch fd.Kind() {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	}
	return protowire.VarintType
}

// appendValue appends one value by its type.
func appendValue(f form, p *protoField, fd protoreflect.FieldDescriptor, depth int) (form, bool) {
	if p.kind != wireOf(fd) {
		return f, false
	}
	whole := func(n int64) (form, bool) { return append(f, token{number, strconv.FormatInt(n, 10)}), true }
	fraction := func(x float64) (form, bool) {
		return append(f, token{number, normalNumber(strconv.FormatFloat(x, 'g', -1, 64))}), true
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return append(f, token{literal, strconv.FormatBool(p.varint != 0)}), true
	case protoreflect.EnumKind:
		if v := fd.Enum().Values().ByNumber(protoreflect.EnumNumber(int32(p.varint))); v != nil {
			return append(f, token{literal, string(v.Name())}), true
		}
		return whole(int64(int32(p.varint)))
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		return whole(int64(int32(p.varint)))
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		return whole(int64(p.varint))
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return whole(protowire.DecodeZigZag(p.varint))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return append(f, token{number, strconv.FormatUint(p.varint, 10)}), true
	case protoreflect.FloatKind:
		return fraction(float64(math.Float32frombits(uint32(p.varint))))
	case protoreflect.DoubleKind:
		return fraction(math.Float64frombits(p.varint))
	case protoreflect.StringKind:
		return append(f, token{text, string(p.bytes)}), true
	case protoreflect.MessageKind:
		return appendMessage(f, p.bytes, fd.Message(), depth+1)
	}
	return append(f, opaque(p.bytes)), true
}
