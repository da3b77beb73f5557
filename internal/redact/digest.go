package redact

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// digestHeaders give digests of the body.
var digestHeaders = map[string]bool{"content-md5": true, "digest": true, "content-digest": true, "repr-digest": true, "x-amz-content-sha256": true}

// setDigests replaces the digests of a body by those of the one that takes its
// place, so that what checks them still can. Digests that were not right
// before, or are of a kind not known here, stay as they are.
func setDigests(h traffic.Header, before, after []byte) {
	for i, f := range h {
		if !digestHeaders[strings.ToLower(f.Name)] {
			continue
		}
		now := digests(after)
		for n, old := range digests(before) {
			h[i].Value = strings.ReplaceAll(h[i].Value, old, now[n])
		}
	}
}

// digests are the spellings of the digests of a body, in a fixed order.
func digests(body []byte) (list []string) {
	m, s1, s256, s512 := md5.Sum(body), sha1.Sum(body), sha256.Sum256(body), sha512.Sum512(body)
	for _, sum := range [][]byte{m[:], s1[:], s256[:], s512[:]} {
		list = append(list, base64.StdEncoding.EncodeToString(sum), hex.EncodeToString(sum))
	}
	return list
}
