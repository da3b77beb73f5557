package mock

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// awsChunked is the content coding of signed uploads to S3, which puts a new
// signature before every chunk.
const awsChunked = "aws-chunked"

// awsUnchunked returns a body without that coding. A body that does not have
// it, or not rightly, is returned as it is.
func awsUnchunked(b *traffic.Body) traffic.Body {
	codings := strings.Split(b.Coding, ",")
	rest := codings[:0:0]
	for _, c := range codings {
		if strings.TrimSpace(c) != awsChunked {
			rest = append(rest, strings.TrimSpace(c))
		}
	}
	if len(rest) == len(codings) {
		return *b
	}
	var plain []byte
	for data := b.Raw; ; {
		line, after, ok := bytes.Cut(data, []byte("\r\n"))
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseUint(string(digits), 16, 31)
		switch {
		case !ok || err != nil || uint64(len(after)) < size:
			return *b
		case size == 0: // the trailer holds checksums of what was read already
			return traffic.Body{Raw: plain, Coding: strings.Join(rest, ", "), Size: int64(len(plain))}
		}
		plain = append(plain, after[:size]...)
		data = bytes.TrimPrefix(after[size:], []byte("\r\n"))
	}
}
