package redact

import (
	"encoding/base64"
	"strings"
)

// minEmbedded is the length of the shortest base64 text that is looked into.
const minEmbedded = 24

// embedded redacts a text inside base64. It reports false where s is none.
func (w *walk) embedded(s string, where place) (string, bool) {
	coding := base64.StdEncoding
	if strings.ContainsAny(s, "-_") {
		coding = base64.URLEncoding
	}
	if len(s)%4 != 0 {
		coding = coding.WithPadding(base64.NoPadding)
	}
	plain, err := coding.DecodeString(s)
	if err != nil || !isPrintable(plain) {
		return s, false
	}
	made, changed := w.value(keyPlain, string(plain), where)
	if !changed {
		return s, false
	}
	return coding.EncodeToString([]byte(made)), true
}

// isBase64 reports whether s could be base64 by its characters.
func isBase64(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '+' && c != '/' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// findAssignments finds credentials in key=value within free text: a log
// line, a URL, a connection string.
func (w *walk) findAssignments(s string, hits *found) {
	for at := 0; ; {
		eq := strings.IndexByte(s[at:], '=')
		if eq < 0 {
			return
		}
		eq += at
		at = eq + 1
		start := eq
		for start > 0 && (isTokenByte(s[start-1]) || s[start-1] == '.') {
			start--
		}
		kind := keyPlain
		if n := eq - start; n >= 3 && n <= 64 {
			kind = w.keys.kind(s[start:eq])
		}
		if kind != keySecret && kind != keyToken {
			continue
		}
		from := at
		ends := " \t\r\n&;,\"'<>)]}|"
		if from < len(s) && (s[from] == '"' || s[from] == '\'') {
			ends = s[from : from+1]
			from++
		}
		end := from
		for end < len(s) && strings.IndexByte(ends, s[end]) < 0 {
			end++
		}
		value := s[from:end]
		if len(value) < 4 || kind == keyToken && len(value) < 8 || strings.HasPrefix(value, "eyJ") || strings.HasPrefix(value, "=") {
			continue
		}
		hits.add(from, end, DetectCredential, w.names.secret(value))
		at = end
	}
}
