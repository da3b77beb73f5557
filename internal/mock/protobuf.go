package mock

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

// appendProto appends a protobuf message as a tree of field numbers: without
// its schema, but so that two encodings of one message are equal (fields in
// any order, map entries in any order) and that each value has an address.
func appendProto(f form, b []byte, depth int) (form, bool) {
	fields, ok := protobuf.Fields(b)
	if !ok || depth > maxDepth {
		return f, false
	}
	f = append(f, token{open, ""})
	for _, same := range fields {
		values := make([]form, len(same))
		for i, field := range same {
			values[i] = fieldTokens(field, depth)
		}
		if isMap(values) {
			slices.SortStableFunc(values, func(a, b form) int { return compareForms(a, b) })
		}
		f = append(f, token{member, strconv.Itoa(int(same[0].Number))})
		if len(same) > 1 {
			f = append(f, token{list, ""})
		}
		for _, v := range values {
			f = append(f, v...)
		}
		if len(same) > 1 {
			f = append(f, token{listEnd, ""})
		}
	}
	return append(f, token{shut, ""}), true
}

// fieldTokens returns the value of a field. Bytes are text if they can be read as
// such, else a message if they parse as one, else bytes.
func fieldTokens(p protobuf.Field, depth int) form {
	switch p.Kind {
	case protowire.VarintType:
		return form{{number, strconv.FormatUint(p.Varint, 10)}}
	case protowire.Fixed32Type, protowire.Fixed64Type:
		return form{{literal, fmt.Sprintf("0x%x", p.Varint)}}
	}
	if printable(p.Bytes) {
		return form{{text, string(p.Bytes)}}
	}
	if f, ok := appendProto(nil, p.Bytes, depth+1); ok {
		return f
	}
	return form{{raw, string(p.Bytes)}}
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
