package transform

import (
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Learned values carry the cookies that a recorded answer set. The jars below
// do the rest of what a browser does: cookies that only the live service sets,
// that it changes where the recorded one did not, or that it takes back.

// browsers numbers the recorded browsers: exchanges belong to one when they
// share the value of a cookie, sent or set. Connections and credentials do not
// count, because proxies and API keys are shared by many users. An exchange
// without cookies of its own has no browser.
func browsers(inbound []*traffic.Exchange) map[string]int {
	parent := make([]int, len(inbound))
	find := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	first := make(map[string]int)
	known := make([]bool, len(inbound))
	for i, x := range inbound {
		parent[i] = i
		join := func(name, value string) {
			if len(value) < 12 { // a language is no identity
				return
			}
			known[i] = true
			mark := name + "=" + value
			if j, ok := first[mark]; ok {
				a, b := find(i), find(j)
				parent[max(a, b)] = min(a, b)
			} else {
				first[mark] = i
			}
		}
		eachCookie(&x.Request, join)
		if x.Response != nil {
			for _, c := range setCookies(x.Response) {
				join(c.name, c.value)
			}
		}
	}
	out := make(map[string]int)
	for i, x := range inbound {
		if known[i] {
			out[x.ID] = find(i)
		}
	}
	return out
}

func eachCookie(req *traffic.Request, visit func(name, value string)) {
	for _, line := range req.Header.Values("Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			if name, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok {
				visit(name, value)
			}
		}
	}
}

// cookie is one Set-Cookie, as far as it matters here.
type cookie struct {
	name, value, path string
	gone              bool // the server takes it back
}

func setCookies(r *traffic.Response) []cookie {
	var cookies []cookie
	for _, line := range r.Header.Values("Set-Cookie") {
		pair, attributes, _ := strings.Cut(line, ";")
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		c := cookie{name: strings.TrimSpace(name), value: strings.TrimSpace(value), path: "/"}
		for attribute := range strings.SplitSeq(attributes, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(attribute), "=")
			switch strings.ToLower(key) {
			case "path":
				if strings.HasPrefix(value, "/") {
					c.path = value
				}
			case "max-age":
				c.gone = c.gone || value == "0" || strings.HasPrefix(value, "-")
			case "expires":
				c.gone = c.gone || strings.Contains(value, "1970")
			}
		}
		cookies = append(cookies, c)
	}
	return cookies
}

// jar is what one browser of one arm holds beyond the recording.
type jar map[string]cookie

// keep takes in the cookies of a live answer.
func (j jar) keep(live *traffic.Response) {
	for _, c := range setCookies(live) {
		j[c.name] = c
	}
}

// fill returns the request with the cookies of the jar: live values in the
// place of recorded ones, cookies that were taken back left out, and those that
// the recording never knew added where their path allows.
func (j jar) fill(req *traffic.Request, recordedNames map[string]bool) *traffic.Request {
	if len(j) == 0 {
		return req
	}
	var pairs []string
	sent := make(map[string]bool)
	changed := false
	eachCookie(req, func(name, value string) {
		sent[name] = true
		c, ok := j[name]
		switch {
		case ok && c.gone:
			changed = true
			return
		case ok && c.value != value:
			changed = true
			value = c.value
		}
		pairs = append(pairs, name+"="+value)
	})
	var added []string
	for name, c := range j {
		if !sent[name] && !c.gone && !recordedNames[name] && below(req.Path(), c.path) {
			added = append(added, name+"="+c.value)
		}
	}
	if !changed && len(added) == 0 {
		return req
	}
	slices.Sort(added)
	out := *req
	out.Header = req.Header.Clone()
	if pairs = append(pairs, added...); len(pairs) == 0 {
		out.Header.Del("Cookie")
	} else {
		out.Header.Set("Cookie", strings.Join(pairs, "; "))
	}
	return &out
}

// below reports whether a path lies under the path of a cookie (RFC 6265 §5.1.4).
func below(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
}
