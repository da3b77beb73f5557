package compare

import (
	"encoding/binary"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

const (
	// maxProtoDepth bounds guesses about nested messages.
	maxProtoDepth = 32
	// maxFrame bounds a compressed gRPC message once it is unpacked.
	maxFrame = 16 << 20
)

// protobufJSON writes a protobuf message as an object: by the names of its fields
// where it is of the type md, which may be nil, else by their numbers. It returns
// nil for what is no message.
func protobufJSON(data []byte, md protoreflect.MessageDescriptor) []byte {
	if md != nil {
		if v, ok := protobuf.Decode(data, md); ok {
			return appendTyped(nil, v)
		}
	}
	return appendMessage(nil, data, 0)
}

// appendTyped writes a value whose type is known. Bytes are text when they look
// like it, else base64.
func appendTyped(dst []byte, v protobuf.Value) []byte {
	switch v.Kind {
	case protobuf.Object:
		dst = append(dst, '{')
		for i, m := range v.Members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendTyped(append(traffic.AppendText(dst, m.Name), ':'), m.Value)
		}
		return append(dst, '}')
	case protobuf.List:
		dst = append(dst, '[')
		for i, e := range v.List {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendTyped(dst, e)
		}
		return append(dst, ']')
	case protobuf.Unknown:
		return appendFields(dst, v.Fields, 0)
	case protobuf.Number:
		if p := (treeParser{tree: tree{data: []byte(v.Text)}}); p.number() && p.at == len(v.Text) {
			return append(dst, v.Text...)
		}
	case protobuf.Word:
		if v.Text == "true" || v.Text == "false" {
			return append(dst, v.Text...)
		}
	case protobuf.Bytes:
		if !protobuf.IsText([]byte(v.Text)) {
			return append(dst, base64Text([]byte(v.Text))...)
		}
	}
	return traffic.AppendText(dst, v.Text)
}

// appendMessage writes a message without its descriptor: an object by field
// number, with a list for fields that occur more than once. What a field is can
// only be guessed from its wire type: length-delimited ones are text when they
// look like it, else a message when they read as one, else bytes in base64. It
// returns nil for what is no message.
func appendMessage(dst, data []byte, depth int) []byte {
	fields, ok := protobuf.Fields(data)
	if !ok || depth > maxProtoDepth {
		return nil
	}
	dst = append(dst, '{')
	for i, same := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendInt(append(dst, '"'), int64(same[0].Number), 10), '"', ':')
		dst = appendFields(dst, same, depth)
	}
	return append(dst, '}')
}

// appendFields writes the values of one field number.
func appendFields(dst []byte, same []protobuf.Field, depth int) []byte {
	if len(same) > 1 {
		dst = append(dst, '[')
	}
	for i, f := range same {
		if i > 0 {
			dst = append(dst, ',')
		}
		if f.Kind == protowire.BytesType {
			dst = append(dst, delimited(f.Bytes, depth)...)
		} else {
			dst = strconv.AppendUint(dst, f.Varint, 10)
		}
	}
	if len(same) > 1 {
		dst = append(dst, ']')
	}
	return dst
}

// delimited writes a length-delimited field as what it most likely is.
func delimited(v []byte, depth int) []byte {
	if protobuf.IsText(v) {
		return traffic.AppendText(nil, string(v))
	}
	if message := appendMessage(nil, v, depth+1); message != nil {
		return message
	}
	return base64Text(v)
}

// framesJSON writes the length-prefixed messages of a gRPC body as a list; md,
// which may be nil, is their type. It returns nil when the frames do not add up.
func framesJSON(data []byte, md protoreflect.MessageDescriptor) []byte {
	dst := []byte{'['}
	for len(data) > 0 {
		if len(data) < 5 {
			return nil
		}
		compressed, size := data[0], binary.BigEndian.Uint32(data[1:5])
		if compressed > 1 || uint64(size) > uint64(len(data)-5) {
			return nil
		}
		message := data[5 : 5+size]
		data = data[5+size:]
		if compressed == 1 {
			plain, ok := protobuf.Gunzip(message, maxFrame)
			if !ok {
				return nil
			}
			message = plain
		}
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		if object := protobufJSON(message, md); object != nil {
			dst = append(dst, object...)
		} else {
			dst = append(dst, base64Text(message)...)
		}
	}
	return append(dst, ']')
}
