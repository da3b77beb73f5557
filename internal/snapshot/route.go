package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

const (
	gitattributesName = ".gitattributes"
	// gitattributes keeps git from changing line ends, which would break the
	// digests, and from printing compressed bodies.
	gitattributes = "* -text -whitespace\nbodies/*.bin binary\nbodies/*.gz binary\nbodies/*.br binary\nbodies/*.zst binary\n"

	routeSuffix = ".http"
	maxName     = 120
)

// routeFile returns the path of the file that holds an exchange of this
// direction, host and endpoint ("GET /v1/orders/{id}"). Different endpoints
// have different files, also on file systems that ignore case: a name that
// does not spell its endpoint out gets a piece of its digest.
func routeFile(direction traffic.Direction, host, endpoint string) string {
	method, template, _ := strings.Cut(endpoint, " ")
	name := strings.ReplaceAll(strings.TrimPrefix(template, "/"), "/", "_")
	plain := strings.HasPrefix(template, "/") && isPlain(strings.TrimPrefix(template, "/"), true) && isMethod(method)
	if template == "/" {
		name, plain = "", isMethod(method)
	}
	file := method + "_" + name
	if !plain || len(file) > maxName || reserved(file) {
		file = shorten(file, maxName) + "~" + shortHash(endpoint)
	}
	if direction == traffic.Inbound {
		return "inbound/" + file + routeSuffix
	}
	dir := strings.Replace(host, ":", "_", 1) // no plain host has an underscore
	if host == "" || !isPlain(strings.Replace(host, ":", "", 1), false) || len(host) > maxName || reserved(host) || host[0] == '.' || host[0] == '-' {
		dir = shorten(host, maxName) + "~" + shortHash(host)
	}
	return "outbound/" + dir + "/" + file + routeSuffix
}

// isPlain reports whether s may stand in a file name as it is: nothing in it
// that another name could be written as too.
func isPlain(s string, slash bool) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '{' || c == '}' || slash && c == '/') {
			return false
		}
	}
	return !strings.HasSuffix(s, ".") && !strings.Contains(s, "//") && !strings.Contains(s, "..")
}

func isMethod(s string) bool {
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return s != ""
}

// reserved reports whether Windows keeps the name for a device.
func reserved(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(stem) == 4 && (strings.HasPrefix(stem, "com") || strings.HasPrefix(stem, "lpt"))
}

// shorten maps s to safe lower-case characters, at most limit.
func shorten(s string, limit int) string {
	out := []byte(s[:min(len(s), limit)])
	for i, c := range out {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '{', c == '}', c == '.' && i > 0:
		default:
			out[i] = '_'
		}
	}
	return string(out)
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}
