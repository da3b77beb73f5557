package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ellipsis stands for what was cut.
const ellipsis = "…"

// hidden reports whether a rune can change how its neighbours look or are read
// without being seen: controls, bidirectional overrides and isolates,
// zero-width and other format characters, private use and invalid encodings.
func hidden(r rune) bool {
	switch {
	case r >= ' ' && r <= '~': // most of what is ever shown
		return false
	case r == utf8.RuneError, unicode.Is(unicode.C, r) && r != '\n' && r != '\t':
		return true
	case r == '\u2028', r == '\u2029': // line breaks to some readers
		return true
	case r >= '\ufe00' && r <= '\ufe0f', r >= '\U000e0100' && r <= '\U000e01ef': // variation selectors
		return true
	case r == '\u115f', r == '\u1160', r == '\u3164', r == '\uffa0': // blank letters
		return true
	}
	return false
}

// Line returns s as one visible line for logs and terminals: hidden
// characters are dropped, line breaks become ⏎, the result has at most limit
// runes (0 means 200), and nothing in it can be read as a workflow command.
func Line(s string, limit int) string {
	s = visible(s, limit)
	s = strings.ReplaceAll(s, "##[", "## [")
	if t := strings.TrimLeftFunc(s, unicode.IsSpace); strings.HasPrefix(t, "::") {
		s = ": :" + t[2:]
	}
	return s
}

// visible drops what cannot be seen, shows line breaks, and cuts at limit
// runes; 0 means 200.
func visible(s string, limit int) string {
	if limit <= 0 {
		limit = 200
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		switch {
		case r == '\n':
			r = '⏎'
		case r == '\t' || unicode.IsSpace(r):
			r = ' '
		case hidden(r):
			continue
		}
		if n == limit {
			return b.String() + ellipsis
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// Code returns s as a Markdown code span of one line and at most limit runes
// (0 means 200): inside it mentions, references, links, entities and HTML are
// inert on GitHub, in tables too. An empty string gives an empty one.
func Code(s string, limit int) string {
	s = visible(s, limit)
	if strings.TrimSpace(s) == "" {
		return ""
	}
	// A pipe splits table cells before code spans are found, and outside of
	// tables a backslash in a code span is shown. A broken bar reads the same
	// in both places.
	s = strings.ReplaceAll(s, "|", "¦")
	ticks := strings.Repeat("`", longestRun(s, '`')+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") || (s[0] == ' ' && s[len(s)-1] == ' ') {
		s = " " + s + " "
	}
	return ticks + s + ticks
}

// Limits of a fenced block.
const (
	fenceLines = 40
	fenceRunes = 400 // per line
)

// Fence returns a fenced code block, ended by a newline, whose fence is longer
// than any run of backticks in it. At most 40 lines of 400 runes are shown.
// The language must be a constant of the caller.
func Fence(language string, lines []string) string {
	var kept []string
	longest := 0
	for _, l := range lines {
		for part := range strings.SplitSeq(l, "\n") {
			if len(kept) == fenceLines {
				kept = append(kept, ellipsis)
				break
			}
			part = visible(part, fenceRunes)
			longest = max(longest, longestRun(part, '`'))
			kept = append(kept, part)
		}
		if len(kept) > fenceLines {
			break
		}
	}
	fence := strings.Repeat("`", max(3, longest+1))
	return fence + language + "\n" + strings.Join(kept, "\n") + "\n" + fence + "\n"
}

// Text returns s as plain Markdown text of one line and at most limit runes
// (0 means 200): no markup, HTML, mention, reference or link in it is live.
// Values of traffic belong into [Code] or [Fence]; Text is for sentences that
// reprise wrote around names.
func Text(s string, limit int) string {
	var b strings.Builder
	s = visible(s, limit)
	for i, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '@' || r == '#' && !(i+1 < len(s) && s[i+1] == ' '):
			// GitHub decodes entities before it looks for mentions, so only an
			// element between the sign and the name keeps them apart.
			b.WriteRune(r)
			b.WriteString("<!-- -->")
		case strings.ContainsRune("\\`*_{}[]!|~$", r), i == 0 && strings.ContainsRune("+-=:", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == ':' && strings.HasPrefix(s[i:], "://"), len(s) >= i+4 && strings.EqualFold(s[i:i+4], "www."):
			b.WriteRune(r)
			b.WriteString("<!-- -->")
		case (r == '.' || r == ')') && digitsOnly(s[:i]) && (i+1 == len(s) || s[i+1] == ' '): // "1. " starts a list
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func digitsOnly(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// shellQuote returns s as one word of a POSIX shell.
func shellQuote(s string) string {
	s = visible(s, 0)
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@") == "" && s[0] != '-' {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func longestRun(s string, c byte) int {
	longest, run := 0, 0
	for i := range len(s) {
		if s[i] == c {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	return longest
}
