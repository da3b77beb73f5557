package transform

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

const (
	// maxProtoDepth bounds messages within messages.
	maxProtoDepth = 32
	// leastGuess is how long a text must be to be taken for one where no
	// descriptor says what a field is.
	leastGuess = 8
	// grpcHead is the size of what stands before a message of gRPC: a flag, and
	// the length.
	grpcHead = 5
)

// protoBody tells how a body consists of protobuf messages.
type protoBody byte

const (
	noProto     protoBody = iota
	oneMessage            // the body is a message
	grpcFrames            // each message has a head of gRPC
	otherFrames           // of gRPC too, but what is in them is no protobuf
)

func protoBodyOf(mediaType string) protoBody {
	switch {
	case mediaType == "application/connect+proto":
		return grpcFrames
	case strings.HasPrefix(mediaType, "application/grpc"):
		if strings.HasSuffix(mediaType, "+json") || strings.HasPrefix(mediaType, "application/grpc-web-text") {
			return otherFrames
		}
		return grpcFrames
	case mediaType == "application/protobuf", mediaType == "application/proto", mediaType == "application/x-protobuf",
		mediaType == "application/vnd.google.protobuf", strings.HasSuffix(mediaType, "+proto"):
		return oneMessage
	}
	return noProto
}

// protoWalk visits the values of protobuf messages, and puts others in their
// place. Fields whose type is known are texts and whole numbers, with names;
// without, they are the texts among the length-delimited fields, by the numbers
// of the fields, and nothing else can be told from its bytes.
type protoWalk struct {
	// value returns what is to stand in the place of a value, if it is another.
	value func(spot) (string, bool)
	// first is the number of the first message of a body that is a part of one.
	first int
}

// body handles a body whose messages are of the type md, which may be nil. What
// changes has the lengths of all that holds it made true; all else keeps its
// bytes.
func (w protoWalk) body(b []byte, kind protoBody, md protoreflect.MessageDescriptor, whole spot) []byte {
	switch kind {
	case oneMessage:
		made, _ := w.message(b, md, whole, 0)
		return made
	case grpcFrames:
		return w.frames(b, md, whole)
	}
	return b
}

// frames handles the messages of a gRPC body. One that was compressed and
// changes goes on uncompressed, as any may.
func (w protoWalk) frames(b []byte, md protoreflect.MessageDescriptor, whole spot) []byte {
	var out []byte
	kept := 0 // b[kept:] is not in out yet
	for n, at := 0, 0; len(b)-at >= grpcHead; n++ {
		flag, size := b[at], uint64(binary.BigEndian.Uint32(b[at+1:]))
		if size > uint64(len(b)-at-grpcHead) {
			break // it was cut off
		}
		next := at + grpcHead + int(size)
		message, ok := b[at+grpcHead:next], flag == 0
		if flag == 1 {
			message, ok = protobuf.Gunzip(message, maxBody)
		}
		if ok { // else it is no message, or compressed in another way
			s := whole
			s.path = whole.path.Elem(w.first + n)
			if made, changed := w.message(message, md, s, 0); changed {
				out = append(append(out, b[kept:at]...), 0)
				out = append(binary.BigEndian.AppendUint32(out, uint32(len(made))), made...)
				kept = next
			}
		}
		at = next
	}
	if kept == 0 {
		return b
	}
	return append(out, b[kept:]...)
}

// message handles one message. In is the spot that holds it, whose path is that
// of the message. What is no message stays as it is.
func (w protoWalk) message(b []byte, md protoreflect.MessageDescriptor, in spot, depth int) ([]byte, bool) {
	fields, ok := protobuf.Fields(b)
	if !ok || depth > maxProtoDepth {
		return b, false
	}
	many := make(map[protowire.Number]bool)
	for _, same := range fields {
		many[same[0].Number] = len(same) > 1
	}
	seen := make(map[protowire.Number]int) // values of lists so far
	var out []byte
	kept := 0
	for at := 0; at < len(b); {
		number, kind, tag := protowire.ConsumeTag(b[at:])
		size := protowire.ConsumeFieldValue(number, kind, b[at+tag:])
		start, end := at+tag, at+tag+size
		f := protoField{kind: kind, raw: b[start:end], depth: depth, nth: seen[number]}
		f.describe(md, number, many[number], in)
		made, n, changed := w.field(f)
		if seen[number] += n; changed {
			out = append(append(out, b[kept:start]...), made...)
			kept = end
		}
		at = end
	}
	if kept == 0 {
		return b, false
	}
	return append(out, b[kept:]...), true
}

// protoField is a field as it stands in a message.
type protoField struct {
	kind  protowire.Type
	raw   []byte                       // of the value, with the length of one that has it
	fd    protoreflect.FieldDescriptor // nil where the type is not known
	spot  spot                         // that of the value, or of the list it belongs to
	list  bool                         // the spot is a list's
	nth   int                          // place in the list
	depth int
}

// describe finds out what a field is and how its place is called.
func (f *protoField) describe(md protoreflect.MessageDescriptor, number protowire.Number, many bool, in spot) {
	name := strconv.Itoa(int(number))
	f.spot = spot{collection: in.collection}
	if md != nil {
		f.fd = md.Fields().ByNumber(number)
		f.spot.parent = in.key
		if f.spot.parent == "" {
			f.spot.parent = string(md.Name())
		}
	}
	if f.fd != nil {
		name = string(f.fd.Name())
		f.spot.key = name
		many = f.fd.IsList()
	}
	f.spot.path, f.list = in.path.Child(name), many
}

// at returns the spot of the value at a place of the list, or the only one.
func (f protoField) at(i int) spot {
	s := f.spot
	if f.list {
		s.path = s.path.Elem(f.nth + i)
	}
	return s
}

// field handles one field. It returns what stands in the place of its value,
// how many values of a list these are, and whether it is another.
func (w protoWalk) field(f protoField) (made []byte, n int, changed bool) {
	if f.fd == nil {
		made, changed = w.unknown(f)
		return made, 1, changed
	}
	switch kind := f.fd.Kind(); {
	case f.fd.IsMap():
		made, changed = w.entry(f)
		return made, 1, changed
	case kind == protoreflect.MessageKind && f.kind == protowire.BytesType:
		content, _ := protowire.ConsumeBytes(f.raw)
		if content, changed = w.message(content, f.fd.Message(), f.at(0), f.depth+1); changed {
			made = protowire.AppendBytes(nil, content)
		}
		return made, 1, changed
	case kind == protoreflect.StringKind && f.kind == protowire.BytesType:
		made, changed = w.text(f.raw, f.at(0))
		return made, 1, changed
	case kind == protoreflect.BytesKind:
		made, changed = w.unknown(f)
		return made, 1, changed
	case isWhole(kind) && f.kind == protowire.BytesType && f.list:
		return w.packed(f)
	case isWhole(kind) && f.kind != protowire.BytesType:
		made, changed = w.number(f.raw, f.kind, kind, f.at(0))
		return made, 1, changed
	}
	return nil, 1, false
}

// unknown handles a field by its bytes alone.
func (w protoWalk) unknown(f protoField) ([]byte, bool) {
	if f.kind != protowire.BytesType {
		return nil, false
	}
	content, _ := protowire.ConsumeBytes(f.raw)
	s := f.at(0)
	if len(content) >= leastGuess && protobuf.IsText(content) {
		whole := s
		whole.whole = true
		if made, changed := w.text(f.raw, whole); changed {
			return made, true
		}
	}
	if f.fd != nil {
		return nil, false // bytes hold no message of ours
	}
	content, changed := w.message(content, nil, s, f.depth+1)
	if !changed {
		return nil, false
	}
	return protowire.AppendBytes(nil, content), true
}

// text handles a length-delimited value that is a text.
func (w protoWalk) text(raw []byte, s spot) ([]byte, bool) {
	content, _ := protowire.ConsumeBytes(raw)
	if len(content) == 0 || !utf8.Valid(content) {
		return nil, false
	}
	s.value = string(content)
	made, changed := w.value(s)
	if !changed {
		return nil, false
	}
	return protowire.AppendString(nil, made), true
}

// entry handles an entry of a map, whose value has the key for a name. Keys
// stay.
func (w protoWalk) entry(f protoField) ([]byte, bool) {
	content, n := protowire.ConsumeBytes(f.raw)
	fields, ok := protobuf.Fields(content)
	if n < 0 || !ok || f.kind != protowire.BytesType {
		return nil, false
	}
	key := ""
	for _, same := range fields {
		if last := same[len(same)-1]; last.Number != 1 {
			continue
		} else if last.Kind == protowire.BytesType {
			key = string(last.Bytes)
		} else {
			key, _ = wholeText(last.Varint, f.fd.MapKey().Kind())
		}
	}
	var out []byte
	kept := 0
	for at := 0; at < len(content); {
		number, kind, tag := protowire.ConsumeTag(content[at:])
		size := protowire.ConsumeFieldValue(number, kind, content[at+tag:])
		start, end := at+tag, at+tag+size
		if at = end; number != 2 {
			continue
		}
		value := protoField{kind: kind, raw: content[start:end], fd: f.fd.MapValue(), depth: f.depth + 1}
		value.spot = spot{path: f.spot.path.Child(key), key: key, parent: f.spot.key, collection: f.spot.collection}
		if made, _, changed := w.field(value); changed {
			out = append(append(out, content[kept:start]...), made...)
			kept = end
		}
	}
	if kept == 0 {
		return nil, false
	}
	return protowire.AppendBytes(nil, append(out, content[kept:]...)), true
}

// packed handles the numbers of a packed list.
func (w protoWalk) packed(f protoField) (made []byte, n int, changed bool) {
	content, _ := protowire.ConsumeBytes(f.raw)
	wire := wireOfWhole(f.fd.Kind())
	var out []byte
	for ; len(content) > 0; n++ {
		size := protowire.ConsumeFieldValue(1, wire, content)
		if size < 0 {
			return nil, n, false
		}
		raw := content[:size]
		if number, is := w.number(raw, wire, f.fd.Kind(), f.at(n)); is {
			raw, changed = number, true
		}
		out, content = append(out, raw...), content[size:]
	}
	if !changed {
		return nil, n, false
	}
	return protowire.AppendBytes(nil, out), n, true
}

// number handles a whole number. What cannot stand in its place leaves it.
func (w protoWalk) number(raw []byte, wire protowire.Type, kind protoreflect.Kind, s spot) ([]byte, bool) {
	var v uint64
	switch wire {
	case protowire.VarintType:
		v, _ = protowire.ConsumeVarint(raw)
	case protowire.Fixed32Type:
		short, _ := protowire.ConsumeFixed32(raw)
		v = uint64(short)
	case protowire.Fixed64Type:
		v, _ = protowire.ConsumeFixed64(raw)
	}
	text, ok := wholeText(v, kind)
	if !ok || wire != wireOfWhole(kind) {
		return nil, false
	}
	s.value, s.number = text, true
	made, changed := w.value(s)
	if !changed {
		return nil, false
	}
	if v, ok = wholeOf(made, kind); !ok {
		return nil, false
	}
	switch wire {
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(nil, uint32(v)), true
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(nil, v), true
	}
	return protowire.AppendVarint(nil, v), true
}

// isWhole reports whether fields of a kind are whole numbers.
func isWhole(kind protoreflect.Kind) bool {
	_, ok := wholeText(0, kind)
	return ok
}

func wireOfWhole(kind protoreflect.Kind) protowire.Type {
	switch kind {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return protowire.Fixed64Type
	}
	return protowire.VarintType
}

// wholeText writes a number as JSON does.
func wholeText(v uint64, kind protoreflect.Kind) (string, bool) {
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		return strconv.FormatInt(int64(int32(v)), 10), true
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		return strconv.FormatInt(int64(v), 10), true
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return strconv.FormatInt(protowire.DecodeZigZag(v), 10), true
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return strconv.FormatUint(uint64(uint32(v)), 10), true
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return strconv.FormatUint(v, 10), true
	}
	return "", false
}

// wholeOf reads what wholeText wrote. It reports false for what is no number, or
// none of that kind.
func wholeOf(text string, kind protoreflect.Kind) (uint64, bool) {
	bits := 64
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind, protoreflect.Sint32Kind, protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		bits = 32
	}
	switch kind {
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		v, err := strconv.ParseUint(text, 10, bits)
		return v, err == nil
	}
	v, err := strconv.ParseInt(text, 10, bits)
	switch kind {
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return protowire.EncodeZigZag(v), err == nil
	case protoreflect.Sfixed32Kind:
		return uint64(v) & math.MaxUint32, err == nil
	}
	return uint64(v), err == nil
}
