package mock

import (
	"strings"
)

// normalGraphQL writes a GraphQL document so that white space, commas and
// comments do not matter. It reports false for what is not a document.
func normalGraphQL(s string) (string, bool) {
	var b strings.Builder
	first := ""
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == 0xef && strings.HasPrefix(s[i:], "\ufeff"):
			i++
			if c == 0xef {
				i += 2
			}
			continue
		case c == '#':
			for i < len(s) && s[i] != '\n' && s[i] != '\r' {
				i++
			}
			continue
		}
		n := lexeme(s[i:])
		if n == 0 {
			return "", false
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		} else {
			first = s[i : i+n]
		}
		b.WriteString(s[i : i+n])
		i += n
	}
	switch first {
	case "{", "query", "mutation", "subscription", "fragment":
		return b.String(), true
	}
	return "", false
}

// lexeme returns the length of the token at the start of s, 0 if there is none.
func lexeme(s string) int {
	switch c := s[0]; {
	case strings.HasPrefix(s, `"""`):
		for end := 3; ; end++ {
			i := strings.Index(s[end:], `"""`)
			if i < 0 {
				return 0
			}
			if end += i; s[end-1] != '\\' {
				return end + 3
			}
		}
	case c == '"':
		for i := 1; i < len(s) && s[i] != '\n'; i++ {
			switch s[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
		return 0
	case strings.HasPrefix(s, "..."):
		return 3
	case strings.IndexByte("!$&()[]{}:=@|", c) >= 0:
		return 1
	case isNameByte(c) || c == '-':
		n := 1
		for n < len(s) && (isNameByte(s[n]) || s[n] == '.' && !strings.HasPrefix(s[n:], "..") || (s[n] == '+' || s[n] == '-') && s[n-1]|0x20 == 'e' && (s[0] == '-' || s[0] <= '9')) {
			n++
		}
		return n
	}
	return 0
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// changes reports whether a normalised document may change something: it has
// an operation that is not a query.
func changesGraphQL(document string) bool {
	depth, begins := 0, true
	for word := range strings.SplitSeq(document, " ") {
		switch {
		case word == "{":
			depth++
		case word == "}":
			depth--
			begins = depth == 0
			continue
		case depth == 0 && begins && (word == "mutation" || word == "subscription"):
			return true
		}
		begins = false
	}
	return false
}
