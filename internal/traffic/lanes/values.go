package lanes

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Bounds of the search for values that tell lanes apart.
const (
	MaxValues     = 512
	maxValueBody  = 256 << 10
	minValue      = 3 // shorter values are shared by chance
	maxValueBytes = 256
)

// Values lists the values of a request that may come from somewhere
// else: segments of the path, the query, credentials and cookies, and the
// leaves of a JSON or form body.
func Values(r *traffic.Request) []string {
	v := &valueList{}
	for segment := range strings.SplitSeq(r.Path(), "/") {
		if s, err := url.PathUnescape(segment); err == nil && strings.ContainsAny(s, "0123456789@") { // others are names
			v.add(s)
		}
	}
	v.query(r.RawQuery())
	for _, f := range r.Header {
		switch strings.ToLower(f.Name) {
		case "authorization":
			_, credential, _ := strings.Cut(f.Value, " ")
			v.add(credential)
		case "cookie":
			for c := range strings.SplitSeq(f.Value, ";") {
				_, value, _ := strings.Cut(c, "=")
				v.add(value)
			}
		case "idempotency-key", "x-user-id", "x-tenant-id", "x-session-id", "x-api-key":
			v.add(f.Value)
		}
	}
	v.body(r.Header, r.Body)
	return v.list
}

// Answers lists the values that an answer brings into a lane.
func Answers(r *traffic.Response) []string {
	v := &valueList{}
	v.body(r.Header, r.Body)
	return v.list
}

type valueList struct{ list []string }

func (v *valueList) add(s string) {
	s = strings.TrimSpace(s)
	if len(s) >= minValue && len(s) <= maxValueBytes && len(v.list) < MaxValues && s != "true" && s != "false" && s != "null" {
		v.list = append(v.list, s)
	}
}

func (v *valueList) query(raw string) {
	for pair := range strings.SplitSeq(raw, "&") {
		_, value, _ := strings.Cut(pair, "=")
		if s, err := url.QueryUnescape(value); err == nil {
			v.add(s)
		}
	}
}

func (v *valueList) body(h traffic.Header, b traffic.Body) {
	if len(b.Raw) == 0 || len(b.Raw) > maxValueBody {
		return
	}
	media := traffic.MediaType(h)
	form := media == "application/x-www-form-urlencoded"
	if !form && !traffic.IsJSON(media) {
		return
	}
	plain, err := b.Decoded()
	if err != nil || len(plain) > maxValueBody {
		return
	}
	if form {
		v.query(string(plain))
		return
	}
	v.leaves(plain)
}

// leaves adds the strings and numbers of a JSON text; names of members are not
// values.
func (v *valueList) leaves(text []byte) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var inObject []bool
	name := false // the next string is a name
	for len(v.list) < MaxValues {
		t, err := d.Token()
		if err != nil {
			return
		}
		switch t := t.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				inObject = append(inObject, t == '{')
				name = t == '{'
				continue
			}
			inObject = inObject[:len(inObject)-1]
		case string:
			if name {
				name = false
				continue
			}
			v.add(t)
		case json.Number:
			v.add(t.String())
		}
		name = len(inObject) > 0 && inObject[len(inObject)-1]
	}
}
