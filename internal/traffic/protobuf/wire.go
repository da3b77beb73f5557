package protobuf

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Field is one field as it stands on the wire.
type Field struct {
	Number protowire.Number
	Kind   protowire.Type
	Varint uint64 // of a varint or a fixed number
	Bytes  []byte // of a length-delimited field; part of the message
}

// Fields splits a message into the values of its fields: one list for each
// number, in the order of the numbers, with the values in that of the wire. It
// reports false for what is not a message. Groups, which nobody has used for a
// long time, are refused.
func Fields(b []byte) ([][]Field, bool) {
	var fields []Field
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		b = b[n:]
		field := Field{Number: number, Kind: kind}
		switch kind {
		case protowire.VarintType:
			field.Varint, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			field.Varint = uint64(v)
		case protowire.Fixed64Type:
			field.Varint, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			field.Bytes, n = protowire.ConsumeBytes(b)
		default:
			return nil, false
		}
		if n < 0 {
			return nil, false
		}
		b = b[n:]
		fields = append(fields, field)
	}
	slices.SortStableFunc(fields, func(a, b Field) int { return int(a.Number) - int(b.Number) })
	var groups [][]Field
	for len(fields) > 0 {
		n := 1
		for n < len(fields) && fields[n].Number == fields[0].Number {
			n++
		}
		groups, fields = append(groups, fields[:n:n]), fields[n:]
	}
	return groups, true
}

// elements returns the elements of one value of a repeated field: many, if they
// are packed into it.
func elements(p Field, fd protoreflect.FieldDescriptor) ([]Field, bool) {
	want := wireOf(fd)
	if p.Kind == want || p.Kind != protowire.BytesType {
		return []Field{p}, p.Kind == want
	}
	var out []Field
	for b := p.Bytes; len(b) > 0; {
		element, n := Field{Number: p.Number, Kind: want}, 0
		switch want {
		case protowire.VarintType:
			element.Varint, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			element.Varint, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			element.Varint = uint64(v)
		}
		if n <= 0 {
			return nil, false
		}
		out, b = append(out, element), b[n:]
	}
	return out, true
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
