package protobuf

import (
	"bytes"
	"compress/gzip"
	"io"
	"unicode"
	"unicode/utf8"
)

// IsText reports whether the bytes of a length-delimited field whose type is not
// known are most likely a text: UTF-8 without control characters, which the tags
// of small field numbers are.
func IsText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// Gunzip unpacks a compressed message of gRPC. It reports false for what is not
// gzip, or has more than most bytes once it is unpacked.
func Gunzip(b []byte, most int64) ([]byte, bool) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, false
	}
	plain, err := io.ReadAll(io.LimitReader(r, most+1))
	return plain, err == nil && int64(len(plain)) <= most
}
