package snapshot

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// encodeTimes writes the times of messages for a packed snapshot.
func encodeTimes(times []time.Duration) string {
	var dst []byte
	last := time.Duration(0)
	for _, at := range times {
		dst = binary.AppendUvarint(dst, zigzag(int64(at-last))) // a difference that overflows comes back all the same
		last = at
	}
	return string(dst)
}

func decodeTimes(s string, b *traffic.Body) error {
	f := &fields{rest: s}
	last := time.Duration(0)
	for f.rest != "" {
		last += time.Duration(signed(f.uvarint()))
		if f.err != nil {
			return errFrame
		}
		b.Times = append(b.Times, last)
	}
	return nil
}

// showTimes writes the times of messages for a route file.
func showTimes(times []time.Duration) string {
	shown := make([]string, len(times))
	for i, at := range times {
		shown[i] = at.String()
	}
	return strings.Join(shown, ",")
}

func parseTimes(s string) (times []time.Duration, err error) {
	for part := range strings.SplitSeq(s, ",") {
		at, err := time.ParseDuration(part)
		if err != nil {
			return nil, fmt.Errorf("times: %q is not a duration such as 12.5ms", part)
		}
		times = append(times, at)
	}
	return times, nil
}
