package traffic

import (
	"fmt"
	"strings"
)

// Router names the endpoint of a request: its method and route template, as
// in "GET /v1/orders/{id}". Templates that the user gives win; for other
// paths, segments that look like identifiers become {id}. A nil Router has no
// templates. It is safe for concurrent use.
type Router struct{ templates [][]string }

// NewRouter takes path templates such as "/v1/orders/{order}/items/{item}".
func NewRouter(templates []string) (*Router, error) {
	r := &Router{}
	for _, t := range templates {
		if !strings.HasPrefix(t, "/") {
			return nil, fmt.Errorf("route %q must start with /", t)
		}
		r.templates = append(r.templates, strings.Split(t[1:], "/"))
	}
	return r, nil
}

// Templates returns the templates, in the order given.
func (r *Router) Templates() []string {
	if r == nil {
		return nil
	}
	var templates []string
	for _, t := range r.templates {
		templates = append(templates, "/"+strings.Join(t, "/"))
	}
	return templates
}

// Endpoint returns the method and route template of a request.
func (r *Router) Endpoint(req *Request) string { return req.Method + " " + r.Template(req.Path()) }

// Template returns the route template of a path.
func (r *Router) Template(path string) string {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if r != nil {
		for _, t := range r.templates {
			if fits(t, segments) {
				return "/" + strings.Join(t, "/")
			}
		}
	}
	for i, s := range segments {
		if looksLikeID(s) {
			segments[i] = "{id}"
		}
	}
	return "/" + strings.Join(segments, "/")
}

func fits(template, segments []string) bool {
	if len(template) != len(segments) {
		return false
	}
	for i, t := range template {
		if t != segments[i] && !(strings.HasPrefix(t, "{") && strings.HasSuffix(t, "}")) {
			return false
		}
	}
	return true
}

// looksLikeID reports whether a path segment is more likely a value than a
// name: all digits, a UUID or other long hexadecimal, or a token whose last
// part mixes digits into letters (ord_8f3k2, SKU-0042). Versions such as v1
// are names.
func looksLikeID(s string) bool {
	if s == "" || len(s) > 256 {
		return s != ""
	}
	digits, letters := 0, 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
			letters++
		}
	}
	switch {
	case digits == 0:
		return false
	case letters == 0:
		return true
	case len(s) <= 3 && (s[0] == 'v' || s[0] == 'V'): // v1, v12
		return false
	}
	return digits >= 3 || (digits >= 2 && strings.ContainsAny(s, "-_"))
}
