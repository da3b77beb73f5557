package redact

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// nameSuffix ends every word of a pseudonym of a name, as no name ends.
const nameSuffix = "qx"

// name returns the pseudonym of a person's name, word by word, so that a first
// name alone and within a full name become the same. The case of each word
// stays; single letters become X.
func (p *pseudonyms) name(text string) string {
	return p.cached("full name", text, func(*stream) string { return p.words(text) })
}

func (p *pseudonyms) words(text string) string {
	var out strings.Builder
	start := -1
	flush := func(end int) {
		if start >= 0 {
			out.WriteString(p.nameWord(text[start:end]))
			start = -1
		}
	}
	for i, r := range text {
		if unicode.IsLetter(r) || unicode.IsMark(r) || r == utf8.RuneError || isDigit(byte(min(r, 0x7f))) {
			if start < 0 {
				start = i
			}
			continue
		}
		flush(i)
		out.WriteRune(r)
	}
	flush(len(text))
	return out.String()
}

func (p *pseudonyms) nameWord(word string) string {
	lower := strings.ToLower(word)
	if utf8.RuneCountInString(word) == 1 {
		if unicode.IsLower([]rune(word)[0]) {
			return "x"
		}
		return "X"
	}
	if strings.HasSuffix(lower, nameSuffix) && len(lower) == 8 {
		return word
	}
	made := p.cached("name", lower, func(s *stream) string {
		const consonants, vowels = "bcdfghjklmnprstvwz", "aeiou"
		var out []byte
		for range 3 {
			out = append(out, consonants[s.below(len(consonants))], vowels[s.below(len(vowels))])
		}
		return string(out) + nameSuffix
	})
	first, _ := utf8.DecodeRuneInString(word)
	switch {
	case word == strings.ToUpper(word) && word != lower:
		return strings.ToUpper(made)
	case unicode.IsUpper(first):
		return strings.ToUpper(made[:1]) + made[1:]
	}
	return made
}
