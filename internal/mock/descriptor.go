package mock

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

// appendMessage appends a message by the names of its fields. It reports false,
// and f as it was, for what is not a message of this type.
func appendMessage(f form, b []byte, md protoreflect.MessageDescriptor) (form, bool) {
	v, ok := protobuf.Decode(b, md)
	if !ok {
		return f, false
	}
	return appendValue(f, v), true
}

// appendValue appends a value of a message whose type is known.
func appendValue(f form, v protobuf.Value) form {
	switch v.Kind {
	case protobuf.Object:
		f = append(f, token{open, ""})
		for _, m := range v.Members {
			f = appendValue(append(f, token{member, m.Name}), m.Value)
		}
		return append(f, token{shut, ""})
	case protobuf.List:
		f = append(f, token{list, ""})
		for _, e := range v.List {
			f = appendValue(f, e)
		}
		return append(f, token{listEnd, ""})
	case protobuf.Unknown:
		f = append(f, token{list, ""})
		for _, field := range v.Fields {
			f = append(f, fieldTokens(field, 0)...)
		}
		return append(f, token{listEnd, ""})
	case protobuf.Number:
		return append(f, token{number, normalNumber(v.Text)})
	case protobuf.Word:
		return append(f, token{literal, v.Text})
	case protobuf.Text:
		return append(f, token{text, v.Text})
	}
	return append(f, opaque([]byte(v.Text)))
}
