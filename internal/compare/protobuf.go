package compare

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// maxProtoDepth bounds guesses about nested messages.
	maxProtoDepth = 32
	// maxFrame bounds a compressed gRPC message once it is unpacked.
	maxFrame = 16 << 20
)

// protobufJSON writes a protobuf message without its descriptor: an object by
// field number, with a list for fields that occur more than once. What a field
// is can only be guessed from its wire type: length-delimited ones are text when
// they look like it, else a message when they read as one, else bytes in base64.
// It returns nil for what is no message.
func protobufJSON(data []byte) []byte { return appendMessage(nil, data, 0) }

func appendMessage(dst, data []byte, depth int) []byte {
	if depth > maxProtoDepth {
		return nil
	}
	values := make(map[protowire.Number][][]byte)
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil
		}
		data = data[n:]
		var value []byte
		switch wire {
		case protowire.VarintType:
			v, m := protowire.ConsumeVarint(data)
			n, value = m, strconv.AppendUint(nil, v, 10)
		case protowire.Fixed32Type:
			v, m := protowire.ConsumeFixed32(data)
			n, value = m, strconv.AppendUint(nil, uint64(v), 10)
		case protowire.Fixed64Type:
			v, m := protowire.ConsumeFixed64(data)
			n, value = m, strconv.AppendUint(nil, v, 10)
		case protowire.BytesType:
			v, m := protowire.ConsumeBytes(data)
			if n = m; n >= 0 {
				value = delimited(v, depth)
			}
		default: // groups are long deprecated, and other types are not defined
			return nil
		}
		if n < 0 {
			return nil
		}
		data = data[n:]
		values[number] = append(values[number], value)
	}
	numbers := make([]protowire.Number, 0, len(values))
	for number := range values {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	dst = append(dst, '{')
	for i, number := range numbers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendInt(append(dst, '"'), int64(number), 10), '"', ':')
		if list := values[number]; len(list) == 1 {
			dst = append(dst, list[0]...)
		} else {
			dst = append(append(append(dst, '['), bytes.Join(list, []byte{','})...), ']')
		}
	}
	return append(dst, '}')
}

// delimited writes a length-delimited field as what it most likely is.
func delimited(v []byte, depth int) []byte {
	if isText(v) {
		return appendString(nil, string(v))
	}
	if message := appendMessage(nil, v, depth+1); message != nil {
		return message
	}
	return base64Text(v)
}

// isText reports whether bytes are UTF-8 without control characters, which the
// tags of small field numbers are.
func isText(v []byte) bool {
	if !utf8.Valid(v) {
		return false
	}
	for _, r := range string(v) {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// framesJSON writes the length-prefixed messages of a gRPC body as a list. It
// returns nil when the frames do not add up.
func framesJSON(data []byte) []byte {
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
			plain, ok := gunzip(message)
			if !ok {
				return nil
			}
			message = plain
		}
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		if object := protobufJSON(message); object != nil {
			dst = append(dst, object...)
		} else {
			dst = append(dst, base64Text(message)...)
		}
	}
	return append(dst, ']')
}

func gunzip(b []byte) ([]byte, bool) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, false
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxFrame+1))
	return plain, err == nil && len(plain) <= maxFrame
}
