package redact

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Leak is a place where something personal or secret is left. It never holds
// the value.
type Leak struct {
	Exchange string       // ID; empty in free text
	Path     traffic.Path // within the exchange
	Line     int          // from 1, in free text
	Detector string       // of this package, or "gitleaks:<rule>"
}

// String names the place and the reason.
func (l Leak) String() string {
	if l.Exchange == "" {
		return fmt.Sprintf("line %d: %s", l.Line, l.Detector)
	}
	return fmt.Sprintf("exchange %s: %s: %s", l.Exchange, l.Path, l.Detector)
}

// Scanner is a second look at what was redacted, by other code than the
// redactor's: regular expressions over decoded values, encoding/json, and the
// rules of gitleaks. It knows pseudonyms by their form and needs no key. It is
// safe for concurrent use.
type Scanner struct {
	rules []*secretRule
	keep  []traffic.Pattern
}

// NewScanner makes a scanner. Rules with the action Keep name places that are
// not looked at; other rules mean nothing to it.
func NewScanner(rules []Rule) (*Scanner, error) {
	secrets, err := secretRules()
	if err != nil {
		return nil, err
	}
	s := &Scanner{rules: secrets}
	for _, r := range rules {
		if r.Action == Keep {
			s.keep = append(s.keep, r.Path)
		}
	}
	return s, nil
}

// Exchanges yields what is left in each exchange, and the errors of the source
// as they come.
func (s *Scanner) Exchanges(all iter.Seq2[*traffic.Exchange, error]) iter.Seq2[Leak, error] {
	return func(yield func(Leak, error) bool) {
		for x, err := range all {
			if err != nil {
				if !yield(Leak{}, err) {
					return
				}
				continue
			}
			for _, l := range s.Exchange(x) {
				if !yield(l, nil) {
					return
				}
			}
		}
	}
}

// Exchange returns what is left in one exchange, each place and detector once.
func (s *Scanner) Exchange(x *traffic.Exchange) []Leak {
	var leaks []Leak
	seen := map[string]bool{}
	for v := range values(x) {
		if s.kept(v.path) {
			continue
		}
		for _, detector := range s.judge(v) {
			l := Leak{Exchange: x.ID, Path: v.path, Detector: detector}
			if text := l.String(); !seen[text] {
				seen[text] = true
				leaks = append(leaks, l)
			}
		}
	}
	return leaks
}

// maxTextLine is how much of a line of free text is judged at once.
const maxTextLine = 1 << 20

// Text returns what is left in free text: a report, a comment, a log.
func (s *Scanner) Text(r io.Reader) ([]Leak, error) {
	var leaks []Leak
	br := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(br)
		if line != "" {
			for _, detector := range s.judge(value{text: line}) {
				leaks = append(leaks, Leak{Line: n, Detector: detector})
			}
		}
		if err == io.EOF {
			return leaks, nil
		}
		if err != nil {
			return leaks, fmt.Errorf("scan text: %w", err)
		}
	}
}

// readLine reads a line, or a piece of one that is too long.
func readLine(br *bufio.Reader) (string, error) {
	var line []byte
	for len(line) < maxTextLine {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		if err != bufio.ErrBufferFull {
			return string(line), err
		}
	}
	return string(line), nil
}

func (s *Scanner) kept(p traffic.Path) bool {
	for _, pattern := range s.keep {
		if pattern.Covers(p) {
			return true
		}
	}
	return false
}

// form is what one detector of the scanner looks for.
type form struct {
	detector string
	hint     string // a text without one of these bytes cannot match
	find     *regexp.Regexp
	real     func(match, text string) bool
}

var forms = []form{
	{DetectEmail, "@%", regexp.MustCompile(`[\p{L}\p{N}._+'!#$&*~-]+(?:@|%40)[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,24}`), realEmail},
	{DetectJWT, ".", regexp.MustCompile(`eyJ[\w-]{8,}\.eyJ[\w-]{4,}\.[\w-]{11,}`), realJWT},
	{DetectCard, "0123456789", regexp.MustCompile(`(?:^|[^\w.-])((?:\d[ -]?){12,18}\d)(?:$|[^\w-])`), realCard},
	{DetectIBAN, "0123456789", regexp.MustCompile(`\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?\b`), realIBAN},
	{DetectNationalID, "-", regexp.MustCompile(`(?:^|[^\w.-])(\d{3}-\d{2}-\d{4})(?:$|[^\w-])`), realSSN},
	{DetectPhone, "+", regexp.MustCompile(`(?:^|[^\w.+-])(\+[1-9][\d ().-]{6,18}\d)(?:$|[^\w-])`), realPhone},
	{DetectPhone, "-. )", regexp.MustCompile(`(?:^|[^\w.+-])((?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4})(?:$|[^\w-])`), realPhone},
	{DetectIP, ".", regexp.MustCompile(`(?:^|[^\w./-]|//)((?:\d{1,3}\.){3}\d{1,3})(?:$|[^\w.-])`), realIP},
	{DetectIP, ":", regexp.MustCompile(`(?:^|[^\w:.-])([0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})(?:$|[^\w:.-])`), realIP},
	{DetectToken, "_-A.", regexp.MustCompile(`\b(?:A(?:K|S)IA[A-Z0-9]{16}\b|gh[opusr]_[A-Za-z0-9]{36}|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|xox[abprs]-[A-Za-z0-9-]{16,}|glpat-[\w-]{16,}|AIza[\w-]{35}|SG\.[\w-]{20,}\.[\w-]{40,})`), realSecret},
	{DetectToken, ":", regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^/?#\s:@"']*:([^/?#\s@"']+)@`), realSecret},
}

// judge returns the detectors that find something in a value.
func (s *Scanner) judge(v value) []string {
	var found []string
	for _, f := range forms {
		if !strings.ContainsAny(v.text, f.hint) {
			continue
		}
		for _, m := range f.find.FindAllStringSubmatch(v.text, -1) {
			if f.detector == DetectIP && keyVersion == kindOfKey(v.key) {
				break
			}
			if f.real(m[len(m)-1], v.text) {
				found = append(found, f.detector)
				break
			}
		}
	}
	if detector := judgeKey(v); detector != "" {
		found = append(found, detector)
	}
	if len(found) == 0 && len(v.text) >= minToken {
		lower := strings.ToLower(v.text)
		for _, r := range s.rules {
			if r.finds(v.text, lower) {
				found = append(found, "gitleaks:"+r.id)
				break
			}
		}
	}
	return found
}

func realEmail(m, text string) bool {
	m = strings.ToLower(strings.Replace(m, "%40", "@", 1))
	local, domain, _ := strings.Cut(m, "@")
	top := domain[strings.LastIndexByte(domain, '.')+1:]
	return domain != pseudonymDomain && !strings.Contains(notTopLevels, " "+top+" ") && !(local == "git" && strings.Contains(text, domain+":")) &&
		!strings.HasPrefix(local, ".") && !strings.HasSuffix(local, ".") && utf8.RuneCountInString(local) <= 64
}

func realJWT(m, _ string) bool {
	parts := strings.Split(m, ".")
	signature, err := decodeSegment(parts[2])
	return err == nil && isJSONObject(parts[0]) && isJSONObject(parts[1]) && !isSignaturePseudonym(signature)
}

func realCard(m, _ string) bool {
	digits := strings.NewReplacer(" ", "", "-", "").Replace(m)
	is := cardIssuer(digits)
	return is != nil && cardGroups(m) && !isCardPseudonym(digits, is)
}

func realIBAN(m, _ string) bool {
	plain := strings.ToUpper(strings.ReplaceAll(m, " ", ""))
	for len(plain) >= 15 { // the expression may have taken a word behind it
		if isIBAN(plain) {
			return !isIBANPseudonym(plain)
		}
		plain = plain[:len(plain)-1]
	}
	return false
}

func realSSN(m, _ string) bool { return isSSN(m) }

func realPhone(m, _ string) bool {
	return isPhone(m, onlyDigits(m)) && !isPhonePseudonym(m)
}

func realIP(m, _ string) bool {
	addr, err := netip.ParseAddr(m)
	return err == nil && isPublic(addr)
}

func realSecret(m, _ string) bool { return !isSecretPseudonym(m) }
