package traffic

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// Body is the payload of a request or response. Raw holds the bytes as they
// were on the wire, after transfer coding and before content coding was undone.
type Body struct {
	Raw []byte
	// Coding is the Content-Encoding, in lower case, outermost last as the
	// header writes it ("gzip", "br", "zstd", "deflate", "gzip, br"); empty for
	// none.
	Coding string
	// Truncated says that Raw is only the beginning; Size is then the full
	// length where it is known. Size is len(Raw) otherwise.
	Truncated bool
	Size      int64
	// Times says, for a body that consists of messages (a side of a WebSocket,
	// of gRPC, server-sent events), when each of them was there as a whole,
	// counted from the Start of the exchange. One more time than there are
	// messages is when the side said that it sends no more. It is empty where
	// that was not recorded.
	Times []time.Duration
}

// NewBody returns a complete body with the content coding of header.
func NewBody(raw []byte, header Header) Body {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(header.Values("Content-Encoding"), ", ")))
	if coding == "identity" {
		coding = ""
	}
	return Body{Raw: raw, Coding: coding, Size: int64(len(raw))}
}

// DecodeLimit is the size that a decoded body may have by default: enough for
// any answer worth comparing, small enough that a zip bomb does no harm.
const DecodeLimit = 64 << 20

// ErrDecodedTooLarge is wrapped by errors of [Body.Decoded] for bodies that
// grow beyond the limit.
var ErrDecodedTooLarge = errors.New("decoded body is too large")

// Decoded returns the body with its content coding undone. It returns Raw
// itself, not a copy, when there is no coding. The error is non-nil when the
// coding is unknown, the data is damaged, or the result exceeds [DecodeLimit];
// what could be decoded comes back with it.
func (b Body) Decoded() ([]byte, error) {
	if b.Coding == "" {
		return b.Raw, nil
	}
	codings := strings.Split(b.Coding, ",")
	data := b.Raw
	for _, coding := range slices.Backward(codings) {
		var err error
		if data, err = decode(data, strings.TrimSpace(coding), DecodeLimit); err != nil {
			return data, fmt.Errorf("decode %s body of %d bytes: %w", coding, len(b.Raw), err)
		}
	}
	return data, nil
}

func decode(data []byte, coding string, limit int64) ([]byte, error) {
	if len(data) == 0 {
		return data, nil // HEAD and 304 answers name a coding but carry nothing
	}
	var r io.Reader
	switch coding {
	case "", "identity":
		return data, nil
	case "gzip", "x-gzip":
		zr, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		r = zr
	case "deflate": // zlib by RFC 9110, bare deflate by custom
		if zr, err := zlib.NewReader(bytes.NewReader(data)); err == nil {
			r = zr
		} else {
			r = flate.NewReader(bytes.NewReader(data))
		}
	case "br":
		r = brotli.NewReader(bytes.NewReader(data))
	case "zstd":
		zr, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)))
		if err != nil {
			return nil, err
		}
		defer zr.Close()
		r = zr
	default:
		return nil, fmt.Errorf("unknown content coding %q", coding)
	}
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if int64(len(out)) > limit {
		return out[:limit], fmt.Errorf("%w: over %d bytes", ErrDecodedTooLarge, limit)
	}
	return out, err
}

// Encode applies content codings to plain, in the order of the header, so that
// Body{Raw: Encode(plain, coding), Coding: coding}.Decoded() returns plain. It
// serves the redactor, which changes what is inside.
func Encode(plain []byte, coding string) ([]byte, error) {
	data := plain
	for c := range strings.SplitSeq(coding, ",") {
		var buf bytes.Buffer
		var w io.WriteCloser
		switch strings.TrimSpace(c) {
		case "", "identity":
			continue
		case "gzip", "x-gzip":
			w = gzip.NewWriter(&buf)
		case "deflate":
			w = zlib.NewWriter(&buf)
		case "br":
			w = brotli.NewWriter(&buf)
		case "zstd":
			zw, err := zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
			if err != nil {
				return nil, err
			}
			w = zw
		default:
			return nil, fmt.Errorf("unknown content coding %q", c)
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		data = buf.Bytes()
	}
	return data, nil
}

// MediaType returns the media type of header in lower case, without
// parameters, or "" when there is none that can be read.
func MediaType(header Header) string {
	t, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// IsJSON reports whether a media type is JSON by name or by its +json suffix.
func IsJSON(mediaType string) bool {
	return mediaType == "application/json" || mediaType == "text/json" || strings.HasSuffix(mediaType, "+json")
}
