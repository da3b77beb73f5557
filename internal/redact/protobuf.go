package redact

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// grpc redacts the messages of a gRPC body, each inside its own compression.
func (w *walk) grpc(body []byte, coding string, base place) ([]byte, bool) {
	var out []byte
	changed := false
	for rest := body; len(rest) > 0; {
		if len(rest) < 5 || uint64(binary.BigEndian.Uint32(rest[1:])) > uint64(len(rest)-5) {
			return append(out, rest...), changed // a truncated message
		}
		flag, n := rest[0], int(binary.BigEndian.Uint32(rest[1:]))
		message := rest[5 : 5+n]
		rest = rest[5+n:]
		packed := traffic.Body{Raw: message}
		if flag&1 == 1 {
			packed.Coding = coding
		}
		made := message
		if plain, err := packed.Decoded(); err == nil {
			if edited, did := w.protobuf(plain, base, 0); did {
				if encoded, err := traffic.Encode(edited, packed.Coding); err == nil {
					made, changed = encoded, true
				}
			}
		}
		out = append(out, flag)
		out = binary.BigEndian.AppendUint32(out, uint32(len(made)))
		out = append(out, made...)
	}
	return out, changed
}

// protoEdit is the place of a field in a message whose schema is not known:
// its fields are named by their numbers.
type protoEdit struct {
	base    place
	numbers []string
}

func (p protoEdit) path() traffic.Path {
	path := p.base.path()
	for _, n := range p.numbers {
		path = path.Child(n)
	}
	return path
}

func (p protoEdit) appendKey(dst []byte) []byte {
	return append(append(p.base.appendKey(dst), 0), strings.Join(p.numbers, ".")...)
}

// protobuf redacts the texts in a message of the protocol buffer wire format.
// Without a schema a field is taken for text if it is printable, and for a
// message if it can be read as one.
//
// What is no message, such as the beginning of one, is treated as text at the
// top and left alone below it.
func (w *walk) protobuf(in []byte, base place, depth int) ([]byte, bool) {
	if !isMessage(in) {
		if depth > 0 {
			return in, false
		}
		made, changed := w.text(string(in), base)
		return []byte(made), changed
	}
	var out []byte
	changed := false
	for rest := in; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		size := protowire.ConsumeFieldValue(number, kind, rest[n:])
		field := rest[:n+size]
		rest = rest[n+size:]
		if kind != protowire.BytesType {
			out = append(out, field...)
			continue
		}
		value, _ := protowire.ConsumeBytes(field[n:])
		where := protoEdit{base, []string{strconv.Itoa(int(number))}}
		if nested, ok := base.(protoEdit); ok {
			where = protoEdit{nested.base, append(nested.numbers[:len(nested.numbers):len(nested.numbers)], strconv.Itoa(int(number)))}
		}
		made, did := value, false
		if isPrintable(value) {
			var text string
			text, did = w.value(keyPlain, string(value), where)
			made = []byte(text)
		} else if depth < 64 {
			made, did = w.protobuf(value, where, depth+1)
		}
		if !did {
			out = append(out, field...)
			continue
		}
		changed = true
		out = protowire.AppendBytes(append(out, field[:n]...), made)
	}
	if !changed {
		return in, false
	}
	return out, true
}

// isMessage reports whether b is fields of the wire format and nothing else.
func isMessage(b []byte) bool {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			return false
		}
		b = b[n+size:]
	}
	return true
}

func isPrintable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) && r != '\n' && r != '\t' && r != '\r' {
			return false
		}
	}
	return true
}
