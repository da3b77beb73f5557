package redact

import (
	"net/netip"
	"slices"
	"strings"
)

// The names of the detectors, which stand in the manifest as rules.
const (
	DetectCredential = "credential" // by header, cookie or key name
	DetectToken      = "token"      // by a shape that one kind of credential has
	DetectJWT        = "jwt"
	DetectEmail      = "email"
	DetectPhone      = "phone"
	DetectCard       = "card"
	DetectIBAN       = "iban"
	DetectNationalID = "national-id"
	DetectIP         = "ip"
	DetectName       = "name"       // by key name
	DetectBirth      = "birth-date" // by key name
	DetectAddress    = "address"    // by key name
)

// Detectors returns the names of all detectors.
func Detectors() []string {
	return []string{
		DetectCredential, DetectToken, DetectJWT, DetectEmail, DetectPhone, DetectCard, DetectIBAN, DetectNationalID, DetectIP, DetectName,
		DetectBirth, DetectAddress,
	}
}

// span is a part of a text to be replaced.
type span struct {
	start, end int
	rule, made string
}

// found collects the spans of one text; the first detector that claims a
// place has it.
type found struct {
	spans []span
}

func (f *found) free(start, end int) bool {
	for _, s := range f.spans {
		if start < s.end && s.start < end {
			return false
		}
	}
	return true
}

func (f *found) add(start, end int, rule, made string) {
	if f.free(start, end) {
		f.spans = append(f.spans, span{start, end, rule, made})
	}
}

// minToken is the length of the shortest credential with a shape of its own.
const minToken = 16

// text is textWith for a text that nobody looked at yet.
func (w *walk) text(s string, where place) (string, bool) { return w.textWith(s, look(s), where) }

// textWith replaces what the detectors find inside s. Which of them have a
// chance is decided by its features, so that most texts cost nothing more.
func (w *walk) textWith(s string, f features, where place) (string, bool) {
	if len(s) < 5 || f.digits < 4 && !f.has(hasAt|hasColon|hasMark|hasDot|hasAssign) && !(len(s) >= minToken && f.has(hasUpper)) {
		return s, false
	}
	var hits found
	if f.has(hasDot) && len(s) >= 20 && !w.disabled[DetectJWT] && strings.Contains(s, "eyJ") {
		w.findJWT(s, where, &hits)
	}
	if len(s) >= minToken && (f.digits > 0 || f.has(hasAt) || len(s) > 40) && f.has(hasMark|hasDot|hasUpper|hasColon) && !w.disabled[DetectToken] {
		w.findTokens(s, f, &hits)
	}
	if f.has(hasAssign) && !w.disabled[DetectCredential] {
		w.findAssignments(s, &hits)
	}
	if f.has(hasAt) && f.has(hasDot) && !w.disabled[DetectEmail] {
		w.findEmails(s, &hits)
	}
	if f.digits >= 9 {
		w.findNumbers(s, f, &hits)
	}
	if !w.disabled[DetectIP] && !f.version && (f.digits >= 4 && f.has(hasDot) && strings.Count(s, ".") >= 3 || f.has(hasColon) && (strings.Contains(s, "::") || strings.Count(s, ":") >= 7)) {
		w.findIPs(s, &hits)
	}
	return w.apply(s, hits.spans, where)
}

// apply puts the pseudonyms in place.
func (w *walk) apply(s string, spans []span, where place) (string, bool) {
	if len(spans) == 0 {
		return s, false
	}
	slices.SortFunc(spans, func(a, b span) int { return a.start - b.start })
	var out strings.Builder
	at := 0
	for _, sp := range spans {
		if s[sp.start:sp.end] == sp.made {
			continue
		}
		w.count(sp.rule, where)
		out.WriteString(s[at:sp.start])
		out.WriteString(sp.made)
		at = sp.end
	}
	if at == 0 {
		return s, false
	}
	out.WriteString(s[at:])
	return out.String(), true
}

func isTokenByte(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }

func (w *walk) findJWT(s string, where place, hits *found) {
	for i := 0; i < len(s); {
		at := strings.Index(s[i:], "eyJ")
		if at < 0 {
			return
		}
		start := i + at
		end := start
		for end < len(s) && (isTokenByte(s[end]) || s[end] == '.') {
			end++
		}
		i = end
		for end > start && s[end-1] == '.' && strings.Count(s[start:end], ".") != 2 {
			end-- // the end of a sentence; a token without signature keeps its dot
		}
		if made, ok := w.jwt(s[start:end], where); ok {
			hits.add(start, end, DetectJWT, made)
		}
	}
}

// isLocalByte reports whether c may stand in the local part of an e-mail
// address as people have them.
func isLocalByte(c byte) bool {
	return isAlnum(c) || c >= 0x80 || strings.IndexByte(".!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isDomainByte(c byte) bool { return isAlnum(c) || c == '-' || c == '.' || c >= 0x80 }

func (w *walk) findEmails(s string, hits *found) {
	for i := 0; i < len(s); i++ {
		width := 1
		if s[i] == '%' && strings.HasPrefix(s[i:], "%40") {
			width = 3
		} else if s[i] != '@' {
			continue
		}
		start := i
		for start > 0 && isLocalByte(s[start-1]) {
			start--
		}
		start = trimLocal(s, start, i)
		end := i + width
		for end < len(s) && isDomainByte(s[end]) {
			end++
		}
		for end > i+width && (s[end-1] == '.' || s[end-1] == '-') {
			end--
		}
		local, domain := s[start:i], s[i+width:end]
		if local == "" || len(local) > 64 || local[0] == '.' || strings.HasSuffix(local, ".") || !isMailDomain(domain) {
			continue
		}
		if end < len(s) && (s[end] == ':' && local == "git" || s[end] == '@' || s[end] == '_') {
			continue // git@host:path, or not the end of a name
		}
		made := w.names.email(local + "@" + domain)
		if width == 3 {
			made = strings.Replace(made, "@", "%40", 1)
			if local+"%40"+domain == made {
				continue
			}
		}
		hits.add(start, end, DetectEmail, made)
		i = end - 1
	}
}

// trimLocal drops what stands before an address in a URL or a list: a query
// key with its "=", a path, a quote, "mailto:".
func trimLocal(s string, start, at int) int {
	for i := at - 1; i >= start; i-- {
		switch s[i] {
		case '=', '/', '&', '?', '|', '`', '{', '}', '\'', '#', '%':
			if s[i] == '%' && i+2 < at && isHexByte(s[i+1]) && isHexByte(s[i+2]) && !strings.HasPrefix(s[i:], "%2B") && !strings.HasPrefix(s[i:], "%2b") {
				return i + 3
			}
			if s[i] != '%' {
				return i + 1
			}
		}
	}
	return start
}

func isHexByte(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// notTopLevels are endings of names that look like addresses and are files.
const notTopLevels = " png jpg jpeg gif svg webp ico css js mjs ts html htm json xml yaml yml pdf zip gz tar lock map woff sha "

func isMailDomain(domain string) bool {
	last := strings.LastIndexByte(domain, '.')
	if last <= 0 || len(domain) > 253 || strings.Contains(domain, "..") || domain[0] == '-' {
		return false
	}
	top := domain[last+1:]
	if len(top) < 2 || strings.Contains(notTopLevels, " "+strings.ToLower(top)+" ") {
		return false
	}
	for i := range len(top) {
		if isDigit(top[i]) && !strings.HasPrefix(top, "xn--") || top[i] == '-' && !strings.HasPrefix(top, "xn--") {
			return false
		}
	}
	return true
}

// findNumbers looks at runs of digits with separators: cards, account
// numbers, telephone and social security numbers.
func (w *walk) findNumbers(s string, f features, hits *found) {
	if f.digits >= 11 && !w.disabled[DetectIBAN] {
		w.findIBANs(s, hits)
	}
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case isDigit(c) && (i == 0 || !isAlnum(s[i-1])), c == '+', c == '(':
			end := numberEnd(s, i)
			if (end-i < 9 || !w.judgeNumber(s, i, end, hits)) && c == '(' {
				end = i + 1 // the bracket may stand around a number
			}
			i = max(end, i+1)
		case isAlnum(c): // a number within a word is none
			for i < len(s) && isAlnum(s[i]) {
				i++
			}
		default:
			i++
		}
	}
}

// numberEnd returns the end of the run of digits and single separators that
// starts at i.
func numberEnd(s string, i int) int {
	end := i
	for j := i; j < len(s); j++ {
		switch c := s[j]; {
		case isDigit(c):
			end = j + 1
		case c == ' ' || c == '-' || c == '.' || c == '/':
			if j+1 >= len(s) || !isDigit(s[j+1]) && s[j+1] != '(' && s[j+1] != ')' {
				return end
			}
		case c == '(' || c == ')':
		case c == '+' && j == i:
		default:
			return end
		}
	}
	return end
}

// judgeNumber adds a run that is a number of somebody, and reports whether it
// is.
func (w *walk) judgeNumber(s string, start, end int, hits *found) bool {
	if end <= start {
		return false
	}
	run := s[start:end]
	digits := onlyDigits(run)
	bounded := !(start > 0 && (isAlnum(s[start-1]) || s[start-1] == '_' || s[start-1] >= 0x80 || s[start-1] == '-' || s[start-1] == '.')) &&
		!(end < len(s) && (isAlnum(s[end]) || s[end] == '_' || s[end] >= 0x80 || s[end] == '-' && end+1 < len(s) && isAlnum(s[end+1])))
	if !bounded || len(digits) < 9 || len(digits) > 40 {
		return false
	}
	if !w.disabled[DetectCard] && run[0] != '+' && run[0] != '(' && cardGroups(run) {
		if is := cardIssuer(digits); is != nil {
			hits.add(start, end, DetectCard, w.names.card(run, is))
			return true
		}
	}
	if !w.disabled[DetectNationalID] && isSSN(run) {
		hits.add(start, end, DetectNationalID, w.names.ssn(run))
		return true
	}
	if !w.disabled[DetectPhone] && isPhone(run, digits) {
		hits.add(start, end, DetectPhone, w.names.phone(run))
		return true
	}
	return false
}

// cardGroups reports whether a run is plain digits or grouped as on a card.
func cardGroups(run string) bool {
	if allDigits(run) {
		return true
	}
	separator := run[strings.IndexFunc(run, func(r rune) bool { return r < '0' || r > '9' })]
	if separator != ' ' && separator != '-' {
		return false
	}
	groups := strings.Split(run, string(separator))
	for i, g := range groups {
		if !allDigits(g) || len(g) > 6 || len(g) < 4 && i < len(groups)-1 || len(g) < 1 {
			return false
		}
	}
	return len(groups) <= 5
}

// isSSN reports whether run is written as a social security number and could
// be one.
func isSSN(run string) bool {
	if len(run) != 11 || run[3] != '-' || run[6] != '-' || !allDigits(run[:3]) || !allDigits(run[4:6]) || !allDigits(run[7:]) {
		return false
	}
	area := run[:3]
	return area != "000" && area != "666" && run[4:6] != "00" && run[7:] != "0000" && (area[0] != '9' || run[4] >= '5')
}

// isPhone reports whether a run is a telephone number by its form alone:
// international with "+", or North American with its three groups.
func isPhone(run, digits string) bool {
	if run[0] == '+' {
		return len(digits) >= 8 && len(digits) <= 15 && digits[0] != '0' && strings.Count(run, "/") <= 1
	}
	groups := strings.FieldsFunc(run, func(r rune) bool { return r < '0' || r > '9' })
	if len(groups) == 4 && groups[0] == "1" && !allDigits(run) {
		groups = groups[1:]
	}
	if len(groups) != 3 || len(groups[0]) != 3 || len(groups[1]) != 3 || len(groups[2]) != 4 || strings.Contains(run, "/") {
		return false
	}
	return groups[0][0] >= '2' && groups[1][0] >= '2'
}

func (w *walk) findIBANs(s string, hits *found) {
	for i := 0; i+15 <= len(s); i++ {
		if !isLetter(s[i]) || !isLetter(s[i+1]) || !isDigit(s[i+2]) || !isDigit(s[i+3]) || i > 0 && (isAlnum(s[i-1]) || s[i-1] == '_') {
			continue
		}
		want := ibanLengths[strings.ToUpper(s[i:i+2])]
		if want == 0 {
			continue
		}
		end, n := i, 0
		for end < len(s) && n < want && (isAlnum(s[end]) || s[end] == ' ' && end+1 < len(s) && isAlnum(s[end+1])) {
			if s[end] != ' ' {
				n++
			}
			end++
		}
		plain := strings.ToUpper(strings.ReplaceAll(s[i:end], " ", ""))
		if n != want || end < len(s) && (isAlnum(s[end]) || s[end] == '_') || !isIBAN(plain) {
			continue
		}
		hits.add(i, end, DetectIBAN, w.names.iban(s[i:end]))
		i = end
	}
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func (w *walk) findIPs(s string, hits *found) {
	for i := 0; i < len(s); {
		c := s[i]
		if !isHexByte(c) && c != ':' {
			i++
			continue
		}
		end, dots, colons := i, 0, 0
		for end < len(s) && (isHexByte(s[end]) || s[end] == '.' || s[end] == ':') {
			if s[end] == '.' {
				dots++
			} else if s[end] == ':' {
				colons++
			}
			end++
		}
		run := strings.TrimRight(s[i:end], ".:")
		if colons == 1 && dots == 3 { // with a port
			run, _, _ = strings.Cut(run, ":")
		}
		if (dots >= 3 || colons == 7 || colons >= 2 && strings.Contains(run, "::")) && ipBounded(s, i, i+len(run), colons) {
			if _, err := netip.ParseAddr(run); err == nil {
				hits.add(i, i+len(run), DetectIP, w.names.ip(run))
			}
		}
		i = max(end, i+1)
	}
}

// ipBounded tells addresses from versions ("Chrome/120.0.0.0", "v1.2.3.4")
// and from parts of longer names.
func ipBounded(s string, start, end, colons int) bool {
	if start > 0 {
		before := s[start-1]
		slash := before == '/' && !(start > 1 && s[start-2] == '/')
		if isAlnum(before) || before == '_' || before == '-' || before == '.' || before >= 0x80 || slash && colons < 2 {
			return false
		}
	}
	if end < len(s) {
		after := s[end]
		return !(isAlnum(after) || after == '_' || after == '-' || after >= 0x80)
	}
	return true
}
