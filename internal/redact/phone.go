package redact

import "strings"

// phone returns the pseudonym of a telephone number. The separators, the
// length and the country code stay. North American numbers get an area code
// whose middle digit is 9, which the numbering plan keeps free; others start
// with 99 after the country code. The last two digits are a check.
func (p *pseudonyms) phone(text string) string {
	digits := onlyDigits(text)
	keep := phonePrefix(text, digits)
	rest := digits[keep:]
	if len(rest) < 5 || isPhonePseudonym(text) {
		return text
	}
	nanp := isNANP(digits, keep)
	return fillDigits(text, p.cached("phone", digits[:keep]+" "+rest, func(s *stream) string {
		out := []byte(digits[:keep])
		if nanp {
			out = append(out, '2'+byte(s.below(8)), '9', s.digit(), '2'+byte(s.below(8)))
		} else {
			out = append(out, '9', '9')
		}
		for len(out) < len(digits)-2 {
			out = append(out, s.digit())
		}
		c := check("phone", string(out[keep:]))
		return string(append(out, c.digit(), c.digit()))
	}))
}

// isNANP reports whether a number is of the North American plan, given how
// many of its digits are the country code.
func isNANP(digits string, keep int) bool {
	return len(digits)-keep == 10 && (keep == 0 || digits[:keep] == "1")
}

func isPhonePseudonym(text string) bool {
	digits := onlyDigits(text)
	keep := phonePrefix(text, digits)
	rest := digits[keep:]
	if len(rest) < 5 {
		return false
	}
	n := len(rest) - 2
	c := check("phone", rest[:n])
	return (strings.HasPrefix(rest, "99") || isNANP(digits, keep) && rest[1] == '9') && rest[n] == c.digit() && rest[n+1] == c.digit()
}

// phonePrefix returns how many of the digits are the country code, behind a
// "+", or the zeros that stand in its place.
func phonePrefix(text, digits string) int {
	if strings.HasPrefix(strings.TrimLeft(text, " (\t"), "+") {
		return countryCode(digits)
	}
	if len(digits) == 11 && digits[0] == '1' {
		return 1
	}
	n := 0
	for n < 2 && n < len(digits) && digits[n] == '0' {
		n++
	}
	if n == 2 {
		n += countryCode(digits[2:])
	}
	return n
}

// countryCode returns the length of the country code of ITU-T E.164 that
// digits start with.
func countryCode(digits string) int {
	if len(digits) < 3 {
		return 0
	}
	switch digits[0] {
	case '1', '7':
		return 1
	}
	const two = " 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98 "
	if strings.Contains(two, " "+digits[:2]+" ") {
		return 2
	}
	return 3
}
