package redact

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// removed stands where a rule removes a value.
const removed = "[removed]"

// value is valueWith for a text that nobody looked at yet.
func (w *walk) value(kind keyKind, s string, where place) (string, bool) {
	return w.valueWith(kind, s, look(s), where)
}

// valueWith redacts one text whose place and, by its key, kind is known: by the
// first rule that covers the place, by its key, or by the detectors.
func (w *walk) valueWith(kind keyKind, s string, f features, where place) (string, bool) {
	if s == "" {
		return s, false
	}
	if rule := w.rule(where); rule != nil {
		made := s
		switch rule.Action {
		case Remove:
			made = removed
		case Pseudonym:
			made = w.whole(s, where)
		}
		if made == s {
			return s, false
		}
		w.count(rule.Name, where)
		return made, true
	}
	if kind != keyPlain {
		if made, rule := w.byKey(kind, s, where); rule != "" {
			if made == s {
				return s, false
			}
			w.count(rule, where)
			return made, true
		}
	}
	if made, rule := w.recall(s, f); rule != "" && !w.disabled[rule] && made != s {
		w.count(rule, where)
		return made, true
	}
	f.version = kind == keyVersion
	if (s[0] == '{' || s[0] == '[') && len(s) > 8 && json.Valid([]byte(s)) {
		return w.json(s, where)
	}
	if len(s) >= minEmbedded && !f.has(hasAt|hasDot|hasColon) && isBase64(s) {
		if made, changed := w.embedded(s, where); changed {
			return made, true
		}
	}
	return w.textWith(s, f, where)
}

// whole makes the pseudonym of a value that must go entirely, in the form of
// what it is.
func (w *walk) whole(s string, where place) string {
	digits := onlyDigits(s)
	switch {
	case strings.Count(s, "@") == 1 && isMailDomain(s[strings.IndexByte(s, '@')+1:]):
		return w.names.email(s)
	case strings.HasPrefix(s, "eyJ"):
		if made, ok := w.jwt(s, where); ok {
			return made
		}
	case len(digits) >= 13 && cardGroups(s):
		if is := cardIssuer(digits); is != nil {
			return w.names.card(s, is)
		}
	}
	if plain := strings.ToUpper(strings.ReplaceAll(s, " ", "")); len(plain) >= 15 && isIBAN(plain) {
		return w.names.iban(s)
	}
	if isPublicIP(s) {
		return w.names.ip(s)
	}
	return w.names.secret(s)
}

func isPublicIP(s string) bool { return strings.ContainsAny(s, ".:") && len(s) <= 45 && looksIP(s) }

func looksIP(s string) bool {
	for i := range len(s) {
		if !isHexByte(s[i]) && s[i] != '.' && s[i] != ':' {
			return false
		}
	}
	return true
}

// byKey redacts a value because of the name of its field. The rule is empty
// when the name gives no reason, or the value is not what the name promises.
func (w *walk) byKey(kind keyKind, s string, where place) (made, rule string) {
	rule = kind.rule()
	if rule == "" || w.disabled[rule] {
		return s, ""
	}
	digits := onlyDigits(s)
	switch kind {
	case keySecret:
		return w.credential(s, where), rule
	case keyToken:
		if len(s) < 8 && (len(s) < 6 || len(digits) == 0) {
			return s, rule // a currency, a kind of token
		}
		return w.credential(s, where), rule
	case keyName, keyBareName:
		if strings.ContainsAny(s, "@:/{}") {
			return s, ""
		}
		return w.names.name(s), rule
	case keyAddress:
		return w.names.name(s), rule
	case keyPhone:
		if len(digits) < 6 || len(digits) > 17 || strings.ContainsAny(s, "@:") || strings.Count(s, ".") > 2 {
			return s, ""
		}
		made = w.names.phone(s)
		w.learn(s, made, keyPhone)
		return made, rule
	case keyCard:
		if is := cardIssuer(digits); is != nil {
			return w.names.card(s, is), rule
		}
		if len(digits) < 12 || strings.ContainsAny(s, "*xX@:.") {
			return s, "" // a masked number, or something else
		}
		return w.names.secret(s), rule
	case keyNationalID:
		if len(digits) == 9 && (allDigits(s) || len(s) == 11 && s[3] == '-' && s[6] == '-') {
			return w.names.ssn(s), rule
		}
		return w.names.secret(s), rule
	case keyBirth:
		return birth(s), rule
	}
	return s, ""
}

// birth keeps the year of a date, so that ages stay about right, and sets the
// rest to the first.
func birth(s string) string {
	out := []byte(s)
	for i := 0; i < len(out); {
		if !isDigit(out[i]) {
			i++
			continue
		}
		end := i
		for end < len(out) && isDigit(out[end]) {
			end++
		}
		if end-i != 4 {
			for j := i; j < end-1; j++ {
				out[j] = '0'
			}
			out[end-1] = '1'
		}
		i = end
	}
	return string(out)
}

// number redacts a JSON number.
func (w *walk) number(kind keyKind, lexeme string, where place) (string, bool) {
	made, rule := lexeme, ""
	if r := w.rule(where); r != nil {
		rule = r.Name
		switch r.Action {
		case Remove:
			made = "0"
		case Pseudonym:
			made = w.names.number(lexeme)
		}
	} else {
		made, rule = w.numberByKey(kind, lexeme)
	}
	if made == lexeme {
		return lexeme, false
	}
	w.count(rule, where)
	return made, true
}

func (w *walk) numberByKey(kind keyKind, lexeme string) (made, rule string) {
	rule = kind.rule()
	if allDigits(lexeme) && !w.disabled[DetectCard] {
		if is := cardIssuer(lexeme); is != nil {
			return w.names.card(lexeme, is), DetectCard
		}
	}
	if rule == "" || w.disabled[rule] || !allDigits(lexeme) {
		return lexeme, ""
	}
	switch kind {
	case keySecret:
		if len(lexeme) <= 6 {
			return "0", rule
		}
		return w.names.number(lexeme), rule
	case keyPhone:
		if len(lexeme) >= 7 && len(lexeme) <= 15 && lexeme[0] != '0' {
			return w.names.phone(lexeme), rule
		}
	case keyNationalID:
		if len(lexeme) == 9 {
			return w.names.ssn(lexeme), rule
		}
		return w.names.number(lexeme), rule
	case keyBirth:
		if len(lexeme) > 4 {
			return w.names.number(lexeme), rule
		}
	}
	return lexeme, ""
}

// credential returns the pseudonym of the value of an Authorization header or
// of a field that holds one: its scheme stays.
func (w *walk) credential(s string, where place) string {
	scheme, rest, ok := strings.Cut(s, " ")
	if !ok {
		return w.bearer(s, where)
	}
	switch strings.ToLower(scheme) {
	case "basic":
		plain, err := base64.StdEncoding.DecodeString(rest)
		user, password, ok := strings.Cut(string(plain), ":")
		if err != nil || !ok {
			break
		}
		made := w.whole(user, where) + ":" + w.names.secret(password)
		return scheme + " " + base64.StdEncoding.EncodeToString([]byte(made))
	case "bearer", "token", "apikey", "digest", "negotiate", "hmac", "aws4-hmac-sha256", "jwt":
		return scheme + " " + w.bearer(rest, where)
	}
	return w.bearer(s, where)
}

func (w *walk) bearer(s string, where place) string {
	if strings.HasPrefix(s, "eyJ") && strings.Count(s, ".") == 2 {
		if made, ok := w.jwt(s, where); ok {
			return made
		}
	}
	made := w.names.secret(s)
	w.learn(s, made, keySecret)
	return made
}
