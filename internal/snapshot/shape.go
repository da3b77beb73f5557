package snapshot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// maxShaped is how much of a body is looked at for its shape and its values.
const maxShaped = 256 << 10

// shapeOf names the form of a body: the members and types of JSON, lists by
// the distinct shapes of their elements; the kind of anything else.
func shapeOf(b traffic.Body) string {
	plain, err := b.Decoded()
	switch {
	case len(b.Raw) == 0:
		return "no body"
	case err != nil || len(plain) > maxShaped:
		return fmt.Sprintf("%s of about 2^%d bytes", extension(b)[1:], bitLength(len(b.Raw)))
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	var out strings.Builder
	if writeShape(&out, dec, 0) != nil {
		return extension(traffic.Body{Raw: plain})[1:]
	}
	if _, err := dec.Token(); err != io.EOF {
		return "text"
	}
	shape := out.String()
	if len(shape) > 120 { // the name only has to be the same for the same shape
		h := fnv.New64a()
		io.WriteString(h, shape)
		return fmt.Sprintf("%s… %016x", shape[:100], h.Sum64())
	}
	return shape
}

func bitLength(n int) (bits int) {
	for ; n > 0; n >>= 1 {
		bits++
	}
	return bits
}

// writeShape writes the shape of the next JSON value.
func writeShape(out *strings.Builder, dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	switch v := tok.(type) {
	case string:
		out.WriteString("string")
	case float64:
		out.WriteString("number")
	case bool:
		out.WriteString("bool")
	case nil:
		out.WriteString("null")
	case json.Delim:
		if depth > 100 {
			return errShape
		}
		object := v == '{'
		var members []string
		for dec.More() {
			var member strings.Builder
			if object {
				name, err := dec.Token()
				if err != nil {
					return err
				}
				fmt.Fprintf(&member, "%v:", name)
			}
			if err := writeShape(&member, dec, depth+1); err != nil {
				return err
			}
			members = append(members, member.String())
		}
		if _, err := dec.Token(); err != nil {
			return err
		}
		slices.Sort(members)
		members = slices.Compact(members)
		if object {
			out.WriteString("{" + strings.Join(members, ",") + "}")
		} else {
			out.WriteString("[" + strings.Join(members, "|") + "]")
		}
	}
	return nil
}

// queryKeys lists the names of the query, sorted.
func queryKeys(r *traffic.Request) string {
	var names []string
	for pair := range strings.SplitSeq(r.RawQuery(), "&") {
		if name, _, _ := strings.Cut(pair, "="); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), "&")
}

// wordsOf yields hashes of the words that look like identifiers: those by
// which a request can be told to use an earlier answer.
func wordsOf(target string, header traffic.Header, b traffic.Body) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		texts := []string{target}
		for _, f := range header {
			switch strings.ToLower(f.Name) {
			case "cookie", "set-cookie", "authorization", "location", "etag", "if-match", "x-csrf-token":
				texts = append(texts, f.Value)
			}
		}
		if plain, err := b.Decoded(); err == nil && len(plain) <= maxShaped {
			texts = append(texts, string(plain))
		}
		for _, text := range texts {
			for word := range strings.FieldsFuncSeq(text, func(r rune) bool {
				return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
			}) {
				if isIdentifier(word) && !yield(hashID(word)) {
					return
				}
			}
		}
	}
}

// isIdentifier reports whether a word is more likely made by a service than
// written by a person: long enough, and digits among letters, or many digits.
func isIdentifier(word string) bool {
	if len(word) < 5 || len(word) > 200 {
		return false
	}
	digits := 0
	for i := range len(word) {
		if word[i] >= '0' && word[i] <= '9' {
			digits++
		}
	}
	return digits >= 2 && digits < len(word) || digits >= 6
}
