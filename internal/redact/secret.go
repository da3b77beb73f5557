package redact

import (
	"strings"
)

// redactedPrefix starts the pseudonyms of secrets that are too short to carry
// a mark in their own form.
const redactedPrefix = "redacted-"

// checkChars is how many letters and digits at the end of a shaped pseudonym
// are its check; minShaped how many a value needs for one.
const (
	checkChars = 7
	minShaped  = 16
)

// secret returns the pseudonym of a credential or other value that nothing is
// known about. Long ones keep their length and what is a digit, a small or a
// capital letter, so that a hex string stays one and a UUID stays a UUID.
// Known prefixes are not kept: a pseudonym must not set off the secret
// scanners of others.
func (p *pseudonyms) secret(value string) string {
	if value == "" || isSecretPseudonym(value) {
		return value
	}
	return p.cached("secret", value, func(s *stream) string {
		switch {
		case len(value) <= 6 && allDigits(value):
			return strings.Repeat("0", len(value)) // a PIN or one-time code: too short to be told apart
		case countAlnum(value) >= minShaped:
			return shape(value, s)
		}
		return redactedPrefix + s.letters(12)
	})
}

func isSecretPseudonym(value string) bool {
	if rest, ok := strings.CutPrefix(value, redactedPrefix); ok {
		return len(rest) == 12 && strings.Trim(rest, base32) == ""
	}
	if len(value) <= 6 && strings.Trim(value, "0") == "" {
		return true
	}
	return isShaped(value)
}

// shape replaces each letter and digit by one of its kind, the last ones by
// the check over those before.
func shape(value string, s *stream) string {
	hex := isHexLike(value)
	left := countAlnum(value) - checkChars
	out := []byte(value)
	for i, c := range out {
		if !isAlnum(c) {
			// Letters of other scripts would tell, and escapes would mean
			// something else with other characters behind them.
			if c <= ' ' && c != '\n' || c >= 0x7f || c == '%' || c == '\\' || c == '"' {
				out[i] = '-'
			}
			continue
		}
		if left == 0 {
			s = check("shape", alnums(string(out[:i])))
		}
		left--
		out[i] = like(c, hex, s)
	}
	return string(out)
}

// isShaped reports whether value ends in its own check.
func isShaped(value string) bool {
	return countAlnum(value) >= minShaped && (shapedAs(value, false) || shapedAs(value, true))
}

func shapedAs(value string, hex bool) bool {
	left := countAlnum(value) - checkChars
	var s *stream
	for i := range len(value) {
		c := value[i]
		if !isAlnum(c) {
			continue
		}
		if left == 0 {
			s = check("shape", alnums(value[:i]))
		}
		left--
		if s != nil && like(c, hex, s) != c {
			return false
		}
	}
	return true
}

// like returns a character of the kind of c.
func like(c byte, hex bool, s *stream) byte {
	switch {
	case hex:
		return "0123456789abcdef"[s.below(16)]
	case c >= '0' && c <= '9':
		return s.digit()
	case c >= 'a' && c <= 'z':
		return 'a' + byte(s.below(26))
	default:
		return 'A' + byte(s.below(26))
	}
}

// isHexLike reports whether all letters of s are a to f, small, and some are.
func isHexLike(s string) bool {
	letters := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'f':
			letters = true
		case c >= 'g' && c <= 'z', c >= 'A' && c <= 'Z':
			return false
		}
	}
	return letters
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// alnums returns the letters and digits of s: what stands between them may be
// written in other ways.
func alnums(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if isAlnum(s[i]) {
			out = append(out, s[i])
		}
	}
	return string(out)
}

func countAlnum(s string) int {
	n := 0
	for i := range len(s) {
		if isAlnum(s[i]) {
			n++
		}
	}
	return n
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// number returns the pseudonym of a number that only a rule or key gives away:
// nine digits, so that it fits 32 bits.
func (p *pseudonyms) number(lexeme string) string {
	if isNumberPseudonym(lexeme) {
		return lexeme
	}
	return p.cached("number", lexeme, func(s *stream) string {
		out := []byte{'1'}
		for range 5 {
			out = append(out, s.digit())
		}
		c := check("number", string(out))
		return string(append(out, c.digit(), c.digit(), c.digit()))
	})
}

func isNumberPseudonym(s string) bool {
	if len(s) != 9 || s[0] != '1' || !allDigits(s) {
		return false
	}
	c := check("number", s[:6])
	return s[6] == c.digit() && s[7] == c.digit() && s[8] == c.digit()
}
