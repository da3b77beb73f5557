package snapshot

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isClean reports whether people see s as it is: valid UTF-8 of printable
// characters. Control characters and those that change the direction of text
// are not, so that nothing hides from a reviewer.
func isClean(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			return false
		}
		i += n
	}
	return true
}

// line writes s so that parseLine gives it back: as it is, or quoted when it
// is empty, not clean, or could be taken for something else.
func line(s string) string {
	if s == "" || s[0] == '"' || s[0] == ' ' || s[len(s)-1] == ' ' || !isClean(s) {
		return strconv.Quote(s)
	}
	return s
}

func parseLine(s string) (string, error) {
	if strings.HasPrefix(s, `"`) {
		text, err := strconv.Unquote(s)
		if err != nil {
			return "", errors.New("a quoted text does not end, or something follows it")
		}
		return text, nil
	}
	return s, nil
}

// token is line for values that stand beside others on one line.
func token(s string) string {
	if s == "" || strings.ContainsAny(s, " \"=") || !isClean(s) {
		return strconv.Quote(s)
	}
	return s
}

// cutToken takes one token from the start of s.
func cutToken(s string) (tok, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return "", "", errors.New("a quoted text does not end")
		}
		if tok, err = strconv.Unquote(quoted); err != nil {
			return "", "", errors.New("a quoted text cannot be read")
		}
		rest = s[len(quoted):]
		if rest != "" && rest[0] != ' ' {
			return "", "", errors.New("a space must follow a quoted text")
		}
		return tok, strings.TrimPrefix(rest, " "), nil
	}
	tok, rest, _ = strings.Cut(s, " ")
	if tok == "" {
		return "", "", errors.New("a value is missing")
	}
	return tok, rest, nil
}

// tokens splits a whole line.
func tokens(s string) ([]string, error) {
	var list []string
	for s != "" {
		tok, rest, err := cutToken(s)
		if err != nil {
			return nil, err
		}
		list = append(list, tok)
		s = rest
	}
	return list, nil
}

// pair writes key=value; cutPair reads it. The value may be quoted.
func pair(key, value string) string { return key + "=" + token(value) }

func cutPair(s string) (key, value, rest string, err error) {
	key, after, ok := strings.Cut(s, "=")
	if !ok || key == "" || strings.ContainsAny(key, " \"") {
		return "", "", "", errors.New("key=value expected")
	}
	value, rest, err = cutToken(after)
	return key, value, rest, err
}
