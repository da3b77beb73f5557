package mock

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// appendProto appends a protobuf message as a tree of field numbers: without
// its schema, but so that two encodings of one message are equal (fields in
// any order, map entries in any order) and that each value has an address.
func appendProto(f form, b []byte, depth int) (form, bool) {
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
		values := make([]form, n)
		for i, field := range fields[:n] {
			values[i] = field.tokens(depth)
		}
		if isMap(values) {
			slices.SortStableFunc(values, func(a, b form) int { return compareForms(a, b) })
		}
		f = append(f, token{member, strconv.Itoa(int(fields[0].number))})
		if n > 1 {
			f = append(f, token{list, ""})
		}
		for _, v := range values {
			f = append(f, v...)
		}
		if n > 1 {
			f = append(f, token{listEnd, ""})
		}
		fields = fields[n:]
	}
	return append(f, token{shut, ""}), true
}

// protoField is one field as it stands on the wire.
type protoField struct {
	number protowire.Number
	kind   protowire.Type
	varint uint64
	bytes  []byte
}

// protoFields splits a message into its fields, sorted by number. It reports
// false for what is not a message. Groups, which nobody has used for a long
// time, are refused.
func protoFields(b []byte) ([]protoField, bool) {
	var fields []protoField
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		b = b[n:]
		field := protoField{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			field.varint, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			field.varint = uint64(v)
		case protowire.Fixed64Type:
			field.varint, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			field.bytes, n = protowire.ConsumeBytes(b)
		default:
			return nil, false
		}
		if n < 0 {
			return nil, false
		}
		b = b[n:]
		fields = append(fields, field)
	}
	slices.SortStableFunc(fields, func(a, b protoField) int { return int(a.number) - int(b.number) })
	return fields, true
}

// tokens returns the value of a field. Bytes are text if they can be read as
// such, else a message if they parse as one, else bytes.
func (p *protoField) tokens(depth int) form {
	switch p.kind {
	case protowire.VarintType:
		return form{{number, strconv.FormatUint(p.varint, 10)}}
	case protowire.Fixed32Type, protowire.Fixed64Type:
		return form{{literal, fmt.Sprintf("0x%x", p.varint)}}
	}
	if printable(p.bytes) {
		return form{{text, string(p.bytes)}}
	}
	if f, ok := appendProto(nil, p.bytes, depth+1); ok {
		return f
	}
	return form{{raw, string(p.bytes)}}
}

func printable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isMap reports whether the values of a repeated field look like the entries of
// a map, whose order on the wire means nothing: messages of a key and a value,
// all keys different.
func isMap(values []form) bool {
	if len(values) < 2 {
		return false
	}
	keys := map[token]bool{}
	for _, v := range values {
		if len(v) < 4 || v[0].kind != open || v[1] != (token{member, "1"}) || !v[2].kind.leaf() || keys[v[2]] {
			return false
		}
		keys[v[2]] = true
		depth := 0
		for _, t := range v[3:] {
			switch t.kind {
			case open, list:
				depth++
			case shut, listEnd:
				depth--
			case member:
				if depth == 0 && t.text != "2" {
					return false
				}
			}
		}
	}
	return true
}

func compareForms(a, b form) int {
	return slices.CompareFunc(a, b, func(x, y token) int {
		if x.kind != y.kind {
			return int(x.kind) - int(y.kind)
		}
		switch {
		case x.text < y.text:
			return -1
		case x.text > y.text:
			return 1
		}
		return 0
	})
}

// grpcFrame is the length of what stands before each message of gRPC.
const grpcFrame = 5

// grpcMessage is one message of a stream, as on the wire.
type grpcMessage struct {
	frame      []byte // with what stands before it
	compressed bool
}

func (m grpcMessage) payload() []byte { return m.frame[grpcFrame:] }

// nextGRPC cuts the first message off a stream. It reports false when the
// message is not there as a whole.
func nextGRPC(b []byte) (m grpcMessage, rest []byte, ok bool) {
	if len(b) < grpcFrame {
		return m, b, false
	}
	size := uint64(binary.BigEndian.Uint32(b[1:]))
	if uint64(len(b)-grpcFrame) < size {
		return m, b, false
	}
	n := grpcFrame + int(size)
	return grpcMessage{b[:n:n], b[0]&1 != 0}, b[n:], true
}

// splitGRPC returns the messages of a stream. It reports false when bytes are
// left over.
func splitGRPC(b []byte) ([]grpcMessage, bool) {
	var messages []grpcMessage
	for len(b) > 0 {
		m, rest, ok := nextGRPC(b)
		if !ok {
			return messages, false
		}
		messages, b = append(messages, m), rest
	}
	return messages, true
}
