package redact

import "strings"

// shapeOf is the form of one kind of credential: a fixed start and at least so
// many characters of a set after it.
type tokenShape struct {
	prefix  string
	minimum int
	bytes   func(byte) bool
}

func isUpperDigit(c byte) bool { return isDigit(c) || c >= 'A' && c <= 'Z' }
func isTokenDot(c byte) bool   { return isTokenByte(c) || c == '.' }

// tokenShapes lists credentials by the letter they start with.
var tokenShapes = []tokenShape{
	{"AKIA", 16, isUpperDigit}, {"ASIA", 16, isUpperDigit},
	{"ghp_", 30, isAlnum}, {"gho_", 30, isAlnum}, {"ghu_", 30, isAlnum}, {"ghs_", 30, isAlnum}, {"ghr_", 30, isAlnum}, {"github_pat_", 40, isTokenByte},
	{"glpat-", 16, isTokenByte}, {"xoxb-", 16, isTokenByte}, {"xoxp-", 16, isTokenByte}, {"xoxa-", 16, isTokenByte}, {"xoxr-", 16, isTokenByte},
	{"xoxs-", 16, isTokenByte}, {"xapp-", 16, isTokenByte},
	{"sk_live_", 10, isAlnum}, {"sk_test_", 10, isAlnum}, {"rk_live_", 10, isAlnum}, {"rk_test_", 10, isAlnum}, {"whsec_", 16, isTokenByte},
	{"sk-ant-", 20, isTokenByte}, {"sk-proj-", 20, isTokenByte}, {"sk-", 40, isTokenByte}, {"AIza", 35, isTokenByte}, {"ya29.", 20, isTokenDot}, {"GOCSPX-", 20, isTokenByte},
	{"SG.", 40, isTokenDot}, {"npm_", 30, isAlnum}, {"pypi-", 40, isTokenByte}, {"dop_v1_", 40, isAlnum}, {"shpat_", 24, isAlnum}, {"shpss_", 24, isAlnum},
	{"hvs.", 24, isTokenByte}, {"hf_", 30, isAlnum}, {"dckr_pat_", 20, isTokenByte}, {"lin_api_", 24, isAlnum}, {"PMAK-", 30, isTokenByte},
	{"AGE-SECRET-KEY-1", 40, isUpperDigit}, {"glsa_", 32, isTokenByte}, {"NRAK-", 20, isUpperDigit}, {"EAAA", 50, isTokenByte}, {"key-", 32, isAlnum},
}

// shapesByFirst holds the indices of tokenShapes by their first byte.
var shapesByFirst = func() (table [256][]tokenShape) {
	for _, t := range tokenShapes {
		table[t.prefix[0]] = append(table[t.prefix[0]], t)
	}
	return table
}()

const pemStart, pemEnd = "-----BEGIN ", "-----END "

func (w *walk) findTokens(s string, f features, hits *found) {
	for i := 0; i < len(s); i++ {
		shapes := shapesByFirst[s[i]]
		if len(shapes) > 0 && (i == 0 || !isTokenByte(s[i-1])) {
			for _, t := range shapes {
				if !strings.HasPrefix(s[i:], t.prefix) {
					continue
				}
				end := i + len(t.prefix)
				for end < len(s) && t.bytes(s[end]) {
					end++
				}
				if end-i-len(t.prefix) >= t.minimum {
					hits.add(i, end, DetectToken, w.names.secret(s[i:end]))
					i = end - 1
					break
				}
			}
		}
	}
	if len(s) > 40 && f.has(hasMark) && strings.Contains(s, pemStart) {
		w.findPrivateKeys(s, hits)
	}
	if f.has(hasColon) && f.has(hasAt) {
		w.findURLCredentials(s, hits)
	}
}

// findPrivateKeys replaces what stands between the lines of a PEM block.
func (w *walk) findPrivateKeys(s string, hits *found) {
	for i := 0; ; {
		at := strings.Index(s[i:], pemStart)
		if at < 0 {
			return
		}
		start := i + at + len(pemStart)
		label, _, ok := strings.Cut(s[start:], "-----")
		if !ok {
			return
		}
		body := start + len(label) + 5
		end := len(s)
		if n := strings.Index(s[body:], pemEnd); n >= 0 {
			end = body + n
		}
		if strings.Contains(label, "PRIVATE KEY") && countAlnum(s[body:end]) >= minShaped {
			hits.add(body, end, DetectToken, w.names.secret(s[body:end]))
		}
		i = end
	}
}

// findURLCredentials replaces user and password in scheme://user:password@host.
func (w *walk) findURLCredentials(s string, hits *found) {
	for i := 0; ; {
		at := strings.Index(s[i:], "://")
		if at < 0 {
			return
		}
		start := i + at + 3
		end := start
		for end < len(s) && strings.IndexByte("/?# \t\r\n\"'<>", s[end]) < 0 {
			end++
		}
		i = end
		user, _, ok := strings.Cut(s[start:end], "@")
		if last := strings.LastIndexByte(s[start:end], '@'); ok {
			user = s[start : start+last]
		}
		_, password, hasPassword := strings.Cut(user, ":")
		if !ok || !hasPassword || password == "" {
			continue
		}
		from := start + len(user) - len(password)
		hits.add(from, from+len(password), DetectToken, w.names.secret(password))
	}
}
