package protobuf

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Value is what stands at one place of a message whose type is known.
type Value struct {
	Kind    Kind
	Text    string   // of a Number, Text, Word or Bytes
	Members []Member // of an Object, in the order of the field numbers, or of the keys of a map
	List    []Value  // of a List
	Fields  []Field  // of an Unknown: all values of the number
}

// Member is a named value.
type Member struct {
	Name  string
	Value Value
}

// Kind is what a value is.
type Kind byte

// The kinds of values.
const (
	Number  Kind = iota // as Go writes it: 12, -1.5, 1e+300, NaN, +Inf
	Text                //
	Word                // true, false, or the name of an enum's value
	Bytes               //
	Object              // a message or a map
	List                // a repeated field, of any length
	Unknown             // a field that the type does not have; its name is the number
)

// maxDepth bounds nested messages.
const maxDepth = 32

// Decode reads a message of a type. Two encodings of one message are equal:
// fields in any order, repeated numbers packed or not, defaults written or left
// out, maps in any order. It reports false for what is not a message of this
// type.
func Decode(b []byte, md protoreflect.MessageDescriptor) (Value, bool) {
	return decode(b, md, 0)
}

func decode(b []byte, md protoreflect.MessageDescriptor, depth int) (Value, bool) {
	fields, ok := Fields(b)
	if !ok || depth > maxDepth {
		return Value{}, false
	}
	out := Value{Kind: Object}
	for _, values := range fields {
		fd := md.Fields().ByNumber(values[0].Number)
		if fd == nil { // newer than the descriptors
			out.Members = append(out.Members, Member{strconv.Itoa(int(values[0].Number)), Value{Kind: Unknown, Fields: values}})
			continue
		}
		v, given, ok := field(values, fd, depth)
		if !ok {
			return Value{}, false
		}
		if given {
			out.Members = append(out.Members, Member{string(fd.Name()), v})
		}
	}
	return out, true
}

// field reads all values of one field. It reports given as false for a default
// that is written out.
func field(values []Field, fd protoreflect.FieldDescriptor, depth int) (v Value, given, ok bool) {
	switch {
	case fd.IsMap():
		v, ok = entries(values, fd, depth)
		return v, true, ok
	case fd.IsList():
		v.Kind = List
		for _, packed := range values {
			found, ok := elements(packed, fd)
			if !ok {
				return v, false, false
			}
			for _, e := range found {
				element, ok := single(e, fd, depth)
				if !ok {
					return v, false, false
				}
				v.List = append(v.List, element)
			}
		}
		return v, len(v.List) > 0, true
	}
	last := values[len(values)-1] // the last one counts
	v, ok = single(last, fd, depth)
	return v, fd.HasPresence() || last.Varint != 0 || len(last.Bytes) > 0, ok
}

// entries reads a map as an object, sorted by its keys.
func entries(values []Field, fd protoreflect.FieldDescriptor, depth int) (Value, bool) {
	out := Value{Kind: Object}
	for _, entry := range values {
		fields, ok := Fields(entry.Bytes)
		if !ok || entry.Kind != protowire.BytesType {
			return out, false
		}
		key, value := Field{Kind: wireOf(fd.MapKey())}, Field{Kind: wireOf(fd.MapValue())}
		for _, part := range fields {
			switch last := part[len(part)-1]; last.Number {
			case 1:
				key = last
			case 2:
				value = last
			}
		}
		name, ok := single(key, fd.MapKey(), depth+1)
		if !ok {
			return out, false
		}
		v, ok := single(value, fd.MapValue(), depth+1)
		if !ok {
			return out, false
		}
		at, known := slices.BinarySearchFunc(out.Members, name.Text, func(m Member, key string) int { return strings.Compare(m.Name, key) })
		if known {
			out.Members[at].Value = v
		} else {
			out.Members = slices.Insert(out.Members, at, Member{name.Text, v})
		}
	}
	return out, true
}

// single reads one value by its type.
func single(p Field, fd protoreflect.FieldDescriptor, depth int) (Value, bool) {
	if p.Kind != wireOf(fd) {
		return Value{}, false
	}
	whole := func(n int64) (Value, bool) { return Value{Kind: Number, Text: strconv.FormatInt(n, 10)}, true }
	fraction := func(x float64, bits int) (Value, bool) {
		return Value{Kind: Number, Text: strconv.FormatFloat(x, 'g', -1, bits)}, true
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return Value{Kind: Word, Text: strconv.FormatBool(p.Varint != 0)}, true
	case protoreflect.EnumKind:
		if v := fd.Enum().Values().ByNumber(protoreflect.EnumNumber(int32(p.Varint))); v != nil {
			return Value{Kind: Word, Text: string(v.Name())}, true
		}
		return whole(int64(int32(p.Varint)))
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		return whole(int64(int32(p.Varint)))
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		return whole(int64(p.Varint))
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return whole(protowire.DecodeZigZag(p.Varint))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return Value{Kind: Number, Text: strconv.FormatUint(p.Varint, 10)}, true
	case protoreflect.FloatKind:
		return fraction(float64(math.Float32frombits(uint32(p.Varint))), 32)
	case protoreflect.DoubleKind:
		return fraction(math.Float64frombits(p.Varint), 64)
	case protoreflect.StringKind:
		return Value{Kind: Text, Text: string(p.Bytes)}, true
	case protoreflect.MessageKind:
		return decode(p.Bytes, fd.Message(), depth+1)
	}
	return Value{Kind: Bytes, Text: string(p.Bytes)}, true
}
