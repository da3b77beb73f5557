package messages

import "encoding/binary"

// Frame is one frame of a WebSocket (RFC 6455 §5.2).
type Frame struct {
	First   byte   // the final bit, those of extensions, and the opcode
	Payload []byte // without mask; a copy
	Raw     []byte // as on the wire
}

// Text reports whether the frame is a whole message of plain text.
func (f Frame) Text() bool { return f.First == 0x81 }

// CutFrame takes the first frame off b. It reports false when the frame is not
// there as a whole.
func CutFrame(b []byte) (f Frame, rest []byte, ok bool) {
	if len(b) < 2 {
		return f, b, false
	}
	length, at := uint64(b[1]&0x7f), 2
	switch {
	case length == 126 && len(b) >= 4:
		length, at = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case length == 127 && len(b) >= 10:
		length, at = binary.BigEndian.Uint64(b[2:]), 10
	case length > 125:
		return f, b, false
	}
	var mask []byte
	if b[1]&0x80 != 0 {
		if len(b) < at+4 {
			return f, b, false
		}
		mask, at = b[at:at+4], at+4
	}
	if length > uint64(len(b)-at) {
		return f, b, false
	}
	end := at + int(length)
	f = Frame{First: b[0], Payload: append([]byte(nil), b[at:end]...), Raw: b[:end:end]}
	for i := range f.Payload {
		if mask != nil {
			f.Payload[i] ^= mask[i%4]
		}
	}
	return f, b[end:], true
}

// AppendFrame appends a frame as a side of a conversation sends it: clients mask
// theirs, with zeros here, which leave the payload readable.
func AppendFrame(dst []byte, first byte, payload []byte, client bool) []byte {
	mask := byte(0)
	if client {
		mask = 0x80
	}
	dst = append(dst, first)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, mask|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, mask|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, mask|127), uint64(n))
	}
	if client {
		dst = append(dst, 0, 0, 0, 0)
	}
	return append(dst, payload...)
}
